//! Writing the data of a task.

use super::ceilings::accuracies;
use super::sound_events::EventRow;
use super::{LabelledRow, entailment, sound_events, two_pictures};
use crate::benchmark::{BenchmarkSplit, sound, write_text};
use crate::dataset::{self, Error};
use crate::npy::NpyWriter;
use crate::rng::Rng;
use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// A task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Does a sentence follow from a picture, is it contradicted, or is it open?
    Entailment,
    /// Is a sentence about two pictures true?
    TwoPictures,
    /// Which events are seen or heard?
    SoundEvents,
}

/// The settings of a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskSettings {
    /// The task.
    pub task: Task,
    /// Number of rows; rounded up to whole blocks (9 for entailment, 16 for two pictures).
    pub rows: usize,
    /// Random seed.
    pub seed: u64,
    /// Probability that a label is replaced by another one; of sound events, that each label is flipped.
    pub label_noise: f64,
    /// Standard deviation of the noise of recordings, relative to their root mean square.
    pub noise: f64,
}

/// The content of `task.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The settings.
    pub settings: TaskSettings,
    /// Number of rows.
    pub rows: usize,
    /// Number of test rows.
    pub test_rows: usize,
    /// The labels.
    pub labels: Vec<String>,
    /// The best scores possible on the test rows for every set of inputs: `nothing`, `picture`,
    /// `picture+sentence`. Those named `..._with_noise` are compared with the noisy labels, in expectation;
    /// all others with the true ones.
    pub ceilings: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Writes the data of a task into the folder, which is created if it does not exist: `pictures/*.png`,
/// `pairs.jsonl`, `recipe.toml` and `task.json`; of sound events also `sounds/*.wav` and `sound.npy`. Returns
/// the report.
///
/// More rows begin with the same rows. Of ten blocks, seven are train, one is validation and two are test.
///
/// # Errors
/// If a setting is out of range, or a file cannot be written.
pub fn write_task(settings: &TaskSettings, folder: &Path) -> Result<TaskReport, Error> {
    settings.check()?;
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).map_err(|source| Error::Write { path: pictures, source })?;
    let (labels, ceilings, lines) = match settings.task {
        Task::Entailment => labelled(settings, &entailment::LABELS, &write_entailment(settings, folder)?),
        Task::TwoPictures => {
            labelled(settings, &two_pictures::LABELS, &write_two_pictures(settings, folder)?)
        }
        Task::SoundEvents => write_events(settings, folder)?,
    };
    write_text(&folder.join("recipe.toml"), settings.task.recipe())?;
    dataset::write_lines(&lines, &folder.join("pairs.jsonl"))?;
    let test_rows = lines.iter().filter(|line| line["split"] == "test").count();
    let report = TaskReport { settings: *settings, rows: lines.len(), test_rows, labels, ceilings };
    dataset::write_lines(&[&report], &folder.join("task.json"))?;
    Ok(report)
}

/// Labels, ceilings and the lines of `pairs.jsonl`.
type Written = (Vec<String>, BTreeMap<String, BTreeMap<String, f64>>, Vec<Map<String, Value>>);

impl TaskSettings {
    fn check(&self) -> Result<(), Error> {
        let refuse = |what, expected: &str, got: String| {
            let help = "choose a value in that range".to_owned();
            Err(Error::Setting { what, expected: expected.to_owned(), got, help })
        };
        // Fewer than ten blocks have no test rows.
        let fewest = 10 * self.task.block();
        if !(fewest..=10_000_000).contains(&self.rows) {
            return refuse("--rows", &format!("{fewest} to 10000000"), self.rows.to_string());
        }
        if !(0.0..=0.5).contains(&self.label_noise) {
            return refuse("--label-noise", "0 to 0.5", self.label_noise.to_string());
        }
        if !(0.0..=100.0).contains(&self.noise) {
            return refuse("--noise", "0 to 100", self.noise.to_string());
        }
        Ok(())
    }

    fn stream(&self, block: usize) -> Rng {
        Rng::of(self.seed, block as u64)
    }
}

impl Task {
    /// Returns the number of rows of a block.
    fn block(self) -> usize {
        match self {
            Self::Entailment => entailment::BLOCK,
            Self::TwoPictures => two_pictures::BLOCK,
            Self::SoundEvents => 1,
        }
    }

    /// Returns the recipe with the demo's encoders.
    fn recipe(self) -> &'static str {
        match self {
            Self::Entailment => include_str!("entailment.toml"),
            Self::TwoPictures => include_str!("two_pictures.toml"),
            Self::SoundEvents => include_str!("sound_events.toml"),
        }
    }
}

