//! Sends texts to a server for a while and prints how many it embedded, and how long requests took.
//!
//! `cargo bench -p chiasm-serve --profile dev --bench load -- --address 127.0.0.1:8080 --model RUN --texts
//! FILE [--connections 8] [--items 1] [--seconds 10]`. FILE has one text per line. Every connection sends one
//! request after the other to `/v1/embeddings`, with `--items` texts each, and asks for base64, as the openai
//! package does. A request that is refused with 429 is sent again after 5 ms. The address may be that of
//! another server with this route: `peer.py` beside this file is one.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The bodies of a connection, which it sends in turn.
const BODIES: usize = 256;
/// The pause after a refused request.
const PAUSE: Duration = Duration::from_millis(5);

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let given: BTreeMap<&str, &str> =
        words.chunks_exact(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
    let (Some(address), Some(texts)) = (given.get("--address"), given.get("--texts")) else {
        say("skipped: name a server with --address and a file of texts with --texts");
        return Ok(());
    };
    let number = |name: &str, otherwise| given.get(name).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (connections, items, seconds) =
        (number("--connections", 8), number("--items", 1), number("--seconds", 10));
    let texts = std::fs::read_to_string(texts)?;
    let texts: Vec<&str> = texts.lines().filter(|line| !line.is_empty()).collect();
    let model = given.get("--model").copied().unwrap_or("run");
    // Made before the clock runs: the client shares the processor with the server.
    let bodies: Vec<Vec<String>> =
        (0..connections).map(|number| bodies(model, &texts, number, items)).collect();
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds as u64);
    let done: Vec<Fallible<Client>> = std::thread::scope(|scope| {
        let clients = (0..connections).map(|number| {
            let bodies = &bodies;
            scope.spawn(move || {
                let mut client = Client::connect(address)?;
                client.send_until(end, &bodies[number])?;
                Ok(client)
            })
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err("a client panicked".into())))
            .collect()
    });
    let elapsed = start.elapsed().as_secs_f64();
    let (mut times, mut statuses): (Vec<f64>, BTreeMap<u16, usize>) = (Vec::new(), BTreeMap::new());
    for client in done {
        let client = client?;
        times.extend(client.times);
        client.statuses.iter().for_each(|(status, count)| *statuses.entry(*status).or_default() += count);
    }
    times.sort_by(f64::total_cmp);
    let quantile =
        |q: f64| times.get((q * times.len() as f64) as usize).or(times.last()).map_or(0.0, |t| t * 1e3);
    // The last answers come after the end.
    let rate = times.len() as f64 / elapsed;
    say(&format!(
        "{connections} connections, {items} texts each: {rate:.1} requests/s, {:.1} texts/s, p50 {:.1} ms, \
         p99 {:.1} ms; statuses {statuses:?}",
        rate * items as f64,
        quantile(0.5),
        quantile(0.99)
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn say(line: &str) {
    println!("{line}");
}

/// Returns the bodies that a connection sends.
fn bodies(model: &str, texts: &[&str], number: usize, items: usize) -> Vec<String> {
    let body = |at: usize| {
        let start = number * 7919 + at * 101;
        let own: Vec<&str> = (0..items).map(|item| texts[(start + item) % texts.len()]).collect();
        serde_json::json!({ "model": model, "input": own, "encoding_format": "base64" }).to_string()
    };
    (0..BODIES).map(body).collect()
}

/// A connection, and what it measured.
struct Client {
    stream: BufReader<TcpStream>,
    address: String,
    times: Vec<f64>,
    statuses: BTreeMap<u16, usize>,
}

impl Client {
    fn connect(address: &str) -> Fallible<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(1 << 20, stream);
        Ok(Self { stream, address: address.to_owned(), times: Vec::new(), statuses: BTreeMap::new() })
    }

    fn send_until(&mut self, end: Instant, bodies: &[String]) -> Fallible<()> {
        let mut at = 0;
        while Instant::now() < end {
            let started = Instant::now();
            let status = self.send(&bodies[at % bodies.len()])?;
            *self.statuses.entry(status).or_default() += 1;
            match status {
                200 => {
                    self.times.push(started.elapsed().as_secs_f64());
                    at += 1;
                }
                429 => std::thread::sleep(PAUSE),
                other => return Err(format!("the server answered {other}").into()),
            }
        }
        Ok(())
    }

    /// Sends a request and reads the whole answer. Returns the status.
    fn send(&mut self, body: &str) -> Fallible<u16> {
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err("the server closed the connection".into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).unwrap_or_default().parse()?;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(status)
    }
}
