//! Pictures prepared per second, beside Pillow and NumPy (peer.py) on the same files and threads, in turn.
//!
//! `CHIASM_PEERS=PYTHON cargo bench --profile dev -p chiasm-image --bench prepare -- FOLDER [THREADS]`
//! prints one line of JSON. `CHIASM_PEERS` is a Python with numpy and pillow; without it only our side is
//! measured.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use chiasm_image::ImageAdapter;
use chiasm_plugin::graph::DType;
use chiasm_plugin::{Adapter, DimSpec, EncoderSpec, Item, Json, PortSpec, Services, json};

const ROUNDS: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(folder) = arguments.next() else {
        println!("SKIPPED: name a folder of JPEG files");
        return;
    };
    let threads: usize = arguments.next().map_or(1, |threads| threads.parse().unwrap());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jpg"));
    files.sort();
    let adapter = adapter();
    prepare_all(&adapter, &files[..files.len().min(50)], threads);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(prepare_all(&adapter, &files, threads));
        theirs.extend(peer(&folder, threads));
    }
    let (ours, theirs) = (median(ours), (!theirs.is_empty()).then(|| median(theirs)));
    let result = json!({
        "files": files.len(), "threads": threads, "ours_s": ours, "pillow_s": theirs,
        "times_faster": theirs.map(|theirs| theirs / ours),
    });
    println!("{result}");
}

fn adapter() -> ImageAdapter {
    let free = |name: &str| DimSpec::Named(name.into());
    let port = |name: &str, dims| PortSpec { name: name.into(), dtype: DType::F32, dims: Some(dims) };
    let spec = EncoderSpec {
        inputs: vec![port(
            "image",
            vec![free("N"), DimSpec::Fixed(3), DimSpec::Fixed(224), DimSpec::Fixed(224)],
        )],
        outputs: vec![port("embedding", vec![free("N"), DimSpec::Fixed(8)])],
        ports: json!({ "pooled": "embedding" }),
        preprocessing: json!({
            "size": [224, 224], "scale": 1, "mean": [128, 128, 128], "std": [128, 128, 128],
        }),
        ..Default::default()
    };
    ImageAdapter::open(&spec, &Services::detached(0, 1)).map_err(|error| error.message().to_owned()).unwrap()
}

/// Seconds.
fn prepare_all(adapter: &ImageAdapter, files: &[PathBuf], threads: usize) -> f64 {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    std::hint::black_box(adapter.prepare(Item::Path(file)).is_ok());
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}

/// Seconds of one round of peer.py; nothing without `CHIASM_PEERS`.
fn peer(folder: &str, threads: usize) -> Option<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
    let output = Command::new(std::env::var_os("CHIASM_PEERS")?)
        .arg(script)
        .args([folder, &threads.to_string(), "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Json = serde_json::from_slice(&output.stdout).unwrap();
    told["seconds"][0].as_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
