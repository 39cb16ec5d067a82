//! One member: two networks into the shared space, perhaps two decoders back, and the objective that trains them.
//!
//! ```text
//! a = unit(f_A(u + noise)), b = unit(f_B(v + noise))       u, v: principal coordinates of source and target
//! loss = infonce | siglip | mse (a, b)  +  reconstruction * (mean |g_A(a) - u|² + mean |g_B(b) - v|²)
//! ```
//!
//! A coordinate's mean square is one, so that a decoder's error is the share of the variance that it misses. Validation sees
//! neither noise nor dropout, and judges the network beside its start, each with half of the score: a single network on few pairs
//! is worth less than its start, but mends it.

use chiasm_closed_form::Front;
use chiasm_learned::{Network, losses};
use chiasm_plugin::graph::{Builder, DType, Dim, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{Draw, Objective};
use chiasm_plugin::{Error, Result};

use crate::settings::{Loss, Settings};

/// The batch ports.
pub(crate) const SIDES: [&str; 2] = ["source", "target"];
/// Below this length a mapped row counts as zero.
pub(crate) const TINY: f32 = 1e-12;

/// A member's networks, source first.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub maps: [Network; 2],
    pub decoders: Option<[Network; 2]>,
}

/// What a side's pass through the graph left.
struct Passed {
    image: Value,
    /// Beside the start, without noise and dropout.
    judged: Value,
    /// The decoder's errors, trained and clean.
    missed: Option<[Value; 2]>,
}

impl Model {
    pub(crate) fn new(fronts: [&Front; 2], settings: &Settings, seed: u64) -> Result<Self> {
        let map = |at: usize| {
            Network::new(SIDES[at], fronts[at].start(), settings.hidden, seed.wrapping_add(at as u64))
        };
        let decoder = |at: usize| {
            let start = Array2::zeros((fronts[at].start().ncols(), fronts[at].coordinates()));
            let name = format!("{}/decoder", SIDES[at]);
            Network::new(&name, &start, settings.hidden, seed.wrapping_add(2 + at as u64))
        };
        let decoders = match settings.reconstruction > 0.0 {
            true => Some([decoder(0)?, decoder(1)?]),
            false => None,
        };
        Ok(Self { maps: [map(0)?, map(1)?], decoders })
    }

    /// What makes the networks better; `noise` is the standard deviation on each side's coordinates.
    pub(crate) fn objective(&self, settings: &Settings, noise: [f64; 2], seed: u64) -> Result<Objective> {
        let mut b = Builder::new("mlp");
        let mut random = Vec::new();
        let source = self.pass(&mut b, 0, settings, noise[0], &mut random)?;
        let target = self.pass(&mut b, 1, settings, noise[1], &mut random)?;
        let mut free: Vec<String> = self.networks().flat_map(Network::trainable).map(str::to_owned).collect();
        let [mut loss, mut judged] = align(&mut b, settings, [&source, &target], &mut free)?;
        if let (Some(a), Some(c)) = (&source.missed, &target.missed) {
            b.output("alignment", &loss, DType::F32, &[]);
            let [trained, clean] = [0, 1].map(|at| b.add(&a[at], &c[at]));
            b.output("reconstruction", &trained, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, settings.reconstruction, &trained);
            judged = losses::plus(&mut b, &judged, settings.reconstruction, &clean);
        }
        b.output("loss", &loss, DType::F32, &[]);
        b.output("validation", &judged, DType::F32, &[]);
        let after = self.bounds(&mut b, settings, seed)?;
        let names: Vec<&str> = free.iter().map(String::as_str).collect();
        let mut objective = Objective::new(b.finish()?, &names)?;
        for (port, draw) in random {
            objective = objective.with_random(&port, draw);
        }
        objective.after = after;
        Ok(objective)
    }

    /// Takes the weights that a training brought back.
    pub(crate) fn take(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        let decoders = self.decoders.iter_mut().flatten();
        self.maps.iter_mut().chain(decoders).try_for_each(|network| network.take(trained))
    }

