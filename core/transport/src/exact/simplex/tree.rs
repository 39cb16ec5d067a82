//! The spanning tree of the network simplex.

use super::pricing::CandidateArc;

pub(super) const NONE: u32 = u32::MAX;

/// A node, and the arc between it and its parent.
#[derive(Clone)]
pub(super) struct TreeNode {
    pub flow: f64,
    cost: f64,
    pub parent: u32,
    /// The number of nodes of its subtree, itself included.
    size: u32,
}

/// The tree. Nodes are numbered sources first, then targets, then the root.
pub(super) struct SpanningTree {
    pub sources: usize,
    pub root: u32,
    pub nodes: Vec<TreeNode>,
    /// The dual potentials of sources and the negative ones of targets, so that a pivot adds the same number
    /// to all nodes of a subtree: the cost of an arc in the tree is the level of its source minus that of its
    /// target. One more number at the end has no meaning.
    pub level: Vec<f64>,
    /// The tour, a closed list: place x is where it enters the subtree of node x, and place x plus the number
    /// of nodes is where it leaves it.
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl SpanningTree {
    /// The nodes, of which none is in the tree yet but the root.
    pub fn new(sources: usize, targets: usize) -> Self {
        let count = sources + targets + 1;
        // The tour of a single node enters and leaves it.
        let turned = |place: usize| if place < count { place + count } else { place - count } as u32;
        Self {
            sources,
            root: (count - 1) as u32,
            nodes: vec![TreeNode { flow: 0.0, cost: 0.0, parent: NONE, size: 1 }; count],
            level: vec![0.0; count + 1],
            next: (0..2 * count).map(turned).collect(),
            previous: (0..2 * count).map(turned).collect(),
        }
    }

    /// Attaches a single node. [`SpanningTree::count`] must follow.
    pub fn add(&mut self, x: u32, parent: u32, flow: f64, cost: f64) {
        self.attach(x, parent);
        let node = &mut self.nodes[x as usize];
        (node.flow, node.cost) = (flow, cost);
    }

    /// Counts the nodes of all subtrees.
    pub fn count(&mut self) {
        let count = self.nodes.len() as u32;
        self.nodes.iter_mut().for_each(|node| node.size = 1);
        let mut place = self.root;
        while self.next[place as usize] != self.root {
            place = self.next[place as usize];
            if place >= count && place - count != self.root {
                let (size, parent) =
                    (self.nodes[(place - count) as usize].size, self.nodes[(place - count) as usize].parent);
                self.nodes[parent as usize].size += size;
            }
        }
    }

    /// Computes the potentials from the costs of the tree.
    pub fn refresh(&mut self) {
        let count = self.nodes.len() as u32;
        self.level[self.root as usize] = 0.0;
        let mut x = self.next[self.root as usize];
        while x != self.root {
            if x < count {
                let node = &self.nodes[x as usize];
                let along = if self.is_source(x) { node.cost } else { -node.cost };
                self.level[x as usize] = self.level[node.parent as usize] + along;
            }
            x = self.next[x as usize];
        }
    }

    /// Brings an arc into the tree, whose reduced cost is negative.
    pub fn pivot(&mut self, arc: CandidateArc) {
        let (i, j) = (arc.source, self.sources as u32 + arc.target);
        let reduced = arc.cost - self.level[i as usize] + self.level[j as usize];
        // The flow falls on arcs of sources on the side of i and on arcs of targets on the side of j. Of the
        // blocking arcs, the last one along the cycle from the apex leaves.
        let (mut of_source, mut of_target) = ((f64::INFINITY, NONE), (f64::INFINITY, NONE));
        let (mut x, mut y) = (i, j);
        while x != y {
            let (from, to) = (&self.nodes[x as usize], &self.nodes[y as usize]);
            if from.size < to.size {
                if self.is_source(x) && from.flow < of_source.0 {
                    of_source = (from.flow, x);
                }
                x = from.parent;
            } else {
                if !self.is_source(y) && to.flow <= of_target.0 {
                    of_target = (to.flow, y);
                }
                y = to.parent;
            }
        }
        let on_source_side = of_source.0 < of_target.0;
        let (amount, leaving) = if on_source_side { of_source } else { of_target };
        let (inner, outer) = if on_source_side { (i, j) } else { (j, i) };
        if amount > 0.0 {
            self.push(i, x, -amount);
            self.push(j, x, amount);
        }
        let moved = self.nodes[leaving as usize].size;
        self.resize(self.nodes[leaving as usize].parent, x, moved.wrapping_neg());
        self.resize(outer, x, moved);
        self.reattach(inner, outer, leaving, (amount, arc.cost));
        self.shift(inner, if on_source_side { reduced } else { -reduced });
    }

    /// Adds to the flow of the arcs of sources between a node and the apex, and subtracts it from that of
    /// targets.
    fn push(&mut self, mut x: u32, apex: u32, amount: f64) {
        while x != apex {
            let along = if self.is_source(x) { amount } else { -amount };
            self.nodes[x as usize].flow += along;
            x = self.nodes[x as usize].parent;
        }
    }

    /// Adds to the sizes of the subtrees between a node and the apex.
    fn resize(&mut self, mut x: u32, apex: u32, change: u32) {
        while x != apex {
            let node = &mut self.nodes[x as usize];
            node.size = node.size.wrapping_add(change);
            x = node.parent;
        }
    }

    /// Reverses the path from `inner` up to `leaving` and attaches it below `outer` by an arc of the given
    /// flow and cost.
    fn reattach(&mut self, inner: u32, outer: u32, leaving: u32, arc: (f64, f64)) {
        let all = self.nodes[leaving as usize].size;
        let (mut x, mut below, mut arc, mut taken) = (inner, outer, arc, 0);
        loop {
            let above = self.nodes[x as usize].parent;
            self.detach(x);
            self.attach(x, below);
            let node = &mut self.nodes[x as usize];
            let (size, old) = (node.size, (node.flow, node.cost));
            (node.flow, node.cost) = arc;
            node.size = all - taken;
            if x == leaving {
                break;
            }
            (arc, taken, below, x) = (old, size, x, above);
        }
    }

    /// Adds to the level of a subtree, or subtracts from that of all other nodes, if those are fewer.
    fn shift(&mut self, x: u32, change: f64) {
        let count = self.nodes.len();
        let last = x as usize + count;
        let (mut place, end, change) = if 2 * self.nodes[x as usize].size as usize <= count {
            (x as usize, last, change)
        } else {
            (self.next[last] as usize, x as usize, -change)
        };
        while place != end {
            // The places where the tour leaves a subtree change the number at the end.
            self.level[place.min(count)] += change;
            place = self.next[place] as usize;
        }
    }

    fn is_source(&self, x: u32) -> bool {
        (x as usize) < self.sources
    }

    /// Makes the subtree of `x` the first one of `p`.
    fn attach(&mut self, x: u32, p: u32) {
        let last = x + self.nodes.len() as u32;
        let after = self.next[p as usize];
        self.nodes[x as usize].parent = p;
        self.link(p, x);
        self.link(last, after);
    }

    /// Removes the subtree of `x` from the tour.
    fn detach(&mut self, x: u32) {
        let last = x as usize + self.nodes.len();
        self.link(self.previous[x as usize], self.next[last]);
    }

    fn link(&mut self, before: u32, after: u32) {
        self.next[before as usize] = after;
        self.previous[after as usize] = before;
    }
}
