//! The `[preprocessing]` table of an image card, and its application to an image.
//!
//! Scale, mean and deviation map each of the 256 levels of a channel to one number. These are computed once,
//! in double precision, and looked up for each pixel.

use std::sync::{Mutex, PoisonError};

use chiasm_plugin::CardKeys;
use serde::Deserialize;

use crate::corruption::{PictureCorruption, corrupt, largest};
use crate::decode::{OpenPicture, Rgb};
use crate::resize::{ResampleFilter, ResizeMode, ResizeTarget, resize};

/// The model's channels and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: the luma of Pillow's mode "L", taken before the picture is resized.
    Gray,
}

impl Channels {
    /// Returns the number of channels.
    pub fn count(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// A number for each channel, or one for all.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list with a number for each channel")]
pub enum ChannelValues {
    /// One for all channels.
    Same(f64),
    /// One for each channel.
    Each(Vec<f64>),
}

impl ChannelValues {
    /// Returns the number of each channel; a single channel stands for three equal ones.
    fn of(&self, channels: Channels, key: &str) -> Result<[f64; 3], String> {
        match self {
            Self::Same(value) => Ok([*value; 3]),
            Self::Each(values) => match (values.as_slice(), channels.count()) {
                (&[one], 1) => Ok([one; 3]),
                (&[a, b, c], 3) => Ok([a, b, c]),
                (&[a, b, c], 1) if a == b && b == c => Ok([a; 3]),
                (other, count) => {
                    Err(format!("{key} must be {count} finite numbers, one per channel, got {}", other.len()))
                }
            },
        }
    }
}

/// The position of the channel axis in the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelLayout {
    /// `[N, C, H, W]`.
    Nchw,
    /// `[N, H, W, C]`.
    Nhwc,
}

/// A card's `[preprocessing]` table, as written.
#[derive(Debug, Clone, Deserialize, CardKeys)]
#[serde(deny_unknown_fields)]
pub struct ImageParameters {
    /// The size of the model's input.
    #[card(takes = "[height, width], in pixels")]
    pub size: [u32; 2],
    /// How the picture's shape becomes the model's. Default: stretch.
    #[serde(default = "stretch")]
    #[card(takes = "stretch, shortest-side-crop, stretch-crop, longest-side-pad or none")]
    pub resize: ResizeMode,
    /// The shorter side before the crop, for `shortest-side-crop` and `stretch-crop`. Default: the larger of
    /// `size`.
    pub shortest: Option<u32>,
    /// The resampling kernel. Default: bicubic.
    #[serde(default = "bicubic")]
    #[card(takes = "bicubic, bilinear, lanczos, box, hamming or nearest")]
    pub filter: ResampleFilter,
    /// The channels and their order. Default: rgb.
    #[serde(default = "rgb")]
    #[card(takes = "rgb, bgr or gray")]
    pub channels: Channels,
    /// Multiplies the levels 0..255 first. Default: 1/255.
    #[serde(default = "one_255th")]
    pub scale: f64,
    /// Subtracted after scaling, in the model's channel order. Default: 0.
    #[serde(default = "zeros")]
    #[card(takes = "a number, or one for each channel")]
    pub mean: ChannelValues,
    /// Divides last, in the model's channel order. Default: 1.
    #[serde(default = "ones")]
    #[card(takes = "a number, or one for each channel")]
    pub std: ChannelValues,
    /// The order of the axes of the model's input. Default: nchw.
    #[serde(default = "nchw")]
    #[card(takes = "nchw or nhwc")]
    pub layout: PixelLayout,
    /// Whether EXIF rotation is applied. Pillow and most training code do not. Default: false.
    #[serde(default)]
    pub orient: bool,
    /// How pictures are corrupted, for a test of robustness.
    #[card(takes = "a table with kind and strength")]
    pub corruption: Option<PictureCorruption>,
}

/// Pictures that take more bytes are decoded one after another, whatever the number of threads.
const LARGE: u64 = 128 << 20;

/// Checked preprocessing, from the bytes of a file to the values of the model's input.
#[derive(Debug, Clone)]
pub struct Preprocessing {
    target: ResizeTarget,
    channels: Channels,
    layout: PixelLayout,
    orient: bool,
    corruption: Option<PictureCorruption>,
    /// Value of each level, one table for each of the model's channels.
    levels: [Vec<f32>; 3],
}

impl Preprocessing {
    /// Checks the parameters.
    ///
    /// # Errors
    /// A message that names the key, the expected value and the given one.
    pub fn new(parameters: &ImageParameters) -> Result<Self, String> {
        let [height, width] = parameters.size;
        if !(1..=8192).contains(&height) || !(1..=8192).contains(&width) {
            return Err(format!("size must be [height, width], each 1..8192, got [{height}, {width}]"));
        }
        let larger = height.max(width);
        let shortest = parameters.shortest.unwrap_or(larger);
        let crops = matches!(parameters.resize, ResizeMode::ShortestSideCrop | ResizeMode::StretchCrop);
        if parameters.shortest.is_some() && !crops {
            return Err("shortest only means something with resize = \"shortest-side-crop\" or \
                        \"stretch-crop\"; remove it"
                .into());
        }
        if parameters.resize == ResizeMode::LongestSidePad && height != width {
            return Err(format!(
                "resize = \"longest-side-pad\" needs a square size, got [{height}, {width}]; stretch \
                 takes any"
            ));
        }
        if !(larger..=8192).contains(&shortest) {
            return Err(format!(
                "shortest must lie in {larger}..8192 so that the crop [{height}, {width}] fits, \
                 got {shortest}"
            ));
        }
        if !(parameters.scale.is_finite() && parameters.scale > 0.0) {
            return Err(format!(
                "scale must be positive: 1 for levels 0..255, 0.00392156862745098 for 0..1; got {}",
                parameters.scale
            ));
        }
        let means = parameters.mean.of(parameters.channels, "mean")?;
        let deviations = parameters.std.of(parameters.channels, "std")?;
        if let Some(mean) = means.iter().find(|mean| !mean.is_finite()) {
            return Err(format!("mean must be three finite numbers, got {mean}"));
        }
        if let Some(std) = deviations.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            return Err(format!("std must be three positive numbers, got {std}"));
        }
        if let Some(corruption) = &parameters.corruption {
            corruption.check(largest(corruption.kind))?;
        }
        let target =
            ResizeTarget { height, width, resize: parameters.resize, shortest, filter: parameters.filter };
        let levels = [0, 1, 2].map(|channel| {
            let value =
                |level: u32| (f64::from(level) * parameters.scale - means[channel]) / deviations[channel];
            (0..256).map(|level| value(level) as f32).collect()
        });
        let &ImageParameters { channels, layout, orient, .. } = parameters;
        let corruption = parameters.corruption.clone();
        Ok(Self { target, channels, layout, orient, corruption, levels })
    }

