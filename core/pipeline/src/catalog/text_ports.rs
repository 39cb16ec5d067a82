//! Models with ports of text, such as exports that tokenize: adapters do not read them.

use crate::base::problem::Problem;
use chiasm_graph::{DType, Graph};

/// Returns an error for a model with a port of text.
///
/// # Errors
/// In this case.
pub fn check_no_text(model: &Graph) -> Result<(), Problem> {
    let mut ports = model.inputs().into_iter().chain(model.outputs());
    let Some(port) = ports.find(|port| port.dtype == DType::Str) else { return Ok(()) };
    let message = format!("port `{}` is text; adapters give a model numbers", port.name);
    Err(Problem::new("chiasm::model::graph", message).help("export the model without its tokenizer"))
}
