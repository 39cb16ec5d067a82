//! The defaults of Hugging Face's image processors, which apply where `preprocessor_config.json` does not
//! state a key. Source: the constructors of the classes in the library transformers.

/// How a processor treats the proportions of a picture, if its file does not say so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SizeRule {
    /// Resizes to the size, and then crops if the flag is set.
    Plain {
        /// The default of `do_center_crop`.
        crop: bool,
    },
    /// Resizes the shorter side to the size over `crop_pct` and crops, below 384; stretches from there on.
    CropShare(f64),
    /// Resizes the shorter side to 256/224 of the size, and crops to the size.
    Levit,
    /// Resizes the longer side to the size, and after normalising pads to a square with zeros.
    LongestPad,
}

/// The defaults of a processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processor {
    /// The name without `ImageProcessor`, `FeatureExtractor` and `Fast`.
    pub(super) name: &'static str,
    pub(super) rule: SizeRule,
    /// The code of the resampling kernel.
    pub(super) resample: usize,
    pub(super) mean: [f64; 3],
    pub(super) std: [f64; 3],
    /// Whether it normalises by default, or at all.
    pub(super) normalises: bool,
    /// Whether it exchanges red and blue by default.
    pub(super) flips: bool,
}

impl Processor {
    /// Returns whether a `size` that is one number means both sides; else it means the shorter one.
    pub(super) fn squares(&self) -> bool {
        let shorter =
            ["Bit", "CLIP", "ChineseCLIP", "ConvNext", "Levit", "MobileNetV1", "MobileNetV2", "MobileViT"];
        !shorter.contains(&self.name)
    }

    /// Returns the side of the default crop.
    pub(super) fn crop(&self) -> u64 {
        if self.name == "MobileViT" { 256 } else { 224 }
    }
}

const HALF: [f64; 3] = [0.5; 3];
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
const CLIP: [[f64; 3]; 2] =
    [[0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11]];

const fn with(name: &'static str, rule: SizeRule, resample: usize, statistics: [[f64; 3]; 2]) -> Processor {
    let [mean, std] = statistics;
    Processor { name, rule, resample, mean, std, normalises: true, flips: false }
}

const PLAIN: SizeRule = SizeRule::Plain { crop: false };
const CROP: SizeRule = SizeRule::Plain { crop: true };
const HALVES: [[f64; 3]; 2] = [HALF, HALF];

const PROCESSORS: [Processor; 19] = [
    with("Beit", CROP, 3, HALVES),
    with("Bit", CROP, 3, CLIP),
    with("Blip", PLAIN, 3, CLIP),
    with("CLIP", CROP, 3, CLIP),
    with("ChineseCLIP", CROP, 3, CLIP),
    with("ConvNext", SizeRule::CropShare(224.0 / 256.0), 2, HALVES),
    with("DPT", PLAIN, 3, HALVES),
    with("DeiT", CROP, 3, HALVES),
    with("Flava", CROP, 3, CLIP),
    with("Levit", SizeRule::Levit, 3, IMAGENET),
    with("MobileNetV1", CROP, 2, HALVES),
    with("MobileNetV2", CROP, 2, HALVES),
    Processor { normalises: false, flips: true, ..with("MobileViT", CROP, 2, HALVES) },
    with("Pvt", PLAIN, 2, IMAGENET),
    with("Sam", SizeRule::LongestPad, 2, IMAGENET),
    with("Segformer", PLAIN, 2, IMAGENET),
    with("Siglip", PLAIN, 3, HALVES),
    with("ViT", PLAIN, 2, HALVES),
    with("ViTHybrid", CROP, 3, CLIP),
];

/// Returns the defaults of a processor by the name of its class.
pub(super) fn processor(class: &str) -> Option<&'static Processor> {
    let name = class.strip_suffix("Fast").unwrap_or(class);
    let name = name.strip_suffix("ImageProcessor").or_else(|| name.strip_suffix("FeatureExtractor"))?;
    PROCESSORS.iter().find(|processor| processor.name == name)
}
