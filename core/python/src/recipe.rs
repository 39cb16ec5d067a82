//! Fitting a recipe.

use crate::{
    environment::Setup,
    error::of_pipeline,
    interruptible::{StopFlag, interruptible},
    progress::PythonReporter,
};
use chiasm_pipeline::{Error, FitOptions, Plan, Recipe};
use pyo3::{prelude::*, types::PyDict};
use std::path::PathBuf;

/// How a recipe is fitted, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct RecipeOptions {
    skip_bad: bool,
    force: bool,
    device: String,
    threads: usize,
}

/// Fits the recipe of a file, with settings `key=value` in its place, into the folder `output`.
#[pyfunction]
#[pyo3(signature = (recipe, output, overrides, options, listener=None))]
pub fn fit<'py>(
    py: Python<'py>,
    recipe: PathBuf,
    output: PathBuf,
    overrides: Vec<String>,
    options: RecipeOptions,
    listener: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let RecipeOptions { skip_bad, force, device, threads } = options;
    let stop = StopFlag::default();
    let reporter = PythonReporter::new(listener, &stop);
    let setup = Setup::new(py, &device, threads)?;
    let fitted = interruptible(py, &stop, || -> Result<_, Error> {
        let env = setup.environment(reporter)?;
        env.engine()?; // a missing engine is found first
        let plan = Plan::check(Recipe::load(&recipe, &overrides)?, &env)?;
        chiasm_pipeline::fit(&plan, &env, &FitOptions { output, skip_bad, force })
    })?
    .map_err(|error| of_pipeline(py, &error))?;
    let report = PyDict::new(py);
    report.set_item("run", fitted.run)?;
    report.set_item("fresh", fitted.fresh)?;
    report.set_item("failed_checks", fitted.failed)?;
    report.set_item("unknown_checks", fitted.unknown)?;
    report.set_item("seconds", fitted.timings.iter().collect::<Vec<_>>())?;
    Ok(report)
}
