//! Captions of scenes, in several styles of sentences and with synonyms.
//!
//! Every caption names every object by colour and shape, so that it nearly identifies its picture. Sizes,
//! places, relations and the background are mentioned in some captions only.

use crate::rng::Rng;
use crate::scene::{Object, Scene, Size};
use crate::words::PLACES;

/// A function that builds the sentence.
type Style = fn(&mut CaptionWriter<'_>) -> String;
/// The styles; successive captions of a scene cycle through them.
const STYLES: [Style; 5] = [chain, list_with_relation, places, sequence, plain_list];
/// The probability of using the plain name if there are synonyms, in percent.
const PLAIN: u32 = 55;

impl Scene {
    /// Returns `count` captions of the scene, in different styles and words. They are deterministic.
    ///
    /// They are all different for `count` up to a few hundred.
    pub fn captions(&self, count: usize) -> Vec<String> {
        let mut rng = Rng::of(self.wording, 0);
        let first = rng.below(STYLES.len() as u32) as usize;
        let mut captions: Vec<String> = Vec::with_capacity(count);
        for number in 0..count {
            let style = STYLES[(first + number) % STYLES.len()];
            let mut caption = CaptionWriter::new(self, &mut rng).say(style);
            for _ in 0..20 {
                if !captions.contains(&caption) {
                    break;
                }
                caption = CaptionWriter::new(self, &mut rng).say(style);
            }
            captions.push(caption);
        }
        captions
    }
}

/// Writes one caption. The objects are in the order of their mention, each with the name used in the caption.
struct CaptionWriter<'a> {
    scene: &'a Scene,
    rng: &'a mut Rng,
    objects: Vec<(&'a Object, String)>,
}

impl<'a> CaptionWriter<'a> {
    fn new(scene: &'a Scene, rng: &'a mut Rng) -> Self {
        let mut order: Vec<&Object> = scene.objects.iter().collect();
        rng.shuffle(&mut order);
        let name =
            |o: &'a Object| (o, format!("{} {}", word(rng, o.colour.words()), word(rng, o.shape.words())));
        let objects = order.into_iter().map(name).collect();
        Self { scene, rng, objects }
    }

    fn say(mut self, style: Style) -> String {
        let sentence = style(&mut self);
        if !self.rng.percent(45) {
            return sentence;
        }
        let shade = word(self.rng, self.scene.background.words());
        let ground = self.rng.pick(&["background", "backdrop"]);
        match self.rng.below(3) {
            0 => format!("on a {shade} {ground}, {sentence}"),
            1 => format!("{sentence}, on a {shade} {ground}"),
            _ => format!("{sentence} against a {shade} {ground}"),
        }
    }

    /// Returns the first mention of an object: "a small red circle".
    fn a(&mut self, index: usize) -> String {
        let (object, name) = &self.objects[index];
        let with_size = if object.size == Size::Medium { 20 } else { 65 };
        let phrase = if self.rng.percent(with_size) {
            format!("{} {name}", word(self.rng, object.size.words()))
        } else {
            name.clone()
        };
        let article = if phrase.starts_with(['a', 'e', 'o']) { "an" } else { "a" };
        format!("{article} {phrase}")
    }

    /// Returns a later mention of an object: "the red circle".
    fn the(&self, index: usize) -> String {
        format!("the {}", self.objects[index].1)
    }

    /// Returns the relation of one object to another: "to the left of".
    fn relation(&mut self, from: usize, to: usize) -> &'static str {
        let all = self.objects[from].0.relations_to(self.objects[to].0);
        // Objects never share a cell, so a relation always holds; see the test in `scene`.
        all.get(self.rng.below(all.len() as u32) as usize).map_or("near", |r| word(self.rng, r.phrases()))
    }

    fn place(&mut self, index: usize) -> &'static str {
        let [column, row] = self.objects[index].0.cell();
        self.rng.pick(PLACES[row][column])
    }

    fn count(&self) -> usize {
        self.objects.len()
    }

    /// Returns a list of all objects: "a, b and c".
    fn all(&mut self) -> String {
        let mentions: Vec<String> = (0..self.count()).map(|i| self.a(i)).collect();
        enumerate(&mentions)
    }
}

