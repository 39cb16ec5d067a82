//! Exact k nearest neighbours within a cloud, by brute force with matrix products.
//!
//! A tile of distances serves its rows and, transposed, its columns, so only half of the tiles are computed.
//! Equal distances are ordered by a hash of the pair and a salt. Clouds with different salts break ties
//! independently, so a constant cloud has random neighbours and its overlap with another one is at chance
//! level.
//!
//! ```
//! use chiasm_geometry::neighbours::Neighbours;
//! let x = ndarray::array![[0.0], [1.0], [3.0], [7.0]];
//! let near = Neighbours::new(x.view(), 2, 0)?;
//! assert_eq!(near.index.row(0).to_vec(), [1, 2]);
//! assert_eq!(near.distance.row(0).to_vec(), [1.0, 3.0]);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cloud::centred;
use crate::pairwise::{PointSet, TILE, buffer, half_tiles, ranges};
use crate::real::Real;
use crate::{Error, Result};

/// Columns that are compared with their thresholds together.
const LANES: usize = 16;

/// The `k` nearest other rows of every row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Neighbours {
    /// Row indices `[n, k]`, nearest first.
    pub index: Array2<u32>,
    /// Euclidean distances `[n, k]`, ascending.
    pub distance: Array2<f64>,
}

impl Neighbours {
    /// Finds the neighbours of the rows of `x [n, d]`. `salt` seeds the order of equal distances.
    ///
    /// # Errors
    /// When a value is not finite, or `k` is not in `1..n`.
    pub fn new<T: Real>(x: ArrayView2<'_, T>, k: usize, salt: u64) -> Result<Self> {
        let n = x.nrows();
        if k == 0 || k >= n {
            let expected = format!("1 to {} (the number of rows minus one)", n.saturating_sub(1));
            return Err(Error::Setting { what: "neighbours k", expected, got: k.to_string() });
        }
        let cloud = centred(0, x, 2)?;
        let points = PointSet::new(&cloud);
        let blocks: Vec<Mutex<NeighbourLists<T>>> =
            (ranges(n).into_iter()).map(|rows| Mutex::new(NeighbourLists::<T>::new(rows, k, salt))).collect();
        half_tiles(n).par_iter().for_each_init(buffer, |buffer, (rows, columns)| {
            let values = &mut buffer[..rows.len() * columns.len()];
            points.tile(rows.clone(), &points, columns.clone(), values);
            let mut own = lock(&blocks[rows.start / TILE]);
            if rows == columns {
                own.take_diagonal(values);
            } else {
                own.take(&mut lock(&blocks[columns.start / TILE]), values);
            }
        });
        let mut index = Vec::with_capacity(n * k);
        let mut distance = Vec::with_capacity(n * k);
        for lists in &blocks {
            let lists = lock(lists);
            index.extend_from_slice(&lists.index);
            distance.extend(lists.square.iter().map(|&square| cloud.unit * square.into().sqrt()));
        }
        let shape = (n, k);
        Ok(Self {
            index: Array2::from_shape_vec(shape, index).unwrap_or_default(),
            distance: Array2::from_shape_vec(shape, distance).unwrap_or_default(),
        })
    }

    /// Returns the neighbours of a row, sorted by index.
    pub fn sorted(&self, row: usize) -> Vec<u32> {
        let mut list = self.index.row(row).to_vec();
        list.sort_unstable();
        list
    }

    /// Returns the neighbours of the cloud with its rows in another order.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new as u32);
        let index = self.index.select(ndarray::Axis(0), order).mapv(|old| place[old as usize]);
        Self { index, distance: self.distance.select(ndarray::Axis(0), order) }
    }
}

/// Returns how many values two ascending lists have in common.
pub(crate) fn shared(a: &[u32], b: &[u32]) -> usize {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        count += usize::from(a[i] == b[j]);
        let (left, right) = (a[i], b[j]);
        i += usize::from(left <= right);
        j += usize::from(right <= left);
    }
    count
}

/// Locks the lists of a block. To avoid a deadlock, lock the block with the smaller rows first.
fn lock<T>(lists: &Mutex<NeighbourLists<T>>) -> MutexGuard<'_, NeighbourLists<T>> {
    lists.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The nearest neighbours found so far for a block of rows.
struct NeighbourLists<T> {
    rows: Range<usize>,
    k: usize,
    salt: u64,
    square: Vec<T>,
    index: Vec<u32>,
    /// The largest distance in the list of each row.
    worst: Vec<T>,
}

impl<T: Real> NeighbourLists<T> {
    fn new(rows: Range<usize>, k: usize, salt: u64) -> Self {
        let far = T::infinity();
        let count = rows.len();
        Self {
            rows,
            k,
            salt,
            square: vec![far; count * k],
            index: vec![u32::MAX; count * k],
            worst: vec![far; count],
        }
    }

