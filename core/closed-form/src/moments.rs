//! Sums over rows that are not kept: all that ridge and canonical correlation need of them. Procrustes reads
//! the rows once more, in a [`crate::SecondPass`].
//!
//! A row holds one item of every modality. Its features are the transformed items of all modalities, one
//! after the other; where the curve of a modality is not fixed, those of both curves. [`Moments`] hold the
//! number n of rows, the mean m of the features and their scatter S, the sum of (f - m)(f - m)ᵀ. Two parts
//! are merged by the pairwise formula of Chan, Golub and LeVeque (1979), with d = m_b - m_a:
//!
//! n = n_a + n_b,  m = m_a + d n_b / n,  S = S_a + S_b + d dᵀ n_a n_b / n.
//!
//! Nothing is summed before it is centred, so a large common offset of the items does not cancel. How rows
//! are split and in which order they come changes the sums by rounding errors only (about 1e-15). Memory and
//! the size of the serialised form grow with the square of the features, not with the rows.
//!
//! Parameters that are not given are chosen on a sample of 2000 distinct rows, as many as a search over all
//! rows would use. It is the same sample however the rows are split.
//!
//! ```
//! use chiasm_closed_form::{FitContext, FromMoments, Moments, SummedView, cca::CcaParams};
//! use ndarray::{Array2, Axis, Slice};
//!
//! let x = Array2::from_shape_fn((300, 6), |(i, j)| ((i * (2 * j + 3)) as f32).sin());
//! let y = Array2::from_shape_fn((300, 4), |(i, j)| ((i * (2 * j + 3)) as f32).cos());
//! let empty = || Moments::new(vec![SummedView::new("image", 6), SummedView::new("text", 4)], None, 0);
//! let (mut first, mut second) = (empty()?, empty()?);
//! let part = |items: &Array2<f32>, at: Slice| items.slice_axis(Axis(0), at).to_owned();
//! first.update(&[part(&x, Slice::from(..100)).view(), part(&y, Slice::from(..100)).view()])?;
//! second.update(&[part(&x, Slice::from(100..)).view(), part(&y, Slice::from(100..)).view()])?;
//! first.merge(&second)?;
//! assert_eq!(first.count(), 300);
//! let fitted = CcaParams::default().fit_moments(&first, None, FitContext::default())?;
//! assert_eq!(fitted.maps[0].output_dim(), fitted.maps[1].output_dim());
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_geometry::linalg::product;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

use crate::folds::MOST;
use crate::row_sample::RowSample;
use crate::transform::{Transform, unfit_item};
use crate::{Curve, Error, Result};

/// Rows whose features are in memory at once, in each thread.
pub(crate) const CHUNK: usize = 4096;

/// The name of a modality and the widths of its items, as in [`crate::View`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummedView {
    /// The modality's name, which messages and parameters use.
    pub name: String,
    /// Lengths of the encoders' vectors that are concatenated in an item; their sum is the width of an item.
    pub blocks: Vec<usize>,
}

impl SummedView {
    /// A modality with the vectors of one encoder.
    pub fn new(name: &str, width: usize) -> Self {
        Self { name: name.to_owned(), blocks: vec![width] }
    }

    /// The width of an item.
    pub fn width(&self) -> usize {
        self.blocks.iter().sum()
    }
}

/// The number, the mean and the scatter of rows, and a sample of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    pub(crate) views: Vec<SummedView>,
    /// The curve that all modalities have; `None` for both.
    pub(crate) curve: Option<Curve>,
    pub(crate) count: u64,
    /// `[f]`, for f features.
    pub(crate) mean: Array1<f64>,
    /// `[f, f]`.
    pub(crate) scatter: Array2<f64>,
    pub(crate) sample: RowSample,
}

