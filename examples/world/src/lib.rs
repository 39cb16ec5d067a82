//! The demo's procedural world: scenes of coloured shapes, captions of them, and questions about them.
//!
//! Real image–caption collections are large, licensed by others and slow to embed; this one is made on the
//! spot, is the same on every machine, and comes with its ground truth. A scene holds two or three shapes on
//! a loose 3x3 grid; it can be rendered to a 64x64 picture, described in as many wordings as asked for, and
//! asked about in ways that neither the picture nor the words answer alone.
//!
//! Everything is integer arithmetic over one splitmix64 stream per scene, so pictures and captions are equal
//! to the byte wherever they are made, and scene `i` never depends on how many scenes are made.
//!
//! ```
//! let scene = world::World::new(7).scene(0);
//! assert_eq!(scene.render().dimensions(), (64, 64));
//! assert_eq!(scene.captions(5).len(), 5);
//! assert!(scene.questions().iter().all(|question| question.object < scene.objects.len()));
//! ```

mod caption;
mod dataset;
mod looked;
mod question;
mod quiz;
mod render;
mod rng;
mod scene;
mod words;

pub use dataset::{Error, Row, Split, write};
pub use looked::Looked;
pub use question::Question;
pub use quiz::{Ceilings, MOST, QuizRow, write_quiz};
pub use scene::{Background, Colour, Object, Relation, SIDE, Scene, Shape, Size};

/// An endless sequence of scenes, fixed by its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    seed: u64,
}

impl World {
    /// The world of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The scene at this index; any index may be asked for, in any order.
    pub fn scene(&self, index: u64) -> Scene {
        Scene::sample(&mut rng::Rng::of(self.seed, index))
    }
}