/// "a red circle to the left of a blue ring, and a green star above the red circle"
fn chain(s: &mut CaptionWriter<'_>) -> String {
    let verb = s.rng.pick(&["", "is ", "sits ", "lies "]);
    let mut text = format!("{} {verb}{} {}", s.a(0), s.relation(0, 1), s.a(1));
    if s.count() == 3 {
        let anchor = s.rng.below(2) as usize;
        text += &format!(", and {} {verb}{} {}", s.a(2), s.relation(2, anchor), s.the(anchor));
    }
    text
}

/// "a red circle, a blue ring and a green star, with the red circle above the green star"
fn list_with_relation(s: &mut CaptionWriter<'_>) -> String {
    let (from, to) = (0, s.count() - 1);
    let (list, relation) = (s.all(), s.relation(from, to));
    match s.rng.below(2) {
        0 => format!("{list}, with {} {relation} {}", s.the(from), s.the(to)),
        _ => format!("{list}; {} is {relation} {}", s.the(from), s.the(to)),
    }
}

/// "a red circle at the top, a blue ring in the middle and a green star on the left side"
fn places(s: &mut CaptionWriter<'_>) -> String {
    let mentions: Vec<String> = (0..s.count()).map(|i| format!("{} {}", s.a(i), s.place(i))).collect();
    enumerate(&mentions)
}

/// "there is a red circle in the middle; a blue ring is above the red circle"
fn sequence(s: &mut CaptionWriter<'_>) -> String {
    let opening = s.rng.pick(&["there is", "you can see", "we see"]);
    let mut text = format!("{opening} {} {}", s.a(0), s.place(0));
    for next in 1..s.count() {
        let verb = s.rng.pick(&["is", "sits", "lies"]);
        text += &format!("; {} {verb} {} {}", s.a(next), s.relation(next, 0), s.the(0));
    }
    text
}

/// "a picture of a red circle, a blue ring and a green star"
fn plain_list(s: &mut CaptionWriter<'_>) -> String {
    let opening = s.rng.pick(&["a picture of", "an image with", "a drawing of", "this shows"]);
    format!("{opening} {}", s.all())
}

/// Returns the plain word, or sometimes a random synonym.
fn word(rng: &mut Rng, words: &'static [&'static str]) -> &'static str {
    if rng.percent(PLAIN) { words[0] } else { rng.pick(words) }
}

