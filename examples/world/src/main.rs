//! `world`: writes a data set of pictures and captions.

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use world::World;

/// Write scenes of coloured shapes: images/*.png and pairs.jsonl.
#[derive(Parser)]
struct Options {
    /// Folder to write into; created if it does not exist.
    #[arg(long)]
    out: PathBuf,
    /// Number of scenes.
    #[arg(long, default_value_t = 5000)]
    count: u64,
    /// Random seed of the scenes.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match world::write(&World::new(options.seed), &options.out, options.count) {
        Ok(rows) => {
            // A closed pipe is not an error, since the folder was written.
            let _ = writeln!(std::io::stderr(), "{} scenes in {}", rows.len(), options.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}
