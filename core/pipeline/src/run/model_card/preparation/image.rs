//! Pictures: decoded, resized, cropped and normalised. The Python equals the adapter `image`.

use super::described::{Preparation, PythonPreparation, input, not_known};
use crate::run::model_card::facts::EncoderFacts;
use chiasm_graph::DType;
use serde::Deserialize;

/// The table of an image card.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTable {
    pub size: [u32; 2],
    #[serde(default)]
    pub resize: Resize,
    shortest: Option<u32>,
    #[serde(default)]
    pub filter: Filter,
    #[serde(default)]
    pub channels: Channels,
    #[serde(default = "one_255th")]
    pub scale: f64,
    #[serde(default = "zeros")]
    pub mean: ChannelValues,
    #[serde(default = "ones")]
    pub std: ChannelValues,
    #[serde(default)]
    pub layout: Layout,
    #[serde(default)]
    pub orient: bool,
}

/// How a picture gets its size.
#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    #[default]
    Stretch,
    ShortestSideCrop,
    StretchCrop,
    LongestSidePad,
    None,
}

/// The kernel of the resizing.
#[derive(Deserialize, Default, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    #[default]
    Bicubic,
    Bilinear,
    Lanczos,
    Box,
    Hamming,
    Nearest,
}

/// The order of the channels.
#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    #[default]
    Rgb,
    Bgr,
    Gray,
}

/// A number for all channels, or one for each.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum ChannelValues {
    Same(f64),
    Each(Vec<f64>),
}

impl ChannelValues {
    /// Returns the number of each of three channels.
    pub fn each(&self) -> Vec<f64> {
        match self {
            Self::Same(value) => vec![*value; 3],
            Self::Each(values) => values.clone(),
        }
    }
}

impl std::fmt::Debug for ChannelValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same(value) => write!(f, "{value:?}"),
            Self::Each(values) => write!(f, "{values:?}"),
        }
    }
}

/// The order of the axes.
#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

fn one_255th() -> f64 {
    1.0 / 255.0
}

fn zeros() -> ChannelValues {
    ChannelValues::Each(vec![0.0; 3])
}

fn ones() -> ChannelValues {
    ChannelValues::Each(vec![1.0; 3])
}

/// Describes how pictures are prepared.
pub fn preparation(encoder: &EncoderFacts<'_>) -> Preparation {
    let table: ImageTable = match serde_json::from_value(encoder.spec.preprocessing.clone()) {
        Ok(table) => table,
        Err(error) => return not_known(encoder, &error),
    };
    let port = encoder.spec.inputs.first();
    let name = port.map_or("", |port| port.name.as_str());
    let input = input(encoder, name);
    let dtype = match port.map(|port| port.dtype) {
        Some(DType::U8) => "np.uint8",
        Some(DType::F16) => "np.float16",
        Some(DType::F64) => "np.float64",
        _ => "np.float32",
    };
    let python = PythonPreparation {
        imports: vec![match table.orient {
            true => "from PIL import Image, ImageOps",
            false => "from PIL import Image",
        }],
        body: if encoder.raw { table.decoded(&input) } else { table.body(&input, dtype) },
        item: "the path of a picture",
        example: "\"picture.png\"".to_owned(),
    };
    let words = match encoder.raw {
        true => format!(
            "The model does what follows the decoding; pictures of one batch have one size, and a level of a \
             resized picture may differ by one from Pillow's. {}",
            table.words()
        ),
        false => table.words(),
    };
    Preparation { words, python: Ok(python) }
}

impl ImageTable {
    /// Returns the side of the square, or the shorter side, before the crop.
    pub fn shortest(&self) -> u32 {
        self.shortest.unwrap_or(self.size[0].max(self.size[1]))
    }

    fn words(&self) -> String {
        let ([height, width], side) = (self.size, self.shortest());
        let kernel = format!("{:?}", self.filter).to_lowercase();
        let resized = match self.resize {
            Resize::Stretch => format!(
                "It is resized to {width} x {height} pixels (width x height) with Pillow's {kernel} kernel; \
                 its proportions may change."
            ),
            Resize::ShortestSideCrop => format!(
                "Its shorter side is resized to {side} pixels with Pillow's {kernel} kernel, the proportions \
                 kept, and {width} x {height} pixels (width x height) are cropped from the centre."
            ),
            Resize::StretchCrop => format!(
                "It is resized to {side} x {side} pixels with Pillow's {kernel} kernel, and {width} x \
                 {height} pixels (width x height) are cropped from the centre."
            ),
            Resize::LongestSidePad => format!(
                "Its longer side is resized to {width} pixels with Pillow's {kernel} kernel, the proportions \
                 kept; after the steps below, zeros below and to the right make it {width} x {height}."
            ),
            Resize::None => format!("It must have {width} x {height} pixels (width x height)."),
        };
        let order = match self.channels {
            Channels::Rgb => "red, green, blue",
            Channels::Bgr => "blue, green, red",
            Channels::Gray => "of one channel: the luma that Pillow's mode L has",
        };
        let axes = match self.layout {
            Layout::Nchw => "batch, channel, row, column",
            Layout::Nhwc => "batch, row, column, channel",
        };
        let orient = if self.orient { "applied" } else { "ignored" };
        let scaled = match self.scale {
            1.0 => "as they are".to_owned(),
            scale if scale == one_255th() => "divided by 255".to_owned(),
            scale => format!("multiplied by {scale}"),
        };
        format!(
            "A picture is decoded to 8-bit RGB without its transparency; the rotation in its EXIF data is \
             {orient}. {resized} From the levels 0..255, {scaled}, {:?} is subtracted, and the result is \
             divided by {:?}, in the order {order}. The axes are {axes}.",
            self.mean, self.std
        )
    }

