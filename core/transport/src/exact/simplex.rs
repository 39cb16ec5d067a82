//! The network simplex for transport, over a growing set of candidate arcs.
//!
//! A spanning tree of sources, targets and an artificial root; every arc between a node and its parent runs upwards from a
//! source and downwards to a target. Block-search pivots and the strongly feasible leaving rule (Cunningham 1976) as in
//! LEMON's solver (Kovács 2015, arXiv 1207.6381), whose tree is kept here as plain child lists. The start is no
//! artificial basis but a greedy plan along good duals, which is a forest near the optimum.

const NONE: u32 = u32::MAX;

/// An arc from source to target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arc {
    pub source: u32,
    pub target: u32,
    pub cost: f64,
}

/// The tree; nodes are sources, then targets, then the root.
pub(super) struct Simplex {
    arcs: Vec<Arc>,
    sources: usize,
    root: u32,
    parent: Vec<u32>,
    child: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    depth: Vec<u32>,
    /// Flow and cost of the arc between a node and its parent.
    flow: Vec<f64>,
    cost: Vec<f64>,
    /// Dual of each node: a tree arc costs the sum of its ends' duals.
    pub dual: Vec<f64>,
    stack: Vec<u32>,
    at: usize,
    tolerance: f64,
}

impl Simplex {
    /// A feasible tree: `arcs` in the order of their promise are filled greedily, the rest goes through the root at
    /// `big`, no less than any cost. Weights are positive.
    pub(super) fn new(a: &[f64], b: &[f64], arcs: Vec<Arc>, big: f64, tolerance: f64) -> Self {
        let (n, nodes) = (a.len(), a.len() + b.len());
        let mut left: Vec<f64> = a.iter().chain(b).copied().collect();
        let mut links: Vec<Vec<(u32, f64, f64)>> = vec![Vec::new(); nodes];
        for arc in &arcs {
            let (i, j) = (arc.source as usize, n + arc.target as usize);
            let amount = left[i].min(left[j]);
            if amount > 0.0 {
                links[i].push((j as u32, amount, arc.cost));
                links[j].push((i as u32, amount, arc.cost));
                left[i] -= amount;
                left[j] -= amount;
            }
        }
        let root = nodes as u32;
        let mut tree = Self {
            arcs,
            sources: n,
            root,
            parent: vec![NONE; nodes + 1],
            child: vec![NONE; nodes + 1],
            next: vec![NONE; nodes + 1],
            previous: vec![NONE; nodes + 1],
            depth: vec![0; nodes + 1],
            flow: vec![0.0; nodes + 1],
            cost: vec![big; nodes + 1],
            dual: vec![0.0; nodes + 1],
            stack: Vec::new(),
            at: 0,
            tolerance,
        };
        // Each arc has emptied one of its ends, so a component has one node with something left at most: it hangs there,
        // else at a source, whose empty arc to the root points upwards as strong feasibility wants.
        let with_rest = (0..nodes).filter(|&x| left[x] > 0.0);
        for x in with_rest.chain(0..n).collect::<Vec<_>>() {
            if tree.parent[x] == NONE {
                tree.flow[x] = left[x];
                tree.hang(x as u32, root);
                tree.grow(x, &links);
            }
        }
        tree.refresh(root);
        tree
    }

    /// Hangs a component of the greedy plan below its node `x`.
    fn grow(&mut self, x: usize, links: &[Vec<(u32, f64, f64)>]) {
        let mut open = vec![x];
        while let Some(x) = open.pop() {
            for &(y, flow, cost) in &links[x] {
                if self.parent[y as usize] == NONE {
                    (self.flow[y as usize], self.cost[y as usize]) = (flow, cost);
                    self.hang(y, x as u32);
                    open.push(y as usize);
                }
            }
        }
    }

    pub(super) fn add(&mut self, arcs: impl IntoIterator<Item = Arc>) {
        self.arcs.extend(arcs);
    }

    /// Pivots until no candidate arc has a negative reduced cost, or `budget` pivots are done; returns those done.
    pub(super) fn optimise(&mut self, budget: usize) -> usize {
        let mut pivots = 0;
        while pivots < budget
            && let Some(arc) = self.entering()
        {
            self.pivot(arc);
            pivots += 1;
        }
        pivots
    }

    /// Positive flows `(source, target, mass)`, and the mass that still goes through the root.
    pub(super) fn flows(&self) -> (Vec<(usize, usize, f64)>, f64) {
        let mut flows = Vec::new();
        let mut artificial = 0.0;
        for x in 0..self.root as usize {
            let (p, flow) = (self.parent[x] as usize, self.flow[x]);
            if flow <= 0.0 {
            } else if p == self.root as usize {
                artificial += flow;
            } else if x < self.sources {
                flows.push((x, p - self.sources, flow));
            } else {
                flows.push((p, x - self.sources, flow));
            }
        }
        (flows, artificial)
    }

