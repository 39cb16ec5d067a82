//! Exports that take texts: operators of onnxruntime-extensions tokenize as the adapter does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Tensor};
use common::{RandomNumbers, Sandbox, json, peers, project};
use serde_json::{Value, json as object};
use sha2::Digest;
use std::process::Command;

/// Texts with accents, scripts without spaces, decomposed letters, punctuation, white space, characters that
/// are dropped, special tokens, words that are unknown in part, and none.
const TEXTS: [&str; 20] = [
    "a small red circle",
    "",
    "   ",
    "Na\u{ef}ve caf\u{e9} \u{c0}\u{c9}\u{ce}, e\u{301}clair",
    "\u{4e2d}\u{6587}mixed\u{4e2d}with words\u{56fd}",
    "\u{d55c} \u{d55c}a",
    "hello, world! don't (stop) a\u{2014}b \u{201c}q\u{201d} $5",
    "a\tb\nc\u{a0}d\u{3000}e\u{2028}f",
    "soft\u{ad}hyphen zero\u{200b}width \u{1}control \u{e000}\u{f8ff}private \u{fffd}",
    "[MASK] is [SEP]arated [CLS] and [UNK]nown, [mask]",
    "smallx\u{e01} x\u{e01}small \u{e01}",
    "\u{130}stanbul \u{391}\u{3a3} \u{3a9}",
    "\u{df} \u{1e9e} \u{fb01}",
    "\u{ff41}\u{ff42} \u{1d538}",
    "\u{1f600} \u{1f1e9}\u{1f1ea}",
    "\u{e2a}\u{e27}\u{e31}\u{e2a}\u{e14}\u{e35}",
    "1/2 \u{2260} x^2 ~ `code` <tag> a|b #5 @me",
    "redcirclesingsmalls",
    "REDCIRCLE Red CIRCLE",
    "[unused0] \u{f900} x\u{323}\u{307}",
];

/// The vocabulary: letters and some signs, alone and inside of words, and a few words.
fn vocabulary() -> serde_json::Map<String, Value> {
    let mut pieces: Vec<String> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"].map(str::to_owned).to_vec();
    for letter in ('a'..='z').chain('0'..='9').chain("\u{1112}\u{1161}\u{11ab}\u{3c9}".chars()) {
        pieces.extend([letter.to_string(), format!("##{letter}")]);
    }
    for own in "\u{4e2d}\u{6587},.!?'()-/^~`<>|#@$\u{2014}\u{201c}\u{201d}[]".chars() {
        pieces.push(own.to_string());
    }
    pieces.extend(["small", "red", "circle", "##circle", "##s", "##ing", "hello"].map(str::to_owned));
    let mut vocabulary = serde_json::Map::new();
    for piece in pieces {
        let number = vocabulary.len();
        vocabulary.entry(piece).or_insert(number.into());
    }
    vocabulary
}

/// The content of `tokenizer.json`.
fn tokenizer() -> Value {
    let special =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter().enumerate().map(|(id, token)| {
            object!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                  "normalized": false, "special": true })
        });
    let token = |name: &str| object!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let sequence = |name: &str, kind: u8| object!({ "Sequence": { "id": name, "type_id": kind } });
    object!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), sequence("A", 0), token("[SEP]")],
            "pair": [token("[CLS]"), sequence("A", 0), token("[SEP]"), sequence("B", 1)],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocabulary() },
    })
}

