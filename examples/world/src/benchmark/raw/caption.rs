//! Captions: the object's size, colour, shape, place and background in words.

use super::RawItem;
use crate::scene::{Background, Colour, Shape, Size};
use crate::words::PLACES;

/// How sentences begin.
const OPENINGS: [&str; 4] = ["", "there is ", "you can see ", "a picture of "];

/// Writes a caption. The writer sees the coordinates with noise; the private ones choose the words.
pub(crate) fn write(item: RawItem) -> String {
    let item = item.blurred();
    let size = word(Size::ALL[item.choice(2, Size::ALL.len())].words(), item.share(6));
    let colour = word(Colour::ALL[item.choice(3, Colour::ALL.len())].words(), item.share(7));
    let shape = word(Shape::ALL[item.choice(4, Shape::ALL.len())].words(), item.share(8));
    let place = word(PLACES[item.choice(1, 3)][item.choice(0, 3)], item.share(6));
    let shade = word(Background::ALL[item.choice(5, Background::ALL.len())].words(), item.share(7));
    let opening = OPENINGS[item.choice(9, OPENINGS.len())];
    let article = if size.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{opening}{article} {size} {colour} {shape} {place} on a {shade} background")
}

fn word<'a>(words: &[&'a str], share: f64) -> &'a str {
    words[super::part(share, words.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn caption(coordinates: [f64; 10], noise: f64) -> String {
        write(RawItem { coordinates: coordinates.to_vec(), noise, rng: Rng::of(2, 2) })
    }

    #[test]
    fn words_follow_the_coordinates() {
        let low = caption([-2.0; 10], 0.0);
        assert_eq!(low, "a small red circle in the top left corner on a dark background");
        let high = caption([2.0; 10], 0.0);
        assert_eq!(high, "a picture of a huge rosy heart at the lower right on a white background");
    }

    #[test]
    fn every_coordinate_changes_the_caption() {
        for at in 0..10 {
            let mut moved = [-0.1; 10];
            moved[at] = 2.5;
            assert_ne!(caption(moved, 0.0), caption([-0.1; 10], 0.0), "coordinate {at}");
        }
        assert_ne!(caption([0.0; 10], 3.0), caption([0.0; 10], 0.0));
    }
}
