//! How a `preprocessor_config.json` fits pictures to the size of the model's input.

use chiasm_kit::draft::CardDraft;
use chiasm_plugin::{Json, json};

use super::config::ProcessorConfig;
use super::processors::{Processor, SizeRule};

/// What can be set where a card cannot express the processor.
pub(super) const CHOICES: &str = "set stretch (other proportions), shortest-side-crop (the centre) or none \
                                  (only pictures of the model's size), or longest-side-pad (zeros at the \
                                  bottom and the right)";

/// From this size on, ConvNext's processor stretches.
const STRETCHED_FROM: u64 = 384;

/// The size of a model's input.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputShape {
    /// `[height, width]`, if the graph fixes both.
    pub(super) size: Option<[u64; 2]>,
}

/// A way to resize that a card can express.
enum Resize {
    /// To this size.
    Stretch([u64; 2], String),
    /// Both sides, or the shorter one, to a length, then the centre.
    Crop { size: [u64; 2], shortest: u64, square: bool, origin: String },
    /// The longer side to this length, then zeros up to a square.
    Pad(u64, String),
}

/// A `size` or `crop_size`.
#[derive(Clone, Copy)]
enum Size {
    Both([u64; 2]),
    Shortest(u64),
    /// One number, whose meaning depends on the class.
    Number(u64),
}

/// Sets `size`, `resize` and `shortest`.
pub(super) fn set(card: &mut CardDraft, config: &ProcessorConfig<'_>, shape: InputShape) {
    let (resizes, origin) = config.flag("do_resize", |_| true, true);
    if !resizes {
        return unresized(card, config, shape, &origin);
    }
    match resize(config, shape) {
        Ok(Resize::Stretch(size, origin)) => {
            own_size(card, config, shape, size);
            card.set("resize", "stretch", origin);
        }
        Ok(Resize::Crop { size, shortest, square, origin }) => {
            if let Some(fixed) = shape.size.filter(|fixed| *fixed != size) {
                let reason = format!(
                    "{} crops to {size:?}, but the graph takes {fixed:?} (height, width): {CHOICES}",
                    config.file.name
                );
                return card.undecided("preprocessing.resize", reason);
            }
            own_size(card, config, shape, size);
            let mode = if square { "stretch-crop" } else { "shortest-side-crop" };
            card.set("resize", mode, origin.as_str());
            card.set("shortest", shortest, origin);
        }
        Ok(Resize::Pad(side, origin)) => {
            own_size(card, config, shape, [side; 2]);
            card.set("resize", "longest-side-pad", origin);
        }
        Err(reason) => {
            if shape.size.is_none() {
                card.undecided("preprocessing.size", "the graph leaves it free: set [height, width]");
            }
            card.undecided("preprocessing.resize", format!("{reason}: {CHOICES}"));
        }
    }
}

/// Sets the keys of a processor that does not resize.
fn unresized(card: &mut CardDraft, config: &ProcessorConfig<'_>, shape: InputShape, origin: &str) {
    let (crops, _) = config.flag("do_center_crop", crops_by_default, false);
    if crops {
        let reason = format!("{origin}, and the centre is cropped, which a card cannot express: {CHOICES}");
        return card.undecided("preprocessing.resize", reason);
    }
    if shape.size.is_none() {
        let reason =
            format!("{origin}, and the graph leaves it free: set the [height, width] of all pictures");
        card.undecided("preprocessing.size", reason);
    }
    card.set("resize", "none", origin);
}

/// Sets the size, unless the graph fixes it.
fn own_size(card: &mut CardDraft, config: &ProcessorConfig<'_>, shape: InputShape, size: [u64; 2]) {
    match shape.size {
        None => card.set("size", json!(size), format!("the size in {}", config.file.name)),
        Some(fixed) if fixed != size => {
            card.note(format!("{} states the size {size:?}, not the graph's; CHECK", config.file.name));
        }
        Some(_) => {}
    }
}

