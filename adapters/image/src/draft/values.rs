//! The resampling kernel, channels and numbers of a `preprocessor_config.json`, and the keys that are not
//! translated.

use chiasm_kit::draft::CardDraft;
use chiasm_plugin::{Json, json};

use super::config::ProcessorConfig;
use super::processors::{Processor, SizeRule};
use super::resizing;

/// The usual scale: levels become numbers of 0 to 1.
pub(super) const SCALE: f64 = 1.0 / 255.0;

/// Keys that do not change what a model reads.
const WITHOUT_EFFECT: [&str; 13] = [
    "_valid_processor_keys",
    "auto_map",
    "data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "do_convert_rgb",
    "image_seq_length",
    "input_data_format",
    "mask_pad_size",
    "mask_size",
    "processor_class",
    "return_tensors",
];

/// Keys that are translated.
const TRANSLATED: [&str; 15] = [
    "crop_pct",
    "crop_size",
    "do_center_crop",
    "do_flip_channel_order",
    "do_normalize",
    "do_rescale",
    "do_resize",
    "feature_extractor_type",
    "image_mean",
    "image_processor_type",
    "image_std",
    "resample",
    "rescale_factor",
    "rescale_offset",
    "size",
];

/// The kernels by their code in Pillow.
const FILTERS: [&str; 6] = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];

/// Sets `filter`, `channels`, `scale`, `mean` and `std` for a model with this number of channels, and
/// names the keys that are not translated.
pub(super) fn set(card: &mut CardDraft, config: &ProcessorConfig<'_>, channels: usize) {
    if !card.is_undecided("preprocessing.resize") {
        config.refuse_unknown_steps(card);
    }
    config.filter(card);
    config.values(card, channels);
    config.tell_unknown_keys(card);
}

