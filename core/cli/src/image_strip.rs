//! Writing images side by side into one PNG file.

use crate::CommandResult;
use chiasm_pipeline::Error;
use image::{Rgb, RgbImage, imageops};
use std::path::{Path, PathBuf};

/// The height of the images and the gap between them, in pixels.
const HEIGHT: u32 = 128;
const GAP: u32 = 6;

/// Writes the images at `paths`, scaled to equal height, from left to right into one PNG file.
pub fn write(paths: &[PathBuf], target: &Path) -> CommandResult {
    let pictures: Vec<RgbImage> = paths.iter().map(|path| scaled(path)).collect::<CommandResult<_>>()?;
    let width = pictures.iter().map(|p| p.width() + GAP).sum::<u32>() + GAP;
    let mut strip = RgbImage::from_pixel(width, HEIGHT + 2 * GAP, Rgb([255, 255, 255]));
    let mut left = GAP;
    for picture in &pictures {
        imageops::replace(&mut strip, picture, i64::from(left), i64::from(GAP));
        left += picture.width() + GAP;
    }
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    strip.save(target).map_err(|e| Error::io("write", target, std::io::Error::other(e)))
}

fn scaled(path: &Path) -> CommandResult<RgbImage> {
    let picture = image::open(path)
        .map_err(|e| {
            Error::input(
                "chiasm::search::strip",
                format!("{}: {e}", path.display()),
                "--strip works only for modalities of images",
            )
        })?
        .to_rgb8();
    let width = (picture.width() * HEIGHT / picture.height().max(1)).max(1);
    let filter = if picture.height() < HEIGHT { imageops::Nearest } else { imageops::Triangle };
    Ok(imageops::resize(&picture, width, HEIGHT, filter))
}
