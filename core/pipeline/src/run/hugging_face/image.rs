//! Pictures: `preprocessor_config.json` of `CLIPImageProcessor`, whose keys say most tables of picture cards.

use super::prepared::{Prepared, pretty};
use crate::run::{
    model_card::{Channels, EncoderFacts, Filter, ImageTable, Layout, Resize},
    port_form::{PixelForm, PortForm},
};
use chiasm_graph::{DType, Port};
use serde_json::json;

/// What differs if a processor resizes a picture.
pub const RESIZED: &str = "Pictures are resized by the processor: with Pillow a level may differ by one \
                           from that of Chiasm, with torchvision by more.";

/// Returns how pictures are prepared, or which key cannot be said.
pub fn prepared(encoder: &EncoderFacts<'_>, inputs: &[(String, Port)]) -> Result<Prepared, String> {
    let table: ImageTable = encoder.table()?;
    let [(_, port)] = inputs else { return Err("its model reads more than the pixels".to_owned()) };
    if table.channels == Channels::Gray {
        return Err("`channels = \"gray\"` has no key in preprocessor_config.json".to_owned());
    }
    let levels = port.dtype == DType::U8;
    let ([height, width], side) = (table.size, table.shortest());
    let (size, crop) = match table.resize {
        Resize::Stretch | Resize::None => (json!({ "height": height, "width": width }), false),
        Resize::ShortestSideCrop => (json!({ "shortest_edge": side }), true),
        Resize::StretchCrop => (json!({ "height": side, "width": side }), true),
        Resize::LongestSidePad => {
            return Err("`resize = \"longest-side-pad\"` is no key of CLIPImageProcessor".to_owned());
        }
    };
    let reversed = table.channels == Channels::Bgr;
    let in_order = |mut values: Vec<f64>| {
        if reversed {
            values.reverse();
        }
        values
    };
    let file = json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": table.resize != Resize::None,
        "size": size,
        "resample": number(table.filter),
        "do_center_crop": crop,
        "crop_size": { "height": height, "width": width },
        "do_rescale": !levels,
        "rescale_factor": table.scale,
        "do_normalize": !levels,
        "image_mean": in_order(table.mean.each()),
        "image_std": in_order(table.std.each()),
    });
    let dtype = if levels { DType::U8 } else { DType::F32 };
    let form = PixelForm { dtype, reversed, channels_first: table.layout == Layout::Nhwc };
    let form = PortForm::pixels(port, "pixel_values", form).map_err(|error| error.to_string())?;
    let open = if table.orient { "ImageOps.exif_transpose(Image.open(item))" } else { "Image.open(item)" };
    Ok(Prepared {
        ports: vec![form],
        files: vec![("preprocessor_config.json", pretty(&file))],
        class: "AutoImageProcessor",
        python: vec![format!("features = prepare({open})")],
        note: (table.resize != Resize::None).then_some(RESIZED),
        javascript: vec!["const features = await prepare(await RawImage.read(item));".to_owned()],
        example: "picture.png",
    })
}

/// Pillow's number of a kernel.
fn number(filter: Filter) -> u8 {
    match filter {
        Filter::Nearest => 0,
        Filter::Lanczos => 1,
        Filter::Bilinear => 2,
        Filter::Bicubic => 3,
        Filter::Box => 4,
        Filter::Hamming => 5,
    }
}
