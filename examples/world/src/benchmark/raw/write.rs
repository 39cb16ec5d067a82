//! Writing raw items.

use super::{FACTORS, RawItem, caption, picture, sound};
use crate::benchmark::factors::{BenchmarkSplit, RowFactors};
use crate::benchmark::oracle::BenchmarkCeilings;
use crate::benchmark::settings::{BenchmarkSettings, MODALITIES};
use crate::benchmark::write::{write_text, write_truth};
use crate::dataset::{self, Error};
use crate::npy::NpyWriter;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Rows that are rendered at once.
const BLOCK: usize = 1024;

/// The content of `scenes.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawReport {
    /// The settings.
    pub settings: BenchmarkSettings,
    /// The coupling of every shared factor.
    pub couplings: Vec<f64>,
    /// Number of items of each modality.
    pub items: Vec<(String, usize)>,
    /// Number of columns of `table.npy` and of `sound.npy`.
    pub widths: [usize; 2],
    /// The expected scores of a predictor that knows the view of a modality exactly. Captions have fewer
    /// words than the view has values, so that less can be reached from them.
    pub ceilings: BenchmarkCeilings,
}

/// The rendered items of one row; `None` for a modality that the row lacks.
struct Rendered {
    paths: [Option<String>; 2],
    caption: Option<String>,
    energies: Option<Vec<f32>>,
    measurements: Option<Vec<f32>>,
}

/// Writes raw items of four modalities into the folder, which is created if it does not exist:
/// `pictures/*.png`, `sounds/*.wav`, `sound.npy` (band energies), `table.npy` and `table.csv`
/// (measurements), `pairs.jsonl` with the captions, the truth as in [`crate::benchmark::write_benchmark`],
/// `recipe.toml` and `scenes.json`. Returns the report.
///
/// # Errors
/// If a setting is out of range, the settings have other numbers of factors or modalities, or a file cannot
/// be written.
pub fn write_raw(settings: &BenchmarkSettings, folder: &Path) -> Result<RawReport, Error> {
    check(settings)?;
    for name in ["pictures", "sounds"] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })?;
    }
    let rows: Vec<RowFactors> =
        (0..settings.rows).into_par_iter().map(|row| RowFactors::of(settings, row)).collect();
    write_truth(settings, folder, &rows)?;
    let count = |m: usize| rows.iter().filter(|row| row.present[m]).count();
    let width = settings.geometries[3].coordinates(settings.factors(), settings.curvature);
    let mut energies = NpyWriter::new::<f32>(&folder.join("sound.npy"), &[count(2), sound::FEATURES])?;
    let mut table = NpyWriter::new::<f32>(&folder.join("table.npy"), &[count(3), width])?;
    let names: Vec<String> = (1..=width).map(|at| format!("m{at:02}")).collect();
    let mut csv = format!("row,{}\n", names.join(","));
    let (mut lines, mut next) = (Vec::with_capacity(rows.len()), [0_usize; 2]);
    for (block, start) in rows.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
        let render = |(at, factors): (usize, &RowFactors)| render(settings, folder, start + at, factors);
        let rendered: Vec<Rendered> = block.par_iter().enumerate().map(render).collect::<Result<_, _>>()?;
        for ((row, factors), items) in (start..).zip(block).zip(rendered) {
            lines.push(line(row, factors, &items, &mut next));
            if let Some(values) = &items.energies {
                energies.write(values)?;
            }
            if let Some(values) = &items.measurements {
                table.write(values)?;
                let cells: Vec<String> = values.iter().map(f32::to_string).collect();
                csv += &format!("{row},{}\n", cells.join(","));
            }
        }
    }
    energies.finish()?;
    table.finish()?;
    write_text(&folder.join("table.csv"), &csv)?;
    write_text(&folder.join("recipe.toml"), RECIPE)?;
    dataset::write_lines(&lines, &folder.join("pairs.jsonl"))?;
    let report = RawReport {
        settings: settings.clone(),
        couplings: settings.couplings(),
        items: MODALITIES.iter().enumerate().map(|(m, name)| ((*name).to_owned(), count(m))).collect(),
        widths: [width, sound::FEATURES],
        ceilings: BenchmarkCeilings::of(settings),
    };
    dataset::write_lines(&[&report], &folder.join("scenes.json"))?;
    Ok(report)
}

/// The recipe with the demo's encoders of pictures and captions, and the fixed features of the others.
const RECIPE: &str = "# Fits the scenes in this folder. The encoders are those of models/.
[encoders.picture]
model = \"demo-image\"

[encoders.caption]
model = \"demo-text\"

[encoders.sound]
vectors = \"sound.npy\"
column = \"sound_row\"

[encoders.table]
vectors = \"table.npy\"

[data]
pairs = \"pairs.jsonl\"

[align]
plugin = \"cca\"
";

