//! The result of a study, as its folder holds it.

use super::{
    ablate::AblationReport,
    folder::{ABLATION, TUNING},
    trial::TuneReport,
};
use crate::base::error::Error;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The largest size of a result, in bytes.
const MOST: u64 = 256 << 20;

/// The result of a tuning or of an ablation.
#[derive(Debug, Clone)]
pub enum StudyResult {
    /// The result of [`crate::tune()`].
    Tuning(TuneReport),
    /// The result of [`crate::ablate()`].
    Ablation(AblationReport),
}

/// Returns whether a folder holds the result of a tuning or of an ablation.
pub fn is_study(folder: &Path) -> bool {
    [TUNING, ABLATION].iter().any(|name| folder.join(name).is_file())
}

/// Reads the result of the study in a folder.
///
/// # Errors
/// If the folder holds none, or it cannot be read.
pub fn read_study(folder: &Path) -> Result<StudyResult, Error> {
    match folder.join(TUNING).is_file() {
        true => read(&folder.join(TUNING)).map(StudyResult::Tuning),
        false => read(&folder.join(ABLATION)).map(StudyResult::Ablation),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = chiasm_host::read_file(path, MOST).map_err(|e| Error::io("read", path, e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let help = "run the study again with the same -o: finished fits are not repeated";
        Error::input("chiasm::study::damaged", format!("{}: {e}", path.display()), help)
    })
}
