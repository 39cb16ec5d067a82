//! Centred kernel alignment (CKA) of two clouds of paired rows. Widths may differ.
//!
//! `CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` (Kornblith et al. 2019, arXiv 1905.00414, section 3) is 1
//! for clouds that agree up to rotation and scale. The biased HSIC, `tr(K H L H)` (Gretton et al. 2005),
//! tends to 1 with the width even for unrelated clouds. With the unbiased HSIC (Song et al. 2012, JMLR 13,
//! eq. 5) CKA is close to 0 for them on average. The linear kernel uses `XᵀY`, `XᵀX` and `YᵀY` where they are
//! smaller than the `n x n` kernels; the Gaussian kernel is computed in tiles.
//!
//! ```
//! use chiasm_geometry::cka;
//! let x = ndarray::array![[0.0, 1.0], [2.0, 0.0], [1.0, 5.0], [4.0, 4.0], [3.0, 1.0]];
//! assert!((cka::linear(x.view(), (&x * 2.0).view())?.biased - 1.0).abs() < 1e-12);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::cloud::{Cloud, faer_rows, paired};
use crate::moments::moments;
use crate::pairwise::{PointSet, TILE, median_square, ranges};
use crate::products::{inner, symmetric};
use crate::real::Real;
use crate::{Error, Result};

/// CKA with the biased and with the unbiased HSIC.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Cka {
    /// CKA with the biased HSIC, in [0, 1].
    pub biased: f64,
    /// CKA with the unbiased HSIC: at most about 1; around 0, possibly negative, for unrelated clouds.
    pub unbiased: f64,
}

/// Returns the linear CKA of the paired rows `x [n, a]` and `y [n, b]`, `n >= 4`.
///
/// # Errors
/// When the numbers of rows differ or are below four, a value is not finite, or all rows of a cloud are
/// equal.
pub fn linear<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Cka> {
    let n = x.nrows();
    let ([xy, xx, yy], [k, l]) = if x.ncols().max(y.ncols()) <= n {
        let found = moments(x, y, 4, true)?;
        ([&found.xy, &found.xx, &found.yy].map(|m| inner(m, m)), found.squares)
    } else {
        let (x, y) = paired(x.view(), y.view(), 4)?;
        let (k, l) = (symmetric(faer_rows(&x.rows)), symmetric(faer_rows(&y.rows)));
        let squares = [&k, &l].map(|own| (0..n).map(|i| own[(i, i)]).collect::<Vec<_>>());
        ([inner(&k, &l), inner(&k, &k), inner(&l, &l)], squares)
    };
    // The clouds are centred, so the rows of a kernel sum to zero, and without the diagonal to its negative.
    let moments = |trace: f64, k: &[f64], l: &[f64]| {
        let diagonal: f64 = k.iter().zip(l).map(|(k, l)| k * l).sum();
        let full = HsicMoments { n, trace, rows: 0.0, sums: 0.0 };
        let sums = k.iter().sum::<f64>() * l.iter().sum::<f64>();
        (full, HsicMoments { n, trace: trace - diagonal, rows: diagonal, sums })
    };
    ratios([moments(xy, &k, &l), moments(xx, &k, &k), moments(yy, &l, &l)])
}

