//! `chiasm serve` through real sockets: every route, and that it gives what the other commands give.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{RandomNumbers, Sandbox, json, npy, server::Server};
use serde_json::{Value, json as object};
use std::collections::BTreeSet;

/// Vectors of items in batches of other sizes: float32 sums in another order, on unit vectors.
const TOLERANCE: f64 = 1e-5;

/// Fits the demo's encoders on a small world.
fn pictures() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.recipe();
    sandbox.fit();
    sandbox
}

fn vectors() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.fit();
    sandbox
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(entries) => entries.iter().flat_map(numbers).collect(),
        one => vec![one.as_f64().unwrap()],
    }
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect()
}

#[track_caller]
fn same(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < TOLERANCE, "they differ by {worst}");
}

/// What `chiasm run` gives for some items.
fn run(sandbox: &Sandbox, flags: &[&str]) -> Value {
    json(&sandbox.good(&[&["run", "run", "--format", "json"], flags].concat()))["outputs"].clone()
}

const TEXTS: [&str; 3] = ["a large red circle", "a drawing of a golden cross", "blue"];

fn text_flags() -> Vec<&'static str> {
    TEXTS.iter().flat_map(|text| ["--text", text]).collect()
}

#[test]
fn an_inference_gives_what_run_gives_in_json_and_in_binary() {
    let sandbox = pictures();
    let server = Server::start(&sandbox, &["run"]);
    let alone = run(&sandbox, &text_flags());
    let texts = object!({ "name": "text", "shape": [3], "datatype": "BYTES", "data": TEXTS });
    let answer = server.good("/v2/models/run/infer", &object!({ "id": "7", "inputs": [texts] }));
    assert_eq!(
        (&answer["model_name"], &answer["model_version"], &answer["id"]),
        (&object!("run"), &object!("1"), &object!("7"))
    );
    let output = &answer["outputs"][0];
    assert_eq!((&output["name"], &output["datatype"]), (&object!("text_embeds"), &object!("FP32")));
    same(&numbers(&output["data"]), &numbers(&alone["text_embeds"]));

    // A picture and a text together, as tritonclient writes them: the JSON, then the elements with their
    // lengths.
    let picture = std::fs::read(sandbox.path("world/images/3.png")).unwrap();
    let element = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let (first, second) = (element(&picture), element(TEXTS[0].as_bytes()));
    let input = |name: &str, size: usize| {
        let parameters = object!({ "binary_data_size": size });
        object!({ "name": name, "shape": [1], "datatype": "BYTES", "parameters": parameters })
    };
    let inputs = [input("image", first.len()), input("text", second.len())];
    let output =
        |name: &str, binary: bool| object!({ "name": name, "parameters": { "binary_data": binary } });
    let outputs = [output("fused_embeds", true), output("image_embeds", true), output("text_embeds", false)];
    let head = object!({ "inputs": inputs, "outputs": outputs }).to_string();
    let body = [head.as_bytes(), &first, &second].concat();
    let length = head.len().to_string();
    let fields = [("Inference-Header-Content-Length", length.as_str())];
    let answer = server.request("POST", "/v2/models/run/versions/1/infer", &fields, &body);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.field("content-type"), Some("application/octet-stream"));
    let length: usize = answer.field("inference-header-content-length").unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    let mut binary = &answer.body[length..];
    let alone = run(&sandbox, &["--image", "world/images/3.png", "--text", TEXTS[0]]);
    assert_eq!(head["outputs"].as_array().unwrap().len(), 3);
    for output in head["outputs"].as_array().unwrap() {
        let name = output["name"].as_str().unwrap();
        let got = match output["parameters"]["binary_data_size"].as_u64() {
            Some(size) => {
                let (own, rest) = binary.split_at(size as usize);
                binary = rest;
                floats(own)
            }
            None => numbers(&output["data"]),
        };
        same(&got, &numbers(&alone[name]));
    }
    assert!(binary.is_empty());
}

