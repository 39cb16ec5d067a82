//! Measures the overhead of a call through the ABI, and checks that data are not copied.
//!
//! Run with `cargo bench -p chiasm-host --profile dev`. It fails if the overhead exceeds 200 ns.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use chiasm_graph::{Graph, Tensor};
use chiasm_host::{
    AlignModality, AlignSpec, BorrowedArray, EncoderSpec, Host, HostServices, Item, Level, PluginSearch,
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

fn main() {
    let library = plain();
    let started = Instant::now();
    let host = Host::discover(&PluginSearch { plugin_paths: vec![library], ..PluginSearch::default() });
    let listed = started.elapsed();
    let started = Instant::now();
    let factory = host.adapter("rows").unwrap();
    let loaded = started.elapsed();
    println!("list one plugin {listed:?}, load it {loaded:?}");

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
    let overhead = rounds[1].1 - rounds[0].1;
    assert!(overhead < LIMIT_NS, "a call costs {overhead:.0} ns over a direct one; the limit is {LIMIT_NS}");
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

/// Returns the fixture's library: a dev-dependency is built beside the bench.
fn plain() -> std::path::PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().map(|deps: &Path| deps.join("libfixture_plain.so")).unwrap()
}
