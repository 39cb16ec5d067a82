//! The demo's procedural world: scenes of coloured shapes, captions of them, and questions about them.
//!
//! Unlike real image-caption collections, the data is small, free, fast to embed, and has a known ground
//! truth. A scene has two or three shapes on a loose 3x3 grid. It can be rendered to a 64x64 picture,
//! described by any number of captions, and asked about with questions that need both the picture and the
//! text. [`benchmark`] makes vectors and raw items of up to four modalities whose common factors are known,
//! and [`tasks`] makes data that no single input is sufficient for.
//!
//! All arithmetic of scenes is on integers, with one splitmix64 stream per scene. Pictures and captions are
//! therefore identical on every machine, and scene `i` does not depend on the number of scenes.
//!
//! ```
//! let scene = world::World::new(7).scene(0);
//! assert_eq!(scene.render().dimensions(), (64, 64));
//! assert_eq!(scene.captions(5).len(), 5);
//! assert!(scene.questions().iter().all(|question| question.object < scene.objects.len()));
//! ```

mod attention_overlap;
pub mod benchmark;
mod caption;
mod dataset;
mod npy;
mod question;
mod quiz;
mod render;
mod rng;
mod scene;
pub mod tasks;
mod words;

pub use attention_overlap::AttentionOverlap;
pub use dataset::{Error, SceneRow, SceneSplit, write};
pub use question::Question;
pub use quiz::{Ceilings, MOST, QuizRow, write_quiz};
pub use scene::{Background, Colour, Object, Relation, SIDE, Scene, Shape, Size};

/// An infinite sequence of scenes that is determined by its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    seed: u64,
}

impl World {
    /// Returns the world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the scene at an index.
    pub fn scene(&self, index: u64) -> Scene {
        Scene::sample(&mut rng::Rng::of(self.seed, index))
    }
}
