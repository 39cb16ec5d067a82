//! Mutual information of two paired clouds, estimated from neighbour counts.
//!
//! The first estimator of Kraskov, Stögbauer and Grassberger (2004, "Estimating mutual information", eq. 8)
//! with the maximum norm: `I = psi(k) + psi(n) - mean(psi(nx + 1) + psi(ny + 1))`, where nx is the number of
//! points that are nearer in x than the k-th joint neighbour. If that neighbour is at distance zero, ties are
//! counted: k is then the number of points at joint distance zero, and nx that at distance zero in x (Gao,
//! Kannan, Oh and Viswanath 2017, arXiv 1709.06212, with psi instead of the logarithm).
//!
//! The bias grows with the dimension, so use a few [`principal_coordinates`]. The estimate cannot exceed
//! `psi(n) - psi(k)`.
//!
//! ```
//! use chiasm_geometry::{information::mutual_information, random::Random};
//! let mut random = Random::new(1);
//! let x = ndarray::Array2::from_shape_simple_fn((200, 1), || random.normal());
//! let y = ndarray::Array2::from_shape_simple_fn((200, 1), || random.normal());
//! assert!(mutual_information(x.view(), y.view(), 5)?.abs() < 0.3);
//! assert!(mutual_information(x.view(), x.view(), 5)? > 2.0);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{Array2, ArrayView2};

use crate::linalg::{finite, product, symmetric_eigen};
use crate::{Error, Result, same};

/// Returns the mutual information in nats of the paired rows `x [n, a]` and `y [n, b]`.
///
/// # Errors
/// When the numbers of rows differ, a value is not finite, or `neighbours` is not in `1..n`.
pub fn mutual_information(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, neighbours: usize) -> Result<f64> {
    let n = x.nrows();
    same("rows of the second cloud", n, y.nrows())?;
    finite("first cloud", x)?;
    finite("second cloud", y)?;
    if neighbours == 0 || neighbours >= n {
        let expected = format!("1 to {}", n.saturating_sub(1));
        return Err(Error::Setting { what: "neighbours", expected, got: neighbours.to_string() });
    }
    let psi = digamma_table(n + 1);
    let (mut dx, mut dy, mut joint) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..n {
            dx[j] = maximum_norm(x, i, j);
            dy[j] = maximum_norm(y, i, j);
            joint[j] = dx[j].max(dy[j]);
        }
        joint[i] = f64::INFINITY;
        let radius = *joint.select_nth_unstable_by(neighbours - 1, f64::total_cmp).1;
        let near = |d: &[f64]| d.iter().filter(|d| **d < radius || radius == 0.0 && **d == 0.0).count();
        let k = if radius > 0.0 { neighbours } else { near(&joint) };
        sum += psi[near(&dx)] + psi[near(&dy)] - psi[k]; // the count includes the point itself: nx + 1
    }
    Ok(psi[n] - sum / n as f64)
}

/// Returns the upper bound of [`mutual_information`] for `n` rows.
pub fn mutual_information_ceiling(n: usize, neighbours: usize) -> f64 {
    let psi = digamma_table(n.max(neighbours));
    psi[n] - psi[neighbours]
}

/// Returns the coordinates `[n, <= count]` of the rows of `x [n, d]` on their leading principal axes, scaled
/// so that the first has unit variance. Joint neighbours of two clouds need a common scale.
///
/// # Errors
/// When a value is not finite or the decomposition does not converge.
pub fn principal_coordinates(x: ArrayView2<'_, f64>, count: usize) -> Result<Array2<f64>> {
    let centred = match x.mean_axis(ndarray::Axis(0)) {
        Some(mean) => &x - &mean,
        None => x.to_owned(),
    };
    let eigen = symmetric_eigen(product(&centred, &centred.t())?.view())?;
    let kept = count.min(x.ncols()).min(x.nrows());
    let top = eigen.values.iter().next().copied().unwrap_or_default();
    let unit = if top > 0.0 { x.nrows() as f64 / top } else { 0.0 };
    Ok(Array2::from_shape_fn((x.nrows(), kept), |(row, axis)| {
        eigen.vectors[[row, axis]] * (eigen.values[axis].max(0.0) * unit).sqrt()
    }))
}

