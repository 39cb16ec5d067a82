//! Writing a benchmark.

use super::factors::{BenchmarkSplit, ModalityFactors, RowFactors};
use super::manifold::Geometry;
use super::network::ObservationNetwork;
use super::oracle::{BenchmarkCeilings, OracleRetrieval, Seen, retrieval};
use super::settings::{BenchmarkSettings, MODALITIES};
use crate::dataset::{self, Error};
use crate::npy::NpyWriter;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Rows that are computed at once, so that memory does not grow with the number of columns.
const BLOCK: usize = 4096;

/// The formula of the benchmark, line by line, for its report.
const FORMULA: [&str; 7] = [
    "s ~ N(0, I): shared factors, in latents.npy",
    "v_mj = rho_j s_j + sqrt(1 - rho_j^2) e_mj, e ~ N(0, I): what modality m sees of factor j",
    "rho_j = coupling (1 - coupling_spread j / (shared - 1))",
    "p_m ~ N(0, I): private factors, in private.npy, those of the first modality first",
    "c_m = g_m([v_m, p_m]): a point on the manifold of the modality",
    "x_m = standardise(B_m sin(A_m c_m + b_m)) + noise N(0, I), A ~ gain N(0, 1), B ~ N(0, 1)",
    "class = sum of 2^j over the positive ones of the first three shared factors; label: the class, or \
     with the probability label_noise another one",
];

/// The content of `benchmark.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkReport {
    /// The settings.
    pub settings: BenchmarkSettings,
    /// The generating formula.
    pub formula: Vec<String>,
    /// The modalities.
    pub modalities: Vec<ModalityReport>,
    /// The coupling of every shared factor.
    pub couplings: Vec<f64>,
    /// Number of classes of the label.
    pub classes: usize,
    /// Number of rows of every split.
    pub splits: BTreeMap<BenchmarkSplit, usize>,
    /// The expected scores of a predictor that knows the view of a modality exactly.
    pub ceilings: BenchmarkCeilings,
    /// Retrieval on the test rows by a predictor that knows the views and their joint distribution.
    pub oracle_retrieval: BTreeMap<String, OracleRetrieval>,
    /// Sum of the oracle's recall@1, @5 and @10 of all directions, in percent.
    pub oracle_rsum: f64,
}

/// One modality of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModalityReport {
    /// The name, which is also the column of `pairs.jsonl`.
    pub name: String,
    /// The file of vectors. Its rows are the items in the order of `pairs.jsonl`.
    pub file: String,
    /// The geometry of its factors.
    pub geometry: Geometry,
    /// Number of columns.
    pub width: usize,
    /// Number of items.
    pub items: usize,
}

/// Writes a benchmark into the folder, which is created if it does not exist: a file of vectors per modality,
/// `latents.npy`, `private.npy`, `labels.npy` (the classes without noise), `pairs.jsonl`, `recipe.toml` and
/// `benchmark.json`. Returns the report.
///
/// # Errors
/// If a setting is out of range, or a file cannot be written.
pub fn write_benchmark(settings: &BenchmarkSettings, folder: &Path) -> Result<BenchmarkReport, Error> {
    settings.check()?;
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    let rows: Vec<RowFactors> =
        (0..settings.rows).into_par_iter().map(|row| RowFactors::of(settings, row)).collect();
    write_truth(settings, folder, &rows)?;
    let modalities: Vec<ModalityReport> = (0..settings.geometries.len())
        .map(|modality| write_vectors(settings, folder, &rows, modality))
        .collect::<Result<_, _>>()?;
    write_text(&folder.join("recipe.toml"), &recipe(&modalities))?;
    dataset::write_lines(&pairs(&rows, &modalities), &folder.join("pairs.jsonl"))?;
    let report = report(settings, &rows, modalities);
    dataset::write_lines(&[&report], &folder.join("benchmark.json"))?;
    Ok(report)
}