/// Adds a card of a model that sums vectors of tokens, with a WordPiece tokenizer, and fits a run with it.
fn card(sandbox: &Sandbox, change: &dyn Fn(&mut Value), keys: &str) {
    let count = vocabulary().len();
    let mut tokenizer = tokenizer();
    change(&mut tokenizer);
    sandbox.write("cards/pieces/tokenizer.json", tokenizer.to_string());
    let mut b = Builder::new("text");
    let tokens = [Dim::named("batch"), Dim::named("tokens")];
    let ids = b.input("input_ids", DType::I64, &tokens).unwrap();
    let mask = b.input("attention_mask", DType::I32, &tokens).unwrap();
    let mut random = RandomNumbers(9);
    let values = (0..8 * count).map(|_| 0.3 * random.next()).collect();
    let table = b.constant("table", Tensor::f32(&[count, 8], values).unwrap());
    let rows = b.gather(&table, &ids, 0);
    let mask = b.cast(&mask, DType::F32);
    let mask = b.unsqueeze(&mask, &[2]);
    let y = b.mul(&rows, &mask);
    let y = b.reduce_sum(&y, &[1], false);
    b.output("embedding", &y, DType::F32, &[Dim::named("batch"), 8.into()]);
    let model = sandbox.path("cards/pieces/model.onnx");
    b.finish().unwrap().save(&model).unwrap();
    let digest: String = sha2::Sha256::digest(std::fs::read(model).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let card = format!(
        "name = \"pieces\"\nadapter = \"text\"\nmodel = \"model.onnx\"\nsha256 = \"{digest}\"\nlicence = \
         \"MIT\"\nsource = \"here\"\n[ports]\npooled = \"embedding\"\n[preprocessing]\ntokenizer = \
         \"tokenizer.json\"\nmax_length = 12\n{keys}"
    );
    sandbox.write("cards/pieces/card.toml", card);
    let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
    sandbox.write("recipe.toml", recipe.replace("demo-text", "pieces"));
    let fit = ["fit", "recipe.toml", "-o", "run", "--models", "cards", "--allow-unknown", "--force"];
    sandbox.good(&fit);
}

/// The token numbers are those of the tokenizers package, and the vectors those of the adapter.
#[test]
fn a_model_that_takes_texts_gives_the_vectors_of_the_run() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    card(&sandbox, &|_| {}, "prefix = \"Caf\\u00e9: \"\n");
    let arguments = ["export", "run", "--with-preprocessing", "-o", "out", "--format", "json"];
    let exported = json(&sandbox.good(&arguments));
    assert!(exported.get("left_out").is_none(), "{exported}");
    let inputs = |at: usize| exported["modalities"][at]["encoders"][0]["inputs"].clone();
    assert_eq!(inputs(0), object!({ "pixel_values": "image_picture" }));
    assert_eq!(inputs(1), object!({ "attention_mask": "text_text", "input_ids": "text_text" }));
    let shown = sandbox.good(&["inspect", "out/model.onnx"]);
    assert!(shown.contains("text_text str[1]") && shown.contains("ai.onnx.contrib.BertTokenizer"), "{shown}");
    let picture = sandbox.path("world/images/0.png").display().to_string();
    let long = "a small red circle and more, ".repeat(30);
    let words = format!("{} {} {}", "a".repeat(100), "a".repeat(101), "b".repeat(99));
    // The token numbers of all texts are compared below.
    for text in [TEXTS[1], TEXTS[3], TEXTS[4], TEXTS[9], long.as_str()] {
        let output = sandbox.good(&["run", "run", "--image", &picture, "--text", text, "--format", "json"]);
        let read = sandbox.card_in_python("out", &output, &[&picture, text]);
        let differences = read["differences"].as_object().unwrap();
        assert_eq!(differences.keys().collect::<Vec<_>>(), ["fused_embeds", "image_embeds", "text_embeds"]);
        for (name, difference) in differences {
            // f32 in two builds of ONNX Runtime; the picture has the size of the model.
            assert!(difference.as_f64().unwrap() < 1e-4, "{text:?}: {name} differs by {difference}");
        }
    }
    let all: Vec<&str> = TEXTS.into_iter().chain([long.as_str(), words.as_str()]).collect();
    sandbox.write("texts.json", object!(all).to_string());
    let script = project().join("core/cli/tests/peer/token_numbers.py");
    let arguments = ["out/model.onnx", "cards/pieces/tokenizer.json", "texts.json", "Caf\u{e9}: ", "12"];
    let mut command = Command::new(peers());
    let peer = command.current_dir(sandbox.path("")).arg(script).args(arguments).output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let found = json(&String::from_utf8_lossy(&peer.stdout));
    assert_eq!(found["texts"], all.len() + 500, "{found}");
    assert_eq!(found["different"], object!([]), "{found}");
    // Pictures alone need no further operators; each modality has its own model.
    sandbox.good(&["export", "run", "--with-preprocessing=image", "-o", "pictures"]);
    assert!(!sandbox.good(&["inspect", "pictures/model.onnx"]).contains("contrib"));
    sandbox.good(&["export", "run", "--with-preprocessing=text", "--layout", "towers", "-o", "towers"]);
    assert!(sandbox.good(&["inspect", "towers/text.onnx"]).contains("text_text str[1]"));
    assert!(!sandbox.good(&["inspect", "towers/image.onnx"]).contains("picture"));
    // Adapters give a model numbers, so it is no encoder.
    let add = sandbox.call(&["model", "add", "towers/text.onnx", "--name", "again", "--into", "cards"]);
    add.refused("an encoder", &["port `text_text` is text", "export the model without its tokenizer"]);
}

/// Tables and tokenizers that the operators cannot say are refused with the key, or left out beside pictures.
#[test]
fn texts_that_cannot_be_prepared_by_operators_are_named() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    let text = ["export", "run", "--with-preprocessing=text", "-o", "other"];
    let words = "encoders.text: tokenizer.json has `model.type = \"WordLevel\"`";
    sandbox.call(&text).refused("WordLevel", &[words, "leave --with-preprocessing out"]);
    let beside = sandbox.good(&["export", "run", "--with-preprocessing", "-o", "beside"]);
    assert!(beside.contains("text: the model takes tokens: tokenizer.json has `model.type"), "{beside}");
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 6] = [
        ("lowercase = true\n", |_| {}, "`lowercase = true` of its card"),
        (
            "",
            |file| file["model"]["max_input_chars_per_word"] = 50.into(),
            "`model.max_input_chars_per_word = 50`",
        ),
        ("", |file| file["normalizer"]["clean_text"] = false.into(), "`normalizer.clean_text = false`"),
        (
            "",
            |file| file["added_tokens"][4]["lstrip"] = true.into(),
            "`lstrip = true` for the added token \"[MASK]\"",
        ),
        (
            "",
            |file| drop(file["post_processor"]["single"].as_array_mut().unwrap().pop()),
            "`post_processor.type",
        ),
        (
            "",
            |file| {
                let count = file["model"]["vocab"].as_object().unwrap().len();
                file["model"]["vocab"]["a\u{153}"] = count.into();
            },
            "does not have '\u{153}' as a piece of its own",
        ),
    ];
    for (keys, change, words) in cases {
        let sandbox = Sandbox::new();
        sandbox.world(40);
        card(&sandbox, &change, keys);
        sandbox.call(&text).refused(words, &["encoders.text: ", words]);
        assert!(!sandbox.path("other").exists());
    }
    let bare = Sandbox::new();
    bare.vectors([40, 40]);
    bare.good(&["fit", "recipe.toml", "-o", "run"]);
    let refused = bare.call(&["export", "run", "--with-preprocessing", "-o", "other"]);
    refused.refused("vectors", &["no encoder of the run reads pictures or texts"]);
}
