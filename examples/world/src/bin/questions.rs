//! `questions`: writes a folder of pictures and of questions about them.

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use world::World;

/// Makes questions about scenes of coloured shapes: images/*.png, pairs.jsonl and ceilings.json.
#[derive(Parser)]
struct Options {
    /// Folder to write into; made if need be.
    #[arg(long)]
    out: PathBuf,
    /// How many pictures.
    #[arg(long, default_value_t = 10_000)]
    pictures: usize,
    /// How many questions about each picture, all with different answers: 1 to 6.
    #[arg(long, default_value_t = 4)]
    each: usize,
    /// Which world: another seed gives other scenes.
    #[arg(long, default_value_t = 2027)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match world::write_quiz(&World::new(options.seed), &options.out, options.pictures, options.each) {
        Ok((rows, ceilings)) => {
            let [prior, question, picture] =
                [ceilings.prior, ceilings.question_only, ceilings.picture_only].map(|share| 100.0 * share);
            // A closed pipe is no failure: the folder is written.
            let _ = writeln!(
                std::io::stderr(),
                "{} questions about {} pictures in {}\nof {} test answers at most {prior:.1} % are told blindly, \
                 {question:.1} % by the question alone, {picture:.1} % by the picture alone",
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