fn labelled(settings: &TaskSettings, labels: &[&str], rows: &[LabelledRow]) -> Written {
    let ceilings = accuracies(rows, labels.len(), settings.label_noise);
    let lines = rows.iter().enumerate().map(|(id, row)| row.line(id)).collect();
    (labels.iter().map(|label| (*label).to_owned()).collect(), ceilings, lines)
}

fn save(picture: &RgbImage, folder: &Path, name: &str) -> Result<(), Error> {
    let path = folder.join(name);
    picture.save(&path).map_err(|source| Error::Picture { path, source })
}

/// Returns the names of the pictures of a block.
fn names<const N: usize>(block: usize) -> [String; N] {
    std::array::from_fn(|at| format!("pictures/{block:06}-{at}.png"))
}

fn write_entailment(settings: &TaskSettings, folder: &Path) -> Result<Vec<LabelledRow>, Error> {
    let one = |block: usize| {
        let (split, paths) = (BenchmarkSplit::of(block), names(block));
        let (pictures, rows) = entailment::block(settings.stream(block), split, settings.label_noise, &paths);
        pictures.iter().zip(&paths).try_for_each(|(picture, path)| save(&picture.render(), folder, path))?;
        Ok(rows)
    };
    let blocks = (0..settings.rows.div_ceil(entailment::BLOCK)).into_par_iter().map(one);
    Ok(blocks.collect::<Result<Vec<_>, Error>>()?.concat())
}

fn write_two_pictures(settings: &TaskSettings, folder: &Path) -> Result<Vec<LabelledRow>, Error> {
    let one = |block: usize| {
        let (split, paths) = (BenchmarkSplit::of(block), names(block));
        let (scenes, rows) = two_pictures::block(settings.stream(block), split, settings.label_noise, &paths);
        scenes.iter().zip(&paths).try_for_each(|(scene, path)| save(&scene.render(), folder, path))?;
        Ok(rows)
    };
    let blocks = (0..settings.rows.div_ceil(two_pictures::BLOCK)).into_par_iter().map(one);
    Ok(blocks.collect::<Result<Vec<_>, Error>>()?.concat())
}