    /// Returns the shape of one prepared image: `[C, H, W]` or `[H, W, C]`.
    pub fn shape(&self) -> [usize; 3] {
        let (height, width) = (self.target.height as usize, self.target.width as usize);
        match self.layout {
            PixelLayout::Nchw => [self.channels.count(), height, width],
            PixelLayout::Nhwc => [height, width, self.channels.count()],
        }
    }

    /// Returns whether every value is a whole number of 0 to 255, as a model with an integer input expects.
    pub fn makes_levels(&self) -> bool {
        let level = |value: &f32| value.fract() == 0.0 && (0.0..=255.0).contains(value);
        self.levels.iter().flatten().all(level)
    }

    /// Decodes and preprocesses the bytes of one file; the values have the shape [`Self::shape`].
    ///
    /// # Errors
    /// When the file cannot be decoded.
    pub fn apply(&self, file: &[u8]) -> Result<Vec<f32>, String> {
        static ONE_LARGE: Mutex<()> = Mutex::new(());
        let opened = OpenPicture::read(file).map_err(|error| error.to_string())?;
        let large = opened.memory() > LARGE;
        let _only = large.then(|| ONE_LARGE.lock().unwrap_or_else(PoisonError::into_inner));
        let mut picture = opened.decode(self.orient).map_err(|error| error.to_string())?;
        if self.channels == Channels::Gray {
            picture.pixels.chunks_exact_mut(3).for_each(to_luma);
        }
        let mut picture = resize(picture, &self.target)?;
        if let Some(corruption) = &self.corruption {
            corrupt(&mut picture, corruption, file);
        }
        let values = self.values(&picture);
        Ok(if self.target.resize == ResizeMode::LongestSidePad {
            self.padded(&values, &picture)
        } else {
            values
        })
    }

    /// Pads the values of a picture with zeros at the bottom and at the right.
    fn padded(&self, values: &[f32], picture: &Rgb) -> Vec<f32> {
        // Rows of the picture lie one after another in each plane; nhwc has one plane of wide rows.
        let (planes, wide) = match self.layout {
            PixelLayout::Nchw => (self.channels.count(), 1),
            PixelLayout::Nhwc => (1, self.channels.count()),
        };
        let (row, height) = (picture.width as usize * wide, picture.height as usize);
        let (padded_row, padded_height) = (self.target.width as usize * wide, self.target.height as usize);
        let mut padded = vec![0.0; planes * padded_row * padded_height];
        for (k, values) in values.chunks_exact(row).enumerate() {
            let start = (k / height * padded_height + k % height) * padded_row;
            padded[start..start + row].copy_from_slice(values);
        }
        padded
    }

    fn values(&self, picture: &Rgb) -> Vec<f32> {
        let source = match self.channels {
            Channels::Rgb | Channels::Gray => [0, 1, 2],
            Channels::Bgr => [2, 1, 0],
        };
        if self.channels == Channels::Gray {
            let [levels, ..] = &self.levels;
            return picture.pixels.chunks_exact(3).map(|p| levels[usize::from(p[0])]).collect();
        }
        let mut values = Vec::with_capacity(picture.pixels.len());
        match self.layout {
            PixelLayout::Nchw => {
                for (levels, from) in self.levels.iter().zip(source) {
                    values.extend(picture.pixels.chunks_exact(3).map(|p| levels[usize::from(p[from])]));
                }
            }
            PixelLayout::Nhwc => {
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

/// Replaces a pixel by its luma in all channels, as Pillow's `convert("L")` computes it (ITU-R 601-2,
/// rounded).
fn to_luma(pixel: &mut [u8]) {
    if let [red, green, blue] = *pixel {
        let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
        pixel.fill(((sum + 0x8000) >> 16) as u8);
    }
}

fn stretch() -> ResizeMode {
    ResizeMode::Stretch
}

fn bicubic() -> ResampleFilter {
    ResampleFilter::Bicubic
}

fn rgb() -> Channels {
    Channels::Rgb
}

fn nchw() -> PixelLayout {
    PixelLayout::Nchw
}

fn one_255th() -> f64 {
    1.0 / 255.0
}

fn zeros() -> ChannelValues {
    ChannelValues::Same(0.0)
}

fn ones() -> ChannelValues {
    ChannelValues::Same(1.0)
}