    /// The Python that decodes a picture.
    fn opened(&self) -> &'static str {
        match self.orient {
            true => "picture = ImageOps.exif_transpose(Image.open(item)).convert(\"RGB\")",
            false => "picture = Image.open(item).convert(\"RGB\")",
        }
    }

    /// The Python for a model that does what follows the decoding.
    fn decoded(&self, input: &str) -> Vec<String> {
        vec![self.opened().to_owned(), format!("return {{{input}: np.asarray(picture)[None]}}")]
    }

    fn body(&self, input: &str, dtype: &str) -> Vec<String> {
        let ([height, width], side) = (self.size, self.shortest());
        let mut lines = if matches!(self.resize, Resize::None) { Vec::new() } else { self.filter.resample() };
        let mut line = |text: String| lines.push(text);
        let mode = if self.channels == Channels::Gray { ".convert(\"L\")" } else { "" };
        line(format!("{}{mode}", self.opened()));
        match self.resize {
            Resize::Stretch => line(format!("width, height = {width}, {height}")),
            Resize::StretchCrop => line(format!("width, height = {side}, {side}")),
            Resize::ShortestSideCrop => {
                line("shorter = min(picture.size)".to_owned());
                line(format!("width, height = ({side} * side // shorter for side in picture.size)"));
            }
            Resize::LongestSidePad => {
                line(format!("scale = {width} / max(picture.size)"));
                line("width, height = (max(1, int(side * scale + 0.5)) for side in picture.size)".to_owned());
            }
            Resize::None => {
                line(format!("if picture.size != ({width}, {height}):"));
                line(format!(
                    "    sys.exit(f\"{{item}}: expected {width} x {height} pixels, got {{picture.size}}\")"
                ));
            }
        }
        line("levels = np.asarray(picture)".to_owned());
        if !matches!(self.resize, Resize::None) {
            line("levels = resample(levels, width, 1)".to_owned());
            line("levels = resample(levels, height, 0)".to_owned());
        }
        if matches!(self.resize, Resize::ShortestSideCrop | Resize::StretchCrop) {
            line(format!("left, top = (width - {width}) // 2, (height - {height}) // 2"));
            line(format!("levels = levels[top : top + {height}, left : left + {width}]"));
        }
        match self.channels {
            Channels::Rgb => {}
            Channels::Bgr => line("levels = levels[:, :, ::-1]  # blue, green, red".to_owned()),
            Channels::Gray => line("levels = levels[:, :, None]  # one channel".to_owned()),
        }
        line(format!("values = (levels * {:?} - {:?}) / {:?}", self.scale, self.mean, self.std));
        if matches!(self.resize, Resize::LongestSidePad) {
            line(format!("rest = ({height} - len(values), {width} - values.shape[1])"));
            line("values = np.pad(values, ((0, rest[0]), (0, rest[1]), (0, 0)))".to_owned());
        }
        line(match self.layout {
            Layout::Nchw => "values = values.transpose(2, 0, 1)".to_owned(),
            Layout::Nhwc => "# The axes stay row, column, channel.".to_owned(),
        });
        line(format!("return {{{input}: np.ascontiguousarray(values[None], {dtype})}}"));
        lines
    }
}

impl Filter {
    /// Returns the Python function that resizes one axis of the levels.
    fn resample(self) -> Vec<String> {
        let pillow = format!("Image.Resampling.{}", format!("{self:?}").to_uppercase());
        let kernel = match self {
            Self::Bilinear => "np.maximum(0, 1 - x)",
            Self::Bicubic => {
                "np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((x - 5) * x + 8) * x - 4)\n        * \
                 np.where(x < 1, 1, np.where(x < 2, -0.5, 0))"
            }
            Self::Lanczos => "np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)",
            Self::Hamming => "np.where(x < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0)",
            Self::Box | Self::Nearest => {
                return [
                    "def resample(levels, length, axis):",
                    "    size = (length, len(levels)) if axis else (levels.shape[1], length)",
                    &format!("    return np.asarray(Image.fromarray(levels).resize(size, {pillow}))"),
                    "",
                ]
                .map(str::to_owned)
                .to_vec();
            }
        };
        let lines = format!(
            "# Pillow's resize with {pillow} may differ from this by one level.\n\
             def resample(levels, length, axis):\n\
             \x20   levels = np.moveaxis(levels, axis, 0)\n\
             \x20   if len(levels) == length:\n\
             \x20       return np.moveaxis(levels, 0, axis)\n\
             \x20   scale = len(levels) / length\n\
             \x20   centres = (np.arange(length) + 0.5) * scale - 0.5\n\
             \x20   x = np.abs((np.arange(len(levels)) - centres[:, None]) / max(scale, 1))\n\
             \x20   weights = (\n\
             \x20       {kernel}\n\
             \x20   )\n\
             \x20   weights = weights / weights.sum(1, keepdims=True)\n\
             \x20   fits = (b for b in range(22) if weights.max() * 2 ** (b + 1) + 0.5 >= 2**15)\n\
             \x20   bits = next(fits, 21)  # of the fractions: a weight has 16 bits\n\
             \x20   weights = np.sign(weights) * np.floor(np.abs(weights) * 2**bits + 0.5)\n\
             \x20   sums = np.tensordot(weights, levels.astype(np.float64), 1)\n\
             \x20   levels = np.clip(np.floor(sums / 2**bits + 0.5), 0, 255).astype(np.uint8)\n\
             \x20   return np.moveaxis(levels, 0, axis)\n"
        );
        lines.lines().map(str::to_owned).chain([String::new()]).collect()
    }
}
