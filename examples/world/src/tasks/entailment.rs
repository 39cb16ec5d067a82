//! Visual entailment: does a sentence about one place of a picture follow, is it contradicted, or is it open?
//!
//! A tile hides one place of every picture. A sentence about that place is open. A block has three sentences
//! about three places and three pictures; picture i shows sentence j as true, false or hidden for
//! (i + j) mod 3 = 0, 1, 2. So each sentence and each picture has each answer once.

use super::{LabelledRow, described, noisy};
use crate::benchmark::BenchmarkSplit;
use crate::rng::Rng;
use crate::scene::{Background, Colour, Object, Scene, Shape};
use crate::words::PLACES;
use image::{Rgb, RgbImage};
use serde_json::{Map, json};

/// The labels.
pub(super) const LABELS: [&str; 3] = ["follows", "contradicts", "open"];
/// Rows of a block.
pub(super) const BLOCK: usize = 9;
/// Pixels along each side of the tile, and the two grey levels of its pattern.
const TILE: u32 = 18;
const TILE_GREYS: [u8; 2] = [90, 160];

/// A sentence: an object at a place.
#[derive(Debug, Clone)]
struct Claim {
    shape: Shape,
    colour: Colour,
    cell: usize,
    text: String,
}

/// A picture with a hidden cell.
pub(super) struct HiddenScene {
    pub scene: Scene,
    hidden: usize,
}

impl HiddenScene {
    /// Renders the picture with its tile.
    pub(super) fn render(&self) -> RgbImage {
        let mut picture = self.scene.render();
        let corner = |line: usize| 12 + 20 * line as u32 - TILE / 2;
        let (left, top) = (corner(self.hidden % 3), corner(self.hidden / 3));
        for (y, x) in (0..TILE).flat_map(|y| (0..TILE).map(move |x| (y, x))) {
            let grey = TILE_GREYS[((x / 3 + y / 3) % 2) as usize];
            picture.put_pixel(left + x, top + y, Rgb([grey; 3]));
        }
        picture
    }
}

/// Returns the pictures and the rows of a block. The rows name the pictures by `paths`.
pub(super) fn block(
    mut rng: Rng,
    split: BenchmarkSplit,
    noise: f64,
    paths: &[String; 3],
) -> ([HiddenScene; 3], Vec<LabelledRow>) {
    let mut cells: Vec<usize> = (0..9).collect();
    rng.shuffle(&mut cells);
    let claims = [0, 1, 2].map(|j| Claim::sample(cells[j], &mut rng));
    let pictures = [0, 1, 2].map(|i| picture(&claims, i, cells[3], &mut rng));
    let mut rows = Vec::with_capacity(BLOCK);
    for (i, picture) in pictures.iter().enumerate() {
        for (j, claim) in claims.iter().enumerate() {
            let truth = (i + j) % 3;
            let mut evidence = Map::new();
            evidence.insert("objects".into(), described(&picture.scene));
            evidence.insert("hidden".into(), json!([picture.hidden % 3, picture.hidden / 3]));
            rows.push(LabelledRow {
                split,
                inputs: vec![("picture", paths[i].clone()), ("sentence", claim.text.clone())],
                truth: LABELS[truth],
                label: noisy(truth, &LABELS, noise, &mut rng),
                evidence,
            });
        }
    }
    (pictures, rows)
}

impl Claim {
    fn sample(cell: usize, rng: &mut Rng) -> Self {
        let (shape, colour) = (rng.pick(Shape::ALL), rng.pick(Colour::ALL));
        let opening = rng.pick(&["there is", "you can see", "the picture shows"]);
        let (name, hue) = (shape.words()[0], colour.words()[0]);
        let article = if hue.starts_with('o') { "an" } else { "a" };
        let text = format!("{opening} {article} {hue} {name} {}", PLACES[cell / 3][cell % 3][0]);
        Self { shape, colour, cell, text }
    }

    /// Returns an object at the place that is not the claimed one, or nothing. Half of the objects share the
    /// shape or the colour.
    fn denial(&self, rng: &mut Rng) -> Option<Object> {
        let other_shape = other(Shape::ALL, self.shape, rng);
        let other_colour = other(Colour::ALL, self.colour, rng);
        match rng.below(3) {
            0 => None,
            1 => Some(Object::placed(self.cell, self.shape, other_colour, rng)),
            _ => Some(Object::placed(self.cell, other_shape, self.colour, rng)),
        }
    }
}

