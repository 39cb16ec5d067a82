//! Token numbers against the reference library's, exactly (tests/reference/make.py).
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chiasm_plugin::graph::DType;
use chiasm_plugin::{Adapter, DimSpec, EncoderSpec, Item, LEFT_OUT, PortSpec, Services, Signature, json};
use chiasm_text::TextAdapter;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<TokenizerCase>,
}

#[derive(Deserialize)]
struct TokenizerCase {
    text: String,
    max_length: usize,
    ids: Vec<i64>,
    mask: Vec<i64>,
    types: Vec<i64>,
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn port(name: &str, dtype: DType, dims: &[DimSpec]) -> PortSpec {
    PortSpec { name: name.into(), dtype, dims: Some(dims.to_vec()) }
}

fn free(name: &str) -> DimSpec {
    DimSpec::Named(name.into())
}

fn spec(directory: &Path, tokenizer: &str, max_length: usize, tokens: DimSpec) -> EncoderSpec {
    let input = |name: &str| port(name, DType::I64, &[free("N"), tokens.clone()]);
    EncoderSpec {
        name: "test".into(),
        directory: directory.into(),
        inputs: vec![input("input_ids"), input("attention_mask"), input("token_type_ids")],
        outputs: vec![
            port("token_embeddings", DType::F32, &[free("N"), tokens.clone(), DimSpec::Fixed(8)]),
            port("sentence_embedding", DType::F32, &[free("N"), DimSpec::Fixed(8)]),
        ],
        ports: json!({ "tokens": "token_embeddings", "pooled": "sentence_embedding" }),
        preprocessing: json!({ "tokenizer": tokenizer, "max_length": max_length }),
        ..Default::default()
    }
}

fn open(spec: &EncoderSpec) -> chiasm_plugin::Result<TextAdapter> {
    TextAdapter::open(spec, &Services::detached(0, 1))
}

fn check(directory: &Path, tokenizer: &str, golden: &str) {
    let golden: Golden =
        serde_json::from_str(&std::fs::read_to_string(reference().join(golden)).unwrap()).unwrap();
    assert!(golden.cases.len() > 20);
    for case in golden.cases {
        let adapter = open(&spec(directory, tokenizer, case.max_length, free("T"))).unwrap();
        let tensors = adapter.prepare(Item::Text(&case.text)).unwrap();
        // The last tensor counts the tokens that were left out.
        let rows: Vec<&[i64]> = tensors[..3].iter().map(|tensor| tensor.as_i64().unwrap()).collect();
        assert_eq!(rows, [&case.ids, &case.mask, &case.types], "{:?} at {}", case.text, case.max_length);
        assert!(rows[0].len() <= case.max_length);
    }
}

#[test]
fn word_pieces_equal_the_reference() {
    check(&reference(), "word-piece.json", "word-piece.golden.json");
}

#[test]
fn byte_pairs_equal_the_reference() {
    check(&reference(), "byte-pairs.json", "byte-pairs.golden.json");
}

#[test]
fn the_real_minilm_equals_the_reference() {
    let Some(tokenizer) = chiasm_testing::real_data("models/minilm-l6/tokenizer.json") else { return };
    check(tokenizer.parent().unwrap(), "tokenizer.json", "minilm.golden.json");
}

/// Several host threads share one adapter; each gets what one alone would.
#[test]
fn prepares_on_many_threads() {
    let adapter = Arc::new(open(&spec(&reference(), "word-piece.json", 64, free("T"))).unwrap());
    let alone: Vec<_> =
        (0..40).map(|i| adapter.prepare(Item::Text(&format!("a child runs {i}"))).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (i, expected) in alone.iter().enumerate() {
                    let got = adapter.prepare(Item::Text(&format!("a child runs {i}"))).unwrap();
                    assert_eq!(&got, expected);
                }
            });
        }
    });
}

/// A model with a fixed length gets rows of that length, padded with the tokenizer's padding token and
/// masked.
#[test]
fn a_fixed_length_is_filled() {
    let adapter = open(&spec(&reference(), "word-piece.json", 12, DimSpec::Fixed(12))).unwrap();
    let tensors = adapter.prepare(Item::Text("a child")).unwrap();
    let [ids, mask, ..] = tensors.as_slice() else { panic!("three inputs") };
    assert_eq!((ids.len(), mask.len()), (12, 12));
    let real = mask.as_i64().unwrap().iter().sum::<i64>() as usize;
    assert!(real < 12 && ids.as_i64().unwrap()[real..].iter().all(|id| *id == 0));
}

