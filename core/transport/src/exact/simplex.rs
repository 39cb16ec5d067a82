//! The network simplex for transport, over a growing set of candidate arcs.
//!
//! The basis is a spanning tree of sources, targets and an artificial root. An arc between a node and its
//! parent is directed upwards from a source and downwards to a target. The leaving arc keeps the tree
//! strongly feasible (Cunningham 1976), as in LEMON's solver (Kovács 2015, arXiv 1207.6381). The initial
//! basis is a greedy plan along arcs with small reduced costs instead of an artificial one.
//!
//! The tree is stored as its tour, the list of nodes in which each occurs when the tour enters its subtree
//! and again when it leaves it, so that a subtree is a part of the list that moves in constant time. A pivot
//! changes all potentials of one side of the tree by the same amount, and is applied to the smaller side.

mod pricing;
mod tree;

use std::time::Instant;

use crate::{SolverLimits, StopReason};
pub(super) use pricing::CandidateArc;
use pricing::CandidateArcs;
use tree::{NONE, SpanningTree};

/// Pivots between two checks of the limits. The potentials are then computed anew, without the rounding
/// errors that the pivots have added up.
const BATCH: usize = 2000;

/// The solver. Nodes are numbered sources first, then targets, then the root.
pub(super) struct NetworkSimplex {
    arcs: CandidateArcs,
    tree: SpanningTree,
    tolerance: f64,
}

impl NetworkSimplex {
    /// Builds a feasible tree. `arcs` are filled greedily in their order, best first; the remaining mass goes
    /// through the root at the cost `big`, which must be at least the largest cost. Weights must be positive.
    pub(super) fn new(a: &[f64], b: &[f64], arcs: &[CandidateArc], big: f64, tolerance: f64) -> Self {
        let (n, nodes) = (a.len(), a.len() + b.len());
        let mut left: Vec<f64> = a.iter().chain(b).copied().collect();
        let mut links: Vec<Vec<(u32, f64, f64)>> = vec![Vec::new(); nodes];
        for arc in arcs {
            let (i, j) = (arc.source as usize, n + arc.target as usize);
            let amount = left[i].min(left[j]);
            if amount > 0.0 {
                links[i].push((j as u32, amount, arc.cost));
                links[j].push((i as u32, amount, arc.cost));
                left[i] -= amount;
                left[j] -= amount;
            }
        }
        let mut tree = SpanningTree::new(n, b.len());
        let mut open = Vec::new();
        // Each filled arc has emptied one of its ends, so a component has at most one node with mass left.
        // Attach the component to the root by that node, otherwise by a source: its empty arc to the root is
        // directed upwards, as strong feasibility requires.
        let with_rest = (0..nodes).filter(|&x| left[x] > 0.0);
        for x in with_rest.chain(0..n).collect::<Vec<_>>() {
            if tree.nodes[x].parent != NONE {
                continue;
            }
            tree.add(x as u32, tree.root, left[x], big);
            open.push(x);
            while let Some(x) = open.pop() {
                for &(y, flow, cost) in &links[x] {
                    if tree.nodes[y as usize].parent == NONE {
                        tree.add(y, x as u32, flow, cost);
                        open.push(y as usize);
                    }
                }
            }
        }
        tree.count();
        tree.refresh();
        Self { arcs: CandidateArcs::new(n, arcs), tree, tolerance }
    }

    /// Returns the dual potentials of all sources, then of all targets: the cost of a tree arc is the sum of
    /// the potentials of its ends.
    pub(super) fn dual(&self) -> Vec<f64> {
        let tree = &self.tree;
        let sign = |x: usize| if x < tree.sources { 1.0 } else { -1.0 };
        (0..tree.root as usize).map(|x| sign(x) * tree.level[x]).collect()
    }

    /// Solves over the candidate arcs and adds those that `price` returns for the dual potentials, the arcs
    /// with negative reduced costs among all, until there are none or a limit is reached.
    pub(super) fn solve(
        &mut self,
        limits: &SolverLimits,
        clock: Instant,
        price: impl Fn(&[f64]) -> Vec<CandidateArc>,
    ) -> StopReason {
        let mut pivots = 0;
        loop {
            let budget = BATCH.min(limits.iterations.saturating_sub(pivots)).max(1);
            let done = self.optimise(budget);
            pivots += done;
            self.tree.refresh();
            if let Some(stop) = limits.stop(pivots, clock, f64::INFINITY, 0.0) {
                return stop;
            }
            if done == budget {
                continue;
            }
            let violated = price(&self.dual());
            if violated.is_empty() {
                return StopReason::Converged;
            }
            self.arcs.extend(&violated);
        }
    }

    /// Pivots until no candidate arc has a negative reduced cost, at most `budget` times. Returns the number
    /// of pivots.
    fn optimise(&mut self, budget: usize) -> usize {
        let mut pivots = 0;
        while pivots < budget
            && let Some(arc) = self.arcs.entering(&self.tree.level, -self.tolerance)
        {
            self.tree.pivot(arc);
            pivots += 1;
        }
        pivots
    }

    /// Returns the positive flows `(source, target, mass)`, without those through the root.
    pub(super) fn flows(&self) -> Vec<(usize, usize, f64)> {
        let tree = &self.tree;
        let mut flows = Vec::new();
        for (x, node) in tree.nodes[..tree.root as usize].iter().enumerate() {
            let p = node.parent as usize;
            if node.flow <= 0.0 || node.parent == tree.root {
                continue;
            }
            if x < tree.sources {
                flows.push((x, p - tree.sources, node.flow));
            } else {
                flows.push((p, x - tree.sources, node.flow));
            }
        }
        flows
    }
}
