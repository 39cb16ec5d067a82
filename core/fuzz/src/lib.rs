//! What the readers of files, tables and tensors do with arbitrary bytes.
//!
//! A [`Target`] is a function that takes any bytes and must return: no panic, no hang, no memory beyond the
//! budgets of [`chiasm_graph::budget`]. Where a right result can be told from a wrong one, the target also
//! asserts it. Each has a small corpus of seeds, made here.
//!
//! The same functions run in two ways: `tests/replay.rs` replays the seeds and some thousand mutations of
//! them with any toolchain, and the folder `libfuzzer` makes each a target of `cargo fuzz`.
//!
//! ```
//! let view = chiasm_fuzz::target("view").ok_or("there is no such target")?;
//! (view.run)(b"any bytes");
//! # Ok::<(), &str>(())
//! ```

mod arrays;
mod elf_file;
mod input;
mod models;
pub mod mutation;
mod pictures;
mod plugins;
mod programs;
mod scratch;
mod seeds;
mod tables;
mod texts;
mod views;

pub use seeds::Seeds;

/// A function that takes any bytes, and inputs to begin with.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name, which is also that of the target of `cargo fuzz`.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// The inputs to begin with.
    pub seeds: fn() -> Seeds,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "array", run: arrays::run, seeds: arrays::seeds },
    Target { name: "manifest", run: plugins::manifest, seeds: plugins::manifest_seeds },
    Target { name: "model", run: models::run, seeds: models::seeds },
    Target { name: "picture", run: pictures::run, seeds: pictures::seeds },
    Target { name: "plugin", run: plugins::run, seeds: plugins::seeds },
    Target { name: "program", run: programs::run, seeds: programs::seeds },
    Target { name: "shard", run: arrays::shard, seeds: arrays::shard_seeds },
    Target { name: "table", run: tables::run, seeds: tables::seeds },
    Target { name: "text", run: texts::run, seeds: texts::seeds },
    Target { name: "view", run: views::run, seeds: views::seeds },
];

/// Returns the target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// Runs a target of `cargo fuzz` on one input. A name that no target has does nothing.
pub fn run(name: &str, bytes: &[u8]) {
    if let Some(target) = target(name) {
        (target.run)(bytes);
    }
}

/// Prepares a target of `cargo fuzz`: writes its seeds into the folder that `CHIASM_FUZZ_SEEDS` names, and
/// keeps panics inside the Parquet reader from ending the process. libFuzzer ends it at every panic, and the
/// readers of this project catch those of that crate and return an error.
pub fn begin(name: &str) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let caught = panic.location().is_some_and(|location| location.file().contains("/parquet-"));
        if !caught {
            report(panic);
        }
    }));
    let Some(folder) = std::env::var_os("CHIASM_FUZZ_SEEDS").map(std::path::PathBuf::from) else { return };
    let seeds = target(name).and_then(|target| (target.seeds)().ok()).unwrap_or_default();
    for (at, seed) in seeds.into_iter().enumerate() {
        // A seed that is not written is only a worse start.
        let _ = std::fs::write(folder.join(format!("seed-{at}")), seed);
    }
}
