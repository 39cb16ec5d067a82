//! Drafts from `preprocessor_config.json`: the values are those of the constructors and the preprocessing of
//! the classes in the library transformers.
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::PathBuf;

use chiasm_image::ImageAdapter;
use chiasm_plugin::graph::DType;
use chiasm_plugin::{Adapter, DimSpec, Draft, EncoderSpec, Json, PortSpec, Services, Signature, json};

fn port(name: &str, dims: &[i64]) -> PortSpec {
    let dim = |length: &i64| match usize::try_from(*length) {
        Ok(length) => DimSpec::Fixed(length),
        Err(_) => DimSpec::Named(format!("free{length}")),
    };
    PortSpec { name: name.into(), dtype: DType::F32, dims: Some(dims.iter().map(dim).collect()) }
}

fn signature(input: &[i64], outputs: Vec<PortSpec>) -> Signature {
    Signature { inputs: vec![port("pixel_values", input)], outputs, ..Default::default() }
}

fn embedding() -> Vec<PortSpec> {
    vec![port("embedding", &[-1, 8])]
}

/// A folder of its own for a draft.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chiasm-image-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn draft(&self, signature: &Signature, config: &Json) -> Draft {
        std::fs::write(self.0.join("preprocessor_config.json"), config.to_string()).unwrap();
        ImageAdapter::draft(signature, &self.0).unwrap().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn siglip() -> Json {
    json!({
        "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 3,
        "rescale_factor": 0.003_921_568_627_450_98, "size": { "height": 48, "width": 32 },
    })
}

fn clip() -> Json {
    json!({
        "do_center_crop": true, "crop_size": { "height": 48, "width": 32 }, "do_resize": true,
        "size": { "shortest_edge": 56 }, "resample": 3, "do_normalize": true,
        "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "do_convert_rgb": true,
    })
}

fn changed(mut config: Json, changes: Json) -> Json {
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn without(mut config: Json, key: &str) -> Json {
    config.as_object_mut().unwrap().remove(key);
    config
}

fn square(class: &str, size: Json) -> Json {
    json!({ "image_processor_type": class, "size": size })
}

/// Every key is translated and has an origin, and what is drafted opens.
fn translated(name: &str, cases: Vec<(Json, Json)>) {
    let folder = Folder::new(name);
    for (config, expected) in cases {
        // Without a size, the graph has one.
        let fixed = config["size"].is_null();
        let input: &[i64] = if fixed { &[-1, 3, 48, 32] } else { &[-1, 3, -2, -3] };
        let draft = folder.draft(&signature(input, embedding()), &config);
        assert!(draft.undecided.is_empty(), "{config}: {:?}", draft.undecided);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&draft.preprocessing[key], value, "{key} of {config}\n{}", draft.reason);
        }
        let lines: Vec<&str> = draft.reason.lines().collect();
        for key in draft.preprocessing.as_object().unwrap().keys() {
            let own = lines.iter().filter(|line| line.starts_with(&format!("{key} "))).count();
            assert_eq!(own, 1, "{key} has no origin: {}", draft.reason);
        }
        let card = EncoderSpec {
            inputs: vec![port("pixel_values", input)],
            outputs: embedding(),
            ports: draft.ports,
            preprocessing: draft.preprocessing,
            ..Default::default()
        };
        ImageAdapter::open(&card, &Services::detached(0, 1)).map_err(|e| e.message().to_owned()).unwrap();
    }
}

