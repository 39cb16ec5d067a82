//! `chiasm serve` over HTTPS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/certificate.rs"]
mod certificate;
mod common;

use certificate::Certificate;
use common::{
    Sandbox,
    server::{Answer, Server, read_answer},
};
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    fs::write,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

const SERVE: [&str; 5] = ["run", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];

fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.fit();
    sandbox
}

fn keep(sandbox: &Sandbox, certificate: &Certificate) {
    write(sandbox.path("cert.pem"), certificate.pem()).unwrap();
    write(sandbox.path("key.pem"), certificate.key_pem()).unwrap();
}

/// Sends a request through TLS, as a client that trusts this certificate only.
fn ask(stream: TcpStream, trusted: &Certificate, request: &str) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(trusted.der.clone())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request.as_bytes())?;
    Ok(read_answer(&mut stream))
}

/// A request for the outputs of row 5.
fn infer() -> String {
    let body = r#"{"inputs": [{"name": "a", "shape": [1], "datatype": "INT64", "data": [5]}]}"#;
    format!(
        "POST /v2/models/run/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_client_that_trusts_the_certificate_gets_the_answer_of_plain_http() {
    let sandbox = fitted();
    let certificate = Certificate::new();
    keep(&sandbox, &certificate);
    let plain = Server::start(&sandbox, &["run"]);
    let mut stream = plain.connect();
    stream.write_all(infer().as_bytes()).unwrap();
    let expected = read_answer(&mut stream).json()["outputs"].clone();
    let server = Server::start(&sandbox, &SERVE);
    assert_eq!(server.scheme(), "https");
    let answer = ask(server.connect(), &certificate, &infer()).unwrap();
    assert_eq!((answer.status, &answer.json()["outputs"]), (200, &expected));
    // The limits hold as well.
    let large = infer().replace("Content-Length: ", "Content-Length: 99999999");
    assert_eq!(ask(server.connect(), &certificate, &large).unwrap().status, 413);
    // A client that trusts another certificate sends nothing.
    assert!(ask(server.connect(), &Certificate::new(), &infer()).is_err());
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

/// Neither plain text, nor a client that says nothing, stops others; and neither delays the end.
#[test]
fn bad_handshakes_are_closed_and_others_are_answered() {
    let sandbox = fitted();
    let certificate = Certificate::new();
    keep(&sandbox, &certificate);
    let server = Server::start(&sandbox, &[&SERVE[..], &["--timeout", "1.5", "--drain", "60"]].concat());
    let mut silent: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    // The start of a handshake, which never goes on.
    silent[0].write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let mut plain = server.connect();
    plain.write_all(infer().as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes); // an alert of TLS, or a reset
    assert!(!bytes.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&bytes));
    let started = Instant::now();
    assert_eq!(ask(server.connect(), &certificate, &infer()).unwrap().status, 200);
    assert!(started.elapsed() < Duration::from_secs(20), "it waited for others");
    for stream in &mut silent {
        let _ = stream.read_to_end(&mut bytes); // ends when the server closes the connection
    }
    assert!(started.elapsed() < Duration::from_secs(40), "stalled handshakes stay open");
    assert_eq!(ask(server.connect(), &certificate, &infer()).unwrap().status, 200);
    let _silent = server.connect();
    let started = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(30), "a handshake delays the end");
}

#[test]
fn a_newer_certificate_is_read_at_sighup_and_a_damaged_one_is_not_taken() {
    let sandbox = fitted();
    let (older, newer) = (Certificate::new(), Certificate::new());
    keep(&sandbox, &older);
    let server = Server::start(&sandbox, &SERVE);
    let status = |trusted| ask(server.connect(), trusted, &infer()).map(|answer| answer.status).ok();
    assert_eq!([status(&older), status(&newer)], [Some(200), None]);
    // The key of another certificate: the older one stays.
    write(sandbox.path("cert.pem"), newer.pem()).unwrap();
    server.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!([status(&older), status(&newer)], [Some(200), None]);
    keep(&sandbox, &newer);
    server.signal(Signal::HUP);
    let started = Instant::now();
    while status(&newer).is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "SIGHUP reads no certificate");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(status(&older), None);
}

/// All of this is found before a run is loaded: there is none here.
#[test]
fn files_that_cannot_be_used_are_refused_by_name_before_a_run_is_loaded() {
    let sandbox = Sandbox::new();
    let (own, other) = (Certificate::new(), Certificate::new());
    keep(&sandbox, &own);
    write(sandbox.path("other.pem"), other.key_pem()).unwrap();
    write(sandbox.path("empty.pem"), "").unwrap();
    write(sandbox.path("text.pem"), "no PEM\n").unwrap();
    write(sandbox.path("damaged.pem"), own.pem().replace("MI", "!!")).unwrap();
    write(sandbox.path("not.pem"), own.pem().replace("MI", "AB")).unwrap();
    for (arguments, words) in [
        (&["--tls-cert", "cert.pem"][..], "--tls-cert is given without --tls-key"),
        (&["--tls-key", "key.pem"], "--tls-key is given without --tls-cert"),
        (&["--tls-cert", "none.pem", "--tls-key", "key.pem"], "none.pem"),
        (&["--tls-cert", "cert.pem", "--tls-key", "none.pem"], "none.pem"),
        (&["--tls-cert", "empty.pem", "--tls-key", "key.pem"], "expected a certificate in empty.pem"),
        (&["--tls-cert", "text.pem", "--tls-key", "key.pem"], "expected a certificate in text.pem"),
        (&["--tls-cert", "damaged.pem", "--tls-key", "key.pem"], "expected a certificate in damaged.pem"),
        (&["--tls-cert", "not.pem", "--tls-key", "key.pem"], "not.pem"),
        (&["--tls-cert", "key.pem", "--tls-key", "key.pem"], "expected a certificate in key.pem"),
        (
            &["--tls-cert", "cert.pem", "--tls-key", "cert.pem"],
            "expected a private key without a password in",
        ),
        (&["--tls-cert", "cert.pem", "--tls-key", "empty.pem"], "in empty.pem"),
        (&["--tls-cert", "cert.pem", "--tls-key", "other.pem"], "other.pem does not belong to the first"),
    ] {
        let called = sandbox.call(&[&["serve", "run"], arguments].concat());
        let shown = called.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(words), "{arguments:?}: {shown}");
    }
}
