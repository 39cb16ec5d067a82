//! Comparison of a run with the true factors of generated data.

use super::{model::AlignedItems, open::Run};
use crate::base::{error::Error, npy::read_matrix};
use chiasm_geometry::{
    foscttm::foscttm,
    identifiability::{Probe, factor_r2, held_out_predictions, mean_correlation},
};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// Folds of the regressions from vectors to factors.
const FOLDS: usize = 5;
/// The most items of the kernel regression, and the most rows of FOSCTTM, whose costs grow with the cube and
/// the square of their number. Of more, evenly spaced ones are taken.
const KERNEL_ITEMS: usize = 1000;
const PAIRED_ROWS: usize = 20_000;

/// How well the aligned vectors of the test items determine known factors.
///
/// The vectors are the maps' unit vectors `z`, without a hubness bank.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identifiability {
    /// Number of factors.
    pub factors: usize,
    /// The scores of the vectors of each modality.
    pub modalities: BTreeMap<String, FactorScores>,
    /// The scores of the mean vector of all modalities, on the rows that lack none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_of_modalities: Option<FactorScores>,
    /// Fraction of samples closer than the true match (Liu et al. 2019), of each pair of modalities, in both
    /// directions, on the rows that have both; 0 is best, 0.5 is chance.
    pub foscttm: BTreeMap<String, f64>,
}

/// The scores of some vectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FactorScores {
    /// Number of vectors.
    pub items: usize,
    /// Mean correlation coefficient (Hyvärinen and Morioka 2016): 1 if the factors are found up to order,
    /// sign and scale.
    pub mcc: f64,
    /// R2 of the factors by ridge regression on held-out items, mean over the factors: 1 if they are found up
    /// to a linear map.
    pub r2_linear: f64,
    /// R2 of the factors by kernel ridge regression on held-out items, mean over the factors: 1 if they are
    /// found up to a smooth map.
    pub r2_kernel: f64,
    /// Number of vectors of the kernel regression.
    pub kernel_items: usize,
    /// The absolute correlation of each factor with its component.
    pub correlations: Vec<f64>,
    /// `r2_linear` of each factor.
    pub r2_linear_of_factors: Vec<f64>,
    /// `r2_kernel` of each factor.
    pub r2_kernel_of_factors: Vec<f64>,
}

/// Vectors with the row of each, in ascending order.
struct Vectors {
    values: Array2<f64>,
    rows: Vec<usize>,
}

impl Run<'_> {
    /// Compares the aligned test items with the true factors in an .npy file `[rows of the data, factors]`.
    ///
    /// # Errors
    /// If the file cannot be read, has another number of rows than the data, or a factor is constant; if the
    /// data or an item cannot be read; if the vectors of a modality are all equal.
    pub fn measure_truth(&self, file: &Path) -> Result<Identifiability, Error> {
        let truth = read_matrix(file)?;
        let rows = self.data()?.dataset.len();
        if truth.nrows() != rows {
            let found = truth.nrows();
            let message = format!(
                "{}: expected one row for each of the {rows} rows of the data, got {found}",
                file.display()
            );
            return Err(Error::input(
                "chiasm::eval::truth",
                message,
                "row i must belong to row i of the data",
            ));
        }
        let aligned = &self.held_out()?.aligned;
        let mut modalities = BTreeMap::new();
        for own in aligned {
            let scores = scores(&Vectors::of(own), &truth).map_err(failed(&own.name, file))?;
            modalities.insert(own.name.clone(), scores);
        }
        let mean = mean_of(aligned).map(|mean| scores(&mean, &truth));
        let mut pairs = BTreeMap::new();
        for (at, first) in aligned.iter().enumerate() {
            for second in &aligned[at + 1..] {
                let name = format!("{}, {}", first.name, second.name);
                let found = closer(first, second).transpose().map_err(failed(&name, file))?;
                pairs.extend(found.map(|found| (name, found)));
            }
        }
        Ok(Identifiability {
            factors: truth.ncols(),
            modalities,
            mean_of_modalities: mean.transpose().map_err(failed("the mean of the modalities", file))?,
            foscttm: pairs,
        })
    }
}

fn failed(what: &str, file: &Path) -> impl FnOnce(chiasm_geometry::Error) -> Error {
    let message = format!("{what} cannot be compared with {}", file.display());
    move |error| {
        let help = "give finite factors that vary over ten or more test rows";
        Error::input("chiasm::eval::truth", format!("{message}: {error}"), help)
    }
}