impl Moments {
    /// The moments of no rows. `curve` is what items go through before they are brought to length one; when
    /// it is not given, both are summed, which takes four times the work, and a fit chooses. `seed` draws the
    /// sample of rows.
    ///
    /// # Errors
    /// When there are fewer than two modalities, two have one name, or an item has no columns.
    pub fn new(views: Vec<SummedView>, curve: Option<Curve>, seed: u64) -> Result<Self> {
        if views.len() < 2 {
            return Err(Error::data("modalities", "2 or more", views.len().to_string()));
        }
        let names: BTreeSet<&str> = views.iter().map(|view| view.name.as_str()).collect();
        if names.len() < views.len() {
            return Err(Error::data("modalities", "names that differ", "one name twice"));
        }
        if let Some(view) = views.iter().find(|view| view.blocks.is_empty() || view.blocks.contains(&0)) {
            return Err(Error::data(format!("modality `{}`", view.name), "at least 1 column", "0"));
        }
        let features = views.iter().map(SummedView::width).sum::<usize>() * curves(curve).len();
        Ok(Self {
            views,
            curve,
            count: 0,
            mean: Array1::zeros(features),
            scatter: Array2::zeros((features, features)),
            sample: RowSample::new(seed, MOST),
        })
    }

    /// Adds a batch of rows, of any length: `items [n, width]` of each modality, where row i of all shows the
    /// same thing.
    ///
    /// # Errors
    /// When an array has another width or length, or holds a value that is not finite. Nothing is added then.
    pub fn update(&mut self, items: &[ArrayView2<'_, f32>]) -> Result<()> {
        check_rows(&self.views, items)?;
        let rows = items[0].nrows();
        let chunks: Vec<usize> = (0..rows.div_ceil(CHUNK)).collect();
        // as many chunks at once as there are threads, merged in their order: the threads do not show
        for group in chunks.chunks(rayon::current_num_threads().max(1)) {
            let sums = |&at: &usize| {
                let part = Slice::from(at * CHUNK..rows.min((at + 1) * CHUNK));
                let part: Vec<_> = items.iter().map(|items| items.slice_axis(Axis(0), part)).collect();
                self.sums(&part)
            };
            let parts: Vec<Sums> = group.par_iter().map(sums).collect::<Result<_>>()?;
            parts.iter().for_each(|part| self.add(part.view()));
        }
        self.sample.offer(items);
        Ok(())
    }

    /// Adds the rows of other moments.
    ///
    /// # Errors
    /// When they are of other modalities, of another curve, or have another seed.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let described = |moments: &Self| {
            let views = moments.views.iter().map(|view| format!("{} {:?}", view.name, view.blocks));
            let curve = moments.curve.map_or("both curves".to_owned(), |curve| format!("curve {curve}"));
            format!("{}, {curve}, seed {}", views.collect::<Vec<_>>().join(", "), moments.sample.seed)
        };
        let (own, others) = (described(self), described(other));
        if own != others {
            return Err(Error::data("moments to merge", own, others));
        }
        self.add((other.count, &other.mean, &other.scatter));
        self.sample.merge(&other.sample);
        Ok(())
    }

    /// The number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The modalities.
    pub fn views(&self) -> &[SummedView] {
        &self.views
    }

    /// The curves whose features were summed.
    pub fn curves(&self) -> &'static [Curve] {
        curves(self.curve)
    }

    /// The mean of the transformed items of the modality at `at`.
    ///
    /// # Errors
    /// When this curve was not summed.
    pub fn mean(&self, at: usize, curve: Curve) -> Result<Array1<f64>> {
        Ok(self.mean.slice_axis(Axis(0), Slice::from(self.place(at, curve)?)).to_owned())
    }

    /// The sum over rows of the outer products of the centred, transformed items of two modalities, given the
    /// place and the curve of each.
    ///
    /// # Errors
    /// When a curve was not summed.
    pub fn scatter(&self, a: (usize, Curve), b: (usize, Curve)) -> Result<Array2<f64>> {
        let rows = self.scatter.slice_axis(Axis(0), Slice::from(self.place(a.0, a.1)?));
        Ok(rows.slice_axis(Axis(1), Slice::from(self.place(b.0, b.1)?)).to_owned())
    }

    /// The sampled items of each modality, one row each.
    pub(crate) fn sampled(&self) -> Vec<Array2<f32>> {
        self.sample.items(self.views.iter().map(SummedView::width))
    }

    /// The places of the features of a modality.
    fn place(&self, at: usize, curve: Curve) -> Result<Range<usize>> {
        let known = self.curves();
        let Some(order) = known.iter().position(|own| *own == curve) else {
            let expected = format!("{}, the curve of the moments", known[0]);
            return Err(Error::data("parameter `curve`", expected, curve.to_string()));
        };
        let before: usize = self.views[..at].iter().map(SummedView::width).sum();
        let width = self.views[at].width();
        let start = before * known.len() + order * width;
        Ok(start..start + width)
    }

    /// The sums of a few rows.
    fn sums(&self, items: &[ArrayView2<'_, f32>]) -> Result<Sums> {
        let count = items[0].nrows();
        let mut features = Array2::zeros((count, self.mean.len()));
        for (at, (view, items)) in self.views.iter().zip(items).enumerate() {
            for &curve in self.curves() {
                let place = Slice::from(self.place(at, curve)?);
                let transformed = Transform::new(curve, &view.blocks).apply(*items);
                features.slice_axis_mut(Axis(1), place).assign(&transformed);
            }
        }
        let mean = features.sum_axis(Axis(0)) / count as f64;
        features -= &mean;
        let mut scatter = product(&features.t(), &features)?;
        // symmetric to the bit, so that half of it is enough to keep
        for row in 0..scatter.nrows() {
            for column in row + 1..scatter.ncols() {
                scatter[[row, column]] = scatter[[column, row]];
            }
        }
        Ok(Sums { count: count as u64, mean, scatter })
    }

    fn add(&mut self, (count, mean, scatter): (u64, &Array1<f64>, &Array2<f64>)) {
        if count == 0 {
            return;
        }
        let total = (self.count + count) as f64;
        let gap = mean - &self.mean;
        let scaled = &gap * (self.count as f64 * count as f64 / total).sqrt();
        self.scatter += scatter;
        for (mut row, &own) in self.scatter.outer_iter_mut().zip(&scaled) {
            row.scaled_add(own, &scaled);
        }
        self.mean.scaled_add(count as f64 / total, &gap);
        self.count += count;
    }
}

