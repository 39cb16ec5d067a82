//! Reasoning over two pictures and a sentence.
//!
//! A block has an attribute (a shape or a colour), two left and two right pictures, of which one each shows
//! it, and four sentences: it is in the left picture, in the right one, in both, in one of them at least. All
//! combinations are rows. Half of them are true. Without one of the three inputs a predictor is right in at
//! most three quarters: with one picture the other decides the rest, and with both the sentence does.

use super::{LabelledRow, described, noisy};
use crate::benchmark::BenchmarkSplit;
use crate::rng::Rng;
use crate::scene::{Colour, Scene, Shape};
use serde_json::Map;

/// The labels.
pub(super) const LABELS: [&str; 2] = ["false", "true"];
/// Rows of a block.
pub(super) const BLOCK: usize = 16;

/// What a sentence is about.
#[derive(Debug, Clone, Copy)]
enum Attribute {
    Shape(Shape),
    Colour(Colour),
}

impl Attribute {
    fn sample(rng: &mut Rng) -> Self {
        if rng.percent(50) { Self::Shape(rng.pick(Shape::ALL)) } else { Self::Colour(rng.pick(Colour::ALL)) }
    }

    fn phrase(self) -> String {
        match self {
            Self::Shape(shape) => format!("a {}", shape.words()[0]),
            Self::Colour(colour) => colour.words()[0].to_owned(),
        }
    }

    fn is_in(self, scene: &Scene) -> bool {
        scene.objects.iter().any(|object| match self {
            Self::Shape(shape) => object.shape == shape,
            Self::Colour(colour) => object.colour == colour,
        })
    }
}

/// What a sentence says: its words, and whether it is true by what the left and the right picture show.
struct Statement {
    text: String,
    is_true: fn(bool, bool) -> bool,
}

/// Returns the four sentences about an attribute. Their words, but for "or", are those of the demo's encoder
/// of sentences.
fn statements(attribute: Attribute) -> [Statement; 4] {
    let of = |place: &str, is_true| Statement {
        text: format!("there is {} in the {place} picture", attribute.phrase()),
        is_true,
    };
    [
        of("left", |left, _| left),
        of("right", |_, right| right),
        of("left and the right", |left, right| left && right),
        of("left or the right", |left, right| left || right),
    ]
}

/// Returns the four pictures of a block (left with and without, right with and without the attribute) and its
/// rows, which name them by `paths`.
pub(super) fn block(
    mut rng: Rng,
    split: BenchmarkSplit,
    noise: f64,
    paths: &[String; 4],
) -> ([Scene; 4], Vec<LabelledRow>) {
    let attribute = Attribute::sample(&mut rng);
    let scenes = [true, false, true, false].map(|shown| {
        loop {
            let scene = Scene::sample(&mut rng);
            if attribute.is_in(&scene) == shown {
                break scene;
            }
        }
    });
    let statements = statements(attribute);
    let mut rows = Vec::with_capacity(BLOCK);
    for (left, right) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        for statement in &statements {
            let truth = usize::from((statement.is_true)(left == 0, right == 2));
            let mut evidence = Map::new();
            evidence.insert("left_objects".into(), described(&scenes[left]));
            evidence.insert("right_objects".into(), described(&scenes[right]));
            rows.push(LabelledRow {
                split,
                inputs: vec![
                    ("left", paths[left].clone()),
                    ("right", paths[right].clone()),
                    ("sentence", statement.text.clone()),
                ],
                truth: LABELS[truth],
                label: noisy(truth, &LABELS, noise, &mut rng),
                evidence,
            });
        }
    }
    (scenes, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the answer from the sentence and the scenes.
    fn answer(left: &Scene, right: &Scene, sentence: &str) -> &'static str {
        let words: Vec<&str> = sentence.split(' ').collect();
        let shows = |scene: &Scene| {
            scene
                .objects
                .iter()
                .any(|o| words.contains(&o.shape.words()[0]) || words.contains(&o.colour.words()[0]))
        };
        let [left, right] = [left, right].map(shows);
        let said = match ["and", "or", "left"].map(|word| words.contains(&word)) {
            [true, ..] => left && right,
            [_, true, _] => left || right,
            [_, _, true] => left,
            _ => right,
        };
        LABELS[usize::from(said)]
    }

    #[test]
    fn the_answer_follows_from_both_pictures_and_the_sentence() {
        for b in 0..300 {
            let paths = [0, 1, 2, 3].map(|i| format!("{b}-{i}"));
            let (scenes, rows) = block(Rng::of(9, b), BenchmarkSplit::Test, 0.0, &paths);
            assert_eq!(rows.len(), BLOCK);
            for row in rows {
                let scene = |at: usize| &scenes[paths.iter().position(|p| *p == row.inputs[at].1).unwrap()];
                assert_eq!(answer(scene(0), scene(1), &row.inputs[2].1), row.truth, "{:?}", row.inputs);
            }
        }
    }
}
