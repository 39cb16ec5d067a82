//! `coupling`: two clouds of vectors that share a cause, each through its own frozen random network.
//!
//! s ~ N(0, 1) in a few dimensions; a = P sin(W s + p) + noise, b = Q sin(V s + q) + noise. At a high
//! `--gain` the sines fold the cause several times over, so that what a and b have in common is no linear
//! function of either, and every linear map misses most of it. At a gain near zero the world is linear.
//!
//! Vectors come from 64-bit sines, so two machines agree to rounding, not to the byte.

use clap::Parser;
use std::f64::consts::{PI, TAU};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Hidden units of both networks.
const HIDDEN: usize = 256;
/// Columns of a and of b.
const WIDTHS: [usize; 2] = [128, 96];

/// Makes a.npy and b.npy, paired row by row.
#[derive(Parser)]
struct Options {
    /// Folder to write into; made if need be.
    #[arg(long)]
    out: PathBuf,
    /// How many pairs.
    #[arg(long, default_value_t = 25_000)]
    pairs: usize,
    /// Dimensions of the shared cause.
    #[arg(long, default_value_t = 6)]
    cause: usize,
    /// How often the sines fold the cause.
    #[arg(long, default_value_t = 3.0)]
    gain: f64,
    /// Standard deviation of the noise, relative to the vectors'.
    #[arg(long, default_value_t = 0.1)]
    noise: f64,
    /// Which world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (TAU * self.uniform()).cos()
    }
}

/// A frozen random network.
struct Encoder {
    inner: Vec<f64>,
    phases: Vec<f64>,
    outer: Vec<f64>,
    width: usize,
}

impl Encoder {
    fn new(random: &mut Random, cause: usize, width: usize, gain: f64) -> Self {
        let spread = gain / (cause as f64).sqrt();
        let inner = (0..cause * HIDDEN).map(|_| spread * random.normal()).collect();
        let phases = (0..HIDDEN).map(|_| PI * (2.0 * random.uniform() - 1.0)).collect();
        // a sine's mean square is a half: the vectors' is then one
        let scale = (2.0 / HIDDEN as f64).sqrt();
        let outer = (0..HIDDEN * width).map(|_| scale * random.normal()).collect();
        Self { inner, phases, outer, width }
    }

    fn encode(&self, cause: &[f64], noise: f64, random: &mut Random) -> Vec<f32> {
        let hidden: Vec<f64> = (0..HIDDEN)
            .map(|h| {
                let row = &self.inner[h * cause.len()..(h + 1) * cause.len()];
                (row.iter().zip(cause).map(|(w, s)| w * s).sum::<f64>() + self.phases[h]).sin()
            })
            .collect();
        (0..self.width)
            .map(|column| {
                let row = &self.outer[column * HIDDEN..(column + 1) * HIDDEN];
                let clean: f64 = row.iter().zip(&hidden).map(|(w, h)| w * h).sum();
                (clean + noise * random.normal()) as f32
            })
            .collect()
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match write(&options) {
        Ok(()) => {
            let _ = writeln!(std::io::stderr(), "{} pairs in {}", options.pairs, options.out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: cannot write to {}: {error}", options.out.display());
            ExitCode::from(2)
        }
    }
}

fn write(options: &Options) -> std::io::Result<()> {
    let mut random = Random(options.seed);
    let encoders = WIDTHS.map(|width| Encoder::new(&mut random, options.cause, width, options.gain));
    let mut clouds = [Vec::new(), Vec::new()];
    for _ in 0..options.pairs {
        let cause: Vec<f64> = (0..options.cause).map(|_| random.normal()).collect();
        for (cloud, encoder) in clouds.iter_mut().zip(&encoders) {
            cloud.extend(encoder.encode(&cause, options.noise, &mut random));
        }
    }
    std::fs::create_dir_all(&options.out)?;
    for ((name, cloud), width) in ["a.npy", "b.npy"].into_iter().zip(&clouds).zip(WIDTHS) {
        save(&options.out.join(name), options.pairs, width, cloud)?;
    }
    Ok(())
}

/// NumPy's format, version 1.0.
fn save(path: &Path, rows: usize, columns: usize, values: &[f32]) -> std::io::Result<()> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let padded = format!("{header:<117}\n");
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00\x76\x00")?;
    file.write_all(padded.as_bytes())?;
    for value in values {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}
