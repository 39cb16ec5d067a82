//! Runs a learned map on rows, and computes its Jacobians at many points in few runs.
//!
//! The derivative is a graph too (`Graph::jacobian`, forward mode): one run gives all columns of the
//! Jacobians of a chunk of points, exact to rounding. Chunks keep the widest intermediate tensor within a
//! memory budget. Each thread has a replica of the graph, takes chunk after chunk, and drops the Jacobians
//! after use, so no thread waits for another and memory does not grow with the number of points.

use chiasm_graph::{DType, Graph, Port, Tensor};
use chiasm_runtime::{Engine, Session, SessionOptions};
use ndarray::{Array2, ArrayView2, Axis, Slice, concatenate};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rows::evenly_spaced;
use crate::{Error, Result};

/// The most bytes of the widest tensor of one thread's run: few enough to stay in the caches between
/// operators, enough to outweigh the cost of calling an operator.
const CHUNK_BYTES: usize = 4 << 20;

/// How far zeros are moved where a slope is infinite, relative to the point's typical coordinate; a square
/// root then changes by 1e-4.
const ZERO_SHIFT: f32 = 1e-8;

/// The most rows that are mapped among others.
const ROWS_AMONG_OTHERS: usize = 4;
/// How far the image of a row may change with the rows beside it, relative to the largest value. Batches of
/// one size are computed in the same order, so that nothing changes by rounding, however ill-conditioned the
/// map is.
const SAME_IMAGE: f64 = 1e-5;

/// A graph with one input `x [n, d]` and one output `z [n, o]`, loaded.
pub struct LearnedMap<'a> {
    graph: &'a Graph,
    engine: &'a Engine,
    options: SessionOptions,
    session: Session,
    x: String,
    z: String,
    width: usize,
}

impl<'a> LearnedMap<'a> {
    /// Loads a graph.
    ///
    /// # Errors
    /// [`Error::NotAMap`] for other ports; [`Error::Runtime`] when the engine refuses the graph.
    pub fn open(graph: &'a Graph, engine: &'a Engine, options: &SessionOptions) -> Result<Self> {
        let (inputs, outputs) = (graph.inputs(), graph.outputs());
        let rows = |port: &Port| {
            let free = port.dims.as_ref().is_some_and(|dims| dims.len() == 2 && dims[0].fixed().is_none());
            port.dtype == DType::F32 && (free || port.dims.is_none())
        };
        let ([x], [z]) = (inputs.as_slice(), outputs.as_slice()) else { return Err(not_a_map(graph)) };
        let width = x.fixed(-1).filter(|width| *width > 0 && rows(x) && rows(z));
        let width = width.ok_or_else(|| not_a_map(graph))?;
        let session = engine.session(graph, options)?;
        let (x, z) = (x.name.clone(), z.name.clone());
        Ok(Self { graph, engine, options: *options, session, x, z, width })
    }

    /// Returns the width `d` of the input.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Maps rows `[n, d]` to images `[n, o]`.
    ///
    /// # Errors
    /// When the rows have another width, or the engine fails.
    pub fn apply(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let mut outputs = self.session.run(&[(&self.x, &self.tensor(rows)?)])?;
        matrix(outputs.remove(0).1)
    }

    /// Makes sure that the image of a row does not depend on the other rows of its batch: otherwise the map
    /// has no Jacobian per row. A few of the rows `[n, d]` are mapped beside halves of them, and in the same
    /// places beside multiples of them.
    ///
    /// # Errors
    /// [`Error::RowsInteract`] if an image changes; when the rows have another width, or the engine fails.
    pub fn require_single_rows(&self, rows: ArrayView2<'_, f32>) -> Result<()> {
        let places = evenly_spaced(rows.nrows(), ROWS_AMONG_OTHERS);
        let own = rows.select(Axis(0), &places);
        let halves = own.mapv(|v| 0.5 * v);
        let mut multiples = own.clone();
        // Different ones, since the sum of the rows may be zero.
        multiples.rows_mut().into_iter().zip(2_u8..).for_each(|(mut row, k)| row *= f32::from(k));
        let beside = |others: Array2<f32>| self.apply(concatenate![Axis(0), own, others].view());
        let (one, other) = (beside(halves)?, beside(multiples)?);
        for (at, row) in places.into_iter().enumerate() {
            let change = largest_change(&one, &other, at);
            if change > SAME_IMAGE {
                return Err(Error::RowsInteract { graph: self.graph.name().to_owned(), row, change });
            }
        }
        Ok(())
    }