    /// Block search: the best arc of the first block that has one.
    fn entering(&mut self) -> Option<Arc> {
        let total = self.arcs.len();
        let block = ((total as f64).sqrt() as usize).max(16);
        let mut seen = 0;
        while seen < total {
            let size = block.min(total - seen);
            let mut best = (-self.tolerance, None);
            for _ in 0..size {
                self.at = if self.at + 1 < total { self.at + 1 } else { 0 };
                let arc = self.arcs[self.at];
                let reduced =
                    arc.cost - self.dual[arc.source as usize] - self.dual[self.sources + arc.target as usize];
                if reduced < best.0 {
                    best = (reduced, Some(arc));
                }
            }
            if best.1.is_some() {
                return best.1;
            }
            seen += size;
        }
        None
    }

    fn pivot(&mut self, arc: Arc) {
        let (i, j) = (arc.source, self.sources as u32 + arc.target);
        let apex = self.apex(i, j);
        // Flow falls on the sources' arcs on i's side and on the targets' arcs on j's side. Of the arcs that block, the last
        // one along the cycle from the apex leaves.
        let mut amount = f64::INFINITY;
        let (mut leaving, mut on_source_side) = (NONE, true);
        let mut x = i;
        while x != apex {
            if self.is_source(x) && self.flow[x as usize] < amount {
                (amount, leaving) = (self.flow[x as usize], x);
            }
            x = self.parent[x as usize];
        }
        x = j;
        while x != apex {
            if !self.is_source(x) && self.flow[x as usize] <= amount {
                (amount, leaving, on_source_side) = (self.flow[x as usize], x, false);
            }
            x = self.parent[x as usize];
        }
        for (start, sign) in [(i, -1.0), (j, 1.0)] {
            let mut x = start;
            while x != apex {
                let along = if self.is_source(x) { sign } else { -sign };
                self.flow[x as usize] += along * amount;
                x = self.parent[x as usize];
            }
        }
        let (inner, outer) = if on_source_side { (i, j) } else { (j, i) };
        self.rehang(inner, outer, leaving, amount, arc.cost);
    }

    /// Reverses the path from `inner` up to `leaving` and hangs it below `outer`.
    fn rehang(&mut self, inner: u32, outer: u32, leaving: u32, flow: f64, cost: f64) {
        let (mut x, mut below, mut flow, mut cost) = (inner, outer, flow, cost);
        loop {
            let above = self.parent[x as usize];
            self.unhang(x);
            self.hang(x, below);
            std::mem::swap(&mut self.flow[x as usize], &mut flow);
            std::mem::swap(&mut self.cost[x as usize], &mut cost);
            if x == leaving {
                break;
            }
            below = x;
            x = above;
        }
        self.refresh(inner);
    }

    /// Depths and duals of `x` (but for the root's) and of all below it.
    fn refresh(&mut self, x: u32) {
        let mut stack = std::mem::take(&mut self.stack);
        stack.push(x);
        while let Some(x) = stack.pop() {
            let p = self.parent[x as usize];
            if p == self.root {
                self.depth[x as usize] = 1;
                self.dual[x as usize] = self.cost[x as usize];
            } else if p != NONE {
                self.depth[x as usize] = self.depth[p as usize] + 1;
                self.dual[x as usize] = self.cost[x as usize] - self.dual[p as usize];
            }
            let mut child = self.child[x as usize];
            while child != NONE {
                stack.push(child);
                child = self.next[child as usize];
            }
        }
        self.stack = stack;
    }

    fn apex(&self, mut x: u32, mut y: u32) -> u32 {
        while x != y {
            if self.depth[x as usize] >= self.depth[y as usize] {
                x = self.parent[x as usize];
            } else {
                y = self.parent[y as usize];
            }
        }
        x
    }

    fn is_source(&self, x: u32) -> bool {
        (x as usize) < self.sources
    }

    fn hang(&mut self, x: u32, p: u32) {
        let first = self.child[p as usize];
        self.parent[x as usize] = p;
        self.next[x as usize] = first;
        self.previous[x as usize] = NONE;
        if first != NONE {
            self.previous[first as usize] = x;
        }
        self.child[p as usize] = x;
    }

    fn unhang(&mut self, x: u32) {
        let (before, after) = (self.previous[x as usize], self.next[x as usize]);
        if before == NONE {
            self.child[self.parent[x as usize] as usize] = after;
        } else {
            self.next[before as usize] = after;
        }
        if after != NONE {
            self.previous[after as usize] = before;
        }
    }
}
