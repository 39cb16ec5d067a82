//! The words for shapes, colours, sizes, backgrounds and relations. The first of each list is the plain name.

use crate::scene::{Background, Colour, Relation, Shape, Size};

impl Shape {
    /// Returns the words for the shape, the plain name first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Circle => &["circle", "disc", "dot"],
            Self::Square => &["square", "box", "block"],
            Self::Triangle => &["triangle", "pyramid"],
            Self::Diamond => &["diamond", "rhombus"],
            Self::Star => &["star"],
            Self::Cross => &["cross", "plus"],
            Self::Ring => &["ring", "hoop", "donut"],
            Self::Heart => &["heart"],
        }
    }
}

impl Colour {
    /// Returns the words for the colour, the plain name first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Red => &["red", "crimson", "scarlet"],
            Self::Orange => &["orange", "amber"],
            Self::Yellow => &["yellow", "golden"],
            Self::Green => &["green", "emerald"],
            Self::Cyan => &["cyan", "turquoise", "teal"],
            Self::Blue => &["blue", "cobalt"],
            Self::Purple => &["purple", "violet"],
            Self::Pink => &["pink", "rosy"],
        }
    }
}

impl Size {
    /// Returns the words for the size, the plain name first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Small => &["small", "little", "tiny"],
            Self::Medium => &["medium"],
            Self::Large => &["large", "big", "huge"],
        }
    }
}

impl Background {
    /// Returns the words for the background, the plain name first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Dark => &["dark", "black"],
            Self::Grey => &["grey", "gray"],
            Self::Light => &["light", "pale", "white"],
        }
    }
}

impl Relation {
    /// Returns the phrases for the relation, the plain one first.
    pub fn phrases(self) -> &'static [&'static str] {
        match self {
            Self::Left => &["left of", "to the left of"],
            Self::Right => &["right of", "to the right of"],
            Self::Above => &["above", "over"],
            Self::Below => &["below", "under", "beneath"],
        }
    }
}

/// The phrases for each cell of the 3x3 grid, indexed by row, then column.
pub(crate) const PLACES: [[&[&str]; 3]; 3] = [
    [
        &["in the top left corner", "at the upper left"],
        &["at the top", "near the top edge"],
        &["in the top right corner", "at the upper right"],
    ],
    [
        &["on the left side", "near the left edge"],
        &["in the middle", "in the centre"],
        &["on the right side", "near the right edge"],
    ],
    [
        &["in the bottom left corner", "at the lower left"],
        &["at the bottom", "near the bottom edge"],
        &["in the bottom right corner", "at the lower right"],
    ],
];
