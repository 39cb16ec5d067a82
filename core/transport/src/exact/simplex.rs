//! The network simplex for transport, over a growing set of candidate arcs.
//!
//! The basis is a spanning tree of sources, targets and an artificial root. An arc between a node and its
//! parent is directed upwards from a source and downwards to a target. Entering arcs are found by block
//! search, and the leaving arc keeps the tree strongly feasible (Cunningham 1976), as in LEMON's solver
//! (Kovács 2015, arXiv 1207.6381). The tree is stored as child lists. The initial basis is a greedy plan
//! along arcs with small reduced costs instead of an artificial one.

use std::time::Instant;

use crate::{SolverLimits, StopReason};

const NONE: u32 = u32::MAX;

/// An arc from a source to a target that may enter the basis.
#[derive(Debug, Clone, Copy)]
pub(super) struct CandidateArc {
    pub source: u32,
    pub target: u32,
    pub cost: f64,
}

/// The spanning tree. Nodes are numbered sources first, then targets, then the root.
pub(super) struct NetworkSimplex {
    arcs: Vec<CandidateArc>,
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
    /// Dual potential of each node: the cost of a tree arc is the sum of the potentials of its ends.
    pub dual: Vec<f64>,
    stack: Vec<u32>,
    /// Position of the block search.
    at: usize,
    tolerance: f64,
}

impl NetworkSimplex {
    /// Builds a feasible tree. `arcs` are filled greedily in their order, best first; the remaining mass goes
    /// through the root at the cost `big`, which must be at least the largest cost. Weights must be positive.
    pub(super) fn new(a: &[f64], b: &[f64], arcs: Vec<CandidateArc>, big: f64, tolerance: f64) -> Self {
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
        // Each filled arc has emptied one of its ends, so a component has at most one node with mass left.
        // Attach the component to the root by that node, otherwise by a source: its empty arc to the root is
        // directed upwards, as strong feasibility requires.
        let with_rest = (0..nodes).filter(|&x| left[x] > 0.0);
        for x in with_rest.chain(0..n).collect::<Vec<_>>() {
            if tree.parent[x] == NONE {
                tree.flow[x] = left[x];
                tree.attach(x as u32, root);
                tree.grow(x, &links);
            }
        }
        tree.refresh(root);
        tree
    }

    /// Attaches a component of the greedy plan below its node `x`.
    fn grow(&mut self, x: usize, links: &[Vec<(u32, f64, f64)>]) {
        let mut open = vec![x];
        while let Some(x) = open.pop() {
            for &(y, flow, cost) in &links[x] {
                if self.parent[y as usize] == NONE {
                    (self.flow[y as usize], self.cost[y as usize]) = (flow, cost);
                    self.attach(y, x as u32);
                    open.push(y as usize);
                }
            }
        }
    }

    /// Solves over the candidate arcs and adds those that `price` returns, the arcs with negative reduced
    /// costs among all, until there are none or a limit is reached.
    pub(super) fn solve(
        &mut self,
        limits: &SolverLimits,
        clock: Instant,
        price: impl Fn(&Self) -> Vec<CandidateArc>,
    ) -> StopReason {
        let mut pivots = 0;
        loop {
            let budget = 2000.min(limits.iterations.saturating_sub(pivots)).max(1);
            let done = self.optimise(budget);
            pivots += done;
            if let Some(stop) = limits.stop(pivots, clock, f64::INFINITY, 0.0) {
                return stop;
            }
            if done == budget {
                continue;
            }
            let violated = price(self);
            if violated.is_empty() {
                return StopReason::Converged;
            }
            self.arcs.extend(violated);
        }
    }

    /// Pivots until no candidate arc has a negative reduced cost, at most `budget` times. Returns the number
    /// of pivots.
    fn optimise(&mut self, budget: usize) -> usize {
        let mut pivots = 0;
        while pivots < budget
            && let Some(arc) = self.entering()
        {
            self.pivot(arc);
            pivots += 1;
        }
        pivots
    }

    /// Returns the positive flows `(source, target, mass)`, without those through the root.
    pub(super) fn flows(&self) -> Vec<(usize, usize, f64)> {
        let mut flows = Vec::new();
        for x in 0..self.root as usize {
            let (p, flow) = (self.parent[x] as usize, self.flow[x]);
            if flow <= 0.0 || p == self.root as usize {
                continue;
            }
            if x < self.sources {
                flows.push((x, p - self.sources, flow));
            } else {
                flows.push((p, x - self.sources, flow));
            }
        }
        flows
    }

    /// Returns the entering arc by block search: the best arc of the first block that holds a candidate.
    fn entering(&mut self) -> Option<CandidateArc> {
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

    fn pivot(&mut self, arc: CandidateArc) {
        let (i, j) = (arc.source, self.sources as u32 + arc.target);
        let apex = self.apex(i, j);
        // The flow falls on arcs of sources on the side of i and on arcs of targets on the side of j. Of the
        // blocking arcs, the last one along the cycle from the apex leaves.
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
        self.reattach(inner, outer, leaving, amount, arc.cost);
    }

    /// Reverses the path from `inner` up to `leaving` and attaches it below `outer`.
    fn reattach(&mut self, inner: u32, outer: u32, leaving: u32, flow: f64, cost: f64) {
        let (mut x, mut below, mut flow, mut cost) = (inner, outer, flow, cost);
        loop {
            let above = self.parent[x as usize];
            self.detach(x);
            self.attach(x, below);
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

    /// Recomputes the depths and dual potentials of `x` (unless it is the root) and of its descendants.
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

    /// Returns the lowest common ancestor of two nodes.
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

    /// Makes `x` a child of `p`.
    fn attach(&mut self, x: u32, p: u32) {
        let first = self.child[p as usize];
        self.parent[x as usize] = p;
        self.next[x as usize] = first;
        self.previous[x as usize] = NONE;
        if first != NONE {
            self.previous[first as usize] = x;
        }
        self.child[p as usize] = x;
    }

    /// Removes `x` from the children of its parent.
    fn detach(&mut self, x: u32) {
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