#[test]
fn tensors_run_through_the_merged_model() {
    let sandbox = vectors();
    let server = Server::start(&sandbox, &["named=run"]);
    let about = server.get("/v2/models/named.onnx").json();
    let inputs = about["inputs"].as_array().unwrap();
    let first = inputs.iter().find(|input| input["shape"] == object!([-1, 6])).unwrap();
    // Row 5 of the file, as `Sandbox::vectors` makes it.
    let row: Vec<f32> = (0..6).map(|column| ((5 * 37 + column * 101) % 89) as f32 / 89.0 - 0.5).collect();
    let input = object!({ "name": first["name"], "shape": [1, 6], "datatype": "FP32", "data": [row] });
    let answer = server.good("/v2/models/named.onnx/infer", &object!({ "inputs": [input] }));
    let alone = run(&sandbox, &["--a", "5"]);
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    same(&numbers(&answer["outputs"][0]["data"]), &numbers(&alone["a_embeds"]));
    let rows = object!({ "name": "a", "shape": [2], "datatype": "INT64", "data": [5, 6] });
    let answer = server.good("/v2/models/named/infer", &object!({ "inputs": [rows] }));
    let alone = run(&sandbox, &["--a", "5", "--a", "6"]);
    same(&numbers(&answer["outputs"][0]["data"]), &numbers(&alone["a_embeds"]));
}