impl ProcessorConfig<'_> {
    /// Records steps such as `do_pad` that a card cannot express.
    fn refuse_unknown_steps(&self, card: &mut CardDraft) {
        let step = |(key, value): &(&String, &Json)| {
            key.starts_with("do_") && **value == true && !self.translates(key)
        };
        let steps: Vec<&str> = (self.file.content.as_object().into_iter().flatten())
            .filter(|entry| step(entry) && !WITHOUT_EFFECT.contains(&entry.0.as_str()))
            .map(|(key, _)| key.as_str())
            .collect();
        if !steps.is_empty() {
            let reason = format!(
                "`{}` of {} is true, which a card cannot express: {}",
                steps.join("`, `"),
                self.file.name,
                resizing::CHOICES
            );
            card.undecided("preprocessing.resize", reason);
        }
    }

    fn translates(&self, key: &str) -> bool {
        let pads = self.processor.is_some_and(|processor| processor.rule == SizeRule::LongestPad);
        TRANSLATED.contains(&key) || pads && ["do_pad", "pad_size"].contains(&key)
    }

    fn tell_unknown_keys(&self, card: &mut CardDraft) {
        let told = |(key, value): &(&String, &Json)| {
            let known = self.translates(key) || WITHOUT_EFFECT.contains(&key.as_str());
            !known && !value.is_null() && **value != false
        };
        let keys = self.file.content.as_object().into_iter().flatten().filter(told);
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key} = {value}")).collect();
        if !keys.is_empty() {
            card.note(format!("not translated from {}: {}; CHECK", self.file.name, keys.join(", ")));
        }
    }

    fn filter(&self, card: &mut CardDraft) {
        let name = match self.file.get("resample") {
            Some(Json::String(name)) => FILTERS.iter().find(|own| **own == name.to_lowercase()),
            Some(code) => code.as_u64().and_then(|code| FILTERS.get(usize::try_from(code).ok()?)),
            None => {
                match self.processor {
                    Some(processor) => {
                        let name = FILTERS.get(processor.resample).copied().unwrap_or("bicubic");
                        card.set("filter", name, self.default_of_class("resample"));
                    }
                    None => card.guess("filter", "bicubic", self.unknown("resample")),
                }
                return;
            }
        };
        match name {
            Some(name) => card.set("filter", *name, self.file.origin("resample")),
            None => {
                let (origin, value) = (self.file.origin("resample"), &self.file.content["resample"]);
                let known = FILTERS.join(", ");
                card.undecided(
                    "preprocessing.filter",
                    format!("{origin} is {value}, expected a code of 0 to 5; set one of {known}"),
                );
            }
        }
    }

    /// Sets the order of channels, the scale, the mean and the deviation.
    fn values(&self, card: &mut CardDraft, channels: usize) {
        let (flips, origin) = self.flag("do_flip_channel_order", |class| class.flips, false);
        card.set("channels", if flips { "bgr" } else { "rgb" }, origin);
        let (rescales, origin) = self.flag("do_rescale", |_| true, true);
        match (rescales, self.file.get("rescale_factor").and_then(Json::as_f64)) {
            (false, _) => card.set("scale", 1.0, origin),
            (true, Some(factor)) => card.set("scale", factor, self.file.origin("rescale_factor")),
            (true, None) => card.set("scale", SCALE, "the default `rescale_factor` of transformers, 1/255"),
        }
        let (normalises, origin) = self.flag("do_normalize", |class| class.normalises, true);
        // With an offset, levels become x * scale - 1.
        let offset = self.file.content["rescale_offset"] == true && rescales;
        let told = |origin: String| match offset {
            true => format!("{origin}, plus 1 for {}", self.file.origin("rescale_offset")),
            false => origin,
        };
        let shifted = |mean: [f64; 3]| if offset { mean.map(|value| value + 1.0) } else { mean };
        if !normalises {
            card.set("mean", json!(shifted([0.0; 3])), told(origin.clone()));
            card.set("std", json!([1.0, 1.0, 1.0]), origin);
            return;
        }
        let mean = self.statistic(card, "image_mean", |class| class.mean, [0.485, 0.456, 0.406], channels);
        let std = self.statistic(card, "image_std", |class| class.std, [0.229, 0.224, 0.225], channels);
        let equal = |of: &[f64; 3]| of[0] == of[1] && of[1] == of[2];
        if let (Some((mean, _)), Some((std, _))) = (&mean, &std)
            && flips
            && !(equal(mean) && equal(std))
        {
            let reason = format!(
                "{} exchanges red and blue and normalises, and does not say which comes first: set mean and \
                 std in the order blue, green, red",
                self.file.name
            );
            card.undecided("preprocessing.mean", reason);
        }
        if let Some((mean, origin)) = mean {
            card.set("mean", json!(shifted(mean)), told(origin));
        }
        if let Some((std, origin)) = std {
            card.set("std", json!(std), origin);
        }
    }

    /// Returns a mean or deviation and its origin.
    fn statistic(
        &self,
        card: &mut CardDraft,
        key: &str,
        of_class: impl Fn(&Processor) -> [f64; 3],
        usual: [f64; 3],
        channels: usize,
    ) -> Option<([f64; 3], String)> {
        match (self.file.get(key), self.processor) {
            (Some(value), _) => {
                let numbers: Option<Vec<f64>> =
                    value.as_array().and_then(|values| values.iter().map(Json::as_f64).collect());
                let three = match (numbers.as_deref(), value.as_f64()) {
                    (Some(&[a, b, c]), _) => Some([a, b, c]),
                    (Some(&[one]), _) if channels == 1 => Some([one; 3]),
                    (_, Some(one)) => Some([one; 3]),
                    _ => None,
                };
                if three.is_none() {
                    let own = key.trim_start_matches("image_");
                    let reason = format!("{} is {value}, expected three numbers", self.file.origin(key));
                    card.undecided(&format!("preprocessing.{own}"), reason);
                }
                three.map(|three| (three, self.file.origin(key)))
            }
            (None, Some(processor)) => Some((of_class(processor), self.default_of_class(key))),
            (None, None) => Some((usual, format!("a guess (ImageNet's), {}; CHECK", self.unknown(key)))),
        }
    }
}
