//! The tests that every aligner passes. [`aligner_tests!`](crate::aligner_tests) makes tests of them; an
//! aligner for which one of them does not hold calls the others.
//!
//! ```no_run
//! # use chiasm_plugin::Aligner;
//! # fn tests_of<A: Aligner>() {
//! chiasm_kit::testing::check_ports::<A>();
//! chiasm_kit::testing::check_parameters::<A>();
//! chiasm_kit::testing::check_refusals::<A>();
//! # }
//! ```
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests: they stop at the first failure")]

use chiasm_plugin::graph::Graph;
use chiasm_plugin::ndarray::{Array1, Array2};
use chiasm_plugin::{
    AlignModality, AlignSpec, Aligner, Code, Inputs, Json, Learned, Parameters, Result, Services, json,
};

/// Items of one modality, `[items, columns]`, and the row of each.
#[derive(Clone, Debug)]
pub struct TestItems {
    /// The modality's name.
    pub name: &'static str,
    /// The vectors.
    pub pooled: Array2<f32>,
    /// The row of each item, in ascending order.
    pub rows: Array1<i64>,
}

impl TestItems {
    /// Items whose values depend on their row, so that modalities have something in common.
    pub fn new(name: &'static str, columns: usize, rows: impl Iterator<Item = i64>) -> Self {
        let rows: Array1<i64> = rows.collect();
        let value = |(at, j): (usize, usize)| ((rows[at] * (2 * j as i64 + 3)) as f32).sin();
        Self { name, pooled: Array2::from_shape_fn((rows.len(), columns), value), rows }
    }
}

/// Thirty rows of two modalities.
pub fn two_modalities() -> Vec<TestItems> {
    vec![TestItems::new("image", 7, 0..30), TestItems::new("text", 4, 0..30)]
}

/// Three modalities: no row holds image and sound together, and a row may hold two texts.
pub fn three_modalities() -> Vec<TestItems> {
    let text = (0..40).flat_map(|row| std::iter::repeat_n(row, 1 + row as usize % 2));
    vec![
        TestItems::new("image", 7, 0..25),
        TestItems::new("text", 4, text),
        TestItems::new("sound", 5, 25..40),
    ]
}

/// Fits an aligner as the host does, with seed 3 and one thread.
///
/// # Errors
/// Those of the fit.
pub fn fit<A: Aligner>(items: &[TestItems], parameters: &Json) -> Result<Learned> {
    let modality = |one: &TestItems| AlignModality {
        name: one.name.to_owned(),
        dim: one.pooled.ncols(),
        blocks: vec![one.pooled.ncols()],
    };
    let spec = AlignSpec { modalities: items.iter().map(modality).collect(), anchor: None };
    let names: Vec<[String; 2]> =
        items.iter().map(|one| [format!("{}.pooled", one.name), format!("{}.row", one.name)]).collect();
    let named = || names.iter().zip(items);
    let pooled: Vec<_> = named().map(|(name, one)| (name[0].as_str(), one.pooled.view())).collect();
    let rows: Vec<_> = named().map(|(name, one)| (name[1].as_str(), one.rows.view().into_dyn())).collect();
    let data = Inputs::of(&pooled).and_integers(&rows);
    A::fit_json(&spec, &data, parameters, &Services::detached(3, 1))
}

fn takes_three<A: Aligner>() -> bool {
    A::takes(&A::Parameters::default()).contains(3)
}

/// Fits two modalities, and three if the aligner takes them, of which two have no row in common
/// ([`three_modalities`]). Checks the ports of the maps, and that fitting again with the chosen parameters
/// gives the same bytes.
///
/// # Panics
/// When a check fails.
pub fn check_ports<A: Aligner>() {
    for items in [two_modalities(), three_modalities()].iter().take(1 + usize::from(takes_three::<A>())) {
        let count = items.len();
        let learned = fit::<A>(items, &json!({}))
            .unwrap_or_else(|error| panic!("expected a fit of {count} modalities, got the error {error}"));
        assert_eq!((learned.maps.len(), learned.inverses.len()), (items.len(), items.len()));
        let width = |graph: &Graph| {
            let output = graph.outputs().remove(0).to_string();
            output.strip_prefix("z f32[batch,").unwrap().to_owned()
        };
        for (map, one) in learned.maps.iter().zip(items) {
            let input = map.inputs().remove(0).to_string();
            assert_eq!(input, format!("x f32[batch,{}]", one.pooled.ncols()), "{}", one.name);
            assert_eq!(width(map), width(&learned.maps[0]), "{}", one.name);
            let senses = &learned.notes["inverses"];
            assert!(
                senses.is_null() || senses[one.name].is_string(),
                "the note `inverses`: expected a sentence about the inverse of `{}`, got {senses}",
                one.name
            );
        }
        let again = fit::<A>(items, &learned.parameters).unwrap();
        for (first, second) in learned.maps.iter().zip(&again.maps) {
            assert_eq!(first.to_bytes().unwrap(), second.to_bytes().unwrap());
        }
        assert_eq!(learned.parameters, again.parameters);
    }
    if !takes_three::<A>() {
        assert_eq!(fit::<A>(&three_modalities(), &json!({})).unwrap_err().code(), Code::INVALID);
    }
}

/// Checks that an unknown parameter is refused with a list of the known ones, and that every parameter may be
/// left unset.
///
/// # Panics
/// When a check fails.
pub fn check_parameters<A: Aligner>() {
    let refusal = fit::<A>(&two_modalities(), &json!({ "no such key": 1 })).unwrap_err();
    assert_eq!(refusal.code(), Code::INVALID);
    for parameter in A::Parameters::list() {
        assert!(refusal.message().contains(&format!("`{}`", parameter.name)), "{refusal}");
        parameter.check(&parameter.default).unwrap();
    }
    A::Parameters::default().check().unwrap();
}

/// Checks that items that are not finite are refused as invalid input that names their place.
///
/// # Panics
/// When a check fails.
pub fn check_refusals<A: Aligner>() {
    let mut items = two_modalities();
    items[1].pooled[[3, 1]] = f32::NAN;
    let refusal = fit::<A>(&items, &json!({})).unwrap_err();
    assert_eq!(refusal.code(), Code::INVALID);
    assert!(refusal.message().contains("`text`") && refusal.message().contains("item 3"), "{refusal}");
}

/// Makes one test of each of this module's checks.
#[macro_export]
macro_rules! aligner_tests {
    ($aligner:ty) => {
        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn maps_have_the_expected_ports() {
                $crate::testing::check_ports::<$aligner>();
            }

            #[test]
            fn unknown_parameters_are_refused_and_defaults_are_valid() {
                $crate::testing::check_parameters::<$aligner>();
            }

            #[test]
            fn bad_items_are_refused() {
                $crate::testing::check_refusals::<$aligner>();
            }
        }
    };
}