#[test]
fn models_are_described() {
    let sandbox = pictures();
    let server = Server::start(&sandbox, &["run"]);
    for path in ["/health", "/v2/health/live", "/v2/health/ready", "/v2/models/run/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.get("/v2/models/run.onnx/versions/1/ready").json()["ready"], true);
    let about = server.get("/v2/models/run").json();
    assert_eq!(about, server.get("/v2/models/run/versions/1").json());
    let inputs: Vec<&Value> =
        about["inputs"].as_array().unwrap().iter().map(|input| &input["name"]).collect();
    assert_eq!(inputs, ["image", "text"]);
    let ids: Vec<Value> =
        server.get("/v1/models").json()["data"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
    assert_eq!(ids, ["run", "run:image", "run:text"]);
    assert!(
        server.get("/v2").json()["extensions"].as_array().unwrap().contains(&object!("binary_tensor_data"))
    );
    assert_eq!(server.get("/openapi.json").json()["openapi"], "3.1.0");
    let page = server.get("/");
    assert!(page.field("content-type").unwrap().starts_with("text/html"));
    assert!(page.field("content-security-policy").unwrap().starts_with("default-src 'none'"));
}

#[test]
fn embeddings_have_the_form_of_openai() {
    let sandbox = pictures();
    let server = Server::start(&sandbox, &["run"]);
    let alone = run(&sandbox, &text_flags());
    let whole =
        server.good("/v1/embeddings", &object!({ "model": "run", "input": TEXTS, "user": "someone" }));
    assert_eq!((&whole["object"], &whole["model"]), (&object!("list"), &object!("run")));
    let vectors = |answer: &Value| -> Vec<Value> {
        let data = answer["data"].as_array().unwrap();
        assert!(data.iter().enumerate().all(|(at, one)| one["index"] == at && one["object"] == "embedding"));
        data.iter().map(|one| one["embedding"].clone()).collect()
    };
    same(&vectors(&whole).iter().flat_map(numbers).collect::<Vec<_>>(), &numbers(&alone["text_embeds"]));
    // The openai package asks for base64.
    let request = object!({ "model": "run:text", "input": TEXTS[1], "encoding_format": "base64" });
    let encoded = vectors(&server.good("/v1/embeddings", &request));
    let bytes = STANDARD.decode(encoded[0].as_str().unwrap()).unwrap();
    same(&floats(&bytes), &numbers(&alone["text_embeds"][1]));
    let short =
        server.good("/v1/embeddings", &object!({ "model": "run", "input": TEXTS[0], "dimensions": 4 }));
    let kept = &numbers(&alone["text_embeds"][0])[..4];
    let length = kept.iter().map(|value| value * value).sum::<f64>().sqrt();
    let expected: Vec<f64> = kept.iter().map(|value| value / length).collect();
    same(&numbers(&vectors(&short)[0]), &expected);
    let picture = STANDARD.encode(std::fs::read(sandbox.path("world/images/3.png")).unwrap());
    let url = format!("data:image/png;base64,{picture}");
    let answer = server.good("/v1/embeddings", &object!({ "model": "run:image", "input": [picture, url] }));
    let alone = run(&sandbox, &["--image", "world/images/3.png", "--image", "world/images/3.png"]);
    same(&vectors(&answer).iter().flat_map(numbers).collect::<Vec<_>>(), &numbers(&alone["image_embeds"]));
}

#[test]
fn a_search_finds_what_the_command_finds() {
    let sandbox = pictures();
    let server = Server::start(&sandbox, &["run"]);
    let found = json(&sandbox.good(&["search", "run", "--text", TEXTS[0], "--top", "7", "--format", "json"]));
    let expected: Vec<(String, f64)> = (found.as_array().unwrap().iter())
        .map(|hit| (hit["row"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap()))
        .collect();
    let check = |answer: &Value| {
        let hits = answer["hits"].as_array().unwrap();
        assert_eq!(hits.len(), expected.len());
        for (hit, (row, score)) in hits.iter().zip(&expected) {
            assert_eq!((hit["id"].as_str().unwrap(), &hit["modality"]), (row.as_str(), &object!("image")));
            assert!((hit["score"].as_f64().unwrap() - score).abs() < TOLERANCE);
        }
        hits.clone()
    };
    let hits = check(&server.good("/search", &object!({ "query": { "text": TEXTS[0] }, "top": 7 })));
    // The item itself, by its address.
    let row = expected[0].0.trim_start_matches('s');
    let item = server.get(hits[0]["url"].as_str().unwrap());
    assert_eq!(item.field("content-type"), Some("image/png"));
    assert!(item.body == std::fs::read(sandbox.path(&format!("world/images/{row}.png"))).unwrap());
    // As a form.
    let part = |name: &str, value: &str| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = [part("model", "run"), part("in", "image"), part("top", "7"), part("text", TEXTS[0])].concat();
    let kind = [("Content-Type", "multipart/form-data; boundary=xyz")];
    let answer = server.request("POST", "/search", &kind, (form + "--xyz--\r\n").as_bytes());
    check(&answer.json());
    // As a vector.
    let vector = &run(&sandbox, &["--text", TEXTS[0]])["text_embeds"][0];
    check(&server.good("/search", &object!({ "query": { "vector": vector }, "in": "image", "top": 7 })));
    // A picture finds itself.
    let picture = STANDARD.encode(std::fs::read(sandbox.path("world/images/5.png")).unwrap());
    let query = object!({ "query": { "image": picture }, "in": "image", "top": 1 });
    assert_eq!(server.good("/search", &query)["hits"][0]["id"], "s5");
    // A query of two modalities has the mean of their scores.
    let both = object!({ "query": { "image": picture, "text": TEXTS[0] }, "in": "image", "top": 12 });
    let scores = |query: &Value| -> std::collections::BTreeMap<String, f64> {
        let answer = server.good("/search", query);
        let score = |hit: &Value| (hit["id"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap());
        answer["hits"].as_array().unwrap().iter().map(score).collect()
    };
    let one = scores(&object!({ "query": { "image": picture }, "in": "image", "top": 12 }));
    let other = scores(&object!({ "query": { "text": TEXTS[0] }, "in": "image", "top": 12 }));
    for (id, score) in scores(&both) {
        assert!((score - (one[&id] + other[&id]) / 2.0).abs() < TOLERANCE, "{id}");
    }
}

#[test]
fn a_file_of_vectors_can_be_searched_instead_of_the_test_items() {
    let sandbox = vectors();
    let rows: String = (0..40).map(|row| format!("{{\"id\": \"b{row}\", \"b\": {row}}}\n")).collect();
    sandbox.write("rows.jsonl", rows);
    sandbox.good(&["run", "run", "--input", "rows.jsonl", "-o", "index.parquet"]);
    let server = Server::start(&sandbox, &["run", "--index", "index.parquet"]);
    let hits = server.good("/search", &object!({ "query": { "a": 7 }, "top": 40 }))["hits"].clone();
    let outputs = run(&sandbox, &["--a", "7"]);
    let query = numbers(&outputs["a_embeds"]);
    let flags: Vec<String> = (0..40).flat_map(|row| ["--b".to_owned(), row.to_string()]).collect();
    let all = run(&sandbox, &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let mut scores: Vec<(usize, f64)> = (0..40)
        .map(|row| {
            let own = numbers(&all["b_embeds"][row]);
            (row, own.iter().zip(&query).map(|(a, b)| a * b).sum())
        })
        .collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (hit, (_, score)) in hits.as_array().unwrap().iter().zip(&scores) {
        assert!((hit["score"].as_f64().unwrap() - score).abs() < TOLERANCE);
        assert!(hit["id"].as_str().unwrap().starts_with('b') && hit["url"].is_null());
    }
}

/// After some requests of one item, one after the other, the thread that reads a request also runs it.
#[test]
fn requests_one_after_the_other_are_answered_as_any_others() {
    let sandbox = vectors();
    let server = Server::start(&sandbox, &["run"]);
    let ask = |row: usize| {
        let input = object!({ "name": "a", "shape": [1], "datatype": "INT64", "data": [row] });
        server.post("/v2/models/run/infer", &object!({ "inputs": [input] }))
    };
    let flags: Vec<String> = (0..40).flat_map(|row| ["--a".to_owned(), row.to_string()]).collect();
    let expected = run(&sandbox, &flags.iter().map(String::as_str).collect::<Vec<_>>());
    for row in 0..40 {
        let answer = ask(row);
        assert_eq!(answer.status, 200, "row {row}");
        same(&numbers(&answer.json()["outputs"][0]["data"]), &numbers(&expected["a_embeds"][row]));
        if row % 10 == 9 {
            assert_eq!(ask(1_000_000).status, 400, "there is no such row");
        }
    }
    assert_eq!(server.metric("chiasm_batch_items_count{model=\"run\"}"), 44.0);
}

/// From 10,000 items on, the server multiplies in full only the vectors that 8-bit copies say may be among
/// the best. The reference multiplies all of them in double precision.
#[test]
fn a_search_among_many_vectors_finds_what_multiplying_all_of_them_finds() {
    let sandbox = vectors();
    let width = numbers(&run(&sandbox, &["--a", "7"])["a_embeds"]).len();
    let mut random = RandomNumbers(3);
    let rows: Vec<Vec<f32>> = (0..12_000)
        .map(|_| {
            let row: Vec<f32> = (0..width).map(|_| random.next()).collect();
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.iter().map(|value| value / norm).collect()
        })
        .collect();
    sandbox.write("many.npy", npy(rows.len(), width, &rows.concat()));
    let server = Server::start(&sandbox, &["run", "--index", "many.npy"]);
    for query in [0, 4711, 11_999] {
        let score = |row: &[f32]| {
            row.iter().zip(&rows[query]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let mut expected: Vec<(usize, f64)> =
            rows.iter().enumerate().map(|(at, row)| (at, score(row))).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let body = object!({ "query": { "vector": rows[query] }, "in": "vectors", "top": 100 });
        let hits = server.good("/search", &body)["hits"].clone();
        let hits = hits.as_array().unwrap();
        assert_eq!(hits.len(), 100);
        for (place, hit) in hits.iter().enumerate() {
            let (item, given) = (hit["index"].as_u64().unwrap() as usize, hit["score"].as_f64().unwrap());
            // A sum of a few products in single precision is off by less than 1e-6; items whose scores are
            // nearer than that may change places.
            assert!((given - expected[place].1).abs() < 1e-6, "{query}, place {place}: {hit}");
            assert!((given - score(&rows[item])).abs() < 1e-6, "{query}, place {place}: {hit}");
        }
        let found: BTreeSet<u64> = hits.iter().map(|hit| hit["index"].as_u64().unwrap()).collect();
        assert_eq!(found.len(), 100, "an item twice");
    }
}

#[test]
fn a_key_is_needed_everywhere_but_for_health_and_the_page() {
    let sandbox = vectors();
    sandbox.write("key", "s3cret\n");
    let server = Server::start(&sandbox, &["run", "--api-key-file", "key"]);
    for path in ["/", "/health", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for key in ["", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"] {
        for path in ["/v1/models", "/metrics", "/v2/models/run", "/none"] {
            let answer = server.request("GET", path, &[("Authorization", key)], b"");
            assert_eq!(answer.status, 401, "{path} {key:?}");
            assert_eq!(answer.field("www-authenticate"), Some("bearer"));
        }
    }
    let key = [("Authorization", "Bearer s3cret")];
    assert_eq!(server.request("GET", "/v1/models", &key, b"").status, 200);
    sandbox.write("empty", " \n");
    sandbox.call(&["serve", "run", "--api-key-file", "empty"]).refused("an empty key", &["holds no key"]);
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let sandbox = vectors();
    let refused = |arguments: &[&str], words: &[&str]| {
        sandbox.call(&[&["serve"], arguments].concat()).refused(arguments, words);
    };
    refused(&["none"], &["none"]);
    refused(&["a/b=run"], &["cannot be the name of a model"]);
    refused(&["run", "run"], &["two runs are called \"run\""]);
    refused(&["run", "--index", "other=a.npy"], &["there is no run \"other\""]);
    refused(&["run", "--index", "recipe.toml"], &["recipe.toml"]);
    refused(&["run", "--max-batch", "0"], &["limits above 0"]);
    refused(&["run", "--timeout=-1"], &["--timeout: -1 is no duration"]);
}
