//! Questions about the relations of objects. Each has one correct answer, which is about one object.
//!
//! The scene always has another object that would give a different answer. Neither the text nor a list of the
//! objects is therefore sufficient: the answer depends on the positions. Questions use plain names only.

use crate::scene::{Object, Relation, Scene};

/// A question about a scene, with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The text: "what colour is the shape left of the circle" or "what is above the red ring".
    pub text: String,
    /// The answer: the plain name of a colour or of a shape.
    pub answer: &'static str,
    /// The index of the object that the answer is about.
    pub object: usize,
}

impl Scene {
    /// Returns every question with exactly one answer: one object has the relation to the named object, and
    /// another object, which would give a different answer, does not.
    pub fn questions(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for (at, anchor) in self.objects.iter().enumerate() {
            for &relation in Relation::ALL {
                let others = (0..self.objects.len()).filter(|&other| other != at);
                let (there, elsewhere): (Vec<usize>, Vec<usize>) =
                    others.partition(|&other| self.objects[other].relations_to(anchor).contains(&relation));
                if let [object] = there[..] {
                    questions.extend(self.about(anchor, relation, object, &elsewhere));
                }
            }
        }
        questions
    }

    /// Returns the questions for the object's colour and shape, if the anchor's name is unique and the answer
    /// is different for another object.
    fn about(&self, anchor: &Object, relation: Relation, object: usize, others: &[usize]) -> Vec<Question> {
        let found = &self.objects[object];
        let others = || others.iter().map(|&other| &self.objects[other]);
        let alike = self.objects.iter().filter(|o| o.shape == anchor.shape).count();
        let (lies, shape) = (relation.phrases()[0], anchor.shape.words()[0]);
        let mut questions = Vec::new();
        if alike == 1 && others().any(|o| o.colour != found.colour) {
            let text = format!("what colour is the shape {lies} the {shape}");
            questions.push(Question { text, answer: found.colour.words()[0], object });
        }
        if others().any(|o| o.shape != found.shape) {
            let text = format!("what is {lies} the {} {shape}", anchor.colour.words()[0]);
            questions.push(Question { text, answer: found.shape.words()[0], object });
        }
        questions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Colour, Shape, World};
    use std::collections::BTreeSet;

    /// Parses a question and returns the objects with the relation, computed from the boxes, and their
    /// answers.
    fn read<'a>(scene: &'a Scene, text: &str) -> Vec<(usize, &'a str)> {
        let words: Vec<&str> = text.split(' ').collect();
        let shape = words[words.len() - 1];
        let colour = Colour::ALL.iter().find(|c| c.words()[0] == words[words.len() - 2]);
        let named = |o: &&Object| o.shape.words()[0] == shape && colour.is_none_or(|&c| o.colour == c);
        let anchors: Vec<&Object> = scene.objects.iter().filter(named).collect();
        assert_eq!(anchors.len(), 1, "`{text}` names {} objects of {scene:?}", anchors.len());
        let (axis, sign) = match words.iter().find_map(|w| match *w {
            "left" => Some((0, -1)),
            "right" => Some((0, 1)),
            "above" => Some((1, -1)),
            "below" => Some((1, 1)),
            _ => None,
        }) {
            Some(found) => found,
            None => panic!("`{text}` names no relation"),
        };
        let middle = |o: &Object| (o.bounds[axis] + o.bounds[axis + 2]) as i32 / 2;
        let answer =
            |o: &'a Object| if words[1] == "colour" { o.colour.words()[0] } else { o.shape.words()[0] };
        let far = |o: &Object| sign * (middle(o) - middle(anchors[0]));
        for object in &scene.objects {
            // In the relation by 10 pixels at least, or out of it by as much, or level within half of that.
            assert!(far(object).abs() >= 10 || far(object).abs() <= 5, "`{text}` is not plain in {scene:?}");
        }
        let objects = scene.objects.iter().enumerate();
        objects.filter(|(_, o)| far(o) >= 10).map(|(at, o)| (at, answer(o))).collect()
    }

    #[test]
    fn exactly_one_object_answers_and_another_object_gives_another_answer() {
        let mut asked = 0;
        for index in 0..3000 {
            let scene = World::new(21).scene(index);
            for question in scene.questions() {
                assert_eq!(read(&scene, &question.text), [(question.object, question.answer)], "{scene:?}");
                let colour = question.text.starts_with("what colour");
                let others = scene
                    .objects
                    .iter()
                    .map(|o| if colour { o.colour.words()[0] } else { o.shape.words()[0] });
                assert!(others.collect::<BTreeSet<_>>().len() >= 2, "{scene:?} {question:?}");
                asked += 1;
            }
        }
        assert!(asked > 6000, "{asked} questions of 3000 scenes");
    }

    #[test]
    fn scenes_of_two_objects_have_no_questions() {
        let scenes = (0..500).map(|index| World::new(22).scene(index)).filter(|s| s.objects.len() == 2);
        assert!(scenes.map(|scene| scene.questions().len()).all(|count| count == 0));
    }

    #[test]
    fn all_relations_colours_and_shapes_occur_in_questions() {
        let all: Vec<Question> =
            (0..2000).flat_map(|index| World::new(23).scene(index).questions()).collect();
        let answers: BTreeSet<&str> = all.iter().map(|q| q.answer).collect();
        assert_eq!(answers.len(), Colour::ALL.len() + Shape::ALL.len());
        let texts: BTreeSet<&str> = all.iter().map(|q| q.text.as_str()).collect();
        let (relations, shapes) = (Relation::ALL.len(), Shape::ALL.len());
        assert_eq!(texts.len(), relations * shapes * (1 + Colour::ALL.len()));
    }
}