/// The sums of a few rows.
struct Sums {
    count: u64,
    mean: Array1<f64>,
    scatter: Array2<f64>,
}

impl Sums {
    fn view(&self) -> (u64, &Array1<f64>, &Array2<f64>) {
        (self.count, &self.mean, &self.scatter)
    }
}

/// The curves to sum.
fn curves(curve: Option<Curve>) -> &'static [Curve] {
    match curve {
        None => &[Curve::Unit, Curve::SignedRoot],
        Some(Curve::Unit) => &[Curve::Unit],
        Some(Curve::SignedRoot) => &[Curve::SignedRoot],
    }
}

/// Fails unless there is one array of items for each modality, all of one length, as wide as the modality
/// says and finite.
pub(crate) fn check_rows(views: &[SummedView], items: &[ArrayView2<'_, f32>]) -> Result<()> {
    if items.len() != views.len() {
        let expected = format!("items of {} modalities", views.len());
        return Err(Error::data("a batch of rows", expected, items.len().to_string()));
    }
    let rows = items[0].nrows();
    for (view, items) in views.iter().zip(items) {
        let what = || format!("items of `{}`", view.name);
        let (n, width) = items.dim();
        if width != view.width() {
            return Err(Error::data(what(), format!("{} columns", view.width()), width.to_string()));
        }
        if n != rows {
            let expected = format!("{rows}, as many as of `{}`", views[0].name);
            return Err(Error::data(what(), expected, n.to_string()));
        }
        if let Some((at, expected, got)) = unfit_item(items.view()) {
            return Err(Error::data(what(), expected, format!("{got} in row {at} of the batch")));
        }
    }
    Ok(())
}
