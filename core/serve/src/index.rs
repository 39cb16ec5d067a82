//! What is searched: the test items of a run, or the vectors of a file.

use chiasm_pipeline::{Error, Gallery, Run, read_vectors};
use std::path::Path;

/// From this many items on, a gallery is prepared for faster searches. Smaller ones take a millisecond or so.
const MANY: usize = 10_000;

/// Returns the galleries of a run: those of a file, or its test items.
///
/// # Errors
/// If the file or the data of the run cannot be read.
pub fn galleries(run: &Run<'_>, file: Option<&Path>) -> Result<Vec<Gallery>, Error> {
    let found = match file {
        Some(file) => of_file(run, file)?,
        None => run.galleries()?,
    };
    let prepared = |gallery: Gallery| if gallery.ids.len() < MANY { gallery } else { gallery.prepared() };
    Ok(found.into_iter().map(prepared).collect())
}

fn of_file(run: &Run<'_>, file: &Path) -> Result<Vec<Gallery>, Error> {
    let mut found = Vec::new();
    for modality in &run.manifest.modalities {
        if let Some(stored) = read_vectors(file, &modality.output)? {
            found.push(Gallery::new(modality.name.clone(), stored.ids, Vec::new(), stored.vectors));
        }
        if file.extension().is_some_and(|extension| extension == "npy") {
            // An .npy file has one matrix, which items of every modality are compared with.
            found.iter_mut().for_each(|only| only.modality = "vectors".to_owned());
            break;
        }
    }
    if found.is_empty() {
        let message = format!("{} has no column of embeddings of the run", file.display());
        let help = "give a file that `chiasm run RUN --input ROWS -o OUT.parquet` wrote, or an .npy file";
        return Err(Error::input("chiasm::serve::index", message, help));
    }
    Ok(found)
}