fn crops_by_default(processor: &Processor) -> bool {
    !matches!(processor.rule, SizeRule::Plain { crop: false } | SizeRule::LongestPad)
}

/// Returns the way to resize, or why a card cannot express it.
fn resize(config: &ProcessorConfig<'_>, shape: InputShape) -> Result<Resize, String> {
    let file = config.file;
    let rule = config.processor.map(|processor| processor.rule);
    if rule == Some(SizeRule::LongestPad) {
        return padded(config, shape);
    }
    let size = size_of(config, "size")?;
    let crop = size_of(config, "crop_size")?.map(|size| match size {
        Size::Both(both) => both,
        Size::Shortest(side) | Size::Number(side) => [side; 2],
    });
    let share = file.get("crop_pct").and_then(Json::as_f64);
    if rule == Some(SizeRule::Levit) {
        let side = side(size).ok_or_else(|| format!("{} states no shortest edge", file.name))?;
        let origin = format!("{}, times 256/224 as LevitImageProcessor does", file.origin("size"));
        let size = crop.unwrap_or([side; 2]);
        return Ok(Resize::Crop { size, shortest: side * 256 / 224, square: false, origin });
    }
    let explicit = file.get("do_center_crop").is_some();
    let of_class = match rule {
        Some(SizeRule::CropShare(share)) => Some(share),
        _ => None,
    };
    if let Some(share) = share.or(of_class) {
        return share_of(config, size, crop, share);
    }
    let (crops, origin) = config.flag("do_center_crop", crops_by_default, crop.is_some());
    if crops {
        let guess = match (explicit, config.processor) {
            (false, None) => "; a guess, since there is a crop_size; CHECK",
            _ => "",
        };
        return cropped(config, size, crop, &format!("{origin}{guess}"));
    }
    match size {
        Some(Size::Both(both)) => Ok(Resize::Stretch(both, file.origin("size"))),
        Some(Size::Number(side)) if config.processor.is_none_or(|class| class.squares()) => {
            Ok(Resize::Stretch([side; 2], file.origin("size")))
        }
        Some(Size::Number(side) | Size::Shortest(side)) => Err(format!(
            "{} resizes the shorter side to {side} and keeps the proportions, so pictures have different \
             sizes, which a card cannot express",
            file.origin("size")
        )),
        None => match shape.size {
            Some(fixed) => {
                let origin = format!("a guess, {}; CHECK", config.unknown("size"));
                Ok(Resize::Stretch(fixed, origin))
            }
            None => Err(config.unknown("size")),
        },
    }
}

/// Returns the resizing of SAM's processor: the longer side to `size.longest_edge`, then zeros up to
/// `pad_size`.
fn padded(config: &ProcessorConfig<'_>, shape: InputShape) -> Result<Resize, String> {
    let file = config.file;
    let (pads, pad_origin) = config.flag("do_pad", |_| true, true);
    let longest = match file.get("size") {
        None => 1024,
        Some(size) => size["longest_edge"]
            .as_u64()
            .ok_or_else(|| format!("{} is {size}, and a longest edge was expected", file.origin("size")))?,
    };
    let to = match file.get("pad_size") {
        None => [Some(1024); 2],
        Some(size) => ["height", "width"].map(|key| size[key].as_u64()),
    };
    if !pads {
        return Err(format!("{pad_origin}, so pictures have different sizes, which a card cannot express"));
    }
    if to != [Some(longest); 2] || shape.size.is_some_and(|fixed| fixed != [longest; 2]) {
        return Err(format!(
            "the longer side becomes {longest}, but {} or the graph pads to another size, which a card \
             cannot express",
            file.origin("pad_size")
        ));
    }
    let of = if file.get("size").is_some() { file.origin("size") } else { config.default_of_class("size") };
    Ok(Resize::Pad(longest, format!("{of}, and {pad_origin}")))
}

