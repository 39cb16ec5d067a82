//! Scenes: objects with shape, colour, size and position. Pictures and captions are generated from them.
//!
//! Lengths are integers in eighths of a pixel (`UNIT`).

use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// Width and height of a picture, in pixels.
pub const SIDE: u32 = 64;
/// The number of length units per pixel.
pub(crate) const UNIT: i32 = 8;
/// Centres of the grid's three columns (and rows), in pixels.
const LINES: [i32; 3] = [12, 32, 52];
/// The maximum distance of a centre from its grid point per axis, in pixels. Objects in adjacent cells hardly
/// overlap.
const STRAY: i32 = 2;
/// The minimum distance of two centres along an axis, in pixels, for a relation along it.
const CLEAR: i32 = 10;

/// One picture's ground truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// The background.
    pub background: Background,
    /// Two or three objects, in drawing order. No two have the same shape and colour.
    pub objects: Vec<Object>,
    /// The seed of the captions.
    #[serde(skip)]
    pub(crate) wording: u64,
    #[serde(skip)]
    pub(crate) shade: [u8; 3],
}

/// One shape in a scene.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its shape.
    pub shape: Shape,
    /// Its colour. The colour of the pixels varies a little.
    pub colour: Colour,
    /// Its size.
    pub size: Size,
    /// Left, top, right, bottom in pixels; the last two are exclusive. The box is inside the picture.
    #[serde(rename = "box")]
    pub bounds: [u32; 4],
    #[serde(skip)]
    pub(crate) centre: [i32; 2],
    #[serde(skip)]
    pub(crate) radius: i32,
    #[serde(skip)]
    pub(crate) paint: [u8; 3],
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// All values, in a fixed order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}

named! {
    /// The shape of an object.
    Shape {
        /// A filled disc.
        Circle,
        /// An upright square.
        Square,
        /// A triangle that stands on its base.
        Triangle,
        /// A square on its corner.
        Diamond,
        /// A five-pointed star.
        Star,
        /// An upright plus sign.
        Cross,
        /// A disc with a hole.
        Ring,
        /// A heart.
        Heart,
    }
}
named! {
    /// The colour of an object.
    Colour {
        /// (214, 40, 40).
        Red,
        /// (240, 130, 20).
        Orange,
        /// (245, 215, 45).
        Yellow,
        /// (45, 160, 60).
        Green,
        /// (50, 205, 205).
        Cyan,
        /// (40, 75, 215).
        Blue,
        /// (130, 45, 175).
        Purple,
        /// (250, 140, 190).
        Pink,
    }
}
named! {
    /// The size of an object.
    Size {
        /// About 10 pixels across.
        Small,
        /// About 14 pixels across.
        Medium,
        /// About 19 pixels across.
        Large,
    }
}
named! {
    /// The shade behind the objects.
    Background {
        /// Nearly black.
        Dark,
        /// Mid grey.
        Grey,
        /// Nearly white.
        Light,
    }
}
named! {
    /// The position of one object relative to another.
    Relation {
        /// Further left.
        Left,
        /// Further right.
        Right,
        /// Higher up.
        Above,
        /// Lower down.
        Below,
    }
}

impl Scene {
    pub(crate) fn sample(rng: &mut Rng) -> Self {
        let count = if rng.percent(40) { 2 } else { 3 };
        let mut cells: Vec<usize> = (0..9).collect();
        rng.shuffle(&mut cells);
        let mut objects: Vec<Object> = Vec::with_capacity(count);
        while objects.len() < count {
            let object = Object::sample(cells[objects.len()], rng);
            if objects.iter().all(|o| (o.shape, o.colour) != (object.shape, object.colour)) {
                objects.push(object);
            }
        }
        let background = rng.pick(Background::ALL);
        Self::with(background, objects, rng)
    }

    /// Returns a scene of these objects, in drawing order.
    pub(crate) fn with(background: Background, objects: Vec<Object>, rng: &mut Rng) -> Self {
        let level = match background {
            Background::Dark => 30,
            Background::Grey => 120,
            Background::Light => 225,
        } + rng.between(-18, 18);
        Self { background, objects, shade: [level as u8; 3], wording: rng.next() }
    }
}

impl Object {
    fn sample(cell: usize, rng: &mut Rng) -> Self {
        let (shape, colour) = (rng.pick(Shape::ALL), rng.pick(Colour::ALL));
        Self::placed(cell, shape, colour, rng)
    }

