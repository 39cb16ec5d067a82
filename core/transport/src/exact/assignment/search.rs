//! Shortest alternating paths from a free row to a free column.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::simd;

/// Marks an unassigned row or column.
pub(super) const FREE: usize = usize::MAX;
/// Columns that are kept of a row at first, and the factor by which their number grows.
const KEPT: usize = 64;
const GROWTH: usize = 2;
/// Of a row that would keep more than this share of its columns, none are kept and all are looked at: the
/// searches take less memory than the costs.
const SHARE: usize = 8;

/// A distance of a column or row, ordered by length; of equal ones those of free columns come first.
#[derive(Clone, Copy, PartialEq)]
struct Distance {
    length: f64,
    taken: bool,
    index: u32,
}

impl Eq for Distance {}

impl Ord for Distance {
    fn cmp(&self, other: &Self) -> Ordering {
        let ends = self.taken.cmp(&other.taken).then(self.index.cmp(&other.index));
        self.length.total_cmp(&other.length).then(ends)
    }
}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A column that is kept of a row.
#[derive(Clone, Copy)]
struct KeptColumn {
    column: u32,
    cost: f64,
    /// `C_ij - v_j` when the column was kept. It has not fallen since.
    least: f64,
}

/// The columns of a row that are looked at.
#[derive(Clone)]
enum Columns {
    /// Those with the smallest `C_ij - v_j`, in the order of `least`; those of all others are at least the
    /// bound.
    Nearest {
        kept: Vec<KeptColumn>,
        bound: f64,
        wanted: usize,
    },
    All,
}

impl Columns {
    /// Keeps about [`KEPT`] columns, or [`GROWTH`] times as many as before.
    fn grow(&mut self, row: &[f64], v: &[f64], reduced: &mut Vec<f64>) {
        let Self::Nearest { kept, bound, wanted } = self else { return };
        *wanted = (GROWTH * *wanted).max(KEPT);
        let wanted = *wanted;
        if wanted * SHARE > row.len() {
            *self = Self::All;
            return;
        }
        // A share of the columns determines the bound nearly as well as all of them.
        let step = wanted / 6;
        reduced.clear();
        reduced.extend(row.iter().zip(v).step_by(step).map(|(c, v)| c - v));
        *bound = *reduced.select_nth_unstable_by(wanted / step, f64::total_cmp).1;
        kept.clear();
        let mut equal = 0;
        for (column, (&cost, v)) in row.iter().zip(v).enumerate() {
            let least = cost - v;
            // Of many equal columns only some are kept.
            if least < *bound || least == *bound && equal < wanted {
                equal += usize::from(least == *bound);
                kept.push(KeptColumn { column: column as u32, cost, least });
            }
        }
        kept.sort_unstable_by(|a, b| a.least.total_cmp(&b.least).then(a.column.cmp(&b.column)));
    }
}

/// Dijkstra's algorithm over the columns.
pub(super) struct PathSearch {
    /// The shortest known distance of each column; -infinity for closed ones.
    keys: Vec<f64>,
    parents: Vec<u32>,
    columns: Vec<Columns>,
    /// The columns with a key.
    touched: Vec<u32>,
    /// Closed columns and their distances.
    closed: Vec<(u32, f64)>,
    open: BinaryHeap<Reverse<Distance>>,
    /// The distances from which on rows that were reached have columns that are not kept.
    hidden: BinaryHeap<Reverse<Distance>>,
    /// The shortest known distance of a free column.
    nearest: f64,
    /// What is added to `C_ij - v_j` of a row that was reached.
    shifts: Vec<f64>,
    /// Scratch memory.
    reduced: Vec<f64>,
    places: Vec<u32>,
}