/// Kernels have Pillow's codes, or names.
#[test]
fn sizes_and_kernels_are_translated() {
    let third = 1.0 / 255.0;
    translated(
        "sizes_and_kernels_are_translated",
        vec![
            (
                siglip(),
                json!({ "resize": "stretch", "filter": "bicubic", "scale": third, "channels": "rgb",
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": [48, 32] }),
            ),
            (
                clip(),
                json!({ "resize": "shortest-side-crop", "shortest": 56, "mean": [0.4, 0.5, 0.6],
            "size": [48, 32] }),
            ),
            (
                changed(clip(), json!({ "size": 56, "crop_size": 48 })),
                json!({ "resize": "shortest-side-crop",
            "shortest": 56, "size": [48, 48] }),
            ),
            // Codes of Pillow, and names.
            (changed(siglip(), json!({ "resample": 0 })), json!({ "filter": "nearest" })),
            (changed(siglip(), json!({ "resample": 1 })), json!({ "filter": "lanczos" })),
            (changed(siglip(), json!({ "resample": 2 })), json!({ "filter": "bilinear" })),
            (changed(siglip(), json!({ "resample": 4 })), json!({ "filter": "box" })),
            (changed(siglip(), json!({ "resample": 5 })), json!({ "filter": "hamming" })),
            (changed(siglip(), json!({ "resample": "bilinear" })), json!({ "filter": "bilinear" })),
        ],
    );
}

/// With an offset, levels become x * scale - 1.
#[test]
fn steps_that_are_off_offsets_and_channels_are_translated() {
    translated(
        "steps_that_are_off_offsets_and_channels_are_translated",
        vec![
            // Steps that are off, an offset, and exchanged channels.
            (changed(siglip(), json!({ "do_rescale": false })), json!({ "scale": 1.0 })),
            (
                changed(siglip(), json!({ "do_normalize": false })),
                json!({ "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0] }),
            ),
            (changed(siglip(), json!({ "do_resize": false, "size": null })), json!({ "resize": "none" })),
            (
                changed(siglip(), json!({ "rescale_offset": true, "rescale_factor": 0.0078125 })),
                json!({ "mean": [1.5, 1.5, 1.5], "std": [0.5, 0.5, 0.5], "scale": 0.0078125 }),
            ),
            (changed(siglip(), json!({ "do_flip_channel_order": true })), json!({ "channels": "bgr" })),
        ],
    );
}

/// The classes differ in what `size` means and whether they crop.
#[test]
fn shares_and_squares_are_cropped_as_the_classes_do() {
    translated(
        "shares_and_squares_are_cropped_as_the_classes_do",
        vec![
            // ConvNext crops below 384, and stretches from there on.
            (
                changed(
                    square("ConvNextImageProcessor", json!({ "shortest_edge": 35 })),
                    json!({ "crop_pct": 0.875 }),
                ),
                json!({ "resize": "shortest-side-crop", "shortest": 40, "size": [35, 35] }),
            ),
            (
                square("ConvNextFeatureExtractor", json!(224)),
                json!({ "resize": "shortest-side-crop",
            "shortest": 256, "size": [224, 224], "mean": [0.5, 0.5, 0.5] }),
            ),
            (
                square("ConvNextImageProcessor", json!({ "shortest_edge": 384 })),
                json!({ "resize": "stretch",
            "size": [384, 384] }),
            ),
            // LeViT resizes the shorter side to 256/224 of the size.
            (
                square("LevitImageProcessor", json!({ "shortest_edge": 224 })),
                json!({ "resize": "shortest-side-crop",
            "shortest": 256, "size": [224, 224], "mean": [0.485, 0.456, 0.406], "filter": "bicubic" }),
            ),
            // DeiT stretches to a square and crops.
            (
                square("DeiTImageProcessor", json!({ "height": 256, "width": 256 })),
                json!({ "resize": "stretch-crop",
            "shortest": 256, "size": [224, 224] }),
            ),
        ],
    );
}

/// The constructors of the classes state these.
#[test]
fn keys_that_are_not_stated_have_the_default_of_the_class() {
    translated(
        "keys_that_are_not_stated_have_the_default_of_the_class",
        vec![
            // The defaults of a class.
            (
                square("ViTImageProcessorFast", json!(32)),
                json!({ "resize": "stretch", "filter": "bilinear",
            "mean": [0.5, 0.5, 0.5], "size": [32, 32] }),
            ),
            (
                without(
                    changed(clip(), json!({ "image_processor_type": "CLIPImageProcessor" })),
                    "do_center_crop",
                ),
                json!({ "resize": "shortest-side-crop", "shortest": 56 }),
            ),
            (
                changed(square("CLIPImageProcessor", json!({ "shortest_edge": 224 })), json!({})),
                json!({ "resize": "shortest-side-crop", "shortest": 224, "size": [224, 224],
            "std": [0.26862954, 0.26130258, 0.27577711] }),
            ),
            (
                changed(
                    square("SamImageProcessor", json!({ "longest_edge": 512 })),
                    json!({ "do_pad": true, "pad_size": { "height": 512, "width": 512 },
                        "mask_size": { "longest_edge": 256 } }),
                ),
                json!({ "resize": "longest-side-pad", "size": [512, 512], "filter": "bilinear",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225] }),
            ),
            (
                square("MobileViTImageProcessor", json!({ "shortest_edge": 288 })),
                json!({ "channels": "bgr",
            "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "shortest": 288, "size": [256, 256] }),
            ),
        ],
    );
}

#[test]
fn what_a_card_cannot_express_is_left_to_the_user() {
    let folder = Folder::new("undecided");
    let free: &[i64] = &[-1, 3, -2, -3];
    let cases: Vec<(Json, &[i64], &str, &[&str])> = vec![
        (
            changed(clip(), json!({ "do_center_crop": false, "size": { "shortest_edge": 32 } })),
            &[-1, 3, 32, 32],
            "preprocessing.resize",
            &["`size`", "shorter side to 32", "keeps the proportions", "stretch"],
        ),
        (
            changed(
                clip(),
                json!({ "do_center_crop": false, "do_pad": true, "size": { "longest_edge": 32 } }),
            ),
            free,
            "preprocessing.resize",
            &["longer side to 32", "pads"],
        ),
        (
            changed(
                square("SamImageProcessor", json!({ "longest_edge": 512 })),
                json!({ "pad_size": { "height": 1024, "width": 1024 } }),
            ),
            free,
            "preprocessing.resize",
            &["longer side becomes 512", "`pad_size`"],
        ),
        (changed(clip(), json!({ "do_pad": true })), free, "preprocessing.resize", &["`do_pad`"]),
        (changed(clip(), json!({ "crop_size": 224 })), free, "preprocessing.resize", &["black borders"]),
        (clip(), &[-1, 3, 24, 24], "preprocessing.resize", &["[48, 32]", "[24, 24]"]),
        (changed(siglip(), json!({ "resample": 9 })), free, "preprocessing.filter", &["`resample`", "9"]),
        (changed(siglip(), json!({ "image_mean": [0.5] })), free, "preprocessing.mean", &["`image_mean`"]),
        (
            changed(clip(), json!({ "do_flip_channel_order": true })),
            free,
            "preprocessing.mean",
            &["comes first"],
        ),
        (
            changed(clip(), json!({ "do_resize": false })),
            free,
            "preprocessing.resize",
            &["`do_resize`", "cropped"],
        ),
    ];
    for (config, input, key, words) in cases {
        let draft = folder.draft(&signature(input, embedding()), &config);
        let found = draft.undecided.iter().find(|undecided| undecided.key == key);
        let reason = &found.unwrap_or_else(|| panic!("{config}: {}", draft.reason)).reason;
        for word in words {
            assert!(reason.contains(word), "{reason:?} lacks {word:?}");
        }
    }
}

#[test]
fn origins_tell_files_defaults_and_guesses_apart() {
    let folder = Folder::new("origins");
    let fixed = signature(&[-1, 3, 32, 32], embedding());
    let origin = |draft: &Draft, key: &str| {
        let line = draft.reason.lines().find(|line| line.starts_with(&format!("{key} ")));
        line.unwrap().to_owned()
    };
    let draft = folder.draft(&fixed, &json!({ "size": { "height": 32, "width": 32 }, "resample": 2 }));
    assert!(origin(&draft, "filter").ends_with("`resample` of preprocessor_config.json"));
    assert!(origin(&draft, "size").contains("of the graph"));
    let mean = origin(&draft, "mean");
    assert!(mean.contains("a guess") && mean.contains("`image_mean`") && mean.ends_with("CHECK"), "{mean}");
    let draft = folder.draft(&fixed, &json!({ "image_processor_type": "ViTImageProcessor", "size": 32 }));
    assert!(origin(&draft, "std").ends_with("the default `image_std` of ViTImageProcessor"));
    let strange = json!({ "image_processor_type": "ViTImageProcessor", "size": 32, "max_num_patches": 256 });
    let draft = folder.draft(&fixed, &strange);
    assert!(
        draft.reason.contains("not translated from preprocessor_config.json: max_num_patches = 256; CHECK")
    );
    std::fs::write(folder.0.join("preprocessor_config.json"), "{\"a\":").unwrap();
    let error = ImageAdapter::draft(&fixed, &folder.0).unwrap_err().message().to_owned();
    assert!(error.contains("preprocessor_config.json: is not JSON"), "{error}");
}

#[test]
fn class_scores_give_way_to_the_tensor_before_the_last_layer() {
    let folder = Folder::new("scores");
    let draft = |outputs: Vec<PortSpec>, inner: Option<PortSpec>| {
        let mut signature = signature(&[-1, 3, 32, 32], outputs);
        let name = signature.outputs[0].name.clone();
        signature.before_last = inner.into_iter().map(|inner| (name.clone(), inner)).collect();
        folder.draft(&signature, &siglip())
    };
    let vector = || port("/flatten", &[-1, 1280]);
    let scores = draft(vec![port("logits", &[-1, 7])], Some(vector()));
    assert_eq!(scores.ports, json!({ "pooled": "/flatten" }));
    assert!(scores.reason.contains("--set ports.pooled=logits"), "{}", scores.reason);
    // 1,000 classes are ImageNet's, whatever their name.
    assert_eq!(draft(vec![port("495", &[-1, 1000])], Some(vector())).ports, json!({ "pooled": "/flatten" }));
    let map = draft(vec![port("prob", &[-1, 7])], Some(port("/relu", &[-1, 512, 4, 4])));
    assert_eq!(map.ports, json!({ "tokens": "/relu", "pooled": "mean" }));
    let neutral = draft(vec![port("output", &[-1, 7])], Some(vector()));
    assert_eq!(neutral.ports, json!({ "pooled": "output" }));
    assert!(neutral.reason.contains("/flatten") && neutral.reason.contains("CHECK"), "{}", neutral.reason);
    let alone = draft(vec![port("logits", &[-1, 7])], None);
    assert!(alone.ports["pooled"] == "logits" && alone.reason.contains("class scores"), "{}", alone.reason);
}