/// Returns the CKA with Gaussian kernels of the paired rows `x [n, a]` and `y [n, b]`, `n >= 4`.
///
/// The kernel is `exp(-d² / (2 (share · median d)²))`, where the median is over the distances of different
/// rows. Kornblith et al. use a `share` of 0.2, 0.4 and 0.8; 1 is common.
///
/// # Errors
/// The errors of [`linear`], and a median distance of zero.
pub fn rbf<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, share: f64) -> Result<Cka> {
    let (x, y) = paired(x.view(), y.view(), 4)?;
    let n = x.rows.nrows();
    let factor = |cloud: &Cloud<'_, T>, what: &'static str| {
        let median = median_square(&[cloud]);
        if median > 0.0 { Ok(-0.5 / (share * share * median)) } else { Err(Error::NoSpread(what)) }
    };
    let (fx, fy) = (factor(&x, "first cloud")?, factor(&y, "second cloud")?);
    let (px, py) = (PointSet::new(&x), PointSet::new(&y));
    let strips: Vec<KernelStrip> =
        ranges(n).into_par_iter().map(|rows| strip(rows, (&px, fx), (&py, fy))).collect();
    let mut traces = [0.0; 3];
    let (mut k, mut l) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for strip in strips {
        (0..3).for_each(|i| traces[i] += strip.traces[i]);
        k.extend(strip.sums[0].iter());
        l.extend(strip.sums[1].iter());
    }
    // The diagonals of the kernels are ones.
    let moments = |trace: f64, k: &[f64], l: &[f64]| {
        let of = |trace: f64, less: f64| HsicMoments {
            n,
            trace,
            rows: k.iter().zip(l).map(|(k, l)| (k - less) * (l - less)).sum(),
            sums: k.iter().map(|k| k - less).sum::<f64>() * l.iter().map(|l| l - less).sum::<f64>(),
        };
        (of(trace, 0.0), of(trace - n as f64, 1.0))
    };
    ratios([moments(traces[0], &k, &l), moments(traces[1], &k, &k), moments(traces[2], &l, &l)])
}

/// Sums over a strip of rows of both kernels: `Σ KL`, `Σ KK`, `Σ LL`, and the sums of its rows.
struct KernelStrip {
    traces: [f64; 3],
    sums: [Vec<f64>; 2],
}

fn strip<T: Real>(
    rows: std::ops::Range<usize>,
    x: (&PointSet<'_, T>, f64),
    y: (&PointSet<'_, T>, f64),
) -> KernelStrip {
    let count = rows.len();
    let mut out = KernelStrip { traces: [0.0; 3], sums: [vec![0.0; count], vec![0.0; count]] };
    let [mut k, mut l] = [0, 1].map(|_| vec![T::of(0.0); count * TILE]);
    for columns in ranges(x.0.len()) {
        let width = columns.len();
        x.0.tile(rows.clone(), x.0, columns.clone(), &mut k[..count * width]);
        y.0.tile(rows.clone(), y.0, columns, &mut l[..count * width]);
        for (i, (k, l)) in k.chunks(width).zip(l.chunks(width)).take(count).enumerate() {
            for (&k, &l) in k.iter().zip(l) {
                let (k, l) = ((k.into() * x.1).exp(), (l.into() * y.1).exp());
                out.traces[0] += k * l;
                out.traces[1] += k * k;
                out.traces[2] += l * l;
                out.sums[0][i] += k;
                out.sums[1][i] += l;
            }
        }
    }
    out
}

/// The sums over two kernels K and L that HSIC consists of.
struct HsicMoments {
    n: usize,
    /// `tr(K L)`
    trace: f64,
    /// `1ᵀ K L 1`
    rows: f64,
    /// `1ᵀ K 1 · 1ᵀ L 1`
    sums: f64,
}

impl HsicMoments {
    fn biased(&self) -> f64 {
        let n = self.n as f64;
        self.trace - 2.0 / n * self.rows + self.sums / (n * n)
    }

    /// Unbiased HSIC, for kernels with a zero diagonal.
    fn unbiased(&self) -> f64 {
        let n = self.n as f64;
        self.trace + self.sums / ((n - 1.0) * (n - 2.0)) - 2.0 / (n - 2.0) * self.rows
    }
}

/// Returns the CKA from the sums with and without diagonals for (K, L), (K, K) and (L, L).
fn ratios([kl, kk, ll]: [(HsicMoments, HsicMoments); 3]) -> Result<Cka> {
    let ratio = |cross: f64, first: f64, second: f64| {
        if first <= 0.0 {
            Err(Error::NoSpread("first cloud"))
        } else if second <= 0.0 {
            Err(Error::NoSpread("second cloud"))
        } else {
            Ok(cross / (first.sqrt() * second.sqrt()))
        }
    };
    Ok(Cka {
        biased: ratio(kl.0.biased(), kk.0.biased(), ll.0.biased())?,
        unbiased: ratio(kl.1.unbiased(), kk.1.unbiased(), ll.1.unbiased())?,
    })
}
