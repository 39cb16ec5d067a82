//! From facts to sentences: a handful of styles, each filled with words of the world.
//!
//! Every caption names every object by colour and shape, so that it nearly identifies its picture; sizes,
//! places, relations and the background are said in some wordings and left out in others, as people do.

use crate::rng::Rng;
use crate::scene::{Object, Scene, Size};
use crate::words::PLACES;

/// A way of building the sentence.
type Style = fn(&mut Speaker<'_>) -> String;
/// Successive captions of a scene go round these.
const STYLES: [Style; 5] = [chain, list_with_relation, places, told, plain_list];
/// How often a plain name is kept although there are synonyms, in percent.
const PLAIN: u32 = 55;

impl Scene {
    /// That many descriptions of the scene, in different styles and words; always the same ones for a scene.
    ///
    /// No two are equal as long as fewer than some hundreds are asked for.
    pub fn captions(&self, count: usize) -> Vec<String> {
        let mut rng = Rng::of(self.wording, 0);
        let first = rng.below(STYLES.len() as u32) as usize;
        let mut captions: Vec<String> = Vec::with_capacity(count);
        for number in 0..count {
            let style = STYLES[(first + number) % STYLES.len()];
            let mut caption = Speaker::new(self, &mut rng).say(style);
            for _ in 0..20 {
                if !captions.contains(&caption) {
                    break;
                }
                caption = Speaker::new(self, &mut rng).say(style);
            }
            captions.push(caption);
        }
        captions
    }
}

/// One caption being spoken: the objects in the order of mention, each with the name it keeps throughout.
struct Speaker<'a> {
    scene: &'a Scene,
    rng: &'a mut Rng,
    objects: Vec<(&'a Object, String)>,
}

impl<'a> Speaker<'a> {
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

    /// The first mention: "a small red circle".
    fn a(&mut self, index: usize) -> String {
        let (object, name) = &self.objects[index];
        let said = if object.size == Size::Medium { 20 } else { 65 };
        let phrase = if self.rng.percent(said) {
            format!("{} {name}", word(self.rng, object.size.words()))
        } else {
            name.clone()
        };
        let article = if phrase.starts_with(['a', 'e', 'o']) { "an" } else { "a" };
        format!("{article} {phrase}")
    }

    /// A later mention: "the red circle".
    fn the(&self, index: usize) -> String {
        format!("the {}", self.objects[index].1)
    }

    /// How the first lies to the second: "to the left of".
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

    /// "a, b and c" of all objects.
    fn all(&mut self) -> String {
        let mentions: Vec<String> = (0..self.count()).map(|i| self.a(i)).collect();
        enumerate(&mentions)
    }
}

/// "a red circle to the left of a blue ring, and a green star above the red circle"
fn chain(s: &mut Speaker<'_>) -> String {
    let verb = s.rng.pick(&["", "is ", "sits ", "lies "]);
    let mut text = format!("{} {verb}{} {}", s.a(0), s.relation(0, 1), s.a(1));
    if s.count() == 3 {
        let anchor = s.rng.below(2) as usize;
        text += &format!(", and {} {verb}{} {}", s.a(2), s.relation(2, anchor), s.the(anchor));
    }
    text
}

/// "a red circle, a blue ring and a green star, with the red circle above the green star"
fn list_with_relation(s: &mut Speaker<'_>) -> String {
    let (from, to) = (0, s.count() - 1);
    let (list, relation) = (s.all(), s.relation(from, to));
    match s.rng.below(2) {
        0 => format!("{list}, with {} {relation} {}", s.the(from), s.the(to)),
        _ => format!("{list}; {} is {relation} {}", s.the(from), s.the(to)),
    }
}

/// "a red circle at the top, a blue ring in the middle and a green star on the left side"
fn places(s: &mut Speaker<'_>) -> String {
    let mentions: Vec<String> = (0..s.count()).map(|i| format!("{} {}", s.a(i), s.place(i))).collect();
    enumerate(&mentions)
}

/// "there is a red circle in the middle; a blue ring is above it" with every object told of in turn.
fn told(s: &mut Speaker<'_>) -> String {
    let opening = s.rng.pick(&["there is", "you can see", "we see"]);
    let mut text = format!("{opening} {} {}", s.a(0), s.place(0));
    for next in 1..s.count() {
        let verb = s.rng.pick(&["is", "sits", "lies"]);
        text += &format!("; {} {verb} {} {}", s.a(next), s.relation(next, 0), s.the(0));
    }
    text
}

/// "a picture of a red circle, a blue ring and a green star"
fn plain_list(s: &mut Speaker<'_>) -> String {
    let opening = s.rng.pick(&["a picture of", "an image with", "a drawing of", "this shows"]);
    format!("{opening} {}", s.all())
}

/// The plain word, or now and then one of its synonyms.
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

    /// An object as a caption speaks of it, and the words that follow up to the next one.
    struct Mention {
        size: Option<Size>,
        colour: Colour,
        shape: Shape,
        after: String,
    }

    #[test]
    fn captions_say_what_the_scene_holds_and_nothing_else() {
        for index in 0..2000 {
            let scene = World::new(3).scene(index);
            for caption in scene.captions(5) {
                check(&scene, &caption)
                    .unwrap_or_else(|what| panic!("scene {index}: {caption}: {what}\n{scene:?}"));
            }
        }
    }

    #[test]
    fn the_check_notices_a_false_caption() {
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

    /// Reads a caption back and holds it against the facts.
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
            // Articles and sizes belong to the mention that follows: they never end a relation or a place.
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

    /// A place such as "in the top left corner" must be the object's cell.
    fn place(after: &str, object: &Object) -> Result<(), String> {
        if !["corner", "edge", "side", "upper", "lower", "at the", "middle", "centre"]
            .iter()
            .any(|w| after.contains(w))
        {
            return Ok(());
        }
        let says = |words: &[&str]| words.iter().any(|w| after.split(' ').any(|said| said == *w));
        let line = |low: &[&str], high: &[&str]| {
            if says(low) {
                0
            } else if says(high) {
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