    /// Differentiates the map and loads its Jacobian.
    ///
    /// # Errors
    /// When an operator has no derivative, named by the message, or threads cannot be started.
    pub fn jacobians(&self) -> Result<Jacobians<'_>> {
        let output = format!("jacobian/{}", self.z);
        let threads = chiasm_runtime::threads(self.options.threads);
        let graph = self.graph.jacobian(&self.x, &self.z)?.extract(&[&output])?;
        let options = SessionOptions { replicas: threads, fuse: true, ..self.options };
        let session = self.engine.session(&graph, &options)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let chunk = CHUNK_BYTES / (4 * self.width * self.widest()).max(1);
        Ok(Jacobians { map: self, session, output, pool, chunk: chunk.clamp(1, 256) })
    }

    /// Loads a graph derived from this one.
    pub(crate) fn derived(
        &self,
        make: impl FnOnce(&Graph) -> chiasm_graph::Result<Graph>,
    ) -> Result<Session> {
        Ok(self.engine.session(&make(self.graph)?, &self.options)?)
    }

    /// Returns the names of the input and the output.
    pub(crate) fn ports(&self) -> (&str, &str) {
        (&self.x, &self.z)
    }

    pub(crate) fn tensor(&self, rows: ArrayView2<'_, f32>) -> Result<Tensor> {
        if rows.ncols() != self.width {
            let (expected, got) = (format!("rows of width {}", self.width), rows.ncols().to_string());
            return Err(Error::Points { what: "points", expected, got });
        }
        Ok(Tensor::f32(&[rows.nrows(), rows.ncols()], rows.iter().copied().collect())?)
    }

    /// Returns the longest axis of the weights, an estimate of the widest intermediate tensor.
    fn widest(&self) -> usize {
        let weights = self.graph.weight_names().filter_map(|name| self.graph.weight(name).ok());
        weights.flat_map(|w| w.shape().to_vec()).fold(self.width, usize::max)
    }
}

/// The Jacobians of a map, computed in parallel.
pub struct Jacobians<'a> {
    map: &'a LearnedMap<'a>,
    session: Session,
    output: String,
    pool: rayon::ThreadPool,
    chunk: usize,
}

impl Jacobians<'_> {
    /// Maps points `[n, d]` to images `[n, o]`.
    pub(crate) fn images(&self, points: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        self.map.apply(points)
    }

    /// Calls `use_one` with each point's number and Jacobian, on several threads, and returns the results in
    /// the order of `points [n, d]`. `done` is called with the number of points done.
    ///
    /// # Errors
    /// When the points have another width, or the engine or `use_one` fails.
    pub fn each<T: Send>(
        &self,
        points: ArrayView2<'_, f32>,
        done: &(dyn Fn(usize) + Sync),
        use_one: impl Fn(usize, Jacobian) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let n = points.nrows();
        // Few points are still shared by all threads.
        let chunk = self.chunk.min(n.div_ceil(self.pool.current_num_threads())).max(1);
        let finished = AtomicUsize::new(0);
        let run_chunk = |start: usize| -> Result<Vec<T>> {
            let end = n.min(start + chunk);
            let jacobians = self.of_chunk(points.slice_axis(Axis(0), Slice::from(start..end)))?;
            let answers: Result<Vec<T>> = jacobians
                .into_iter()
                .zip(start..)
                .map(|(jacobian, point)| use_one(point, jacobian))
                .collect();
            done(finished.fetch_add(end - start, Ordering::Relaxed) + end - start);
            answers
        };
        let chunks: Vec<usize> = (0..n).step_by(chunk).collect();
        let answers: Result<Vec<Vec<T>>> =
            self.pool.install(|| chunks.into_par_iter().with_max_len(1).map(run_chunk).collect());
        Ok(answers?.into_iter().flatten().collect())
    }

    /// Computes the Jacobians of a chunk. One that is not finite is computed again with the zeros of its
    /// point slightly shifted: a square root has an infinite slope at zero, which makes the derivative by
    /// every other input NaN too (0 times infinity).
    fn of_chunk(&self, rows: ArrayView2<'_, f32>) -> Result<Vec<Jacobian>> {
        let columns = self.columns(rows)?;
        let one = |point| Jacobian { transposed: jacobian(&columns, point), left_out: Vec::new() };
        let mut jacobians: Vec<Jacobian> = (0..rows.nrows()).map(one).collect();
        let has_infinite = |jacobian: &Jacobian| jacobian.transposed.iter().any(|v| !v.is_finite());
        let not_finite: Vec<usize> =
            (0..jacobians.len()).filter(|&point| has_infinite(&jacobians[point])).collect();
        if not_finite.is_empty() {
            return Ok(jacobians);
        }
        let mut moved = rows.select(Axis(0), &not_finite);
        for mut row in moved.outer_iter_mut() {
            let size = row.dot(&row).sqrt() / (row.len() as f32).sqrt();
            row.mapv_inplace(|v| if v == 0.0 { ZERO_SHIFT * size } else { v });
        }
        let columns = self.columns(moved.view())?;
        for (at, point) in not_finite.into_iter().enumerate() {
            let zeros = rows.row(point).to_vec().into_iter().map(|v| v == 0.0);
            jacobians[point] = Jacobian::without(jacobian(&columns, at), zeros);
        }
        Ok(jacobians)
    }

    fn columns(&self, rows: ArrayView2<'_, f32>) -> Result<Tensor> {
        let rows = self.map.tensor(rows)?;
        let replica = rayon::current_thread_index().unwrap_or(0);
        Ok(self.session.run_on_replica(replica, &[(&self.map.x, &rows)], &[&self.output])?.remove(0).1)
    }
}