fn check(settings: &BenchmarkSettings) -> Result<(), Error> {
    settings.check()?;
    let found = [settings.shared, settings.private];
    if found != FACTORS || settings.geometries.len() != MODALITIES.len() {
        return Err(Error::Setting {
            what: "--shared, --private and --modalities",
            expected: format!("{}, {} and {}", FACTORS[0], FACTORS[1], MODALITIES.len()),
            got: format!("{}, {} and {}", found[0], found[1], settings.geometries.len()),
            help: "every factor has its place in a raw item; use the command benchmark for others".to_owned(),
        });
    }
    Ok(())
}

/// Renders the items of a row and writes its picture and its recording.
fn render(
    settings: &BenchmarkSettings,
    folder: &Path,
    row: usize,
    factors: &RowFactors,
) -> Result<Rendered, Error> {
    let item = |modality: usize| {
        factors.present[modality].then(|| RawItem::of(settings, row, modality, &factors.shared))
    };
    let picture = item(0).map(|item| {
        let name = format!("pictures/{row:06}.png");
        let path = folder.join(&name);
        picture::render(item).save(&path).map_err(|source| Error::Picture { path, source }).map(|()| name)
    });
    let recording = item(2).map(|item| {
        let samples = sound::synthesise(item);
        let name = format!("sounds/{row:06}.wav");
        let path = folder.join(&name);
        std::fs::write(&path, sound::wav(&samples)).map_err(|source| Error::Write { path, source })?;
        Ok::<_, Error>((name, sound::band_energies(&samples)))
    });
    let (sound, energies) = recording.transpose()?.unzip();
    let measured = |item: RawItem| item.blurred().coordinates.into_iter().map(|value| value as f32).collect();
    Ok(Rendered {
        paths: [picture.transpose()?, sound],
        caption: item(1).map(caption::write),
        energies,
        measurements: item(3).map(measured),
    })
}

/// Returns the line of `pairs.jsonl`. `next` holds the next rows of `sound.npy` and `table.npy`.
fn line(row: usize, factors: &RowFactors, items: &Rendered, next: &mut [usize; 2]) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("id".into(), row.into());
    line.insert("split".into(), json!(BenchmarkSplit::of(row)));
    let texts = [("picture", &items.paths[0]), ("caption", &items.caption), ("sound", &items.paths[1])];
    for (name, text) in texts {
        line.extend(text.clone().map(|text| (name.to_owned(), text.into())));
    }
    let numbered = [("sound_row", &items.energies), ("table", &items.measurements)];
    for ((name, _), next) in numbered.iter().zip(next).filter(|((_, values), _)| values.is_some()) {
        line.insert((*name).into(), (*next).into());
        *next += 1;
    }
    line.insert("label".into(), factors.label.into());
    line.insert("class".into(), factors.class.into());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BenchmarkSettings {
        BenchmarkSettings { rows: 60, missing: 0.3, ..Default::default() }
    }

    #[test]
    fn the_folder_holds_what_the_rows_name() {
        let folder = tempfile::tempdir().unwrap();
        let report = write_raw(&settings(), folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("pairs.jsonl")).unwrap();
        let mut found = [0; 4];
        for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            for (m, name) in MODALITIES.iter().enumerate() {
                found[m] += usize::from(line.get(*name).is_some());
            }
            for name in ["picture", "sound"] {
                if let Some(path) = line.get(name).and_then(Value::as_str) {
                    assert!(folder.path().join(path).is_file(), "{path}");
                }
            }
            assert_eq!(line.get("sound").is_some(), line.get("sound_row").is_some());
        }
        assert!(report.items.iter().map(|(_, items)| *items).eq(found));
        let length = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len() as usize;
        assert_eq!(length("sound.npy"), 128 + 4 * found[2] * sound::FEATURES);
        // A torus of ten factors has fifteen coordinates.
        assert_eq!((report.widths[0], length("table.npy")), (15, 128 + 4 * found[3] * 15));
        assert_eq!(length("latents.npy"), 128 + 4 * 60 * 6);
        let table = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
        assert_eq!(table.lines().count(), 1 + found[3]);
        let wav = std::fs::read_dir(folder.path().join("sounds")).unwrap().next().unwrap().unwrap();
        assert_eq!(wav.metadata().unwrap().len(), 44 + 2 * sound::RATE as u64);
    }

    #[test]
    fn a_larger_world_begins_with_the_smaller_one() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_raw(&BenchmarkSettings { rows: 10, ..settings() }, a.path()).unwrap();
        write_raw(&BenchmarkSettings { rows: 20, ..settings() }, b.path()).unwrap();
        let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
        let [short, long] = [a.path(), b.path()].map(|folder| read(folder, "pairs.jsonl"));
        assert!(long.starts_with(&short));
        for name in ["pictures", "sounds"] {
            for entry in std::fs::read_dir(a.path().join(name)).unwrap() {
                let path = Path::new(name).join(entry.unwrap().file_name());
                assert_eq!(
                    std::fs::read(a.path().join(&path)).unwrap(),
                    std::fs::read(b.path().join(&path)).unwrap()
                );
            }
        }
    }

    #[test]
    fn other_numbers_of_factors_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_raw(&BenchmarkSettings { shared: 5, ..settings() }, folder.path()).unwrap_err();
        assert!(error.to_string().contains("expected 6, 4 and 4, got 5, 4 and 4"), "{error}");
    }
}
