//! Writing a data set of questions: `images/*.png`, `pairs.jsonl` with one row per question, and
//! `ceilings.json`.
//!
//! Questions are chosen so that both the picture and the question are needed. The questions about one picture
//! have different answers, so that a predictor that sees only the picture is right once. Questions whose text
//! had the same answer least often in the split are preferred, so that a predictor that reads only the
//! question is hardly better than chance.

use crate::dataset::{self, Error, SceneSplit};
use crate::rng::Rng;
use crate::{Question, Scene, World};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The maximum number of questions per picture: it has at most three colours and three shapes as answers.
pub const MOST: usize = 6;

/// One line of a quiz's `pairs.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuizRow {
    /// The number of the row.
    pub id: u64,
    /// The split of the scene. No picture is in both splits.
    pub split: SceneSplit,
    /// The path of the picture, relative to the folder.
    pub image: String,
    /// The text of the question.
    pub question: String,
    /// The answer, one word.
    pub answer: String,
    /// The box of the object that the answer is about: left, top, right, bottom in pixels, the last two
    /// exclusive.
    pub object: [u32; 4],
    /// The boxes of all objects.
    pub objects: Vec<[u32; 4]>,
}

/// Upper bounds of the accuracy on the test rows for predictors that lack a modality.
///
/// Each bound is the accuracy of the most frequent test answer for each distinct input. No predictor with the
/// same input can be more accurate on these rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Number of test rows.
    pub rows: usize,
    /// Number of test pictures.
    pub pictures: usize,
    /// Number of distinct questions in the test rows.
    pub questions: usize,
    /// Number of distinct answers in the test rows.
    pub answers: usize,
    /// Bound without any input: one answer for all rows.
    pub prior: f64,
    /// Bound with the question only: one answer per distinct question.
    pub question_only: f64,
    /// Bound with the picture only: one answer per picture.
    pub picture_only: f64,
}

impl Ceilings {
    /// Computes the bounds from the test rows; all are zero if there are none.
    pub fn of(rows: &[QuizRow]) -> Self {
        let rows: Vec<&QuizRow> = rows.iter().filter(|row| row.split == SceneSplit::Test).collect();
        let different =
            |key: fn(&QuizRow) -> &str| rows.iter().map(|row| key(row)).collect::<BTreeSet<_>>().len();
        Self {
            rows: rows.len(),
            pictures: different(|row| &row.image),
            questions: different(|row| &row.question),
            answers: different(|row| &row.answer),
            prior: majority(&rows, |_| ""),
            question_only: majority(&rows, |row| &row.question),
            picture_only: majority(&rows, |row| &row.image),
        }
    }
}

/// Returns the fraction of rows whose answer is the most frequent one among the rows with the same key.
fn majority(rows: &[&QuizRow], key: fn(&QuizRow) -> &str) -> f64 {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for row in rows {
        *counts.entry(key(row)).or_default().entry(&row.answer).or_default() += 1;
    }
    let right: usize = counts.values().filter_map(|answers| answers.values().max()).sum();
    right as f64 / rows.len().max(1) as f64
}

/// Writes a quiz into the folder, which is created if it does not exist. It has `each` questions with
/// different answers about each of the first `pictures` scenes of the world that have so many. Returns the
/// rows and their ceilings.
///
/// A longer quiz begins with the rows of a shorter one.
///
/// # Errors
/// If `each` is 0 or greater than [`MOST`], or a file cannot be written.
pub fn write_quiz(
    world: &World,
    folder: &Path,
    pictures: usize,
    each: usize,
) -> Result<(Vec<QuizRow>, Ceilings), Error> {
    if !(1..=MOST).contains(&each) {
        return Err(Error::Questions { each });
    }
    let images = folder.join("images");
    std::fs::create_dir_all(&images).map_err(|source| Error::Write { path: images, source })?;
    let mut picker = Picker::default();
    let asked = (0..).filter_map(|id| {
        let scene = world.scene(id);
        picker.pick(&scene, SceneSplit::of(id), each).map(|questions| (id, scene, questions))
    });
    let asked: Vec<(u64, Scene, Vec<Question>)> = asked.take(pictures).collect();
    let names: Vec<String> = asked
        .par_iter()
        .map(|(id, scene, _)| dataset::write_picture(scene, folder, *id))
        .collect::<Result<_, _>>()?;
    let mut rows = Vec::with_capacity(pictures * each);
    for ((id, scene, questions), image) in asked.into_iter().zip(names) {
        let objects: Vec<[u32; 4]> = scene.objects.iter().map(|o| o.bounds).collect();
        rows.extend(questions.into_iter().map(|question| QuizRow {
            id: 0,
            split: SceneSplit::of(id),
            image: image.clone(),
            question: question.text,
            answer: question.answer.to_owned(),
            object: objects[question.object],
            objects: objects.clone(),
        }));
    }
    (0..).zip(&mut rows).for_each(|(id, row)| row.id = id);
    let ceilings = Ceilings::of(&rows);
    dataset::write_lines(&rows, &folder.join("pairs.jsonl"))?;
    dataset::write_lines(&[ceilings], &folder.join("ceilings.json"))?;
    Ok((rows, ceilings))
}

