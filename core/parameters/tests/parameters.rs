//! Parameters as their authors and their users meet them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use chiasm_parameters::{Choice, Kind, ParameterError, Parameters, PerModality, read};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "kebab-case")]
enum Loss {
    /// Contrasts pairs.
    InfoNce,
    /// Squared distance.
    MeanSquare,
}

/// A nested table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
struct Start {
    /// Ridge.
    #[parameter(range = 0.0..=1000.0)]
    ridge: Option<PerModality<f64>>,
}

/// All kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(check = heads_divide_width)]
struct Everything {
    /// Width of every token.
    #[parameter(default = 128, range = 1..=8192)]
    width: usize,
    /// Heads of attention;
    /// they divide the width.
    #[parameter(default = 4, range = 1..)]
    heads: usize,
    /// The loss.
    #[parameter(default = Loss::InfoNce)]
    loss: Loss,
    /// Widths of the kernels.
    #[parameter(above = 0.0, range = ..=1000.0)]
    widths: Option<PerModality<Vec<f64>>>,
    /// Whether to train.
    train: Option<PerModality<bool>>,
    /// Two ridges.
    ridges: Option<[f64; 2]>,
    /// Where to start.
    start: Option<Start>,
    /// A name.
    query: Option<String>,
}

fn heads_divide_width(all: &Everything) -> Result<(), ParameterError> {
    if all.width.is_multiple_of(all.heads) {
        return Ok(());
    }
    Err(ParameterError::new("heads", format!("a divisor of `width` = {}", all.width), all.heads.to_string()))
}

fn refusal(value: Value) -> String {
    read::<Everything>(&value).unwrap_err().to_string()
}

#[test]
fn the_list_is_the_struct() {
    let list = Everything::list();
    let names: Vec<&str> = list.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["width", "heads", "loss", "widths", "train", "ridges", "start", "query"]);
    assert_eq!(list[1].doc, "Heads of attention; they divide the width.");
    assert_eq!(
        (&list[0].default, &list[2].default, &list[3].default),
        (&json!(128), &json!("info-nce"), &Value::Null)
    );
    assert_eq!(list[0].expected(), "an integer from 1 to 8192");
    assert_eq!(list[2].expected(), "info-nce or mean-square");
    assert_eq!(list[3].expected(), "a list of numbers above 0, at most 1000, or a table of them by modality");
    assert!(matches!(&list[6].kind, Kind::Table { of } if of[0].name == "ridge"));
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(serde_json::from_str::<Vec<chiasm_parameters::Parameter>>(&text).unwrap(), list);
}

#[test]
fn what_is_not_set_has_its_default_and_null_is_not_set() {
    let all: Everything = read(&json!({ "heads": null, "widths": { "image": [0.5] } })).unwrap();
    assert_eq!((all.width, all.heads, all.loss), (128, 4, Loss::InfoNce));
    assert_eq!(all.widths.as_ref().unwrap().get("image").unwrap(), &[0.5]);
    assert_eq!(read::<Everything>(&Value::Null).unwrap(), Everything::default());
    assert_eq!(read::<Everything>(&all.to_json()).unwrap(), all);
    assert!(all.to_json().get("query").is_none());
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    assert_eq!(
        refusal(json!({ "width": 0 })),
        "parameter `width`: expected an integer from 1 to 8192, got 0"
    );
    assert_eq!(
        refusal(json!({ "width": 1.5 })),
        "parameter `width`: expected an integer from 1 to 8192, got 1.5"
    );
    assert_eq!(
        refusal(json!({ "loss": "nce" })),
        "parameter `loss`: expected info-nce or mean-square, got \"nce\""
    );
    assert_eq!(
        refusal(json!({ "heads": 3 })),
        "parameter `heads`: expected a divisor of `width` = 128, got 3"
    );
    assert!(refusal(json!({ "widths": { "text": [0.0] } })).contains("`widths`: expected a list of numbers"));
    assert_eq!(
        refusal(json!({ "train": { "text": 1 } })),
        "parameter `train.text`: expected true or false, got 1"
    );
    assert_eq!(
        refusal(json!({ "ridges": [1.0] })),
        "parameter `ridges`: expected a list of 2 numbers, got [1.0]"
    );
    let nested = refusal(json!({ "start": { "ridge": -1 } }));
    assert!(nested.contains("`start.ridge`: expected a number"), "{nested}");
    let unknown = refusal(json!({ "widht": 3 }));
    assert!(unknown.starts_with("parameter `widht`: expected `width`, "), "{unknown}");
    assert_eq!(refusal(json!([1])), "parameters: expected a table of parameters, got [1]");
}

/// NaN has no JSON, so it must be found before the value is written.
#[test]
fn a_value_made_in_rust_is_checked_too() {
    let all = Everything { widths: Some(PerModality::All(vec![f64::NAN])), ..Everything::default() };
    assert!(all.check().unwrap_err().to_string().contains("`widths`"));
    assert!(Everything::default().check().is_ok());
}

/// What several methods have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default)]
struct Shared {
    /// Hidden units.
    #[parameter(default = 256, range = 0..=1000)]
    hidden: usize,
    /// Mini-batches.
    #[parameter(range = 1..)]
    steps: Option<u64>,
}

/// A method with a default of its own for a shared parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default)]
struct Linear {
    /// Weight of the transport.
    #[parameter(default = 0.1, range = 0..=10)]
    lambda: f64,
    #[parameter(flatten, default = Shared { hidden: 0, ..Shared::default() })]
    #[serde(flatten)]
    shared: Shared,
}

#[test]
fn a_flattened_struct_adds_its_parameters_with_the_defaults_of_the_outer_one() {
    let list = Linear::list();
    let names: Vec<&str> = list.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["lambda", "hidden", "steps"]);
    assert_eq!((&list[1].default, list[1].doc.as_str()), (&json!(0), "Hidden units."));
    let linear: Linear = read(&json!({ "steps": 7 })).unwrap();
    assert_eq!(linear, Linear { lambda: 0.1, shared: Shared { hidden: 0, steps: Some(7) } });
    assert_eq!(linear.to_json(), json!({ "lambda": 0.1, "hidden": 0, "steps": 7 }));
    let refusal = |value| read::<Linear>(&value).unwrap_err().to_string();
    assert!(refusal(json!({ "hidden": 2000 })).starts_with("parameter `hidden`: expected an integer"));
    let unknown = refusal(json!({ "hiden": 2 }));
    assert!(["`hiden`", "lambda", "hidden", "steps"].iter().all(|word| unknown.contains(word)), "{unknown}");
    let wide = Linear { shared: Shared { hidden: 5000, steps: None }, ..Linear::default() };
    assert!(wide.check().unwrap_err().to_string().contains("`hidden`"));
}