fn other<T: Copy + PartialEq>(all: &[T], one: T, rng: &mut Rng) -> T {
    let rest: Vec<T> = all.iter().copied().filter(|value| *value != one).collect();
    rng.pick(&rest)
}

/// Returns picture i of a block. A half of the pictures has another object at the cell `spare`.
fn picture(claims: &[Claim; 3], i: usize, spare: usize, rng: &mut Rng) -> HiddenScene {
    let (mut objects, mut hidden) = (Vec::new(), 0);
    for (j, claim) in claims.iter().enumerate() {
        match (i + j) % 3 {
            0 => objects.push(Object::placed(claim.cell, claim.shape, claim.colour, rng)),
            1 => objects.extend(claim.denial(rng)),
            _ => hidden = claim.cell,
        }
    }
    if rng.percent(50) {
        objects.push(Object::placed(spare, rng.pick(Shape::ALL), rng.pick(Colour::ALL), rng));
    }
    let background = rng.pick(Background::ALL);
    HiddenScene { scene: Scene::with(background, objects, rng), hidden }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(noise: f64) -> Vec<([HiddenScene; 3], Vec<LabelledRow>)> {
        let paths = |b: usize| [0, 1, 2].map(|i| format!("{b}-{i}"));
        (0..300).map(|b| block(Rng::of(8, b as u64), BenchmarkSplit::Test, noise, &paths(b))).collect()
    }

    /// Reads the answer from the sentence and the picture: the tile from its pixels, the objects from the
    /// scene.
    fn answer(picture: &HiddenScene, sentence: &str) -> &'static str {
        let words: Vec<&str> = sentence.split(' ').collect();
        let cell = (0..9).find(|cell| sentence.ends_with(PLACES[cell / 3][cell % 3][0])).unwrap();
        let at = |line: usize| 12 + 20 * line as u32;
        let pixels = picture.render();
        let (x, y) = (at(cell % 3) - TILE / 2, at(cell / 3) - TILE / 2);
        let greys = [pixels.get_pixel(x, y).0, pixels.get_pixel(x + 3, y).0, pixels.get_pixel(x, y + 3).0];
        if greys == [[TILE_GREYS[0]; 3], [TILE_GREYS[1]; 3], [TILE_GREYS[1]; 3]] {
            return "open";
        }
        let named = |object: &&Object| {
            words.contains(&object.shape.words()[0]) && words.contains(&object.colour.words()[0])
        };
        let there = picture.scene.objects.iter().find(|object| object.cell() == [cell % 3, cell / 3]);
        if there.filter(named).is_some() { "follows" } else { "contradicts" }
    }

    #[test]
    fn the_answer_follows_from_picture_and_sentence() {
        for (pictures, rows) in blocks(0.0) {
            for (at, row) in rows.iter().enumerate() {
                let (picture, sentence) = (&pictures[at / 3], &row.inputs[1].1);
                assert_eq!(answer(picture, sentence), row.truth, "{sentence}: {:?}", picture.scene);
                assert_eq!(row.label, row.truth);
            }
        }
    }

    /// 2,700 labels have a standard error of 0.008; the limit is five of them.
    #[test]
    fn the_joint_oracle_is_right_but_for_the_noise() {
        let (mut right, mut count) = (0, 0);
        for (pictures, rows) in blocks(0.2) {
            count += rows.len();
            let hits = rows
                .iter()
                .enumerate()
                .filter(|(at, row)| answer(&pictures[at / 3], &row.inputs[1].1) == row.label);
            right += hits.count();
        }
        let share = right as f64 / count as f64;
        assert!((share - 0.8).abs() < 0.04, "{share}");
    }

    #[test]
    fn false_sentences_often_share_a_word_with_the_picture() {
        let all = blocks(0.0);
        let contradicted = all.iter().flat_map(|(pictures, rows)| {
            rows.iter()
                .enumerate()
                .filter(|(_, row)| row.truth == "contradicts")
                .map(|(at, row)| (&pictures[at / 3], row))
        });
        let (mut shared, mut count) = (0, 0);
        for (picture, row) in contradicted {
            let near = |object: &Object| {
                row.inputs[1].1.contains(object.shape.words()[0])
                    != row.inputs[1].1.contains(object.colour.words()[0])
            };
            shared += usize::from(picture.scene.objects.iter().any(near));
            count += 1;
        }
        assert!(shared * 2 > count, "{shared} of {count}");
    }
}
