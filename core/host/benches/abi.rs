//! Measures what a plugin costs: loading it, a call in this process and in its own, a fit on 128 MiB in both,
//! and hot swaps under load. It checks that data are not copied in this process.
//!
//! Run with `cargo bench -p chiasm-host --profile dev`. It fails if a call in this process exceeds 200 ns, or
//! a request fails during the swaps.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chiasm_graph::{Graph, Tensor};
use chiasm_host::{
    AlignModality, AlignSpec, BorrowedArray, EncoderSpec, Host, HostOptions, HostServices, Isolation, Item,
    Level, PluginSearch, SharedValues, WorkerCommand,
};
use chiasm_plugin::objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};
use chiasm_plugin::{Adapter, Services, json};
use fixture_plain::RowNumbers;

/// The largest accepted overhead of a call through the ABI.
const LIMIT_NS: f64 = 200.0;

struct SilentServices;

impl HostServices for SilentServices {
    fn log(&self, _: &str, _: Level, _: &str) {}
    fn progress(&self, _: u64, _: u64) -> bool {
        true
    }
    fn seed(&self) -> u64 {
        1
    }
    fn threads(&self) -> usize {
        1
    }
    fn run_graph(&self, _: &Graph, _: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, String> {
        Err("no engine in a bench".into())
    }
    fn train(
        &self,
        _: &str,
        _: &Objective,
        _: &TrainingRows<'_>,
        _: &TrainingOptions,
    ) -> Result<TrainedWeights, String> {
        Err("no engine in a bench".into())
    }
}

/// Set in the processes that this program starts for plugins.
const WORKER: &str = "CHIASM_BENCH_WORKER";

fn main() {
    if std::env::var_os(WORKER).is_some() {
        chiasm_host::run_worker();
        return;
    }
    loads();
    let host = discover();
    let factory = host.adapter("rows").unwrap();

    let spec = EncoderSpec { preprocessing: json!({ "dim": 4 }), ..EncoderSpec::default() };
    let direct = RowNumbers::open(&spec, &Services::detached(1, 1)).unwrap();
    let through = factory.open(&spec, &SilentServices).unwrap();
    let item = || black_box(Item::Row(7));
    let rounds = [
        ("direct call", time(|| drop(black_box(direct.prepare(item()).unwrap())))),
        ("through the ABI, borrowed", time(|| drop(black_box(through.prepare_borrowed(item()).unwrap())))),
        ("through the ABI, copied", time(|| drop(black_box(through.prepare(item()).unwrap())))),
    ];
    for (what, ns) in &rounds {
        println!("{what:<32} {ns:>7.1} ns   overhead {:>6.1} ns", ns - rounds[0].1);
    }
    copies_nothing(&host);
    isolated();
    let overhead = rounds[1].1 - rounds[0].1;
    assert!(overhead < LIMIT_NS, "a call costs {overhead:.0} ns over a direct one; the limit is {LIMIT_NS}");
}

/// Measures how long it takes to find a plugin and to load it, the first time and later.
fn loads() {
    let load = |_| {
        let started = Instant::now();
        let host = discover();
        let listed = started.elapsed();
        let started = Instant::now();
        host.adapter("rows").unwrap();
        (listed, started.elapsed())
    };
    let rounds: Vec<(Duration, Duration)> = (0..20).map(load).collect();
    let (listed, loaded) =
        (rounds.iter().map(|round| round.0).min(), rounds.iter().map(|round| round.1).min());
    println!("find a plugin: first {:?}, then {:?}", rounds[0].0, listed.unwrap());
    println!("load a plugin: first {:?}, then {:?}", rounds[0].1, loaded.unwrap());
}

/// Returns a host that found the fixture.
fn discover() -> Host {
    Host::discover(&PluginSearch { plugin_paths: vec![plain()], ..PluginSearch::default() })
}

/// Returns the smallest time per call of many batches: other load on the machine only adds time.
fn time(mut call: impl FnMut()) -> f64 {
    const BATCHES: usize = 4_000;
    const CALLS: u32 = 250;
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let started = Instant::now();
        (0..CALLS).for_each(|_| call());
        best = best.min(started.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    best
}

/// Checks that a fit reads 64 MiB of data at the host's own address.
fn copies_nothing(host: &Host) {
    let data = vec![1.0_f32; 16 << 20];
    let shape = [data.len() / 64, 64];
    let rows: Vec<i64> = (0..).take(shape[0]).collect();
    let modality = |name: &str| AlignModality { name: name.into(), dim: 64, blocks: vec![64] };
    let spec = AlignSpec { modalities: vec![modality("a"), modality("b")], anchor: None };
    let pooled = || BorrowedArray::f32(&shape, &data);
    let row = || BorrowedArray::i64(&[shape[0]], &rows);
    let arrays = [("a.pooled", pooled()), ("a.row", row()), ("b.pooled", pooled()), ("b.row", row())];
    let started = Instant::now();
    let learned =
        host.aligner("first-columns").unwrap().fit(&spec, &arrays, &json!({}), &SilentServices).unwrap();
    println!("a fit that sums 64 MiB once: {:?}", started.elapsed());
    assert_eq!(learned.notes["addresses"][0], json!(data.as_ptr().addr()), "the data was copied");
    println!("the plugin read the data at the host's own address: no copy");
}

/// Returns a host whose plugins have processes of their own.
fn isolated_host() -> Host {
    let worker = WorkerCommand {
        program: std::env::current_exe().unwrap(),
        name: "worker".into(),
        arguments: Vec::new(),
        variables: vec![(WORKER.into(), "1".into())],
    };
    let options =
        HostOptions { isolation: Isolation::Always, worker: Some(worker), ..HostOptions::default() };
    Host::with_options(&PluginSearch { plugin_paths: vec![plain()], ..PluginSearch::default() }, options)
}

/// Measures the same in a process of the plugin's own.
fn isolated() {
    let starts = (0..20).map(|_| {
        let host = isolated_host();
        let started = Instant::now();
        host.load("fixture-plain").unwrap();
        started.elapsed()
    });
    println!("isolated: start its process and load it {:?}", starts.min().unwrap());

    let host = isolated_host();
    let factory = host.adapter("rows").unwrap();
    let spec = EncoderSpec { preprocessing: json!({ "dim": 4 }), ..EncoderSpec::default() };
    let adapter = factory.open(&spec, &SilentServices).unwrap();
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let started = Instant::now();
        (0..100).for_each(|_| drop(black_box(adapter.prepare(Item::Row(7)).unwrap())));
        best = best.min(started.elapsed().as_nanos() as f64 / 100.0);
    }
    println!("isolated: a small call {:.1} us", best / 1e3);

    let (own, isolated) = (fits(&discover()), fits(&host));
    for ((own, isolated), memory) in own.iter().zip(isolated).zip(["memory that is shared", "other memory"]) {
        println!(
            "a fit that sums 128 MiB in {memory}: {own:?} here, {isolated:?} isolated, ratio {:.2}",
            isolated.as_secs_f64() / own.as_secs_f64()
        );
    }
    swaps(&host, &spec);
}

/// Returns the smallest times of a fit on two modalities of 64 MiB: in memory that can be shared, as in the
/// fits of pipelines, and in other memory.
fn fits(host: &Host) -> [Duration; 2] {
    let data = SharedValues::filled(16 << 20, |all| all.fill(1.0));
    let shape = [data.as_slice().len() / 64, 64];
    let rows: Vec<i64> = (0..).take(shape[0]).collect();
    let modality = |name: &str| AlignModality { name: name.into(), dim: 64, blocks: vec![64] };
    let spec = AlignSpec { modalities: vec![modality("a"), modality("b")], anchor: None };
    let aligner = host.aligner("first-columns").unwrap();
    let fit = |shared: bool| {
        let pooled = || match shared {
            true => BorrowedArray::shared(&shape, &data),
            false => BorrowedArray::f32(&shape, data.as_slice()),
        };
        let row = || BorrowedArray::i64(&[shape[0]], &rows);
        let arrays = [("a.pooled", pooled()), ("a.row", row()), ("b.pooled", pooled()), ("b.row", row())];
        let started = Instant::now();
        aligner.fit(&spec, &arrays, &json!({}), &SilentServices).unwrap();
        started.elapsed()
    };
    [true, false].map(|shared| (0..6).map(|_| fit(shared)).min().unwrap())
}

/// Reloads the plugin 1,000 times while two threads use it without a pause.
fn swaps(host: &Host, spec: &EncoderSpec) {
    let swapping = AtomicBool::new(true);
    let served = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while swapping.load(Ordering::Relaxed) {
                    let adapter = host.adapter("rows").unwrap().open(spec, &SilentServices).unwrap();
                    for row in 0..20 {
                        let tensors = adapter.prepare(Item::Row(row)).unwrap();
                        assert_eq!(tensors[0].as_f32().unwrap()[0], row as f32);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        (0..1_000).for_each(|_| host.reload("fixture-plain").unwrap());
        swapping.store(false, Ordering::Relaxed);
    });
    println!(
        "1,000 hot swaps in {:.1?}: {} requests served, none failed",
        started.elapsed(),
        served.load(Ordering::Relaxed)
    );
}

/// Returns the fixture's library: a dev-dependency is built beside the bench.
fn plain() -> std::path::PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().map(|deps: &Path| deps.join("libfixture_plain.so")).unwrap()
}