fn enumerate(items: &[String]) -> String {
    match items {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => items.concat(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Background, Colour, Object, Relation, Scene, Shape, Size, World};
    use std::collections::HashSet;

    /// An object mentioned in a caption, and the words that follow up to the next mention.
    struct Mention {
        size: Option<Size>,
        colour: Colour,
        shape: Shape,
        after: String,
    }

    #[test]
    fn captions_are_true_and_name_every_object() {
        for index in 0..2000 {
            let scene = World::new(3).scene(index);
            for caption in scene.captions(5) {
                check(&scene, &caption)
                    .unwrap_or_else(|what| panic!("scene {index}: {caption}: {what}\n{scene:?}"));
            }
        }
    }

    #[test]
    fn the_check_detects_a_false_caption() {
        let scene = World::new(3).scene(0);
        let caption = &scene.captions(1)[0];
        let colour = Colour::ALL.iter().find(|c| scene.objects.iter().all(|o| o.colour != **c)).unwrap();
        let named = scene.objects[0].colour.words().iter().find(|w| caption.contains(**w)).unwrap();
        assert!(check(&scene, &caption.replace(named, colour.words()[0])).is_err());
    }

    #[test]
    fn captions_of_a_scene_differ_and_rarely_fit_another_scene() {
        let mut seen = HashSet::new();
        let mut repeated = 0;
        for index in 0..1000 {
            let captions = World::new(4).scene(index).captions(5);
            assert_eq!(captions.iter().collect::<HashSet<_>>().len(), 5, "{captions:?}");
            repeated += captions.into_iter().filter(|c| !seen.insert(c.clone())).count();
        }
        assert!(repeated <= 5, "{repeated} of 5000 captions describe two scenes");
    }

    /// Parses a caption and compares it with the scene.
    fn check(scene: &Scene, caption: &str) -> Result<(), String> {
        let mentions = mentions(caption);
        let find = |m: &Mention| -> Result<&Object, String> {
            let known = scene.objects.iter().find(|o| (o.shape, o.colour) == (m.shape, m.colour));
            let object = known.ok_or(format!("no {:?} {:?}", m.colour, m.shape))?;
            match m.size {
                Some(size) if size != object.size => Err(format!("{object:?} is not {size:?}")),
                _ => Ok(object),
            }
        };
        let objects = mentions.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        for object in &scene.objects {
            objects.contains(&object).then_some(()).ok_or(format!("{object:?} is not named"))?;
        }
        for (i, mention) in mentions.iter().enumerate() {
            let relation =
                Relation::ALL.iter().find(|r| r.phrases().iter().any(|p| mention.after.ends_with(p)));
            if let (Some(relation), Some(next)) = (relation, objects.get(i + 1)) {
                let holds = objects[i].relations_to(next).contains(relation);
                holds.then_some(()).ok_or(format!("{:?} is not {relation:?} {next:?}", objects[i]))?;
            }
            place(&mention.after, objects[i])?;
        }
        shade(scene, caption)
    }

    fn mentions(caption: &str) -> Vec<Mention> {
        let words: Vec<&str> =
            caption.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).collect();
        let mut found: Vec<Mention> = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let colour = Colour::ALL.iter().find(|c| c.words().contains(&words[at]));
            let shape = words.get(at + 1).and_then(|w| Shape::ALL.iter().find(|s| s.words().contains(w)));
            if let (Some(&colour), Some(&shape)) = (colour, shape) {
                let size =
                    at.checked_sub(1).and_then(|b| Size::ALL.iter().find(|s| s.words().contains(&words[b])));
                found.push(Mention { size: size.copied(), colour, shape, after: String::new() });
                at += 2;
                continue;
            }
            // Articles and sizes belong to the next mention.
            let leading = ["a", "an", "the"].contains(&words[at]) && next_is_object(&words[at + 1..])
                || Size::ALL.iter().any(|s| s.words().contains(&words[at]));
            if let (false, Some(last)) = (leading, found.last_mut()) {
                last.after = format!("{} {}", last.after, words[at]).trim().to_owned();
            }
            at += 1;
        }
        found
    }

    fn next_is_object(words: &[&str]) -> bool {
        words.first().is_some_and(|w| {
            Size::ALL.iter().any(|s| s.words().contains(w))
                || Colour::ALL.iter().any(|c| c.words().contains(w))
        })
    }

    /// Checks that a place such as "in the top left corner" is the cell of the object.
    fn place(after: &str, object: &Object) -> Result<(), String> {
        if !["corner", "edge", "side", "upper", "lower", "at the", "middle", "centre"]
            .iter()
            .any(|w| after.contains(w))
        {
            return Ok(());
        }
        let has_any = |words: &[&str]| words.iter().any(|w| after.split(' ').any(|word| word == *w));
        let line = |low: &[&str], high: &[&str]| {
            if has_any(low) {
                0
            } else if has_any(high) {
                2
            } else {
                1
            }
        };
        let cell = [line(&["left"], &["right"]), line(&["top", "upper"], &["bottom", "lower"])];
        (cell == object.cell()).then_some(()).ok_or(format!("{object:?} is not at {cell:?}"))
    }

    fn shade(scene: &Scene, caption: &str) -> Result<(), String> {
        let words: Vec<&str> = caption.split(|c: char| !c.is_alphabetic()).collect();
        match words.iter().position(|w| ["background", "backdrop"].contains(w)) {
            Some(at) if !scene.background.words().contains(&words[at - 1]) => {
                let other = Background::ALL.iter().find(|b| b.words().contains(&words[at - 1]));
                Err(format!("the background is {:?}, not {other:?}", scene.background))
            }
            _ => Ok(()),
        }
    }
}
