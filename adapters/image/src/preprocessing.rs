//! The `[preprocessing]` table of an image card: read, checked, and applied to one picture.
//!
//! Colour order, scale, mean and deviation together are one number per channel and level, so they become a table of
//! 3 x 256 values once, computed in f64; applying it is exact and needs no arithmetic per pixel.

use serde::Deserialize;

use crate::decode::{Rgb, decode};
use crate::resize::{Filter, Resize, Target, resize};

/// The order of the model's three channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Where the channel axis stands in the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[N, 3, H, W]`.
    Nchw,
    /// `[N, H, W, 3]`.
    Nhwc,
}

/// A card's `[preprocessing]` table, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// `[height, width]` of the model's input, in pixels.
    pub size: [u32; 2],
    /// How the picture's shape becomes the model's.
    #[serde(default = "stretch")]
    pub resize: Resize,
    /// With `shortest-side-crop`: the shorter side before the crop. Default: the larger of `size`.
    pub shortest: Option<u32>,
    /// The resampling kernel.
    #[serde(default = "bicubic")]
    pub filter: Filter,
    /// The order of channels.
    #[serde(default = "rgb")]
    pub channels: Channels,
    /// Multiplies the levels 0..255 first. Default: 1/255.
    #[serde(default = "one_255th")]
    pub scale: f64,
    /// Subtracted after scaling, in the model's channel order.
    #[serde(default)]
    pub mean: [f64; 3],
    /// Divides last, in the model's channel order.
    #[serde(default = "ones")]
    pub std: [f64; 3],
    /// The axes' order.
    #[serde(default = "nchw")]
    pub layout: Layout,
    /// Whether EXIF rotation is applied. Default: no, as Pillow and most training code.
    #[serde(default)]
    pub orient: bool,
}

/// Checked preprocessing: a file's bytes in, the model's numbers out.
#[derive(Debug, Clone)]
pub struct Preprocessing {
    target: Target,
    channels: Channels,
    layout: Layout,
    orient: bool,
    /// Value of each level, one table for each of the model's channels.
    levels: [Vec<f32>; 3],
}

impl Preprocessing {
    /// Checks the parameters' ranges; the message names the key, what it must be and what it is.
    pub fn new(parameters: &Parameters) -> Result<Self, String> {
        let [height, width] = parameters.size;
        if !(1..=8192).contains(&height) || !(1..=8192).contains(&width) {
            return Err(format!("size must be [height, width], each 1..8192, got [{height}, {width}]"));
        }
        let larger = height.max(width);
        let shortest = parameters.shortest.unwrap_or(larger);
        if parameters.shortest.is_some() && parameters.resize == Resize::Stretch {
            return Err(
                "shortest only means something with resize = \"shortest-side-crop\"; remove it".into()
            );
        }
        if !(larger..=8192).contains(&shortest) {
            return Err(format!(
                "shortest must lie in {larger}..8192 so that the crop [{height}, {width}] fits, got {shortest}"
            ));
        }
        if !(parameters.scale.is_finite() && parameters.scale > 0.0) {
            return Err(format!(
                "scale must be positive: 1 for levels 0..255, 0.00392156862745098 for 0..1; got {}",
                parameters.scale
            ));
        }
        if let Some(mean) = parameters.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(format!("mean must be three finite numbers, got {mean}"));
        }
        if let Some(std) = parameters.std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            return Err(format!("std must be three positive numbers, got {std}"));
        }
        let target = Target { height, width, resize: parameters.resize, shortest, filter: parameters.filter };
        let levels = [0, 1, 2].map(|channel| {
            let value = |level: u32| {
                (f64::from(level) * parameters.scale - parameters.mean[channel]) / parameters.std[channel]
            };
            (0..256).map(|level| value(level) as f32).collect()
        });
        let &Parameters { channels, layout, orient, .. } = parameters;
        Ok(Self { target, channels, layout, orient, levels })
    }

    /// The shape of one prepared picture: `[3, H, W]` or `[H, W, 3]`.
    pub fn shape(&self) -> [usize; 3] {
        let (height, width) = (self.target.height as usize, self.target.width as usize);
        match self.layout {
            Layout::Nchw => [3, height, width],
            Layout::Nhwc => [height, width, 3],
        }
    }

    /// One file's bytes -> the model's input values, in the order of [`Self::shape`].
    pub fn apply(&self, file: &[u8]) -> Result<Vec<f32>, String> {
        let picture = decode(file, self.orient).map_err(|error| error.to_string())?;
        let picture = resize(picture, &self.target)?;
        Ok(self.values(&picture))
    }

    fn values(&self, picture: &Rgb) -> Vec<f32> {
        let source = match self.channels {
            Channels::Rgb => [0, 1, 2],
            Channels::Bgr => [2, 1, 0],
        };
        let mut values = Vec::with_capacity(picture.pixels.len());
        match self.layout {
            Layout::Nchw => {
                for (levels, from) in self.levels.iter().zip(source) {
                    values.extend(picture.pixels.chunks_exact(3).map(|p| levels[usize::from(p[from])]));
                }
            }
            Layout::Nhwc => {
                let [a, b, c] = &self.levels;
                for p in picture.pixels.chunks_exact(3) {
                    let [x, y, z] = source.map(|from| usize::from(p[from]));
                    values.extend([a[x], b[y], c[z]]);
                }
            }
        }
        values
    }
}

fn stretch() -> Resize {
    Resize::Stretch
}

fn bicubic() -> Filter {
    Filter::Bicubic
}

fn rgb() -> Channels {
    Channels::Rgb
}

fn nchw() -> Layout {
    Layout::Nchw
}

fn one_255th() -> f64 {
    1.0 / 255.0
}

fn ones() -> [f64; 3] {
    [1.0; 3]
}