impl PathSearch {
    pub(super) fn new(n: usize) -> Self {
        Self {
            keys: vec![f64::INFINITY; n],
            parents: vec![0; n],
            columns: vec![Columns::Nearest { kept: Vec::new(), bound: f64::NEG_INFINITY, wanted: 0 }; n],
            touched: Vec::new(),
            closed: Vec::new(),
            open: BinaryHeap::new(),
            hidden: BinaryHeap::new(),
            nearest: f64::INFINITY,
            shifts: vec![0.0; n],
            reduced: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Finds the shortest alternating path from row `start` to a free column, updates the potentials and
    /// augments the assignment along the path.
    pub(super) fn augment<'r>(
        &mut self,
        row: &impl Fn(usize) -> &'r [f64],
        start: usize,
        v: &mut [f64],
        column_of: &mut [usize],
        row_of: &mut [usize],
    ) {
        // Without costs there is no column to find.
        let Some((mut j, distance)) = self.shortest(row, start, v, row_of) else { return };
        for &(j, closed) in &self.closed {
            v[j as usize] += closed - distance;
        }
        loop {
            let i = self.parents[j] as usize;
            row_of[j] = i;
            std::mem::swap(&mut column_of[i], &mut j);
            if i == start {
                break;
            }
        }
    }

    /// Returns the nearest free column and its distance.
    fn shortest<'r>(
        &mut self,
        row: &impl Fn(usize) -> &'r [f64],
        start: usize,
        v: &[f64],
        row_of: &[usize],
    ) -> Option<(usize, f64)> {
        self.touched.drain(..).for_each(|j| self.keys[j as usize] = f64::INFINITY);
        self.closed.clear();
        self.open.clear();
        self.hidden.clear();
        self.nearest = f64::INFINITY;
        // Distances are relative to the minimum of the start row, so the row's own potential is not needed.
        self.reach(start, 0.0, row(start), v, row_of);
        loop {
            let hidden = self.hidden.peek().map_or(f64::INFINITY, |Reverse(row)| row.length);
            // Where many costs are equal, a free column may be among those that are not kept.
            let next = self.open.peek().map(|Reverse(next)| *next).filter(|next| next.length < hidden);
            let Some(Distance { length, taken, index }) = next else {
                let Reverse(Distance { index, .. }) = self.hidden.pop()?;
                let i = index as usize;
                self.columns[i].grow(row(i), v, &mut self.reduced);
                self.reach(i, self.shifts[i], row(i), v, row_of);
                continue;
            };
            self.open.pop();
            let j = index as usize;
            // A shorter distance was found since, or the column is closed.
            if length > self.keys[j] {
                continue;
            }
            if !taken {
                return Some((j, length));
            }
            self.keys[j] = f64::NEG_INFINITY;
            self.closed.push((index, length));
            let i = row_of[j];
            let shift = length - (row(i)[j] - v[j]);
            self.reach(i, shift, row(i), v, row_of);
        }
    }

    /// Lowers the distances of the columns that are looked at of a row.
    fn reach(&mut self, i: usize, shift: f64, row: &[f64], v: &[f64], row_of: &[usize]) {
        if matches!(&self.columns[i], Columns::Nearest { wanted: 0, .. }) {
            self.columns[i].grow(row, v, &mut self.reduced);
        }
        self.shifts[i] = shift;
        // The columns are put back below; meanwhile the other fields change.
        let columns = std::mem::replace(&mut self.columns[i], Columns::All);
        match &columns {
            Columns::All => {
                let mut places = std::mem::take(&mut self.places);
                simd::places_below(row, v, &self.keys, shift, self.nearest, &mut places);
                for j in places.drain(..).map(|j| j as usize) {
                    self.lower(j, row[j] - v[j] + shift, i, row_of);
                }
                self.places = places;
            }
            Columns::Nearest { kept, bound, .. } => {
                for column in kept {
                    if column.least + shift > self.nearest {
                        break;
                    }
                    let j = column.column as usize;
                    self.lower(j, column.cost - v[j] + shift, i, row_of);
                }
                self.hidden.push(Reverse(Distance { length: bound + shift, taken: true, index: i as u32 }));
            }
        }
        self.columns[i] = columns;
    }

    /// Lowers the distance of a column to that over row `i`, if that is shorter.
    fn lower(&mut self, j: usize, key: f64, i: usize, row_of: &[usize]) {
        if key >= self.keys[j] || key > self.nearest {
            return;
        }
        if self.keys[j] == f64::INFINITY {
            self.touched.push(j as u32);
        }
        self.keys[j] = key;
        self.parents[j] = i as u32;
        let taken = row_of[j] != FREE;
        if !taken {
            self.nearest = key;
        }
        self.open.push(Reverse(Distance { length: key, taken, index: j as u32 }));
    }
}
