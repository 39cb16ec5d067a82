//! Eigenvalues of a symmetric tridiagonal matrix by the root-free QL iteration of Pal, Walker and Kahan.
//!
//! A step takes two divisions and no square root, where the usual QL step takes a rotation with both. See
//! Parlett, The Symmetric Eigenvalue Problem (1980), section 8.15, and LAPACK's `dsterf`.

use crate::{Error, Result};

/// Maximum number of sweeps per eigenvalue; three are usual.
const SWEEPS: usize = 60;

/// Computes the eigenvalues of the matrix with this diagonal `[n]` and these off-diagonal entries `[n - 1]`.
/// They are written to `diagonal` in ascending order; `neighbours` is overwritten.
///
/// The absolute error is a few units in the last place of the largest eigenvalue.
///
/// # Errors
/// [`Error::NoConvergence`] when an eigenvalue takes more than [`SWEEPS`] sweeps.
pub(crate) fn eigenvalues(diagonal: &mut [f64], neighbours: &mut [f64]) -> Result<()> {
    let scale = diagonal.iter().chain(neighbours.iter()).fold(0.0_f64, |top, value| top.max(value.abs()));
    if scale > 0.0 {
        // The iteration works on the squares of the off-diagonal entries; scaled, they neither overflow nor
        // vanish.
        diagonal.iter_mut().for_each(|value| *value /= scale);
        neighbours.iter_mut().for_each(|value| *value = (*value / scale).powi(2));
        let mut start = 0;
        while start < diagonal.len() {
            let end = start + block(&diagonal[start..], &neighbours[start..]);
            let (d, e) = (&mut diagonal[start..=end], &mut neighbours[start..end]);
            // The iteration finds eigenvalues from the front and is fastest if the small ones come first.
            if d[0].abs() > d[end - start].abs() {
                d.reverse();
                e.reverse();
            }
            deflate(d, e)?;
            start = end + 1;
        }
        diagonal.iter_mut().for_each(|value| *value *= scale);
    }
    diagonal.sort_unstable_by(f64::total_cmp);
    Ok(())
}

/// Returns the last row of the block that starts at the front; it ends before a negligible off-diagonal
/// entry.
fn block(d: &[f64], squares: &[f64]) -> usize {
    let small = |at: &usize| squares[*at] <= f64::EPSILON.powi(2) * (d[*at] * d[at + 1]).abs();
    (0..d.len() - 1).find(small).unwrap_or(d.len() - 1)
}

/// Replaces the diagonal of a block by its eigenvalues, from the front.
fn deflate(d: &mut [f64], squares: &mut [f64]) -> Result<()> {
    let mut front = 0;
    let mut sweeps = 0;
    while front < d.len() {
        let back = front + block(&d[front..], &squares[front..]);
        match back - front {
            0 => {
                front += 1;
                sweeps = 0;
            }
            1 => {
                (d[front], d[back]) = pair(d[front], squares[front], d[back]);
                squares[front] = 0.0;
                front += 2;
                sweeps = 0;
            }
            _ if sweeps < SWEEPS => {
                sweep(&mut d[front..=back], &mut squares[front..back]);
                sweeps += 1;
            }
            _ => return Err(Error::NoConvergence("eigenvalues of a tridiagonal matrix")),
        }
    }
    Ok(())
}

/// Returns the eigenvalues of `[[a, b], [b, c]]`, given `b²`.
fn pair(a: f64, square: f64, c: f64) -> (f64, f64) {
    let (middle, half) = (0.5 * (a + c), 0.5 * (a - c));
    let root = half.hypot(square.sqrt());
    // The eigenvalue farther from zero is a sum without cancellation; the other one follows from the
    // determinant.
    let far = if middle < 0.0 { middle - root } else { middle + root };
    match far == 0.0 {
        true => (0.0, 0.0),
        false => ((a / far) * c - square / far, far),
    }
}

