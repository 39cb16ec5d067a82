//! Mutual information of two paired clouds, from neighbour counts.
//!
//! First estimator of Kraskov, Stoegbauer and Grassberger ("Estimating mutual information", 2004, eq. 8),
//! maximum norm: I = psi(k) + psi(n) - mean(psi(nx + 1) + psi(ny + 1)), where nx counts the points nearer in
//! x alone than the k-th joint neighbour. Where that neighbour lies at the point itself, ties are counted: k
//! is then how many lie there jointly, nx how many in x alone (Gao, Kannan, Oh and Viswanath 2017, arXiv
//! 1709.06212, with psi for the logarithm). It needs no bins and no densities, but a few dimensions: its bias
//! grows with them, so give it the leading principal coordinates. It can never show more than psi(n) -
//! psi(k).

use ndarray::{Array2, ArrayView2};

use crate::linalg::{finite, product, symmetric_eigen};
use crate::{Error, Result, same};

/// Mutual information in nats of paired rows `x [n, a]` and `y [n, b]` with `neighbours < n`.
///
/// # Errors
/// When the rows do not pair up, a value is not finite, or there are too few rows.
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
        sum += psi[near(&dx)] + psi[near(&dy)] - psi[k]; // the point itself is near: nx + 1
    }
    Ok(psi[n] - sum / n as f64)
}

/// The most that [`mutual_information`] can show on `n` rows.
pub fn ceiling(n: usize, neighbours: usize) -> f64 {
    let psi = digamma_table(n.max(neighbours));
    psi[n] - psi[neighbours]
}

/// Scores `[n, <= wanted]` of the rows of `x [n, d]` on their leading principal axes, the first with unit
/// variance: two clouds must be equally large for joint neighbours to mean anything.
///
/// # Errors
/// When a value is not finite or the decomposition does not converge.
pub fn principal_coordinates(x: ArrayView2<'_, f64>, wanted: usize) -> Result<Array2<f64>> {
    let centred = match x.mean_axis(ndarray::Axis(0)) {
        Some(mean) => &x - &mean,
        None => x.to_owned(),
    };
    let eigen = symmetric_eigen(product(&centred, &centred.t())?.view())?;
    let kept = wanted.min(x.ncols()).min(x.nrows());
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

/// psi at 0 (unused), 1, ..., n: psi(1) = -gamma, psi(m + 1) = psi(m) + 1/m.
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

    /// Pairs of standard normals with correlation r: I = -ln(1 - r²) / 2 in closed form.
    fn pairs(n: usize, r: f64, seed: u64) -> (Array2<f64>, Array2<f64>) {
        let mut random = Random::new(seed);
        let x = Array2::from_shape_simple_fn((n, 1), || random.normal());
        let y = x.mapv(|x| r * x + (1.0 - r * r).sqrt() * random.normal());
        (x, y)
    }

    /// The estimator's standard deviation at n = 1500, k = 5 is about 0.03 nats (its authors' figure 4);
    /// three of them.
    #[test]
    fn gaussian_pairs_show_the_closed_form() {
        for (r, seed) in [(0.0, 1), (0.6, 2), (0.9, 3)] {
            let (x, y) = pairs(1500, r, seed);
            let got = mutual_information(x.view(), y.view(), 5).unwrap();
            let exact = -0.5 * (1.0 - r * r).ln();
            assert!((got - exact).abs() < 0.09, "r = {r}: {got}, exact {exact}");
        }
    }

    /// Classes that say nothing of each other tell nothing, those that are one another tell the classes'
    /// entropy, ln 2; a cloud of one point tells nothing. Drawn of 400: the standard error of independent
    /// pairs is far below 0.02.
    #[test]
    fn tied_points_are_counted() {
        let mut random = Random::new(6);
        let mut classes =
            || Array2::from_shape_simple_fn((400, 1), || f64::from(u8::from(random.normal() > 0.0)));
        let (x, y) = (classes(), classes());
        let told = |x: &Array2<f64>, y: &Array2<f64>| mutual_information(x.view(), y.view(), 5).unwrap();
        assert!(told(&x, &y).abs() < 0.02, "{}", told(&x, &y));
        assert!((told(&x, &x) - 2.0_f64.ln()).abs() < 0.02, "{}", told(&x, &x));
        let still = Array2::zeros((60, 2));
        assert!(told(&still, &still).abs() < 0.02, "{}", told(&still, &still));
    }

    #[test]
    fn a_cloud_and_itself_come_near_the_ceiling() {
        let (x, _) = pairs(300, 0.0, 4);
        let got = mutual_information(x.view(), x.view(), 5).unwrap();
        let most = ceiling(300, 5);
        assert!(got <= most + 1e-9 && got > most - 0.4, "{got} of {most}");
        assert!(mutual_information(x.view(), x.view(), 300).is_err());
    }

    #[test]
    fn principal_coordinates_keep_ratios_of_distances_when_all_are_kept() {
        let mut random = Random::new(5);
        let x = Array2::from_shape_simple_fn((20, 3), || random.normal());
        let p = principal_coordinates(x.view(), 3).unwrap();
        let gap = |a: &Array2<f64>, i, j| (&a.row(i) - &a.row(j)).mapv(|v| v * v).sum();
        let ratio = |a: &Array2<f64>| gap(a, 2, 11) / gap(a, 4, 7);
        assert!((ratio(&x) - ratio(&p)).abs() < 1e-9);
        assert!((p.column(0).dot(&p.column(0)) / 20.0 - 1.0).abs() < 1e-9);
    }
}