/// Returns the resizing of a processor that keeps the share `crop_pct` of the shorter side, as ConvNext's.
fn share_of(
    config: &ProcessorConfig<'_>,
    size: Option<Size>,
    crop: Option<[u64; 2]>,
    share: f64,
) -> Result<Resize, String> {
    let file = config.file;
    let explicit = file.get("do_center_crop").is_some();
    let side = side(size).ok_or_else(|| format!("{} states no shortest edge", file.name))?;
    if !(share > 0.0 && share <= 1.0) {
        return Err(format!("{} is {share}, expected a share of 0 to 1", file.origin("crop_pct")));
    }
    let origin = format!("{} and `crop_pct` {share}", file.origin("size"));
    if !explicit && side >= STRETCHED_FROM {
        return Ok(Resize::Stretch([side; 2], format!("{origin}, which crops below 384 only")));
    }
    let shortest = (side as f64 / share) as u64;
    let size = crop.filter(|_| explicit).unwrap_or([side; 2]);
    Ok(Resize::Crop { size, shortest, square: false, origin })
}

/// Returns the resizing of a processor that crops the centre.
fn cropped(
    config: &ProcessorConfig<'_>,
    size: Option<Size>,
    crop: Option<[u64; 2]>,
    origin: &str,
) -> Result<Resize, String> {
    let file = config.file;
    let crop = match (crop, config.processor) {
        (Some(crop), _) => crop,
        (None, Some(processor)) => [processor.crop(); 2],
        (None, None) => return Err(format!("{origin}, but {}", config.unknown("crop_size"))),
    };
    let squares = config.processor.is_some_and(|class| class.squares());
    let (shortest, square) = match size {
        Some(Size::Both([height, width])) if height == width => (height, true),
        Some(Size::Both(both)) => {
            let text = file.origin("size");
            return Err(format!("{text} stretches to {both:?} before the crop, which a card cannot express"));
        }
        Some(Size::Number(side)) => (side, squares),
        Some(Size::Shortest(side)) => (side, false),
        None => return Err(format!("{origin}, but {}", config.unknown("size"))),
    };
    if shortest < crop[0].max(crop[1]) {
        return Err(format!(
            "{} resizes to {shortest}, less than the crop {crop:?}, so that black borders are added, which a \
             card cannot express",
            file.origin("size")
        ));
    }
    let origin = format!("{}, and {origin}", file.origin("size"));
    Ok(Resize::Crop { size: crop, shortest, square, origin })
}

fn side(size: Option<Size>) -> Option<u64> {
    match size? {
        Size::Shortest(side) | Size::Number(side) => Some(side),
        Size::Both([height, width]) => (height == width).then_some(height),
    }
}

/// Reads a size: one number, `[height, width]`, or a table.
fn size_of(config: &ProcessorConfig<'_>, key: &str) -> Result<Option<Size>, String> {
    let file = config.file;
    let Some(value) = file.get(key) else { return Ok(None) };
    let number = |key: &str| value[key].as_u64();
    let pair = value.as_array().and_then(|pair| match pair.as_slice() {
        [height, width] => Some([height.as_u64()?, width.as_u64()?]),
        _ => None,
    });
    if let Some(side) = value.as_u64() {
        return Ok(Some(Size::Number(side)));
    }
    if let Some(both) = pair {
        return Ok(Some(Size::Both(both)));
    }
    match (number("height"), number("width"), number("shortest_edge"), number("longest_edge")) {
        (Some(height), Some(width), _, _) => Ok(Some(Size::Both([height, width]))),
        (_, _, Some(side), None) => Ok(Some(Size::Shortest(side))),
        (_, _, shortest, Some(longest)) => {
            let limit = shortest.map_or_else(
                || format!("resizes the longer side to {longest}"),
                |shortest| {
                    format!("resizes the shorter side to {shortest}, the longer one to {longest} at most")
                },
            );
            let pads = if file.content["do_pad"] == true { " and pads the rest" } else { "" };
            Err(format!("{} {limit}{pads}, which a card cannot express", file.origin(key)))
        }
        _ => Err(format!("{} is {value}, which is not understood", file.origin(key))),
    }
}