/// Takes one QL sweep with Wilkinson's shift, from the back to the front.
fn sweep(d: &mut [f64], squares: &mut [f64]) {
    let last = d.len() - 1;
    let root = squares[0].sqrt();
    let ratio = (d[1] - d[0]) / (2.0 * root);
    let shift = d[0] - root / (ratio + ratio.hypot(1.0).copysign(ratio));
    let (mut cosine, mut sine) = (1.0, 0.0);
    let mut gamma = d[last] - shift;
    let mut p = gamma * gamma;
    for i in (0..last).rev() {
        let square = squares[i];
        let r = p + square;
        if i + 1 < last {
            squares[i + 1] = sine * r;
        }
        let before = cosine;
        cosine = p / r;
        sine = square / r;
        let previous = gamma;
        gamma = cosine * (d[i] - shift) - sine * previous;
        d[i + 1] = previous + (d[i] - gamma);
        p = if cosine == 0.0 { before * square } else { gamma * gamma / cosine };
    }
    squares[0] = sine * p;
    d[0] = shift + gamma;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The adjacency matrix of a path (zeros between ones) has the eigenvalues `2 cos(pi k / (n + 1))`.
    #[test]
    fn the_eigenvalues_of_a_path_are_cosines() {
        for n in [1_usize, 2, 3, 50, 384] {
            let (mut d, mut e) = (vec![0.0; n], vec![1.0; n - 1]);
            eigenvalues(&mut d, &mut e).unwrap();
            for (k, got) in d.iter().rev().enumerate() {
                let exact = 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
                assert!((got - exact).abs() < 1e-14 * (n as f64).max(4.0), "{n} {k}: {got} {exact}");
            }
        }
    }

    /// Returns the number of eigenvalues below x, by counting negative pivots (Sylvester's law of inertia).
    fn below(d: &[f64], e: &[f64], x: f64) -> usize {
        let mut pivot = 1.0;
        let mut count = 0;
        for i in 0..d.len() {
            let square = if i == 0 { 0.0 } else { e[i - 1] * e[i - 1] };
            pivot = d[i] - x - square / pivot;
            if pivot == 0.0 {
                pivot = f64::MIN_POSITIVE;
            }
            count += usize::from(pivot < 0.0);
        }
        count
    }

    /// Random, tiny, huge, graded and reducible matrices. Tolerance: 1e-13 of the largest eigenvalue.
    #[test]
    fn each_eigenvalue_has_the_right_number_below_it() {
        let mut random = Random::new(11);
        for (case, scale) in [1.0, 1e-150, 1e150, 1.0, 1.0].into_iter().enumerate() {
            let n = 97;
            let grade = |i: usize| if case == 3 { 0.7_f64.powi(i as i32) } else { 1.0 };
            let d: Vec<f64> = (0..n).map(|i| scale * grade(i) * random.normal()).collect();
            let e: Vec<f64> = (0..n - 1)
                .map(|i| match case {
                    4 if i % 7 == 0 => 0.0,
                    _ => scale * grade(i) * random.normal(),
                })
                .collect();
            let mut got = d.clone();
            eigenvalues(&mut got, &mut e.clone()).unwrap();
            let (d, e): (Vec<f64>, Vec<f64>) =
                (d.iter().map(|v| v / scale).collect(), e.iter().map(|v| v / scale).collect());
            let top = got.iter().fold(0.0_f64, |m, v| m.max((v / scale).abs()));
            for (place, value) in got.iter().enumerate() {
                let (value, tolerance) = (value / scale, 1e-13 * top);
                assert!(below(&d, &e, value - tolerance) <= place, "case {case}, {place}");
                assert!(below(&d, &e, value + tolerance) > place, "case {case}, {place}");
            }
        }
    }

    #[test]
    fn empty_and_zero_matrices_are_handled() {
        eigenvalues(&mut [], &mut []).unwrap();
        let mut d = [0.0; 5];
        eigenvalues(&mut d, &mut [0.0; 4]).unwrap();
        assert_eq!(d, [0.0; 5]);
    }
}