/// Chooses questions, and counts how often each question had each answer.
#[derive(Default)]
struct Picker {
    counts: BTreeMap<(SceneSplit, String, &'static str), u32>,
}

impl Picker {
    /// Returns `each` questions about the scene with different answers, or `None` if it does not have so
    /// many.
    fn pick(&mut self, scene: &Scene, split: SceneSplit, each: usize) -> Option<Vec<Question>> {
        let key = |question: &Question| (split, question.text.clone(), question.answer);
        let mut all = scene.questions();
        Rng::of(scene.wording, 1).shuffle(&mut all);
        all.sort_by_cached_key(|question| self.counts.get(&key(question)).copied().unwrap_or(0));
        let mut answers = BTreeSet::new();
        all.retain(|question| answers.insert(question.answer));
        all.truncate(each);
        if all.len() < each {
            return None;
        }
        for question in &all {
            *self.counts.entry(key(question)).or_default() += 1;
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiz(pictures: usize, each: usize) -> (tempfile::TempDir, Vec<QuizRow>, Ceilings) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, ceilings) = write_quiz(&World::new(31), folder.path(), pictures, each).unwrap();
        (folder, rows, ceilings)
    }

    #[test]
    fn the_folder_holds_the_quiz() {
        let (folder, rows, ceilings) = quiz(40, 3);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let lines: Vec<QuizRow> =
            read("pairs.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines, rows);
        assert_eq!(read("ceilings.json"), serde_json::to_string(&ceilings).unwrap() + "\n");
        assert_eq!(rows.len(), 120);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.id, number as u64);
            assert!(row.objects.contains(&row.object));
            let scene: u64 = row.image["images/".len()..].trim_end_matches(".png").parse().unwrap();
            assert_eq!(row.split, SceneSplit::of(scene));
            let picture = image::open(folder.path().join(&row.image)).unwrap().to_rgb8();
            assert_eq!(picture, World::new(31).scene(scene).render());
            let known = World::new(31).scene(scene).questions();
            let same =
                |q: &&Question| (q.text.as_str(), q.answer) == (row.question.as_str(), row.answer.as_str());
            let question = known.iter().find(same).unwrap();
            assert_eq!(World::new(31).scene(scene).objects[question.object].bounds, row.object);
        }
    }

    #[test]
    fn the_answers_about_one_picture_differ() {
        let (_folder, rows, ceilings) = quiz(500, 4);
        let mut answers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in &rows {
            assert!(answers.entry(&row.image).or_default().insert(&row.answer), "{row:?} repeats an answer");
        }
        assert!(answers.len() == 500 && answers.values().all(|a| a.len() == 4));
        assert_eq!(ceilings.picture_only, 0.25);
        assert_eq!((ceilings.rows, ceilings.answers), (4 * ceilings.pictures, 16));
    }

    #[test]
    fn the_ceiling_of_the_question_alone_is_close_to_chance() {
        let (_folder, rows, ceilings) = quiz(6000, 4);
        // Chance is 12.5 % (eight colours or eight shapes). There are few test rows per question, so the most
        // frequent answer is above chance also for a random choice of questions: 25 % here.
        assert!((0.125..0.22).contains(&ceilings.question_only), "{ceilings:?}");
        // Chance is one of sixteen; the answers are almost equally frequent.
        assert!((0.0625..0.08).contains(&ceilings.prior), "{ceilings:?}");
        // Predicting the most frequent answer in the training rows is even less accurate.
        let mut seen: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.split == SceneSplit::Train) {
            *seen.entry(&row.question).or_default().entry(&row.answer).or_default() += 1;
        }
        let guess = |row: &&&QuizRow| {
            let answers = &seen[row.question.as_str()];
            answers.iter().max_by_key(|(_, count)| **count).is_some_and(|(answer, _)| *answer == row.answer)
        };
        let test: Vec<&QuizRow> = rows.iter().filter(|row| row.split == SceneSplit::Test).collect();
        let right = test.iter().filter(guess).count() as f64 / test.len() as f64;
        assert!(right < ceilings.question_only && right < 0.15, "{right}");
    }

    #[test]
    fn a_longer_quiz_begins_with_the_shorter_one() {
        let (short, long) = (quiz(60, 2).1, quiz(90, 2).1);
        assert_eq!(short[..], long[..short.len()]);
    }

    #[test]
    fn ceilings_use_only_test_rows() {
        let row = |split, image: &str, question: &str, answer: &str| QuizRow {
            id: 0,
            split,
            image: image.to_owned(),
            question: question.to_owned(),
            answer: answer.to_owned(),
            object: [0; 4],
            objects: Vec::new(),
        };
        let rows = [
            row(SceneSplit::Test, "a", "q", "red"),
            row(SceneSplit::Test, "a", "r", "red"),
            row(SceneSplit::Test, "b", "q", "blue"),
            row(SceneSplit::Test, "b", "q", "blue"),
            row(SceneSplit::Train, "c", "s", "pink"),
        ];
        let found = Ceilings::of(&rows);
        let (prior, question_only, picture_only) = (0.5, 0.75, 1.0);
        assert_eq!(
            found,
            Ceilings { rows: 4, pictures: 2, questions: 2, answers: 2, prior, question_only, picture_only }
        );
        let nothing = Ceilings::of(&rows[4..]);
        assert_eq!((nothing.rows, nothing.question_only), (0, 0.0));
    }

    #[test]
    fn a_number_of_questions_out_of_range_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for each in [0, 7] {
            let error = write_quiz(&World::new(1), folder.path(), 1, each).unwrap_err().to_string();
            assert!(error.contains("1 to 6") && error.contains(&format!("got {each}")), "{error}");
        }
    }
}
