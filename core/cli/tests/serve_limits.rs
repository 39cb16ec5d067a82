//! `chiasm serve` at its limits: wrong requests, too many of them, signals, and runs that change.

mod common;

use common::{
    Sandbox, json,
    server::{Server, read_answer},
};
use rustix::process::Signal;
use serde_json::{Value, json as object};
use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

fn fitted(sandbox: Sandbox) -> Sandbox {
    sandbox.fit();
    sandbox
}

fn pictures() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.recipe();
    fitted(sandbox)
}

fn vectors() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    fitted(sandbox)
}

fn infer(input: Value) -> Value {
    object!({ "inputs": [input] })
}

/// Many texts, of which each takes a while.
fn texts(count: usize) -> Value {
    let text = |at: usize| format!("{at} {}", "a large red circle beside a small golden cross ".repeat(5));
    object!({ "model": "run", "input": (0..count).map(text).collect::<Vec<_>>() })
}

/// The start of a request, without the size of its body.
const HEAD: &str = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

/// Requests that are wrong, one in each line: path, body, and the status and some words of the answer.
const WRONG: &str = include_str!("wrong_requests.jsonl");

#[test]
fn wrong_requests_are_answered_with_their_status_and_a_reason() {
    let sandbox = pictures();
    let server = Server::start(&sandbox, &["run", "--max-body", "0.25"]);
    for line in WRONG.lines() {
        let case = json(line);
        let path = case["path"].as_str().unwrap();
        let answer = server.post(path, &case["body"]);
        let shown: String = line.chars().take(160).collect();
        assert_eq!(case["status"], answer.status, "{shown}: {}", String::from_utf8_lossy(&answer.body));
        let error = &answer.json()["error"];
        let message = if path.starts_with("/v1/") { &error["message"] } else { error };
        let message = message.as_str().unwrap();
        assert!(message.contains(case["words"].as_str().unwrap()), "{shown}: {message}");
        assert!(!message.contains("chiasm-serve-"), "a file of the server: {message}");
    }
    let large = object!({ "model": "run", "input": "a".repeat(300_000) });
    assert_eq!(server.post("/v1/embeddings", &large).status, 413);
    // A wrong item does not affect what comes after it.
    let request = infer(object!({ "name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"] }));
    assert_eq!(server.post("/v2/models/run/infer", &request).status, 200);
    assert_eq!(server.metric("chiasm_requests_total{route=\"none\",status=\"404\"}"), 1.0);
}

#[test]
fn bodies_and_routes_of_another_form_are_refused() {
    let sandbox = vectors();
    let server = Server::start(&sandbox, &["run"]);
    let post = |path, field, body: &[u8]| server.request("POST", path, &[field], body).status;
    for path in ["/v1/embeddings", "/search", "/v2/models/run/infer"] {
        assert_eq!(post(path, ("Content-Type", "text/plain"), b"{}"), 415, "{path}");
        assert_eq!(post(path, ("Content-Type", "application/json"), b"{\"model\": "), 400, "{path}");
    }
    for (length, body) in [("9999", "{}"), ("x", "{}"), ("0", "{\"inputs\": []}")] {
        let field = ("Inference-Header-Content-Length", length);
        assert_eq!(post("/v2/models/run/infer", field, body.as_bytes()), 400, "{length}");
    }
    let form = ("Content-Type", "multipart/form-data; boundary=x");
    assert_eq!(post("/search", form, b"--x\r\nbroken"), 400);
    assert_eq!(server.get("/v1/embeddings").status, 405);
    for item in ["a/99999", "a/-1", "none/0", "a/..%2f..%2fx"] {
        assert_eq!(server.get(&format!("/items/run/{item}")).status, 404, "{item}");
    }
}

#[test]
fn requests_that_come_together_are_run_together() {
    let sandbox = vectors();
    let limits = ["run", "--max-delay-ms", "500", "--max-batch", "8", "--workers", "1"];
    let server = Server::start(&sandbox, &limits);
    let ask = |rows: &[usize]| {
        let input = object!({ "name": "a", "shape": [rows.len()], "datatype": "INT64", "data": rows });
        let answer = server.good("/v2/models/run/infer", &infer(input));
        serde_json::from_value::<Vec<f64>>(answer["outputs"][0]["data"].clone()).unwrap()
    };
    let alone: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let ask = &ask;
        let asked: Vec<_> = (0..8).map(|row| scope.spawn(move || ask(&[row]))).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let together = ask(&[0, 1, 2, 3, 4, 5, 6, 7]);
    for (got, expected) in alone.concat().iter().zip(&together) {
        assert!((got - expected).abs() < 1e-6, "sums in another order");
    }
    // Eight requests of one item, and one of a whole batch.
    let batches = server.metric("chiasm_batch_items_count{model=\"run\"}");
    assert!(batches < 9.0, "{batches} batches for 9 requests");
    assert_eq!(server.metric("chiasm_batch_items_sum{model=\"run\"}"), 16.0);
}

