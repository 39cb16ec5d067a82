//! The candidate arcs of the network simplex, and the choice of the entering one.
//!
//! Multiple partial pricing: looks at a part of the sources and keeps the best arc of each. Of these, the
//! best one enters in each of the next pivots, under the potentials of that moment. A pivot with an arc of
//! much smaller reduced cost is worth more, so that this takes about a third of the pivots of a block search
//! that takes the best arc of one block for each pivot, and looks at no more arcs.

/// A look covers at least this many sources, and at least one of this many parts of all.
const LEAST_SOURCES: usize = 64;
const PARTS: usize = 4;
/// The most arcs that a look keeps, and how many of them enter before the next one.
const KEPT: usize = 128;
const PIVOTS: usize = 32;

/// An arc from a source to a target that may enter the basis.
#[derive(Debug, Clone, Copy)]
pub(in crate::exact) struct CandidateArc {
    pub source: u32,
    pub target: u32,
    pub cost: f64,
}

/// Arcs, grouped by their sources.
pub(super) struct CandidateArcs {
    /// The first arc of each source, and the number of arcs.
    first: Vec<usize>,
    targets: Vec<u32>,
    costs: Vec<f64>,
    /// The best arcs of the last look at many sources, and how many of them may still enter before the next.
    best: Vec<(f64, CandidateArc)>,
    left: usize,
    /// The source that is looked at next.
    at: usize,
}

impl CandidateArcs {
    pub fn new(sources: usize, arcs: &[CandidateArc]) -> Self {
        let mut all = Self {
            first: vec![0; sources + 1],
            targets: Vec::new(),
            costs: Vec::new(),
            best: Vec::new(),
            left: 0,
            at: 0,
        };
        all.extend(arcs);
        all
    }

    /// Adds arcs behind those of the same source.
    pub fn extend(&mut self, arcs: &[CandidateArc]) {
        let sources = self.first.len() - 1;
        let mut first = vec![0; sources + 1];
        arcs.iter().for_each(|arc| first[arc.source as usize + 1] += 1);
        for i in 0..sources {
            first[i + 1] += first[i] + self.first[i + 1] - self.first[i];
        }
        let count = self.targets.len() + arcs.len();
        let (mut targets, mut costs) = (vec![0; count], vec![0.0; count]);
        let mut free = first.clone();
        for i in 0..sources {
            let old = self.first[i]..self.first[i + 1];
            let new = first[i]..first[i] + old.len();
            targets[new.clone()].copy_from_slice(&self.targets[old.clone()]);
            costs[new].copy_from_slice(&self.costs[old.clone()]);
            free[i] += old.len();
        }
        for arc in arcs {
            let place = &mut free[arc.source as usize];
            (targets[*place], costs[*place]) = (arc.target, arc.cost);
            *place += 1;
        }
        (self.first, self.targets, self.costs) = (first, targets, costs);
        self.left = 0;
    }

    /// Returns an arc whose reduced cost is below `bound`, or `None` if there is none.
    pub fn entering(&mut self, level: &[f64], bound: f64) -> Option<CandidateArc> {
        let sources = self.first.len() - 1;
        if self.left > 0 {
            self.left -= 1;
            self.best.retain_mut(|(reduced, arc)| {
                *reduced = arc.cost - level[arc.source as usize] + level[sources + arc.target as usize];
                *reduced < bound
            });
        } else {
            self.best.clear();
        }
        if self.best.is_empty() {
            self.look(level, bound);
        }
        let places = 0..self.best.len();
        let least = places.min_by(|one, two| self.best[*one].0.total_cmp(&self.best[*two].0))?;
        Some(self.best.swap_remove(least).1)
    }

    /// Looks at the sources until some have an arc below the bound, and keeps the best arcs.
    fn look(&mut self, level: &[f64], bound: f64) {
        let sources = self.first.len() - 1;
        let (of_sources, of_targets) = level.split_at(sources);
        let mut seen = 0;
        while seen < sources && self.best.is_empty() {
            let size = (sources / PARTS).max(LEAST_SOURCES).min(sources - seen);
            for _ in 0..size {
                let i = self.at;
                self.at = if i + 1 < sources { i + 1 } else { 0 };
                let arcs = self.first[i]..self.first[i + 1];
                let (mut least, mut place) = (f64::INFINITY, arcs.start);
                for k in arcs {
                    let value = self.costs[k] + of_targets[self.targets[k] as usize];
                    if value < least {
                        (least, place) = (value, k);
                    }
                }
                let reduced = least - of_sources[i];
                if reduced < bound {
                    let (target, cost) = (self.targets[place], self.costs[place]);
                    self.best.push((reduced, CandidateArc { source: i as u32, target, cost }));
                }
            }
            seen += size;
        }
        if self.best.len() > KEPT {
            self.best.select_nth_unstable_by(KEPT, |one, two| one.0.total_cmp(&two.0));
            self.best.truncate(KEPT);
        }
        self.left = PIVOTS;
    }
}