fn write_events(settings: &TaskSettings, folder: &Path) -> Result<Written, Error> {
    let sounds = folder.join("sounds");
    std::fs::create_dir_all(&sounds).map_err(|source| Error::Write { path: sounds, source })?;
    let one = |id: usize| {
        let mut rng = settings.stream(id);
        let row = EventRow::sample(BenchmarkSplit::of(id), settings.label_noise, &mut rng);
        save(&row.scene(&mut rng).render(), folder, &format!("pictures/{id:06}.png"))?;
        let samples = row.recording(settings.noise, &mut rng);
        let path = folder.join(format!("sounds/{id:06}.wav"));
        std::fs::write(&path, sound::wav(&samples)).map_err(|source| Error::Write { path, source })?;
        Ok((row, sound::band_energies(&samples)))
    };
    let written: Vec<(EventRow, Vec<f32>)> =
        (0..settings.rows).into_par_iter().map(one).collect::<Result<_, Error>>()?;
    let mut energies = NpyWriter::new::<f32>(&folder.join("sound.npy"), &[settings.rows, sound::FEATURES])?;
    written.iter().try_for_each(|(_, values)| energies.write(values))?;
    energies.finish()?;
    let rows: Vec<EventRow> = written.iter().map(|(row, _)| *row).collect();
    let labels = crate::Shape::ALL.iter().map(|shape| shape.words()[0].to_owned()).collect();
    let lines = rows.iter().enumerate().map(|(id, row)| row.line(id)).collect();
    Ok((labels, sound_events::ceilings(&rows, settings.label_noise), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(task: Task, rows: usize, label_noise: f64) -> (tempfile::TempDir, TaskReport, Vec<Value>) {
        let folder = tempfile::tempdir().unwrap();
        let settings = TaskSettings { task, rows, seed: 5, label_noise, noise: 0.1 };
        let report = write_task(&settings, folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("pairs.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (folder, report, lines)
    }

    /// Returns the accuracy of the best predictor from some columns, found by counting in the written file.
    fn oracle(lines: &[Value], columns: &[&str], label: &str) -> f64 {
        let test: Vec<&Value> = lines.iter().filter(|line| line["split"] == "test").collect();
        let mut counts: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
        for line in &test {
            let key: String = columns.iter().map(|column| line[*column].to_string()).collect();
            *counts.entry(key).or_default().entry(line[label].as_str().unwrap()).or_default() += 1;
        }
        let right: usize = counts.values().filter_map(|labels| labels.values().max()).sum();
        right as f64 / test.len() as f64
    }

    /// Of two pictures and a sentence: the sentence "in both" is false of three of four pairs, and one
    /// picture or both decide three quarters.
    #[test]
    fn every_subset_of_the_inputs_has_its_bound() {
        let two_pictures = |name: &str| match name {
            "sentence" => 0.625,
            "nothing" => 0.5,
            _ => 0.75,
        };
        for (task, inputs) in [
            (Task::Entailment, &["picture", "sentence"][..]),
            (Task::TwoPictures, &["left", "right", "sentence"]),
        ] {
            let bound = |name: &str| match task {
                Task::TwoPictures => two_pictures(name),
                _ => 1.0 / 3.0,
            };
            let (folder, report, lines) = written(task, 1000, 0.0);
            assert_eq!(report.rows, lines.len());
            assert_eq!(report.ceilings.len(), 1 << inputs.len());
            for (name, scores) in &report.ceilings {
                let columns: Vec<&str> = name.split('+').filter(|one| *one != "nothing").collect();
                let expected = if columns.len() == inputs.len() { 1.0 } else { bound(name) };
                assert!((scores["accuracy"] - expected).abs() < 1e-12, "{task:?} {name}: {scores:?}");
                assert!((oracle(&lines, &columns, "truth") - expected).abs() < 1e-12, "{task:?} {name}");
            }
            for line in &lines[..20] {
                for input in inputs.iter().filter(|one| **one != "sentence") {
                    assert!(folder.path().join(line[*input].as_str().unwrap()).is_file());
                }
            }
        }
    }

    /// The joint oracle knows the truth. 1,800 labels have a standard error of 0.009; the limit is five.
    #[test]
    fn with_noise_the_joint_oracle_is_right_in_the_stated_share() {
        let all = [(Task::Entailment, "picture+sentence"), (Task::TwoPictures, "left+right+sentence")];
        all.into_iter().for_each(|(task, inputs)| noisy_share(task, inputs));
    }

    fn noisy_share(task: Task, inputs: &str) {
        let (_folder, report, lines) = written(task, 9000, 0.2);
        let test: Vec<&Value> = lines.iter().filter(|line| line["split"] == "test").collect();
        let right =
            test.iter().filter(|line| line["label"] == line["truth"]).count() as f64 / test.len() as f64;
        let stated = report.ceilings[inputs]["accuracy_with_noise"];
        assert!((stated - 0.8).abs() < 1e-12 && (right - stated).abs() < 0.045, "{right} {stated}");
    }

    #[test]
    fn sound_events_have_recordings_features_and_ceilings() {
        let (folder, report, lines) = written(Task::SoundEvents, 100, 0.0);
        let length = std::fs::metadata(folder.path().join("sound.npy")).unwrap().len() as usize;
        assert_eq!(length, 128 + 4 * 100 * sound::FEATURES);
        let last = &lines[99];
        assert!(folder.path().join(last["sound"].as_str().unwrap()).is_file());
        assert!(folder.path().join(last["picture"].as_str().unwrap()).is_file());
        assert_eq!((last["events"] == last["truth"], report.test_rows), (true, 20));
        assert_eq!(report.ceilings["picture+sound"]["micro_f1"], 1.0);
        assert!(report.ceilings["sound"]["micro_f1"] < 0.95);
    }

    #[test]
    fn more_rows_begin_with_the_same_rows() {
        for task in [Task::Entailment, Task::TwoPictures, Task::SoundEvents] {
            let (short, long) = (written(task, 240, 0.1).2, written(task, 500, 0.1).2);
            assert_eq!(short[..], long[..short.len()], "{task:?}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let good = TaskSettings { task: Task::Entailment, rows: 90, seed: 1, label_noise: 0.0, noise: 0.0 };
        for (settings, word) in [
            (TaskSettings { rows: 10, ..good }, "--rows"),
            (TaskSettings { label_noise: 0.6, ..good }, "--label-noise"),
            (TaskSettings { noise: -1.0, ..good }, "--noise"),
        ] {
            let error = write_task(&settings, folder.path()).unwrap_err().to_string();
            assert!(error.starts_with(word), "{error}");
        }
    }
}
