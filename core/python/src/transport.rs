//! Optimal transport.

use crate::{
    arrays::{matrix, to_numpy, vector},
    error::of_message,
    interruptible::{StopFlag, interruptible},
};
use chiasm_transport::{
    Cost, GromovWasserstein, Marginals, Sinkhorn, SolverLimits, SolverProgress, Space, StopReason,
    exact as solve_exact, exact_partial, nearest_rows as nearest,
};
use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::{prelude::*, types::PyDict};
use std::ops::ControlFlow;

/// Solves exact transport, or with `mass` that of a part of the mass. Returns the plan, the potentials and
/// how the solver ended.
#[pyfunction]
#[pyo3(signature = (a, b, cost, *, iterations, mass=None))]
pub fn exact<'py>(
    py: Python<'py>,
    a: PyReadonlyArray1<'py, f64>,
    b: PyReadonlyArray1<'py, f64>,
    cost: PyReadonlyArray2<'py, f64>,
    iterations: usize,
    mass: Option<f64>,
) -> PyResult<Bound<'py, PyDict>> {
    let (a, b) = (vector(py, &a)?, vector(py, &b)?);
    let cost = matrix(py, &cost)?;
    let stop = StopFlag::default();
    let found = interruptible(py, &stop, || {
        let limits = SolverLimits::new(iterations).watch(watcher(&stop));
        match mass {
            None => solve_exact(cost, a, b, &limits),
            Some(mass) => exact_partial(cost, a, b, mass, &limits),
        }
    })?
    .map_err(|error| of_message(py, "chiasm::transport", error))?;
    let log = PyDict::new(py);
    log.set_item("plan", to_numpy(py, found.plan())?)?;
    log.set_item("cost", found.transport_cost)?;
    log.set_item("u", found.source_potential.to_vec().into_pyarray(py))?;
    log.set_item("v", found.target_potential.to_vec().into_pyarray(py))?;
    log.set_item("gap", found.gap)?;
    log.set_item("stop", stop_text(&found.stop))?;
    Ok(log)
}

/// How entropic transport is solved, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct EntropicOptions {
    /// The regularisation, in units of the cost.
    epsilon: f64,
    iterations: usize,
    tolerance: f64,
    /// Penalties of the two marginals.
    unbalanced: Option<(f64, f64)>,
    /// The mass to transport.
    partial: Option<f64>,
}

/// Solves entropic transport: balanced, unbalanced or partial, as the options say.
#[pyfunction]
pub fn sinkhorn<'py>(
    py: Python<'py>,
    a: PyReadonlyArray1<'py, f64>,
    b: PyReadonlyArray1<'py, f64>,
    cost: PyReadonlyArray2<'py, f64>,
    options: EntropicOptions,
) -> PyResult<Bound<'py, PyDict>> {
    let (a, b) = (vector(py, &a)?, vector(py, &b)?);
    let cost = matrix(py, &cost)?;
    let EntropicOptions { epsilon, iterations, tolerance, unbalanced, partial } = options;
    let marginals = match (unbalanced, partial) {
        (Some((source, target)), _) => Marginals::Unbalanced { source, target },
        (None, Some(mass)) => Marginals::Partial { mass },
        (None, None) => Marginals::Balanced,
    };
    let stop = StopFlag::default();
    let found = interruptible(py, &stop, || {
        let cost = Cost::matrix64(cost)?;
        let solver = Sinkhorn::new(epsilon).iterations(iterations).tolerance(tolerance).marginals(marginals);
        let coupling = solver.watch(watcher(&stop)).solve(&cost, a, b)?;
        let potentials = (coupling.source_potential(), coupling.target_potential());
        let report = coupling.report;
        Ok((coupling.into_plan().mapv(f64::from), potentials, report))
    })?;
    let (plan, (u, v), report) =
        found.map_err(|error: chiasm_transport::Error| of_message(py, "chiasm::transport", error))?;
    let log = PyDict::new(py);
    log.set_item("plan", to_numpy(py, plan)?)?;
    log.set_item("cost", report.transport_cost)?;
    log.set_item("u", u.to_vec().into_pyarray(py))?;
    log.set_item("v", v.to_vec().into_pyarray(py))?;
    log.set_item("err", report.marginal_error)?;
    log.set_item("niter", report.iterations)?;
    log.set_item("rounding", report.rounding)?;
    log.set_item("stop", stop_text(&report.stop))?;
    Ok(log)
}

/// How Gromov-Wasserstein transport is solved, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct GromovOptions<'py> {
    /// The regularisation; without one the problem is solved by conditional gradients.
    epsilon: Option<f64>,
    iterations: usize,
    tolerance: f64,
    starts: usize,
    /// Costs between the spaces, whose share of the objective is `1 - alpha`.
    linear: Option<PyReadonlyArray2<'py, f32>>,
    alpha: f64,
}

/// Solves Gromov-Wasserstein transport between two distance matrices.
#[pyfunction]
pub fn gromov<'py>(
    py: Python<'py>,
    first: PyReadonlyArray2<'py, f32>,
    second: PyReadonlyArray2<'py, f32>,
    a: PyReadonlyArray1<'py, f64>,
    b: PyReadonlyArray1<'py, f64>,
    options: GromovOptions<'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let (a, b) = (vector(py, &a)?, vector(py, &b)?);
    let (first, second) = (matrix(py, &first)?, matrix(py, &second)?);
    let GromovOptions { epsilon, iterations, tolerance, starts, linear, alpha } = options;
    let linear: Option<Array2<f32>> =
        (linear.as_ref()).map(|linear| Ok::<_, PyErr>(matrix(py, linear)?.to_owned())).transpose()?;
    let stop = StopFlag::default();
    let found = interruptible(py, &stop, || {
        let mut solver = match epsilon {
            Some(epsilon) => GromovWasserstein::entropic(epsilon),
            None => GromovWasserstein::conditional_gradient(),
        };
        solver = solver.iterations(iterations).tolerance(tolerance).starts(starts);
        if let Some(linear) = &linear {
            solver = solver.fused(linear.view(), alpha);
        }
        solver.watch(watcher(&stop)).solve(&Space::matrix(first)?, &Space::matrix(second)?, a, b)
    })?;
    let found = found.map_err(|error: chiasm_transport::Error| of_message(py, "chiasm::transport", error))?;
    let log = PyDict::new(py);
    log.set_item("gw_dist", found.value)?;
    log.set_item("stop", stop_text(&found.stop))?;
    log.set_item("plan", to_numpy(py, found.plan.mapv(f64::from))?)?;
    Ok(log)
}

/// Returns for each row of `x` `[n, d]` the number of the nearest row of `known` `[m, d]`.
#[pyfunction]
pub fn nearest_rows<'py>(
    py: Python<'py>,
    known: PyReadonlyArray2<'py, f64>,
    x: PyReadonlyArray2<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<usize>>> {
    let (known, x) = (matrix(py, &known)?, matrix(py, &x)?);
    let found = py.detach(|| nearest(known, x));
    Ok(found.map_err(|error| of_message(py, "chiasm::transport", error))?.into_pyarray(py))
}

/// Returns a watcher that ends a solver when the flag is set.
fn watcher(stop: &StopFlag) -> impl Fn(&SolverProgress) -> ControlFlow<()> + Send + Sync + 'static {
    let stop = stop.clone();
    move |_| if stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn stop_text(stop: &StopReason) -> String {
    format!("{stop:?}").to_lowercase()
}
