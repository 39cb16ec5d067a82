//! Writing a data set of scenes: `images/*.png`, and `pairs.jsonl` with one row per scene.

use crate::{Scene, World};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Captions written for each scene.
const CAPTIONS: usize = 5;

/// The error of writing a data set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file could not be written.
    #[error("cannot write {path}: {source}; is the folder writable and the disk not full?")]
    Write {
        /// The path.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A picture could not be written.
    #[error("cannot write the picture {path}: {source}; is the folder writable and the disk not full?")]
    Picture {
        /// The path.
        path: PathBuf,
        /// The error of the image encoder.
        source: image::ImageError,
    },
    /// The number of questions per picture is out of range.
    #[error("expected 1 to {most} questions about each picture, got {each}", most = crate::quiz::MOST)]
    Questions {
        /// The requested number.
        each: usize,
    },
    /// A setting is out of range, or collapses together with others.
    #[error("{what}: expected {expected}, got {got}; {help}")]
    Setting {
        /// The setting, as the flag of the command.
        what: &'static str,
        /// The valid values.
        expected: String,
        /// The value that was given.
        got: String,
        /// What to do about it.
        help: String,
    },
}

/// The split of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SceneSplit {
    /// Training: four of five scenes.
    Train,
    /// Test: every fifth scene.
    Test,
}

impl SceneSplit {
    /// Returns the split of a scene. It depends only on the index, not on the number of scenes.
    pub(crate) fn of(id: u64) -> Self {
        if id % 5 == 4 { Self::Test } else { Self::Train }
    }
}

/// One line of `pairs.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SceneRow {
    /// The scene's index in its world.
    pub id: u64,
    /// The split.
    pub split: SceneSplit,
    /// The path of the picture, relative to the folder.
    pub image: String,
    /// Five captions.
    pub captions: Vec<String>,
    /// The scene.
    pub scene: Scene,
}

/// Writes the first `count` scenes into the folder, which is created if it does not exist. Returns the rows.
///
/// `pairs.jsonl` is written last, under a temporary name, and then renamed.
pub fn write(world: &World, folder: &Path, count: u64) -> Result<Vec<SceneRow>, Error> {
    let images = folder.join("images");
    std::fs::create_dir_all(&images).map_err(|source| Error::Write { path: images, source })?;
    let rows =
        (0..count).into_par_iter().map(|id| write_scene(world, folder, id)).collect::<Result<Vec<_>, _>>()?;
    write_lines(&rows, &folder.join("pairs.jsonl"))?;
    Ok(rows)
}

fn write_scene(world: &World, folder: &Path, id: u64) -> Result<SceneRow, Error> {
    let scene = world.scene(id);
    let image = write_picture(&scene, folder, id)?;
    Ok(SceneRow { id, split: SceneSplit::of(id), image, captions: scene.captions(CAPTIONS), scene })
}

/// Saves the picture of a scene. Returns its path, relative to the folder.
pub(crate) fn write_picture(scene: &Scene, folder: &Path, id: u64) -> Result<String, Error> {
    let image = format!("images/{id:06}.png");
    let path = folder.join(&image);
    scene.render().save(&path).map_err(|source| Error::Picture { path, source })?;
    Ok(image)
}

/// Writes one line of JSON per row. The file is written under a temporary name and then renamed.
pub(crate) fn write_lines(rows: &[impl Serialize], path: &Path) -> Result<(), Error> {
    let unfinished = path.with_added_extension("tmp");
    let write = || {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&unfinished)?);
        for row in rows {
            serde_json::to_writer(&mut file, row)?;
            file.write_all(b"\n")?;
        }
        file.into_inner()?.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_holds_the_scenes_of_the_world() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(9);
        let rows = write(&world, folder.path(), 20).unwrap();
        let text = std::fs::read_to_string(folder.path().join("pairs.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 20);
        for (line, row) in text.lines().zip(&rows) {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(json["captions"].as_array().unwrap().len(), 5);
            assert_eq!(json["scene"]["objects"][0]["box"].as_array().unwrap().len(), 4);
            assert_eq!(json["split"], if row.id % 5 == 4 { "test" } else { "train" });
            let picture = image::open(folder.path().join(&row.image)).unwrap().to_rgb8();
            assert_eq!(picture, world.scene(row.id).render());
        }
        assert!(!folder.path().join("pairs.jsonl.tmp").exists());
    }

    #[test]
    fn the_error_names_a_folder_that_cannot_be_created() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write(&World::new(1), file.path(), 1).unwrap_err().to_string();
        assert!(error.contains("images") && error.contains("cannot write"), "{error}");
    }

    #[test]
    fn the_world_is_the_same_on_every_machine() {
        // FNV-1a over pixels and captions of 200 scenes, from when the demo's encoders were trained. If it
        // changes, the models in models/ must be trained again.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for index in 0..200 {
            let scene = World::new(2026).scene(index);
            let text = scene.captions(CAPTIONS).join("\n");
            for &byte in scene.render().as_raw().iter().chain(text.as_bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(hash, 0xf62e_baba_4913_d37b, "{hash:#x}");
    }
}