/// Writes the true factors and classes.
pub(super) fn write_truth(
    settings: &BenchmarkSettings,
    folder: &Path,
    rows: &[RowFactors],
) -> Result<(), Error> {
    let modalities = settings.geometries.len();
    let mut latents = NpyWriter::new::<f32>(&folder.join("latents.npy"), &[rows.len(), settings.shared])?;
    let width = settings.private * modalities;
    let mut private = NpyWriter::new::<f32>(&folder.join("private.npy"), &[rows.len(), width])?;
    let mut labels = NpyWriter::new::<i64>(&folder.join("labels.npy"), &[rows.len()])?;
    for (row, factors) in rows.iter().enumerate() {
        latents.write(&single(&factors.shared))?;
        for modality in 0..modalities {
            private.write(&single(&ModalityFactors::of(settings, row, modality, &factors.shared).private))?;
        }
        labels.write(&[factors.class as i64])?;
    }
    latents.finish()?;
    private.finish()?;
    labels.finish()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Writes the vectors of the rows that have the modality.
fn write_vectors(
    settings: &BenchmarkSettings,
    folder: &Path,
    rows: &[RowFactors],
    modality: usize,
) -> Result<ModalityReport, Error> {
    let name = MODALITIES[modality];
    let file = format!("{name}.npy");
    let network = ObservationNetwork::new(settings, modality);
    let present: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].present[modality]).collect();
    let width = settings.width(modality);
    let mut writer = NpyWriter::new::<f32>(&folder.join(&file), &[present.len(), width])?;
    for block in present.chunks(BLOCK) {
        let vector = |row: &usize| {
            let seen = ModalityFactors::of(settings, *row, modality, &rows[*row].shared);
            let clean = network.observe(&seen.all());
            let noisy = clean.iter().zip(&seen.noise).map(|(x, e)| (x + settings.noise * e) as f32);
            noisy.collect::<Vec<f32>>()
        };
        let vectors: Vec<Vec<f32>> = block.par_iter().map(vector).collect();
        vectors.iter().try_for_each(|vector| writer.write(vector))?;
    }
    writer.finish()?;
    let geometry = settings.geometries[modality];
    Ok(ModalityReport { name: name.to_owned(), file, geometry, width, items: present.len() })
}

/// Returns the lines of `pairs.jsonl`: id, split, the item of every modality that the row has, label and
/// class.
fn pairs(rows: &[RowFactors], modalities: &[ModalityReport]) -> Vec<Map<String, Value>> {
    let mut next = vec![0; modalities.len()];
    let line = |(row, factors): (usize, &RowFactors)| {
        let mut line = Map::new();
        line.insert("id".into(), row.into());
        line.insert("split".into(), json!(BenchmarkSplit::of(row)));
        for (at, modality) in modalities.iter().enumerate().filter(|(at, _)| factors.present[*at]) {
            line.insert(modality.name.clone(), next[at].into());
            next[at] += 1;
        }
        line.insert("label".into(), factors.label.into());
        line.insert("class".into(), factors.class.into());
        line
    };
    rows.iter().enumerate().map(line).collect()
}

fn recipe(modalities: &[ModalityReport]) -> String {
    let mut text = "# Fits the benchmark in this folder.\n".to_owned();
    for one in modalities {
        text += &format!("[encoders.{}]\nvectors = \"{}\"\n\n", one.name, one.file);
    }
    text + "[data]\npairs = \"pairs.jsonl\"\n\n[align]\nplugin = \"cca\"\n"
}

