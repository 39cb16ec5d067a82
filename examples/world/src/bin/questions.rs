//! `questions`: writes a data set of pictures and questions about them.

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use world::World;

/// Write questions about scenes of coloured shapes: images/*.png, pairs.jsonl and ceilings.json.
#[derive(Parser)]
struct Options {
    /// Folder to write into; created if it does not exist.
    #[arg(long)]
    out: PathBuf,
    /// Number of pictures.
    #[arg(long, default_value_t = 10_000)]
    pictures: usize,
    /// Number of questions about each picture, all with different answers: 1 to 6.
    #[arg(long, default_value_t = 4)]
    each: usize,
    /// Random seed of the scenes.
    #[arg(long, default_value_t = 2027)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match world::write_quiz(&World::new(options.seed), &options.out, options.pictures, options.each) {
        Ok((rows, ceilings)) => {
            let [prior, question, picture] =
                [ceilings.prior, ceilings.question_only, ceilings.picture_only].map(|share| 100.0 * share);
            // A closed pipe is not an error, since the folder was written.
            let _ = writeln!(
                std::io::stderr(),
                "{} questions about {} pictures in {}\nceilings on {} test rows: {prior:.1} % without input, \
                 {question:.1} % with the question alone, {picture:.1} % with the picture alone",
                rows.len(),
                options.pictures,
                options.out.display(),
                ceilings.rows,
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}
