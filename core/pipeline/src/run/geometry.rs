//! Measures of the aligned test items of every pair of modalities.

use super::{open::Run, truth::joint};
use crate::base::error::Error;
use chiasm_geometry::measure::{MeasureOptions, measure};
use std::collections::BTreeMap;

/// The measures by key, for each pair of modalities that two or more test rows hold together.
pub type PairGeometry = BTreeMap<String, BTreeMap<String, f64>>;

impl Run<'_> {
    /// Measures the aligned vectors of each pair of modalities, on the first items of the test rows that hold
    /// both. Measures that do not apply are left out.
    ///
    /// # Errors
    /// If the data or an item cannot be read, or a measure of `only` does not exist.
    pub fn measure_geometry(&self, only: &[String]) -> Result<PairGeometry, Error> {
        let aligned = &self.held_out()?.aligned;
        let options = MeasureOptions::new().only(only.to_vec()).seed(self.manifest.seed);
        let mut pairs = PairGeometry::new();
        for (at, first) in aligned.iter().enumerate() {
            for second in &aligned[at + 1..] {
                let (clouds, rows) = joint(&[first, second]);
                if rows.len() < 2 {
                    continue;
                }
                let name = format!("{}, {}", first.name, second.name);
                let report = measure(clouds[0].view(), clouds[1].view(), &options, &|_, _, _| {});
                let report = report.map_err(|error| {
                    let help = "see `chiasm measure --help` for the measures";
                    Error::input("chiasm::eval::geometry", format!("{name}: {error}"), help)
                })?;
                let values = report.measures.into_iter().map(|(key, found)| (key, found.value));
                pairs.insert(name, values.collect());
            }
        }
        Ok(pairs)
    }
}