/// The prefix and lower case change the text that the tokenizer reads.
#[test]
fn the_prefix_and_lower_case_apply_before_the_tokenizer() {
    let plain = spec(&reference(), "byte-pairs.json", 32, free("T"));
    let mut changed = plain.clone();
    changed.preprocessing["prefix"] = json!("Query: ");
    changed.preprocessing["lowercase"] = json!(true);
    let ids =
        |spec: &EncoderSpec, text: &str| open(spec).unwrap().prepare(Item::Text(text)).unwrap().remove(0);
    assert_eq!(ids(&changed, "A Child RUNS"), ids(&plain, "query: a child runs"));
    assert_ne!(ids(&plain, "A Child RUNS"), ids(&plain, "a child runs"));
}

/// Without a mask nothing hides padding, so the host must not pad.
#[test]
fn texts_are_padded_only_for_a_model_with_a_mask() {
    let masked = spec(&reference(), "word-piece.json", 12, free("T"));
    let mut maskless = masked.clone();
    maskless.inputs.retain(|input| input.name != "attention_mask");
    let pads = |spec: &EncoderSpec| -> Vec<Option<f64>> {
        let inputs = open(spec).unwrap().inputs();
        inputs.iter().filter(|input| input.name != LEFT_OUT).map(|input| input.pad).collect()
    };
    assert_eq!(pads(&masked), [Some(0.0); 3]);
    assert_eq!(pads(&maskless), [None; 2]);
}

/// Of [CLS], the words and [SEP], the largest length 4 keeps two words.
#[test]
fn the_tokens_beyond_the_largest_length_are_counted() {
    let adapter = open(&spec(&reference(), "word-piece.json", 4, free("T"))).unwrap();
    let whole = open(&spec(&reference(), "word-piece.json", 64, free("T"))).unwrap();
    let place = adapter.inputs().iter().position(|input| input.name == LEFT_OUT).unwrap();
    for text in ["a", "a child", "a child runs a child runs"] {
        let length = whole.prepare(Item::Text(text)).unwrap()[0].len() as i64;
        let count = adapter.prepare(Item::Text(text)).unwrap()[place].as_i64().unwrap()[0];
        assert_eq!(count, (length - 4).max(0), "{text}");
    }
}

#[test]
fn invalid_cards_are_refused_when_the_adapter_opens() {
    let told = |spec: &EncoderSpec| open(spec).err().map(|error| error.message().to_owned()).unwrap();
    let good = spec(&reference(), "word-piece.json", 12, free("T"));

    let message = told(&EncoderSpec { preprocessing: json!({ "tokenizer": "none.json" }), ..good.clone() });
    assert!(message.contains("none.json") && message.contains("beside the card"), "{message}");

    let message = told(&EncoderSpec { preprocessing: json!({}), ..good.clone() });
    assert!(message.contains("the key `tokenizer` is missing"), "{message}");
    let message = told(&EncoderSpec { preprocessing: json!({ "max_lenght": 3 }), ..good.clone() });
    assert!(message.contains("max_lenght") && message.contains("max_length"), "{message}");

    let message = told(&spec(&reference(), "word-piece.json", 2, free("T")));
    assert!(message.contains("exceed the 2 special tokens, got 2"), "{message}");

    let mut other = good.clone();
    other.inputs.push(port("pixel_values", DType::F32, &[free("N"), DimSpec::Fixed(3)]));
    assert!(told(&other).contains("pixel_values"));

    let message = told(&EncoderSpec { ports: json!({ "tokens": "hidden" }), ..good });
    assert!(
        message.contains("hidden") && message.contains("token_embeddings, sentence_embedding"),
        "{message}"
    );
}

#[test]
fn drafts_a_card_for_text_models_only() {
    let spec = spec(&reference(), "word-piece.json", 12, free("T"));
    let signature =
        Signature { inputs: spec.inputs.clone(), outputs: spec.outputs.clone(), ..Default::default() };
    let draft = TextAdapter::draft(&signature, &reference()).unwrap().unwrap();
    assert_eq!(draft.ports, spec.ports);
    assert!(draft.reason.contains("none was found"), "{}", draft.reason);

    let picture = port("image", DType::F32, &[free("N"), DimSpec::Fixed(3), free("H"), free("W")]);
    let signature = Signature { inputs: vec![picture], ..Default::default() };
    assert!(TextAdapter::draft(&signature, &reference()).unwrap().is_none());
}