    fn networks(&self) -> impl Iterator<Item = &Network> {
        self.maps.iter().chain(self.decoders.iter().flatten())
    }

    fn pass(
        &self,
        b: &mut Builder,
        at: usize,
        settings: &Settings,
        noise: f64,
        random: &mut Vec<(String, Draw)>,
    ) -> Result<Passed> {
        let (side, shape) = (SIDES[at], self.maps[at].shape());
        let port = |b: &mut Builder, name: String, width: usize| {
            b.input(&name, DType::F32, &[Dim::named("batch"), width.into()])
        };
        let rows = port(b, side.to_owned(), shape.input)?;
        let mut noisy = rows.clone();
        if noise > 0.0 {
            let name = format!("noise/{side}");
            let drawn = port(b, name.clone(), shape.input)?;
            noisy = losses::plus(b, &rows, noise, &drawn);
            random.push((name, Draw::Normal));
        }
        let mut mask = None;
        if settings.dropout > 0.0 && shape.hidden > 0 {
            let name = format!("mask/{side}");
            mask = Some(port(b, name.clone(), shape.hidden)?);
            random.push((name, Draw::Mask { keep: 1.0 - settings.dropout }));
        }
        let map = self.maps[at].place(b);
        let images = [map.call(b, &noisy, mask.as_ref()), map.call(b, &rows, None), map.begun(b, &rows)];
        let [image, clean, begun] = images.map(|image| b.l2_normalise(&image, -1, TINY));
        let judged = b.concat(&[&clean, &begun], 1);
        let judged = b.mul_scalar(&judged, std::f32::consts::FRAC_1_SQRT_2);
        let missed = self.decoders.as_ref().map(|decoders| {
            let decoder = decoders[at].place(b);
            [&image, &clean].map(|image| {
                let back = decoder.call(b, image, None);
                let apart = b.sub(&back, &rows);
                let squares = b.mul(&apart, &apart);
                losses::mean(b, &squares)
            })
        });
        Ok(Passed { image, judged, missed })
    }

    /// The bounds on the layers, and the vectors that they need as weights of the objective.
    fn bounds(
        &self,
        b: &mut Builder,
        settings: &Settings,
        seed: u64,
    ) -> Result<Option<chiasm_plugin::graph::Graph>> {
        let Some(limit) = settings.spectral_norm else { return Ok(None) };
        if settings.hidden == 0 {
            return Err(Error::invalid(
                "parameter `spectral_norm`: expected hidden units to bound, got `hidden` = 0",
            ));
        }
        let mut after = Builder::new("spectral_norm");
        for (network, seed) in self.networks().zip(seed..) {
            let powers = network.powers(seed)?;
            #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
            network.bound(&mut after, limit as f32, &powers)?;
            powers.into_iter().for_each(|(name, vector)| {
                b.constant(&name, vector);
            });
        }
        Ok(Some(after.finish()?))
    }
}

/// The alignment loss of the trained and of the judged images; its own weights are added to those to train.
fn align(
    b: &mut Builder,
    settings: &Settings,
    sides: [&Passed; 2],
    free: &mut Vec<String>,
) -> Result<[Value; 2]> {
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    let mut scalar = |b: &mut Builder, name: &str, first: f64| {
        free.push(name.to_owned());
        b.constant(name, Tensor::scalar(first as f32))
    };
    let [first, second] = sides;
    let views = [(&first.image, &second.image), (&first.judged, &second.judged)];
    Ok(match settings.loss {
        Loss::Mse => views.map(|(x, y)| losses::squared(b, x, y)),
        Loss::Infonce => {
            let temperature = scalar(b, "log_temperature", settings.temperature.ln());
            views.map(|(x, y)| losses::infonce(b, x, y, &temperature))
        }
        Loss::Siglip => {
            let temperature = scalar(b, "log_temperature", settings.temperature.ln());
            // the odds of a true pair among a batch
            let bias = scalar(b, "bias", -(settings.batch as f64).ln());
            views.map(|(x, y)| losses::siglip(b, x, y, &temperature, &bias))
        }
    })
}
