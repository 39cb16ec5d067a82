//! The result of a command, and checks of the global options.

use crate::args::{DeviceArg, GlobalOptions, OutputFormat};
use chiasm_pipeline::Error;

/// The result of a command.
pub type CommandResult<T = ()> = Result<T, Error>;

/// Returns whether results are printed as JSON.
pub fn json(global: &GlobalOptions) -> bool {
    global.format == OutputFormat::Json
}

/// Returns an error for `--device cuda` and `--engine`, for a command that does not use ONNX Runtime.
pub fn check_unused_options(command: &str, global: &GlobalOptions) -> CommandResult {
    let refuse = |message: String, help: &str| Err(Error::input("chiasm::unused_option", message, help));
    if global.device == DeviceArg::Cuda {
        return refuse(
            format!("`chiasm {command}` runs on the CPU only and does not support --device cuda"),
            "remove --device, or use --device cpu",
        );
    }
    if let Some(engine) = &global.engine {
        return refuse(
            format!(
                "`chiasm {command}` does not use ONNX Runtime and does not support --engine {}",
                engine.display()
            ),
            "remove --engine",
        );
    }
    Ok(())
}
