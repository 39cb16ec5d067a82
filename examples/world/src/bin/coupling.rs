//! `coupling`: writes two files of vectors that depend on a common latent variable through two random
//! networks.
//!
//! s ~ N(0, 1) in a few dimensions; a = P sin(W s + p) + noise, b = Q sin(V s + q) + noise. For a large
//! `--gain`, the sines have several periods in the range of s, and no linear map predicts b from a well. For
//! a gain near zero, the dependence is linear.
//!
//! The vectors are computed with 64-bit sines, so they may differ between machines by rounding.

use clap::Parser;
use std::f64::consts::{PI, TAU};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Hidden units of both networks.
const HIDDEN: usize = 256;
/// Columns of a and of b.
const WIDTHS: [usize; 2] = [128, 96];

/// Write a.npy and b.npy, paired row by row.
#[derive(Parser)]
struct Options {
    /// Folder to write into; created if it does not exist.
    #[arg(long)]
    out: PathBuf,
    /// Number of pairs.
    #[arg(long, default_value_t = 25_000)]
    pairs: usize,
    /// Number of dimensions of the latent variable.
    #[arg(long, default_value_t = 6)]
    cause: usize,
    /// Scale of the inner weights; a larger one makes the networks less linear.
    #[arg(long, default_value_t = 3.0)]
    gain: f64,
    /// Standard deviation of the noise, relative to that of the vectors.
    #[arg(long, default_value_t = 0.1)]
    noise: f64,
    /// SplitMix64 seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix64(u64);

impl SplitMix64 {
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

/// A network with one hidden layer of sines and random weights.
struct RandomNetwork {
    inner: Vec<f64>,
    phases: Vec<f64>,
    outer: Vec<f64>,
    width: usize,
}

impl RandomNetwork {
    fn new(random: &mut SplitMix64, cause: usize, width: usize, gain: f64) -> Self {
        let spread = gain / (cause as f64).sqrt();
        let inner = (0..cause * HIDDEN).map(|_| spread * random.normal()).collect();
        let phases = (0..HIDDEN).map(|_| PI * (2.0 * random.uniform() - 1.0)).collect();
        // The mean square of a sine is 1/2, so that of the vectors is 1.
        let scale = (2.0 / HIDDEN as f64).sqrt();
        let outer = (0..HIDDEN * width).map(|_| scale * random.normal()).collect();
        Self { inner, phases, outer, width }
    }

    fn encode(&self, cause: &[f64], noise: f64, random: &mut SplitMix64) -> Vec<f32> {
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
    let mut random = SplitMix64(options.seed);
    let encoders = WIDTHS.map(|width| RandomNetwork::new(&mut random, options.cause, width, options.gain));
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

/// Writes an .npy file, version 1.0.
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
