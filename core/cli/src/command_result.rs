//! How a verb ends, how it prints, and which of everybody's options it refuses.

use crate::args::{DeviceArg, GlobalOptions, OutputFormat};
use chiasm_pipeline::Error;

/// What a verb ends with.
pub type CommandResult<T = ()> = Result<T, Error>;

/// Whether results are printed as JSON.
pub fn json(global: &GlobalOptions) -> bool {
    global.format == OutputFormat::Json
}

/// Refuses `--device cuda` and `--engine` for a verb that runs in Chiasm's own code on the CPU.
pub fn runs_without_engine(verb: &str, global: &GlobalOptions) -> CommandResult {
    let refuse = |message: String, help: &str| Err(Error::input("chiasm::unused_option", message, help));
    if global.device == DeviceArg::Cuda {
        return refuse(
            format!(
                "`chiasm {verb}` runs on the CPU only, in Chiasm's own code: it cannot use --device cuda"
            ),
            "leave --device out, or say --device cpu",
        );
    }
    if let Some(engine) = &global.engine {
        return refuse(
            format!("`chiasm {verb}` needs no ONNX Runtime: it cannot use --engine {}", engine.display()),
            "leave --engine out",
        );
    }
    Ok(())
}
