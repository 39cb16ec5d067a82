//! The Python package of Chiasm: the module `chiasm._core`.
//!
//! The functions and classes here take and return NumPy arrays, strings and numbers. What a user sees is the
//! Python code of the folder `chiasm`, which checks arguments and documents them. The global interpreter lock
//! is released while Rust works, and Ctrl-C ends long work at its next step.

mod aligner;
mod arrays;
mod check;
mod environment;
mod error;
mod interruptible;
mod measure;
mod moments;
mod progress;
mod recipe;
mod run;
mod transport;

use pyo3::prelude::*;

/// Functions and classes that the Python code of the package uses. They are not a public interface.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("ChiasmError", module.py().get_type::<error::ChiasmError>())?;
    module.add_class::<aligner::Maps>()?;
    module.add_class::<moments::Moments>()?;
    module.add_class::<moments::SecondPass>()?;
    module.add_class::<run::Run>()?;
    module.add_function(wrap_pyfunction!(environment::use_folder, module)?)?;
    module.add_function(wrap_pyfunction!(aligner::fit_aligner, module)?)?;
    module.add_function(wrap_pyfunction!(aligner::aligner_parameters, module)?)?;
    module.add_function(wrap_pyfunction!(recipe::fit, module)?)?;
    module.add_function(wrap_pyfunction!(run::unreadable, module)?)?;
    module.add_function(wrap_pyfunction!(check::check, module)?)?;
    module.add_function(wrap_pyfunction!(check::jacobian, module)?)?;
    module.add_function(wrap_pyfunction!(measure::measure, module)?)?;
    module.add_function(wrap_pyfunction!(transport::exact, module)?)?;
    module.add_function(wrap_pyfunction!(transport::sinkhorn, module)?)?;
    module.add_function(wrap_pyfunction!(transport::gromov, module)?)?;
    module.add_function(wrap_pyfunction!(transport::nearest_rows, module)?)?;
    Ok(())
}
