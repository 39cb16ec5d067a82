//! `benchmark`: writes vectors or raw items of two to four modalities whose common factors are known.

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use world::benchmark::{BenchmarkSettings, Geometry, OneOrAll, write_benchmark, write_raw};

/// Write a benchmark with known factors: vectors of each modality, the true factors, pairs.jsonl, recipe.toml
/// and benchmark.json, which says what any method can reach.
#[derive(Parser)]
struct Options {
    /// Folder to write into; created if it does not exist.
    #[arg(long)]
    out: PathBuf,
    /// Write raw items instead of vectors: pictures, captions, recordings and a table of measurements.
    #[arg(long)]
    raw: bool,
    /// Number of rows: 70 % train, 10 % validation, 20 % test.
    #[arg(long, default_value_t = 5000)]
    rows: usize,
    /// Random seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of modalities, 2 to 4: picture, caption, sound, table.
    #[arg(long, default_value_t = 4)]
    modalities: usize,
    /// Number of factors that all modalities share.
    #[arg(long, default_value_t = 6)]
    shared: usize,
    /// Number of factors of each modality alone.
    #[arg(long, default_value_t = 4)]
    private: usize,
    /// Standard deviation of the noise, relative to that of each column.
    #[arg(long, default_value_t = 0.1)]
    noise: f64,
    /// Correlation of a modality's view of the first shared factor with the factor, 0 to 1.
    #[arg(long, default_value_t = 0.99)]
    coupling: f64,
    /// Share by which the coupling of the last shared factor is lower than that of the first.
    #[arg(long, default_value_t = 0.1)]
    coupling_spread: f64,
    /// Curvature of the manifolds; 0 makes all of them planes. For a torus, the radius of the tube divided by
    /// that of the ring.
    #[arg(long, default_value_t = 0.5)]
    curvature: f64,
    /// Geometry of each modality [default: the first ones of plane,sphere,hyperbolic,torus].
    #[arg(long, value_delimiter = ',', value_parser = geometry)]
    geometry: Vec<Geometry>,
    /// Scale of the inner weights of the networks; a larger one makes them less linear. Raw items have none.
    #[arg(long, default_value_t = 1.0)]
    gain: f64,
    /// Probability that a label is replaced by another class, 0 to 0.5.
    #[arg(long, default_value_t = 0.0)]
    label_noise: f64,
    /// Probability that a training or validation row lacks a modality; test rows are complete.
    #[arg(long, default_value_t = 0.0)]
    missing: f64,
}

fn geometry(name: &str) -> Result<Geometry, String> {
    let known = || Geometry::ALL.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
    let found = Geometry::ALL.iter().find(|one| one.name() == name);
    found.copied().ok_or_else(|| format!("expected one of {}", known()))
}

impl Options {
    fn settings(&self) -> Result<BenchmarkSettings, String> {
        let given = self.geometry.len();
        if given != 0 && given != self.modalities {
            let modalities = self.modalities;
            return Err(format!(
                "--geometry: expected one for each of the {modalities} modalities, got {given}; name them in \
                 the order picture,caption,sound,table"
            ));
        }
        let usual = || Geometry::ALL.iter().copied().cycle().take(self.modalities).collect();
        Ok(BenchmarkSettings {
            rows: self.rows,
            seed: self.seed,
            geometries: if given == 0 { usual() } else { self.geometry.clone() },
            shared: self.shared,
            private: self.private,
            noise: self.noise,
            coupling: self.coupling,
            coupling_spread: self.coupling_spread,
            curvature: self.curvature,
            gain: self.gain,
            label_noise: self.label_noise,
            missing: self.missing,
        })
    }
}

/// Writes the benchmark. Returns what to say about it.
fn write(options: &Options) -> Result<String, String> {
    let settings = options.settings()?;
    let place = options.out.display();
    let recipe = options.out.join("recipe.toml");
    let said = |r2: OneOrAll, more: String| {
        let (one, all) = (r2.one_modality, r2.all_modalities);
        format!(
            "{} rows in {place}\nat most: R2 of the factors {one:.3} from one modality, {all:.3} from \
             all{more}\nfit it: chiasm fit {} -o RUN",
            settings.rows,
            recipe.display()
        )
    };
    if options.raw {
        let report = write_raw(&settings, &options.out).map_err(|error| error.to_string())?;
        return Ok(said(report.ceilings.latent_r2, String::new()));
    }
    let report = write_benchmark(&settings, &options.out).map_err(|error| error.to_string())?;
    let most = 300.0 * report.oracle_retrieval.len() as f64;
    let oracle = format!("; rsum of the oracle {:.1} of {most:.0}", report.oracle_rsum);
    Ok(said(report.ceilings.latent_r2, oracle))
}

fn main() -> ExitCode {
    let (said, code) = match write(&Options::parse()) {
        Ok(said) => (said, ExitCode::SUCCESS),
        Err(error) => (format!("error: {error}"), ExitCode::from(2)),
    };
    // A closed pipe is not an error, since the folder was written.
    let _ = writeln!(std::io::stderr(), "{said}");
    code
}
