//! Pictures: decoding, resizing and scaling.

use crate::{input::Input, seeds::Seeds};
use chiasm_image::preprocessing::{ImageParameters, Preprocessing};
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use serde_json::json;
use std::io::Cursor;

/// The bytes of an input that choose the parameters.
const CHOICES: usize = 6;

/// Prepares a picture as a card says: the first bytes choose the card's parameters, the others are the file.
pub(crate) fn run(bytes: &[u8]) {
    let (choices, file) = bytes.split_at(CHOICES.min(bytes.len()));
    let mut input = Input(choices);
    let [height, mut width] = [0; 2].map(|_: u8| 1 + input.below(40));
    let resize = input.one_of(&["stretch", "shortest-side-crop", "stretch-crop", "longest-side-pad", "none"]);
    if resize == "longest-side-pad" {
        width = height; // it pads to a square
    }
    let filters = ["bicubic", "bilinear", "lanczos", "box", "hamming", "nearest"];
    let mut parameters = json!({
        "size": [height, width],
        "resize": resize,
        "filter": input.one_of(&filters),
        "channels": input.one_of(&["rgb", "bgr"]),
        "orient": input.byte().is_multiple_of(2),
        "mean": [0.5, 0.25, 0.0],
        "std": [0.25, 1.0, 2.0],
    });
    if resize.ends_with("crop") {
        parameters["shortest"] = json!(height.max(width) + 3);
    }
    let parameters = serde_json::from_value(parameters).map_err(|error| error.to_string());
    let prepared = parameters.and_then(|parameters: ImageParameters| Preprocessing::new(&parameters));
    let Ok(preprocessing) = prepared else { unreachable!("the parameters are refused: {prepared:?}") };
    if let Ok(values) = preprocessing.apply(file) {
        assert_eq!(values.len(), 3 * height * width);
        // Levels of 0 to 1, less at most 0.5, divided by at least 0.25.
        assert!(values.iter().all(|value| (-2.0..=4.0).contains(value)), "a value is out of range");
    }
}

pub(crate) fn seeds() -> Seeds {
    let picture = RgbaImage::from_fn(5, 3, |x, y| Rgba([40 * x as u8, 80 * y as u8, 7, 255 - 9 * x as u8]));
    let whole = DynamicImage::from(picture);
    let kinds = [
        (ImageFormat::Png, whole.clone()),
        (ImageFormat::Png, whole.to_rgb8().into()),
        (ImageFormat::Png, whole.to_luma_alpha8().into()),
        (ImageFormat::Png, whole.to_rgb16().into()),
        (ImageFormat::Png, whole.to_luma16().into()),
        (ImageFormat::Bmp, whole.to_rgb8().into()),
        (ImageFormat::Bmp, whole.clone()),
        (ImageFormat::Jpeg, whole.to_rgb8().into()),
        (ImageFormat::Jpeg, whole.to_luma8().into()),
        (ImageFormat::WebP, whole.clone()),
        (ImageFormat::WebP, whole.to_rgb8().into()),
    ];
    let mut made = Vec::new();
    for (at, (format, picture)) in kinds.into_iter().enumerate() {
        let at = at as u8;
        let mut bytes = vec![7 + at, 4, at % 3, at, at, at];
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format)?;
        bytes.extend(file.into_inner());
        made.push(bytes);
    }
    Ok(made)
}