#[test]
fn a_full_queue_is_answered_with_429_and_memory_stays_bounded() {
    let sandbox = pictures();
    let server = Server::start(
        &sandbox,
        &["run", "--max-queue", "96", "--workers", "1", "--max-body", "4", "--max-bodies", "8"],
    );
    let before = server.peak_memory();
    let body = texts(48).to_string();
    let statuses = |requests: usize, body: &[u8]| -> BTreeMap<u16, usize> {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let send =
                || server.request("POST", "/v1/embeddings", &[("Content-Type", "application/json")], body);
            let sent: Vec<_> = (0..requests).map(|_| scope.spawn(send)).collect();
            sent.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut counts = BTreeMap::new();
        for answer in answers {
            if answer.status == 429 {
                assert_eq!(answer.field("retry-after"), Some("1"));
                assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
            }
            *counts.entry(answer.status).or_default() += 1;
        }
        counts
    };
    let counts = statuses(40, body.as_bytes());
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [200, 429], "{counts:?}");
    // 40 bodies of 3 MiB would be 120 MiB; two fit.
    let large = object!({ "model": "run", "input": "a ".repeat(3 << 19) }).to_string();
    let counts = statuses(40, large.as_bytes());
    assert!(counts.keys().all(|status| [200, 429].contains(status)), "{counts:?}");
    let grown = server.peak_memory() - before;
    assert!(grown < 200, "the memory grew by {grown} MiB");
    // Afterwards the server is as before.
    assert_eq!(server.post("/v1/embeddings", &texts(1)).status, 200);
    assert_eq!(server.metric("chiasm_queue_items{model=\"run\"}"), 0.0);
}

#[test]
fn a_body_that_does_not_arrive_is_answered_with_408() {
    let sandbox = vectors();
    let server = Server::start(&sandbox, &["run", "--timeout", "0.5"]);
    let mut stream = server.connect();
    stream.write_all(format!("{HEAD}Content-Length: 10\r\n\r\n{{").as_bytes()).unwrap();
    let started = Instant::now();
    let answer = read_answer(&mut stream);
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    // A body in chunks that exceeds the limit is refused too.
    let server = Server::start(&sandbox, &["run", "--max-body", "0.001"]);
    let mut stream = server.connect();
    stream.write_all(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    stream.write_all(format!("800\r\n{}\r\n0\r\n\r\n", "a".repeat(0x800)).as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 413);
    // Two bytes of JSON for a value become many when it is parsed.
    let server = Server::start(&sandbox, &["run", "--max-body", "1", "--max-bodies", "1"]);
    let body = object!({ "model": "run", "input": vec![0; 100_000] });
    let answer = server.post("/v1/embeddings", &body);
    let words = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        answer.status == 413 && words.contains("and at most 10922 are read"),
        "{} {words}",
        answer.status
    );
}

/// A signal ends the server after the requests that it has accepted, and not before.
#[test]
fn a_signal_lets_accepted_requests_be_answered() {
    let sandbox = pictures();
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&sandbox, &["run", "--drain", "60"]);
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| server.post("/v1/embeddings", &texts(2000)));
            let started = Instant::now();
            while server.metric("chiasm_batch_items_count{model=\"run\"}") == 0.0 {
                assert!(started.elapsed() < Duration::from_secs(60));
            }
            server.signal(signal);
            asked.join().unwrap()
        });
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()["data"].as_array().unwrap().len(), 2000);
        let ended = server.ended();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}

#[test]
fn a_drain_ends_after_its_time() {
    let sandbox = vectors();
    let server = Server::start(&sandbox, &["run", "--drain", "0.2"]);
    // A request whose body never ends.
    let mut stream = server.connect();
    stream.write_all(b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    server.signal(Signal::TERM);
    let started = Instant::now();
    assert_eq!(server.ended().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    drop::<TcpStream>(stream);
}

/// Another fit replaces the run while requests are sent: each is answered, by the older or the newer run.
#[test]
fn a_run_that_changes_is_loaded_again_and_no_request_fails() {
    let sandbox = vectors();
    let server = Server::start(&sandbox, &["run"]);
    let request = infer(object!({ "name": "a", "shape": [1], "datatype": "INT64", "data": [5] }));
    let ask = || server.post("/v2/models/run/infer", &request);
    let older = ask().json()["outputs"][0]["data"].clone();
    let (ended, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    if ask().status != 200 {
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        let fit = ["fit", "recipe.toml", "-o", "run", "--force", "--set", "align.plugin=mean-vector"];
        let fitted = sandbox.call(&fit);
        let started = Instant::now();
        while server.metric("chiasm_loads_total{model=\"run\",result=\"loaded\"}") < 2.0 {
            assert!(started.elapsed() < Duration::from_secs(60), "not loaded again: {}", fitted.stderr);
            std::thread::sleep(Duration::from_millis(50));
        }
        // As often as asked to, too.
        server.signal(Signal::HUP);
        while server.metric("chiasm_loads_total{model=\"run\",result=\"loaded\"}") < 3.0 {
            assert!(started.elapsed() < Duration::from_secs(60), "SIGHUP loads nothing");
            std::thread::sleep(Duration::from_millis(50));
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(!failed.load(Ordering::Relaxed), "a request failed");
    let newer = ask().json()["outputs"][0]["data"].clone();
    assert_ne!(newer, older);
    let alone = json(&sandbox.good(&["run", "run", "--a", "5", "--format", "json"]));
    let numbers = |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
    for (got, expected) in numbers(&newer).iter().zip(numbers(&alone["outputs"]["a_embeds"][0])) {
        assert!((got - expected).abs() < 1e-6);
    }
    // A run that is damaged does not replace the one that is served.
    std::fs::write(sandbox.path("run/manifest.json"), "{}").unwrap();
    let started = Instant::now();
    while !String::from_utf8_lossy(&server.get("/metrics").body).contains("result=\"failed\"") {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask().status, 200);
}
