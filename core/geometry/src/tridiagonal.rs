//! Eigenvalues alone of a symmetric tridiagonal matrix: the root-free QL iteration of Pal, Walker and Kahan.
//!
//! One step costs two divisions and no square root where the usual QL step takes a rotation with both, and it
//! is the step that the singular values of a Jacobian spend their time in once the matrix is tridiagonal.
//! Parlett, The Symmetric Eigenvalue Problem (1980), section 8.15; LAPACK's `dsterf` does the same.

use crate::{Error, Result};

/// Sweeps that a value may take; three are usual.
const SWEEPS: usize = 60;

/// Eigenvalues, ascending, of the matrix with this diagonal `[n]` and these neighbours `[n - 1]`; both are
/// used up.
///
/// Absolute error: a few units in the last place of the largest.
///
/// # Errors
/// [`Error::NoConvergence`] when a value takes more sweeps than any should.
pub(crate) fn eigenvalues(diagonal: &mut [f64], neighbours: &mut [f64]) -> Result<()> {
    let scale = diagonal.iter().chain(neighbours.iter()).fold(0.0_f64, |top, value| top.max(value.abs()));
    if scale > 0.0 {
        // Squares of the neighbours are what the iteration turns over; scaled, they neither overflow nor
        // vanish.
        diagonal.iter_mut().for_each(|value| *value /= scale);
        neighbours.iter_mut().for_each(|value| *value = (*value / scale).powi(2));
        let mut start = 0;
        while start < diagonal.len() {
            let end = start + block(&diagonal[start..], &neighbours[start..]);
            let (d, e) = (&mut diagonal[start..=end], &mut neighbours[start..end]);
            // The iteration finds values from the front; it is fastest when the small ones stand there.
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

/// The last row of the block that starts at the front: up to a neighbour that is nothing beside its diagonal.
fn block(d: &[f64], squares: &[f64]) -> usize {
    let small = |at: &usize| squares[*at] <= f64::EPSILON.powi(2) * (d[*at] * d[at + 1]).abs();
    (0..d.len() - 1).find(small).unwrap_or(d.len() - 1)
}

/// Turns one block's diagonal into its eigenvalues, from the front.
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

/// The eigenvalues of `[[a, b], [b, c]]`, given `b²`.
fn pair(a: f64, square: f64, c: f64) -> (f64, f64) {
    let (middle, half) = (0.5 * (a + c), 0.5 * (a - c));
    let root = half.hypot(square.sqrt());
    // The one further from zero is a sum without cancellation; the other follows from the determinant.
    let far = if middle < 0.0 { middle - root } else { middle + root };
    match far == 0.0 {
        true => (0.0, 0.0),
        false => ((a / far) * c - square / far, far),
    }
}

/// One QL sweep with Wilkinson's shift, from the back to the front.
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

    /// `2 cos(pi k / (n + 1))` are those of zeros between ones (a path's adjacency), in closed form.
    #[test]
    fn a_path_has_cosines() {
        for n in [1_usize, 2, 3, 50, 384] {
            let (mut d, mut e) = (vec![0.0; n], vec![1.0; n - 1]);
            eigenvalues(&mut d, &mut e).unwrap();
            for (k, got) in d.iter().rev().enumerate() {
                let exact = 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
                assert!((got - exact).abs() < 1e-14 * (n as f64).max(4.0), "{n} {k}: {got} {exact}");
            }
        }
    }

    /// Counting negative pivots (Sylvester's law of inertia) says how many eigenvalues lie below a number.
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

    /// Random matrices, graded ones, ones that fall apart, tiny and huge ones. Tolerance: 1e-13 of the
    /// largest value.
    #[test]
    fn as_many_lie_below_each_as_its_place_says() {
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
                let (value, hair) = (value / scale, 1e-13 * top);
                assert!(below(&d, &e, value - hair) <= place, "case {case}, {place}");
                assert!(below(&d, &e, value + hair) > place, "case {case}, {place}");
            }
        }
    }

    #[test]
    fn nothing_and_zeros() {
        eigenvalues(&mut [], &mut []).unwrap();
        let mut d = [0.0; 5];
        eigenvalues(&mut d, &mut [0.0; 4]).unwrap();
        assert_eq!(d, [0.0; 5]);
    }
}