/// The Jacobian at one point.
#[derive(Debug, Clone)]
pub struct Jacobian {
    /// The transposed Jacobian `[d, o]`: row i is the derivative by input i.
    pub transposed: Array2<f64>,
    /// The inputs by which the slope is infinite; their rows are zero, the others are valid.
    pub left_out: Vec<usize>,
}

impl Jacobian {
    /// Leaves out the inputs marked in `out`, and those by which the derivative is still not finite.
    fn without(mut transposed: Array2<f64>, out: impl Iterator<Item = bool>) -> Self {
        let mut left_out = Vec::new();
        for ((input, mut row), out) in transposed.outer_iter_mut().enumerate().zip(out) {
            if out || row.iter().any(|v| !v.is_finite()) {
                row.fill(0.0);
                left_out.push(input);
            }
        }
        Self { transposed, left_out }
    }
}

/// Extracts the Jacobian of one point from `columns [d, n, o]`.
fn jacobian(columns: &Tensor, point: usize) -> Array2<f64> {
    let (shape, values) = (columns.shape(), columns.as_f32().unwrap_or_default());
    let (points, width) = (shape[1], shape[2]);
    let mut transposed = Array2::zeros((shape[0], width));
    for (direction, mut row) in transposed.outer_iter_mut().enumerate() {
        let start = (direction * points + point) * width;
        row.iter_mut().zip(&values[start..start + width]).for_each(|(to, from)| *to = f64::from(*from));
    }
    transposed
}

/// Returns how far the images of a row in two batches are apart, relative to the largest value of both.
/// Values that are not finite in both are equal.
fn largest_change(one: &Array2<f32>, other: &Array2<f32>, at: usize) -> f64 {
    if one.dim() != other.dim() || one.nrows() <= at {
        return f64::INFINITY;
    }
    let (mut change, mut size) = (0_f64, f64::MIN_POSITIVE);
    for (&one, &other) in one.row(at).iter().zip(other.row(at)) {
        match (one.is_finite(), other.is_finite()) {
            (true, true) => {
                change = change.max((f64::from(one) - f64::from(other)).abs());
                size = size.max(f64::from(one.abs().max(other.abs())));
            }
            (false, false) => {}
            _ => return f64::INFINITY,
        }
    }
    change / size
}

/// Flattens a tensor of any rank to rows.
fn matrix(tensor: Tensor) -> Result<Array2<f32>> {
    let (rows, width) =
        (tensor.shape().first().copied().unwrap_or(1), tensor.shape().iter().skip(1).product());
    let values = tensor.into_f32()?;
    Array2::from_shape_vec((rows, width), values).map_err(|e| Error::Points {
        what: "the map's output",
        expected: "a matrix".to_owned(),
        got: e.to_string(),
    })
}

fn not_a_map(graph: &Graph) -> Error {
    let list = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ");
    let got = format!("inputs {}; outputs {}", list(graph.inputs()), list(graph.outputs()));
    Error::NotAMap { graph: graph.name().to_owned(), got }
}