    /// Returns an object of any size in a cell of the grid, counted by rows from the top left.
    pub(crate) fn placed(cell: usize, shape: Shape, colour: Colour, rng: &mut Rng) -> Self {
        let size = rng.pick(Size::ALL);
        let radius = match size {
            Size::Small => rng.between(36, 44),
            Size::Medium => rng.between(52, 60),
            Size::Large => rng.between(70, 80),
        };
        let stray = STRAY * UNIT;
        let centre = [cell % 3, cell / 3].map(|line| LINES[line] * UNIT + rng.between(-stray, stray));
        let paint = colour.rgb().map(|c| (i32::from(c) + rng.between(-10, 10)).clamp(0, 255) as u8);
        let [x, y] = centre;
        let (floor, ceil) = (|v: i32| (v / UNIT) as u32, |v: i32| ((v + UNIT - 1) / UNIT) as u32);
        let bounds = [floor(x - radius), floor(y - radius), ceil(x + radius), ceil(y + radius)];
        Self { shape, colour, size, bounds, centre, radius, paint }
    }

    /// Returns the column and row in the 3x3 grid, each 0, 1 or 2, from the top left.
    pub fn cell(&self) -> [usize; 2] {
        let [left, top, right, bottom] = self.bounds;
        [(left + right) / 2, (top + bottom) / 2].map(|middle| (middle * 3 / SIDE) as usize)
    }

    /// Returns the relations of this object to another: one or two.
    pub fn relations_to(&self, other: &Self) -> Vec<Relation> {
        let middle = |o: &Self, axis: usize| (o.bounds[axis] + o.bounds[axis + 2]) as i32 / 2;
        let pairs = [(Relation::Left, Relation::Right), (Relation::Above, Relation::Below)];
        let along = pairs.into_iter().enumerate().filter_map(|(axis, (before, after))| {
            match middle(self, axis) - middle(other, axis) {
                d if d <= -CLEAR => Some(before),
                d if d >= CLEAR => Some(after),
                _ => None,
            }
        });
        along.collect()
    }
}

impl Colour {
    pub(crate) fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [214, 40, 40],
            Self::Orange => [240, 130, 20],
            Self::Yellow => [245, 215, 45],
            Self::Green => [45, 160, 60],
            Self::Cyan => [50, 205, 205],
            Self::Blue => [40, 75, 215],
            Self::Purple => [130, 45, 175],
            Self::Pink => [250, 140, 190],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    fn scenes() -> impl Iterator<Item = Scene> {
        (0..2000).map(|index| World::new(11).scene(index))
    }

    #[test]
    fn boxes_lie_inside_the_picture_and_match_the_named_size() {
        for object in scenes().flat_map(|s| s.objects) {
            let [left, top, right, bottom] = object.bounds;
            assert!(left < right && right <= SIDE && top < bottom && bottom <= SIDE, "{object:?}");
            let across = (right - left).max(bottom - top);
            let named = match object.size {
                Size::Small => 9..=12,
                Size::Medium => 13..=16,
                Size::Large => 17..=21,
            };
            assert!(named.contains(&across), "{object:?}");
        }
    }

    #[test]
    fn objects_of_a_scene_differ_and_barely_overlap() {
        for scene in scenes() {
            assert!((2..=3).contains(&scene.objects.len()));
            for (i, a) in scene.objects.iter().enumerate() {
                for b in &scene.objects[..i] {
                    assert_ne!((a.shape, a.colour), (b.shape, b.colour));
                    // Two of the largest, both strayed fully towards each other, reach 0.18.
                    assert!(overlap(a, b) < 0.2, "{a:?} {b:?}");
                    assert!(!a.relations_to(b).is_empty(), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn all_shapes_colours_sizes_and_cells_occur() {
        let all: Vec<Scene> = scenes().collect();
        let objects: Vec<&Object> = all.iter().flat_map(|s| &s.objects).collect();
        for &shape in Shape::ALL {
            for &colour in Colour::ALL {
                assert!(
                    objects.iter().any(|o| o.shape == shape && o.colour == colour),
                    "{shape:?} {colour:?}"
                );
            }
        }
        assert!((0..9).all(|c| objects.iter().any(|o| o.cell() == [c % 3, c / 3])));
        assert!(Size::ALL.iter().all(|&size| objects.iter().any(|o| o.size == size)));
        assert!(Background::ALL.iter().all(|&shade| all.iter().any(|s| s.background == shade)));
    }

    #[test]
    fn the_relations_of_two_objects_are_opposite() {
        let opposite = |r| match r {
            Relation::Left => Relation::Right,
            Relation::Right => Relation::Left,
            Relation::Above => Relation::Below,
            Relation::Below => Relation::Above,
        };
        for scene in scenes() {
            let (a, b) = (&scene.objects[0], &scene.objects[1]);
            let there: Vec<Relation> = a.relations_to(b).into_iter().map(opposite).collect();
            assert_eq!(there, b.relations_to(a));
        }
    }

    fn overlap(a: &Object, b: &Object) -> f64 {
        let area = |[l, t, r, b]: [u32; 4]| f64::from(r.saturating_sub(l)) * f64::from(b.saturating_sub(t));
        let (p, q) = (a.bounds, b.bounds);
        let common = area([p[0].max(q[0]), p[1].max(q[1]), p[2].min(q[2]), p[3].min(q[3])]);
        common / (area(p) + area(q) - common)
    }
}