    /// Adds a tile of distances between the rows of this block.
    fn take_diagonal(&mut self, values: &[T]) {
        let width = self.rows.len();
        for (i, row) in values.chunks(width).enumerate() {
            for (j, &square) in row.iter().enumerate() {
                if i != j && square <= self.worst[i] {
                    self.insert(i, square, self.rows.start + j);
                }
            }
        }
    }

    /// Adds a tile of distances to the rows of `other`, to the lists of both blocks.
    fn take(&mut self, other: &mut Self, values: &[T]) {
        let width = other.rows.len();
        for (i, row) in values.chunks(width).enumerate() {
            for (block, squares) in row.chunks(LANES).enumerate() {
                let start = block * LANES;
                let worst = self.worst[i];
                let near =
                    |(square, theirs): (&T, &T)| u32::from(*square <= worst) | u32::from(square <= theirs);
                if squares.iter().zip(&other.worst[start..]).map(near).sum::<u32>() == 0 {
                    continue;
                }
                for (j, &square) in (start..).zip(squares) {
                    if square <= self.worst[i] {
                        self.insert(i, square, other.rows.start + j);
                    }
                    if square <= other.worst[j] {
                        other.insert(j, square, self.rows.start + i);
                    }
                }
            }
        }
    }

    fn insert(&mut self, list: usize, square: T, index: usize) {
        let (start, end) = (list * self.k, (list + 1) * self.k);
        let row = self.rows.start + list;
        let before = |at: usize| {
            let kept = self.square[at];
            square < kept
                || (square == kept && tie(self.salt, row, index as u32) < tie(self.salt, row, self.index[at]))
        };
        let mut at = end;
        while at > start && before(at - 1) {
            at -= 1;
        }
        if at == end {
            return;
        }
        self.square.copy_within(at..end - 1, at + 1);
        self.index.copy_within(at..end - 1, at + 1);
        self.square[at] = square;
        self.index[at] = index as u32;
        self.worst[list] = self.square[end - 1];
    }
}

/// Returns the sort key of a row among equally near ones: a hash (the finaliser of SplitMix64).
fn tie(salt: u64, row: usize, index: u32) -> u64 {
    let mut z = (salt ^ ((row as u64) << 32) ^ u64::from(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn cloud(n: usize, d: usize, seed: u64) -> Array2<f64> {
        let mut random = Random::new(seed);
        Array2::from_shape_simple_fn((n, d), || random.normal())
    }

    /// Several tiles, the last one partial. The reference sorts all distances, computed directly.
    #[test]
    fn neighbours_agree_with_sorted_distances() {
        let x = cloud(2 * TILE + 31, 5, 1);
        let found = Neighbours::new(x.view(), 7, 0).unwrap();
        for i in (0..x.nrows()).step_by(37) {
            let far = |j: &usize| (&x.row(i) - &x.row(*j)).mapv(|v| v * v).sum();
            let mut order: Vec<usize> = (0..x.nrows()).filter(|j| *j != i).collect();
            order.sort_by(|a, b| far(a).total_cmp(&far(b)));
            assert!(found.index.row(i).iter().map(|j| *j as usize).eq(order[..7].iter().copied()));
            assert!((found.distance[[i, 0]] - far(&order[0]).sqrt()).abs() < 1e-9);
        }
        let narrow = Neighbours::new(x.mapv(|v| v as f32).view(), 7, 0).unwrap();
        let same = narrow.index.iter().zip(&found.index).filter(|(a, b)| a == b).count();
        assert!(same as f64 > 0.999 * found.index.len() as f64, "single precision swaps near ties only");
    }

    #[test]
    fn a_constant_cloud_has_different_neighbours_for_different_salts() {
        let x = Array2::from_elem((500, 3), 0.1f32);
        let [a, b] = [1, 2].map(|salt| Neighbours::new(x.view(), 10, salt).unwrap());
        assert!(a.distance.iter().all(|d| *d == 0.0));
        let overlap: usize = (0..500).map(|i| shared(&a.sorted(i), &b.sorted(i))).sum();
        // Each of 5000 neighbours is shared with probability 10 / 499: about 100, with a standard deviation
        // of 10.
        assert!((50..150).contains(&overlap), "{overlap}");
        assert!((0..500).all(|i| !a.sorted(i).contains(&(i as u32))));
    }

    #[test]
    fn reordered_neighbours_are_those_of_the_reordered_rows() {
        let x = cloud(60, 3, 4);
        let order = Random::new(5).permutation(60);
        let moved = Neighbours::new(x.select(ndarray::Axis(0), &order).view(), 4, 0).unwrap();
        assert_eq!(Neighbours::new(x.view(), 4, 0).unwrap().reordered(&order).index, moved.index);
        assert!(Neighbours::new(x.view(), 60, 0).is_err() && Neighbours::new(x.view(), 0, 0).is_err());
    }
}
