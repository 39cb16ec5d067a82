//! `world`: writes a folder of pictures and captions.

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use world::World;

/// Makes scenes of coloured shapes: images/*.png and pairs.jsonl.
#[derive(Parser)]
struct Options {
    /// Folder to write into; made if need be.
    #[arg(long)]
    out: PathBuf,
    /// How many scenes.
    #[arg(long, default_value_t = 5000)]
    count: u64,
    /// Which world: another seed gives other scenes.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match world::write(&World::new(options.seed), &options.out, options.count) {
        Ok(rows) => {
            // A closed pipe is no failure: the folder is written.
            let _ = writeln!(std::io::stderr(), "{} scenes in {}", rows.len(), options.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}