fn maximum_norm(points: ArrayView2<'_, f64>, i: usize, j: usize) -> f64 {
    let (a, b) = (points.row(i), points.row(j));
    a.iter().zip(b).fold(0.0f64, |far, (a, b)| far.max((a - b).abs()))
}

/// Returns the digamma function at 0 (unused), 1, ..., n: psi(1) = -gamma, psi(m + 1) = psi(m) + 1/m.
fn digamma_table(n: usize) -> Vec<f64> {
    const GAMMA: f64 = 0.577_215_664_901_532_9;
    let mut table = vec![f64::NAN, -GAMMA];
    for m in 1..n {
        table.push(table[m] + 1.0 / m as f64);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Pairs of standard normals with correlation r. In closed form I = -ln(1 - r²) / 2.
    fn pairs(n: usize, r: f64, seed: u64) -> (Array2<f64>, Array2<f64>) {
        let mut random = Random::new(seed);
        let x = Array2::from_shape_simple_fn((n, 1), || random.normal());
        let y = x.mapv(|x| r * x + (1.0 - r * r).sqrt() * random.normal());
        (x, y)
    }

    /// Tolerance: three standard deviations, which are about 0.03 nats at n = 1500, k = 5 (figure 4 of the
    /// paper).
    #[test]
    fn gaussian_pairs_agree_with_the_closed_form() {
        for (r, seed) in [(0.0, 1), (0.6, 2), (0.9, 3)] {
            let (x, y) = pairs(1500, r, seed);
            let got = mutual_information(x.view(), y.view(), 5).unwrap();
            let exact = -0.5 * (1.0 - r * r).ln();
            assert!((got - exact).abs() < 0.09, "r = {r}: {got}, exact {exact}");
        }
    }

    /// Independent classes have no mutual information, equal ones their entropy ln 2, and a constant cloud
    /// none. The standard error for 400 independent pairs is far below 0.02.
    #[test]
    fn discrete_values_are_handled() {
        let mut random = Random::new(6);
        let mut classes =
            || Array2::from_shape_simple_fn((400, 1), || f64::from(u8::from(random.normal() > 0.0)));
        let (x, y) = (classes(), classes());
        let nats = |x: &Array2<f64>, y: &Array2<f64>| mutual_information(x.view(), y.view(), 5).unwrap();
        assert!(nats(&x, &y).abs() < 0.02, "{}", nats(&x, &y));
        assert!((nats(&x, &x) - 2.0_f64.ln()).abs() < 0.02, "{}", nats(&x, &x));
        let constant = Array2::zeros((60, 2));
        assert!(nats(&constant, &constant).abs() < 0.02, "{}", nats(&constant, &constant));
    }

    #[test]
    fn a_cloud_and_itself_are_close_to_the_ceiling() {
        let (x, _) = pairs(300, 0.0, 4);
        let got = mutual_information(x.view(), x.view(), 5).unwrap();
        let most = mutual_information_ceiling(300, 5);
        assert!(got <= most + 1e-9 && got > most - 0.4, "{got} of {most}");
        assert!(mutual_information(x.view(), x.view(), 300).is_err());
    }

    #[test]
    fn all_principal_coordinates_preserve_ratios_of_distances() {
        let mut random = Random::new(5);
        let x = Array2::from_shape_simple_fn((20, 3), || random.normal());
        let p = principal_coordinates(x.view(), 3).unwrap();
        let gap = |a: &Array2<f64>, i, j| (&a.row(i) - &a.row(j)).mapv(|v| v * v).sum();
        let ratio = |a: &Array2<f64>| gap(a, 2, 11) / gap(a, 4, 7);
        assert!((ratio(&x) - ratio(&p)).abs() < 1e-9);
        assert!((p.column(0).dot(&p.column(0)) / 20.0 - 1.0).abs() < 1e-9);
    }
}