impl Vectors {
    fn of(items: &AlignedItems) -> Self {
        Self { values: items.z.mapv(f64::from), rows: items.rows.clone() }
    }

    /// Returns at most `most` vectors, evenly spaced.
    fn thinned(&self, most: usize) -> Self {
        let count = self.rows.len();
        let kept: Vec<usize> = (0..count.min(most)).map(|at| at * count / count.min(most)).collect();
        let rows = kept.iter().map(|at| self.rows[*at]).collect();
        Self { values: self.values.select(Axis(0), &kept), rows }
    }

    /// Returns the fold of every vector. Vectors of a row are in the same fold.
    fn folds(&self) -> Vec<usize> {
        let mut distinct = 0;
        let fold = |at: usize| {
            distinct += usize::from(at > 0 && self.rows[at] != self.rows[at - 1]);
            distinct % FOLDS
        };
        (0..self.rows.len()).map(fold).collect()
    }

    /// Returns R2 of every factor.
    fn r2(&self, truth: &Array2<f64>, probe: Probe) -> chiasm_geometry::Result<Vec<f64>> {
        let truth = truth.select(Axis(0), &self.rows);
        let guess = held_out_predictions(truth.view(), self.values.view(), &self.folds(), probe)?;
        factor_r2(truth.view(), guess.view())
    }
}

fn scores(vectors: &Vectors, truth: &Array2<f64>) -> chiasm_geometry::Result<FactorScores> {
    let own = truth.select(Axis(0), &vectors.rows);
    let matched = mean_correlation(own.view(), vectors.values.view())?;
    let linear = vectors.r2(truth, Probe::Linear)?;
    let few = vectors.thinned(KERNEL_ITEMS);
    let kernel = few.r2(truth, Probe::Kernel)?;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(FactorScores {
        items: vectors.rows.len(),
        mcc: matched.mcc,
        r2_linear: mean(&linear),
        r2_kernel: mean(&kernel),
        kernel_items: few.rows.len(),
        correlations: matched.correlations,
        r2_linear_of_factors: linear,
        r2_kernel_of_factors: kernel,
    })
}

/// Returns the place of the first item of every row.
fn first_items(items: &AlignedItems) -> HashMap<usize, usize> {
    let mut first = HashMap::new();
    items.rows.iter().enumerate().for_each(|(at, row)| _ = first.entry(*row).or_insert(at));
    first
}

/// Returns the first items of the rows that all of these modalities have, and the rows.
pub(super) fn joint(modalities: &[&AlignedItems]) -> (Vec<Array2<f64>>, Vec<usize>) {
    let places: Vec<HashMap<usize, usize>> = modalities.iter().map(|own| first_items(own)).collect();
    let mut rows: Vec<usize> = places.first().into_iter().flat_map(|first| first.keys().copied()).collect();
    rows.retain(|row| places.iter().all(|of| of.contains_key(row)));
    rows.sort_unstable();
    let select = |(own, of): (&&AlignedItems, &HashMap<usize, usize>)| {
        let kept: Vec<usize> = rows.iter().map(|row| of[row]).collect();
        own.z.select(Axis(0), &kept).mapv(f64::from)
    };
    (modalities.iter().zip(&places).map(select).collect(), rows)
}

/// Returns the mean vector of all modalities, or `None` if fewer than ten rows have all of them.
fn mean_of(aligned: &[AlignedItems]) -> Option<Vectors> {
    let (clouds, rows) = joint(&aligned.iter().collect::<Vec<_>>());
    let count = clouds.len() as f64;
    let sum = clouds.into_iter().reduce(|sum, cloud| sum + cloud)?;
    (rows.len() >= 2 * FOLDS).then(|| Vectors { values: sum / count, rows })
}

/// Returns FOSCTTM of two modalities, or `None` if fewer than two rows have both.
fn closer(first: &AlignedItems, second: &AlignedItems) -> Option<chiasm_geometry::Result<f64>> {
    let (clouds, rows) = joint(&[first, second]);
    let clouds =
        clouds.into_iter().map(|values| Vectors { values, rows: rows.clone() }.thinned(PAIRED_ROWS).values);
    let clouds: Vec<Array2<f64>> = clouds.collect();
    (rows.len() >= 2).then(|| foscttm(clouds[0].view(), clouds[1].view()))
}
