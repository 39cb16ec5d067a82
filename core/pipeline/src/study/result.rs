//! The result of a study, as its folder holds it.

use super::{
    ablate::AblationReport,
    folder::{ABLATION, IDENTITY, TUNING},
    trial::TuneReport,
};
use crate::base::error::Error;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What helps if there is no result.
const AGAIN: &str = "run the study again with the same -o: finished fits are not repeated";
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

/// Returns whether a folder is that of a tuning or of an ablation, which may not have finished.
pub fn is_study(folder: &Path) -> bool {
    folder.join(IDENTITY).is_file()
}

/// Reads the result of the study in a folder.
///
/// # Errors
/// If the study has not finished, or its result cannot be read.
pub fn read_study(folder: &Path) -> Result<StudyResult, Error> {
    let (tuning, ablation) = (folder.join(TUNING), folder.join(ABLATION));
    match (tuning.is_file(), ablation.is_file()) {
        (true, _) => read(&tuning).map(StudyResult::Tuning),
        (false, true) => read(&ablation).map(StudyResult::Ablation),
        (false, false) => {
            let message = format!("the study in {} has not finished", folder.display());
            Err(Error::input("chiasm::study::unfinished", message, AGAIN))
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = chiasm_host::read_file(path, MOST).map_err(|e| Error::io("read", path, e))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::input("chiasm::study::damaged", format!("{}: {e}", path.display()), AGAIN))
}