/// Writes a text under a temporary name, then renames it.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    let unfinished = path.with_added_extension("tmp");
    let write = || {
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn report(
    settings: &BenchmarkSettings,
    rows: &[RowFactors],
    modalities: Vec<ModalityReport>,
) -> BenchmarkReport {
    let mut splits = BTreeMap::new();
    (0..rows.len()).for_each(|row| *splits.entry(BenchmarkSplit::of(row)).or_default() += 1);
    let oracle_retrieval = oracle(settings, rows, &modalities);
    let recalls = |found: &OracleRetrieval| found.recall_at_1 + found.recall_at_5 + found.recall_at_10;
    BenchmarkReport {
        settings: settings.clone(),
        formula: FORMULA.map(str::to_owned).to_vec(),
        modalities,
        couplings: settings.couplings(),
        classes: settings.classes(),
        splits,
        ceilings: BenchmarkCeilings::of(settings),
        oracle_rsum: 100.0 * oracle_retrieval.values().map(recalls).sum::<f64>(),
        oracle_retrieval,
    }
}

/// Returns the oracle's retrieval on the test rows, for every ordered pair of modalities.
fn oracle(
    settings: &BenchmarkSettings,
    rows: &[RowFactors],
    modalities: &[ModalityReport],
) -> BTreeMap<String, OracleRetrieval> {
    let seen = |modality: usize| -> Vec<Seen> {
        let test =
            (0..rows.len()).into_par_iter().filter(|row| BenchmarkSplit::of(*row) == BenchmarkSplit::Test);
        let has = test.filter(|row| rows[*row].present[modality]);
        let view = |row: usize| ModalityFactors::of(settings, row, modality, &rows[row].shared).view;
        has.map(|row| (row, view(row))).collect()
    };
    let all: Vec<Vec<Seen>> = (0..modalities.len()).map(seen).collect();
    let mut found = BTreeMap::new();
    for (a, queries) in all.iter().enumerate() {
        for (b, gallery) in all.iter().enumerate().filter(|(b, _)| *b != a) {
            if let Some(one) = retrieval(&settings.couplings(), queries, gallery) {
                found.insert(format!("{}->{}", modalities[a].name, modalities[b].name), one);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(settings: &BenchmarkSettings) -> (tempfile::TempDir, BenchmarkReport) {
        let folder = tempfile::tempdir().unwrap();
        let report = write_benchmark(settings, folder.path()).unwrap();
        (folder, report)
    }

    fn lines(folder: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(folder.join("pairs.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the numbers after the header of 128 bytes.
    fn floats(path: &Path) -> Vec<f32> {
        let bytes = std::fs::read(path).unwrap();
        bytes[128..].chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
    }

    #[test]
    fn the_folder_holds_every_item_once_in_the_order_of_the_rows() {
        let settings = BenchmarkSettings { rows: 300, missing: 0.4, label_noise: 0.3, ..Default::default() };
        let (folder, report) = written(&settings);
        let rows = lines(folder.path());
        assert_eq!(rows.len(), 300);
        for (m, modality) in report.modalities.iter().enumerate() {
            let network = ObservationNetwork::new(&settings, m);
            let vectors = floats(&folder.path().join(&modality.file));
            assert_eq!(vectors.len(), modality.items * modality.width);
            let items =
                rows.iter().enumerate().filter_map(|(i, row)| Some((i, row.get(&modality.name)?.as_u64()?)));
            let items: Vec<(usize, u64)> = items.collect();
            assert!(items.iter().map(|(_, item)| *item).eq(0..modality.items as u64));
            let (row, item) = items[items.len() / 2];
            let shared = RowFactors::of(&settings, row).shared;
            let seen = ModalityFactors::of(&settings, row, m, &shared);
            let expected = network.observe(&seen.all())[0] + settings.noise * seen.noise[0];
            assert_eq!(vectors[item as usize * modality.width], expected as f32);
        }
        let noisy = rows.iter().filter(|row| row["label"] != row["class"]).count();
        assert!((50..130).contains(&noisy), "{noisy} of 300 labels differ");
        let stored = std::fs::read_to_string(folder.path().join("benchmark.json")).unwrap();
        assert_eq!(stored, serde_json::to_string(&report).unwrap() + "\n");
        assert_eq!(serde_json::from_str::<BenchmarkReport>(&stored).unwrap().settings, settings);
    }

    #[test]
    fn a_larger_benchmark_begins_with_the_smaller_one() {
        let small = BenchmarkSettings { rows: 40, ..Default::default() };
        let (a, _) = written(&small);
        let (b, _) = written(&BenchmarkSettings { rows: 70, ..small.clone() });
        for file in ["picture.npy", "caption.npy", "sound.npy", "table.npy", "latents.npy", "private.npy"] {
            let [short, long] = [&a, &b].map(|folder| floats(&folder.path().join(file)));
            assert_eq!(short[..], long[..short.len()], "{file}");
        }
        assert_eq!(lines(a.path())[..], lines(b.path())[..40]);
        let (again, _) = written(&small);
        for file in ["picture.npy", "labels.npy", "benchmark.json", "recipe.toml"] {
            let [one, other] = [&a, &again].map(|folder| std::fs::read(folder.path().join(file)).unwrap());
            assert_eq!(one, other, "{file}");
        }
    }

    #[test]
    fn the_oracle_is_far_above_chance_and_lists_every_direction() {
        let (_folder, report) = written(&BenchmarkSettings { rows: 1000, ..Default::default() });
        assert_eq!(report.oracle_retrieval.len(), 12);
        assert_eq!(report.splits[&BenchmarkSplit::Test], 200);
        for (name, one) in &report.oracle_retrieval {
            assert!(one.recall_at_10 > 0.8 && one.foscttm < 0.02, "{name}: {one:?}");
        }
        let most = 300.0 * 12.0;
        assert!(report.oracle_rsum > 0.6 * most && report.oracle_rsum <= most);
    }

    #[test]
    fn a_setting_that_collapses_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = BenchmarkSettings { curvature: 1.1, ..Default::default() };
        let error = write_benchmark(&settings, &folder.path().join("new")).unwrap_err().to_string();
        assert!(error.contains("torus"), "{error}");
        assert!(!folder.path().join("new").exists());
    }
}
