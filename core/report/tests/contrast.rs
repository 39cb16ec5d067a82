//! The contrast of the pages' colours, by the formula of WCAG 2.2 (relative luminance, contrast ratio).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

const CSS: &str = include_str!("../src/report.css");

/// The colours of the light theme and of the dark one, by name.
fn themes() -> [BTreeMap<&'static str, [f64; 3]>; 2] {
    let (light, dark) = CSS.split_once("prefers-color-scheme: dark").unwrap();
    let dark = dark.split_once("* {").unwrap().0;
    [light, dark].map(|css| {
        let colours = css.split("--").skip(1).filter_map(|part| part.split_once(": #"));
        colours.map(|(name, value)| (name, rgb(value.split(';').next().unwrap()))).collect()
    })
}

/// The channels of `fff` or `ffffff`, in [0, 1].
fn rgb(hex: &str) -> [f64; 3] {
    let width = hex.len() / 3;
    [0, 1, 2].map(|channel| {
        let digits = hex[channel * width..(channel + 1) * width].repeat(2 / width);
        f64::from(u8::from_str_radix(&digits, 16).unwrap()) / 255.0
    })
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Level AA: 4.5 for text, 3 for the marks of figures, on both backgrounds and in both themes.
#[test]
fn colours_meet_level_aa() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9, "black on white");
    for theme in themes() {
        let backgrounds = ["ground", "panel"];
        let drawn = theme.iter().filter(|(name, _)| !backgrounds.contains(name) && **name != "rule");
        let drawn: Vec<_> = drawn.collect();
        assert_eq!(drawn.len(), 12, "{theme:?}");
        for (name, colour) in drawn {
            let least = if name.starts_with('s') && name.len() == 2 { 3.0 } else { 4.5 };
            for background in backgrounds {
                let found = contrast(*colour, theme[background]);
                assert!(found >= least, "{name} on {background}: {found:.2}");
            }
        }
    }
}
