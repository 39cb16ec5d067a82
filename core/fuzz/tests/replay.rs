//! Runs every target on its seeds and on mutations of them, within the limits of memory and time.
//!
//! `CHIASM_FUZZ_RUNS` sets the number of mutations of each target. An input that fails is written to the
//! temporary folder under a name that the message gives.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use chiasm_fuzz::{
    mutation::{RandomNumbers, mutate},
    target,
};
use chiasm_testing::limited;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// The memory of a target: the budgets of the decoders (512 MiB for a picture), and the test program.
const MEBIBYTES: u64 = 1_536;
/// The time for all inputs of a target, and for one, on a machine with other work. More inputs take longer.
const SECONDS: u64 = 600;
const INPUTS_A_SECOND: u64 = 500;
const ONE: Duration = Duration::from_secs(5);
/// Mutated inputs are no longer than this.
const LONGEST: usize = 1 << 13;

fn replay(name: &str) {
    let runs = std::env::var("CHIASM_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3_000);
    let replay = || {
        let target = target(name).unwrap();
        let seeds = (target.seeds)().unwrap();
        let mut random = RandomNumbers::new(7);
        for run in 0..seeds.len() + runs {
            let input = match seeds.get(run) {
                Some(seed) => seed.clone(),
                None => {
                    let [seed, other] = [0; 2].map(|_| &seeds[random.below(seeds.len())]);
                    mutate(seed, other, LONGEST, &mut random)
                }
            };
            let start = Instant::now();
            let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
            if ran.is_err() || start.elapsed() > ONE {
                let path = std::env::temp_dir().join(format!("chiasm-fuzz-{name}-{run}"));
                std::fs::write(&path, &input).unwrap();
                panic!("input {run} of {name} fails or takes {:?}: {}", start.elapsed(), path.display());
            }
        }
    };
    // AddressSanitizer reserves terabytes of addresses.
    match std::env::var_os("CHIASM_SANITIZER") {
        Some(_) => replay(),
        None => limited(MEBIBYTES, SECONDS + runs as u64 / INPUTS_A_SECOND, replay),
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = chiasm_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays! { array manifest model picture plugin program shard table text view }

/// Seeds that are refused at once reach little code: what the readers accept is counted.
#[test]
fn seeds_are_accepted_by_their_readers() {
    let seeds = |name| (target(name).unwrap().seeds)().unwrap();
    for seed in seeds("model") {
        let length = usize::from(u16::from_le_bytes([seed[0], seed[1]]));
        let model = &seed[2 + length..];
        match length {
            0 => drop(chiasm_graph::Graph::from_bytes(model).unwrap()),
            _ => assert!(model.len() < 1 << 10, "the weights are in the model"),
        }
    }
    for seed in seeds("picture") {
        chiasm_image::decode::decode(&seed[6..], false).unwrap();
    }
    let recipes: Vec<_> = seeds("text").into_iter().filter(|seed| seed[0] == 1).collect();
    assert!(recipes.len() > 1);
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("libx.so");
    std::fs::write(&path, &seeds("plugin")[0]).unwrap();
    assert_eq!(chiasm_host::Host::inspect(&path).unwrap().id, "x");
}
