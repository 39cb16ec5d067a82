//! Both ends of the spectrum without forming the Jacobian, for very wide maps.
//!
//! Golub-Kahan-Lanczos bidiagonalisation (Golub and Kahan 1965) from a random start, with full
//! reorthogonalisation. Each step takes one product with J (forward mode) and one with Jᵀ (reverse mode), for
//! all points in one run. The singular values of the small bidiagonal matrix (Ritz values) converge to the
//! largest ones of J first. The smallest is never below the smallest of J, so it can show that the rank is
//! too low, but not that it is full.

use chiasm_geometry::random::Random;
use chiasm_geometry::spectrum::singular_values;
use chiasm_graph::Tensor;
use chiasm_runtime::Session;
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::Result;
use crate::map::LearnedMap;

/// The number of steps, and of Ritz values.
const STEPS: usize = 64;
/// A new direction that keeps less than this fraction of its length is rounding error of single precision.
const INVARIANT: f64 = 1e-6;

/// Products of the Jacobians at some points with vectors.
pub(crate) struct JacobianProducts<'a> {
    map: &'a LearnedMap<'a>,
    points: ArrayView2<'a, f32>,
    forward: Session,
    backward: Session,
}

impl<'a> JacobianProducts<'a> {
    /// Differentiates a map in forward and reverse mode.
    pub(crate) fn open(map: &'a LearnedMap<'a>, points: ArrayView2<'a, f32>) -> Result<Self> {
        let (x, z) = map.ports();
        let forward = map.derived(|graph| graph.jvp(&[x])?.extract(&[&format!("tangent/{z}")]))?;
        let backward = map.derived(|graph| graph.vjp(&[z], &[x])?.extract(&[&format!("gradient/{x}")]))?;
        Ok(Self { map, points, forward, backward })
    }

    /// Returns `J v` at each point, the Jacobian-vector product: `[n, d]` to `[n, o]`.
    pub(crate) fn jvp(&self, v: &Array2<f64>) -> Result<Array2<f64>> {
        let name = format!("tangent/{}", self.map.ports().0);
        self.run(&self.forward, &name, &[1, v.nrows(), v.ncols()], v)
    }

    /// Returns `Jᵀ u` at each point, the vector-Jacobian product: `[n, o]` to `[n, d]`.
    pub(crate) fn vjp(&self, u: &Array2<f64>) -> Result<Array2<f64>> {
        let name = format!("cotangent/{}", self.map.ports().1);
        self.run(&self.backward, &name, &[u.nrows(), u.ncols()], u)
    }

    fn run(&self, session: &Session, name: &str, shape: &[usize], rows: &Array2<f64>) -> Result<Array2<f64>> {
        let vectors = Tensor::f32(shape, rows.iter().map(|v| *v as f32).collect())?;
        let points = self.map.tensor(self.points)?;
        let both = [(self.map.ports().0, &points), (name, &vectors)];
        // The derivative of a linear map does not depend on the point.
        let wanted: Vec<_> = both
            .into_iter()
            .filter(|(name, _)| session.inputs().iter().any(|port| port.name == *name))
            .collect();
        let values = session.run(&wanted)?.remove(0).1.into_f32()?;
        let width = values.len() / rows.nrows().max(1);
        Ok(Array2::from_shape_fn((rows.nrows(), width), |(i, j)| f64::from(values[i * width + j])))
    }
}

/// Returns the Ritz values of the Jacobian at each point, in descending order; `done` is called with the
/// steps done and their number.
///
/// The process starts on the narrower side, orthogonal to the directions `lost` that are lost by construction
/// (none, or one per point, of the input and of the output).
pub(crate) fn ritz_values(
    products: &JacobianProducts<'_>,
    (d, o): (usize, usize),
    lost: [Option<Array2<f64>>; 2],
    seed: u64,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Array1<f64>>> {
    let n = products.points.nrows();
    let steps = STEPS.min(d).min(o);
    let narrow_input = d <= o;
    let there = |v: &Array2<f64>| if narrow_input { products.jvp(v) } else { products.vjp(v) };
    let back = |u: &Array2<f64>| if narrow_input { products.vjp(u) } else { products.jvp(u) };
    let [input, output] = lost;
    let (near, far) = if narrow_input { (input, output) } else { (output, input) };
    let (mut near, mut far): (Vec<_>, Vec<_>) = (near.into_iter().collect(), far.into_iter().collect());
    let mut random = Random::new(seed);
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    let mut v = random_rows((n, d.min(o)), &mut random);
    continue_basis(&mut v, &mut near, &mut random);
    for step in 0..steps {
        let mut u = there(&v)?;
        alphas.push(continue_basis(&mut u, &mut far, &mut random));
        v = back(&u)?;
        betas.push(continue_basis(&mut v, &mut near, &mut random));
        done(step + 1, steps);
    }
    let bidiagonal = |point: usize| {
        Array2::from_shape_fn((steps, steps), |(i, j)| match j.wrapping_sub(i) {
            0 => alphas[i][point],
            1 => betas[i][point],
            _ => 0.0,
        })
    };
    (0..n).map(|point| Ok(singular_values(bidiagonal(point).view())?)).collect()
}

/// Orthogonalises rows against a basis, appends them to it, and returns their remaining lengths. Where
/// nothing remains, the space is invariant, and a random direction is appended instead.
fn continue_basis(rows: &mut Array2<f64>, basis: &mut Vec<Array2<f64>>, random: &mut Random) -> Array1<f64> {
    let before = rows.map_axis(Axis(1), |row| row.dot(&row).sqrt());
    orthogonalise(rows, basis);
    let mut left = normalise(rows);
    for (i, mut row) in rows.outer_iter_mut().enumerate() {
        if left[i] <= INVARIANT * before[i] || before[i] == 0.0 {
            left[i] = 0.0;
            row.mapv_inplace(|_| random.normal());
        }
    }
    orthogonalise(rows, basis);
    normalise(rows);
    basis.push(rows.clone());
    left
}

/// Subtracts from each row its components along the same row of the others; twice, to remove rounding errors.
fn orthogonalise(rows: &mut Array2<f64>, others: &[Array2<f64>]) {
    for other in others.iter().chain(others) {
        let parts = (&*rows * other).sum_axis(Axis(1)).insert_axis(Axis(1));
        *rows -= &(other * &parts);
    }
}

/// Scales each row to length one (zero stays zero) and returns the lengths.
fn normalise(rows: &mut Array2<f64>) -> Array1<f64> {
    let lengths = rows.map_axis(Axis(1), |row| row.dot(&row).sqrt());
    for (mut row, length) in rows.outer_iter_mut().zip(&lengths) {
        row *= if *length > 0.0 { 1.0 / length } else { 0.0 };
    }
    lengths
}

fn random_rows(shape: (usize, usize), random: &mut Random) -> Array2<f64> {
    Array2::from_shape_simple_fn(shape, || random.normal())
}
