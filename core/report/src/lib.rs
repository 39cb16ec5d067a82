//! One self-contained HTML page about a run: what was merged, whether the merge may be trusted, and why. Or
//! about a comparison: which row is best and by how much. Or about a tuning or an ablation.
//!
//! The page reads what the fit stored (metrics, checks, timings, recipe) and embeds the test items once more
//! for what is not stored: projections, examples with scores, and measures of the geometry with nulls. It is
//! complete without JavaScript; a script in the page adds hovering and filtering. It loads nothing. A table
//! of the test items, with positions and nearest neighbours, is written beside it for other tools.
//!
//! ```no_run
//! use chiasm_pipeline::{Environment, Run, SilentReporter};
//! use std::{path::Path, sync::Arc};
//!
//! # fn main() -> Result<(), chiasm_pipeline::Error> {
//! let env = Environment::discover(Arc::new(SilentReporter));
//! let run = Run::open(Path::new("run"), &env)?;
//! let report = chiasm_report::report(&run)?;
//! println!("{}", report.verdict);
//! report.write(Path::new("report.html"))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! ```text
//! stored        what the fit wrote, as typed data
//! verdict       the sentence that says whether the merge may be trusted
//! sections      the tables of the page: parts, metrics, checks, time
//! sample        the items that the page shows, with their texts and thumbnails
//! projection    principal component analysis
//! tsne, umap    the other two projections
//! layout        all projections of one space, and the nearest neighbours
//! table         the test items as a Parquet file
//! spaces        the spaces before and after the merge, as figures; the table of their geometry
//! examples      queries that succeed and queries that fail
//! curves        spectra, trainings and robustness as figures
//! figure        drawing of figures as SVG
//! page          the context of the template, report.html
//! comparison    the page of a comparison, comparison.html
//! study         the page of a tuning or an ablation, study.html
//! dot_plot      values with whiskers as a figure
//! ```

mod comparison;
mod curves;
mod dot_plot;
mod examples;
mod figure;
mod layout;
mod page;
mod projection;
mod sample;
mod sections;
mod spaces;
mod stored;
mod study;
mod table;
mod tsne;
mod umap;
mod verdict;

use chiasm_pipeline::{Error, Run, visible, write_file};
use std::path::{Path, PathBuf};

pub use comparison::comparison_report;
pub use projection::{Projection, principal_components};
pub use study::study_report;
pub use verdict::Trust;

/// A report on a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The page.
    pub html: String,
    /// The table of the test items of a run, a Parquet file; or why there is none, such as missing data.
    /// `None` for a comparison or a study.
    pub table: Option<Result<Vec<u8>, String>>,
    /// Whether the merge may be trusted.
    pub trust: Trust,
    /// The same in one sentence, with the reasons.
    pub verdict: String,
}

impl Report {
    /// Writes the page to `path`, and the table beside it, with the extension `.parquet`. Each is written to
    /// a temporary file and renamed. Returns the path of the table, if there is one.
    ///
    /// # Errors
    /// If `path` has the name of the table, or a file cannot be written. An existing file is unchanged then.
    pub fn write(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        let table = path.with_extension("parquet");
        if self.table.is_some() && table == path {
            return Err(Error::input(
                "chiasm::report::name",
                format!("{} is the name of the table beside the page", path.display()),
                "name the page, for example -o report.html",
            ));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        write_file(path, self.html.as_bytes())?;
        let Some(Ok(bytes)) = &self.table else { return Ok(None) };
        write_file(&table, bytes)?;
        Ok(Some(table))
    }
}

/// Makes the report on a run. The same run gives the same bytes.
///
/// The test items are embedded, from the cache where it has them. If the data of the run is missing, the
/// sections that need it say so.
///
/// # Errors
/// If a stored file cannot be read or is damaged.
pub fn report(run: &Run<'_>) -> Result<Report, Error> {
    let stored = stored::StoredResults::read(run)?;
    let verdict = verdict::verdict(stored.checks.as_ref(), stored.metrics.as_ref());
    let items = run.test_items().map_err(|e| visible(&e.to_string()).into_owned());
    let html = page::render(run, &stored, &verdict, items.as_deref())?;
    let table = items.and_then(|items| table::table(&items, run.manifest.seed).map_err(|e| e.to_string()));
    Ok(Report { html, table: Some(table), trust: verdict.trust, verdict: verdict.sentence })
}
