//! Printing how well a run determines known factors.

use crate::print;
use chiasm_pipeline::{FactorScores, Identifiability};

/// Prints the scores of every modality, and FOSCTTM of every pair.
pub fn print(found: &Identifiability) {
    let row = |name: &str, scores: &FactorScores| {
        let figures = [scores.mcc, scores.r2_linear, scores.r2_kernel].map(|value| format!("{value:.3}"));
        [vec![name.to_owned(), scores.items.to_string()], figures.to_vec()].concat()
    };
    let mut rows: Vec<Vec<String>> =
        found.modalities.iter().map(|(name, scores)| row(name, scores)).collect();
    rows.extend(found.mean_of_modalities.iter().map(|scores| row("mean of the modalities", scores)));
    print::line("");
    let title = format!("{} true factors", found.factors);
    print::table(&[&title, "items", "MCC", "R2, linear", "R2, kernel"], rows, 1);
    print::line("");
    let rows = found.foscttm.iter().map(|(pair, value)| vec![pair.clone(), format!("{value:.4}")]).collect();
    print::table(&["closer than the true match", "FOSCTTM"], rows, 1);
}
