//! One ensemble member: a network and optionally a decoder for each modality, and the objective that trains
//! them.
//!
//! ```text
//! z_m  = unit(f_m(u_m + noise))                    u_m: principal coordinates of an item of modality m
//! loss = mean over pairs (a, b) of  infonce | siglip | mse (z_a, z_b)
//!      + reconstruction * sum over m of  mean |g_m(z_m) - u_m|²
//! ```
//!
//! The mean square of a coordinate is one, so that a decoder's error is the share of the variance that it
//! misses. Validation has neither noise nor dropout. It measures the network joined with its start, each
//! with half of the score: on a few hundred rows a network alone has a lower recall than its start, and both
//! together have a higher one.

use chiasm_closed_form::PrincipalProjection;
use chiasm_kit::losses::{self, BatchMask};
use chiasm_kit::{Network, plugin_error};
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{NoiseDistribution, Objective};
use chiasm_plugin::{Error, Result};

use crate::parameters::{MlpLoss, MlpParameters};

/// Below this length a mapped item counts as zero.
pub(crate) const TINY: f32 = 1e-12;

/// A member's networks, one for each modality.
#[derive(Debug, Clone)]
pub(crate) struct MlpMember {
    names: Vec<String>,
    pub maps: Vec<Network>,
    /// One for each modality, or none.
    pub decoders: Vec<Network>,
}

/// The pairs, mask and noise of the loss.
#[derive(Debug)]
pub(crate) struct LossTerms {
    /// Pairs of modalities.
    pub pairs: Vec<(usize, usize)>,
    /// Whether examples lack modalities or share rows.
    pub masked: bool,
    /// The standard deviation of the noise on each modality's coordinates.
    pub noise: Vec<f64>,
}

/// The outputs of a modality's networks in the objective's graph.
struct MappedItems {
    /// With noise and dropout, `[batch, k]`.
    trained: Value,
    /// Without them, joined with the start, `[batch, 2 k]`.
    validated: Value,
    /// The decoder's errors from either, scalars.
    errors: Option<[Value; 2]>,
}

impl MlpMember {
    /// Networks that equal their starts, for modalities of these names.
    pub(crate) fn new(
        names: &[&str],
        projections: &[PrincipalProjection],
        parameters: &MlpParameters,
        seed: u64,
    ) -> Result<Self> {
        let (maps, decoders): (Vec<_>, Vec<_>) = names
            .iter()
            .zip(projections)
            .zip(0_u64..)
            .map(|((name, projection), place)| {
                let (map, decoder) = (format!("map/{name}"), format!("decoder/{name}"));
                let zeros = Array2::zeros((projection.start().ncols(), projection.coordinates()));
                let seeds = [place, place + names.len() as u64].map(|place| seed.wrapping_add(place));
                (
                    Network::new(&map, projection.start(), parameters.hidden, seeds[0]),
                    Network::new(&decoder, &zeros, parameters.hidden, seeds[1]),
                )
            })
            .unzip();
        let decoders = if parameters.reconstruction > 0.0 { decoders } else { Vec::new() };
        Ok(Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            maps: maps.into_iter().collect::<Result<_>>()?,
            decoders: decoders.into_iter().collect::<Result<_>>()?,
        })
    }

    /// The training of these networks: batch ports `items/<modality>` f32 `[batch, coordinates]`, and with a
    /// mask those of [`BatchMask::new`].
    pub(crate) fn objective(
        &self,
        parameters: &MlpParameters,
        terms: &LossTerms,
        seed: u64,
    ) -> Result<Objective> {
        let mut b = Builder::new("mlp");
        let mask = match terms.masked {
            true => {
                let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
                Some(BatchMask::new(&mut b, &names)?)
            }
            false => None,
        };
        let mut random = Vec::new();
        let mapped = (0..self.names.len())
            .map(|at| self.mapped(&mut b, at, parameters, terms.noise[at], mask.as_ref(), &mut random))
            .collect::<Result<Vec<_>>>()?;
        let mut trainable: Vec<String> =
            self.networks().flat_map(Network::trainable).map(str::to_owned).collect();
        let [mut loss, mut validation] =
            align(&mut b, parameters, &terms.pairs, &mapped, mask.as_ref(), &mut trainable);
        let errors: Option<Vec<[Value; 2]>> = mapped.iter().map(|mapped| mapped.errors.clone()).collect();
        if let Some(errors) = errors {
            b.output("alignment", &loss, DType::F32, &[]);
            let [trained, validated] = [0, 1].map(|at| {
                let mut parts = errors.iter().map(|both| both[at].clone());
                let first = parts.next().unwrap_or_else(Value::none);
                parts.fold(first, |sum, part| b.add(&sum, &part))
            });
            b.output("reconstruction", &trained, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, parameters.reconstruction, &trained);
            validation = losses::plus(&mut b, &validation, parameters.reconstruction, &validated);
        }
        b.output("loss", &loss, DType::F32, &[]);
        b.output("validation", &validation, DType::F32, &[]);
        let after = self.spectral_norm(&mut b, parameters, seed)?;
        let names: Vec<&str> = trainable.iter().map(String::as_str).collect();
        let mut objective = Objective::new(b.finish()?, &names)?;
        for (port, draw) in random {
            objective = objective.with_random(&port, draw);
        }
        objective.after = after;
        Ok(objective)
    }

    /// Replaces the weights by trained ones.
    pub(crate) fn load(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        self.maps.iter_mut().chain(&mut self.decoders).try_for_each(|network| network.load(trained))
    }

    fn networks(&self) -> impl Iterator<Item = &Network> {
        self.maps.iter().chain(&self.decoders)
    }

    /// Adds one modality's ports and networks to the graph, and its ports of random numbers to `random`.
    fn mapped(
        &self,
        b: &mut Builder,
        at: usize,
        parameters: &MlpParameters,
        noise: f64,
        mask: Option<&BatchMask>,
        random: &mut Vec<(String, NoiseDistribution)>,
    ) -> Result<MappedItems> {
        let (name, shape) = (&self.names[at], self.maps[at].shape());
        let port = |b: &mut Builder, name: &str, width: usize| {
            b.input(name, DType::F32, &[Dim::named("batch"), width.into()])
        };
        let items = port(b, &format!("items/{name}"), shape.input)?;
        let mut noisy = items.clone();
        if noise > 0.0 {
            let name = format!("noise/{name}");
            let drawn = port(b, &name, shape.input)?;
            noisy = losses::plus(b, &items, noise, &drawn);
            random.push((name, NoiseDistribution::Normal));
        }
        let mut dropout = None;
        if parameters.dropout > 0.0 && shape.hidden > 0 {
            let name = format!("dropout/{name}");
            dropout = Some(port(b, &name, shape.hidden)?);
            random.push((name, NoiseDistribution::Mask { keep: 1.0 - parameters.dropout }));
        }
        let map = self.maps[at].bind(b);
        let outputs =
            [map.forward(b, &noisy, dropout.as_ref()), map.forward(b, &items, None), map.start(b, &items)];
        let [trained, clean, start] = outputs.map(|output| b.l2_normalise(&output, -1, TINY));
        let joined = b.concat(&[&clean, &start], 1);
        let validated = b.mul_scalar(&joined, std::f32::consts::FRAC_1_SQRT_2);
        let errors = self.decoders.get(at).map(|decoder| {
            let decoder = decoder.bind(b);
            [&trained, &clean].map(|z| {
                let decoded = decoder.forward(b, z, None);
                let difference = b.sub(&decoded, &items);
                let squares = b.mul(&difference, &difference);
                match mask {
                    None => losses::mean(b, &squares),
                    Some(mask) => {
                        let axes: &[i64] = &[-1];
                        let attributes = [("axes", axes.into()), ("keepdims", 0.into())];
                        let means = b.op("ReduceMean", &[&squares], &attributes);
                        mask.mean(b, &means, at)
                    }
                }
            })
        });
        Ok(MappedItems { trained, validated, errors })
    }

    /// The bounds on the layers, and the vectors of their power iterations as weights of the objective.
    fn spectral_norm(&self, b: &mut Builder, parameters: &MlpParameters, seed: u64) -> Result<Option<Graph>> {
        let Some(limit) = parameters.spectral_norm else { return Ok(None) };
        if parameters.hidden == 0 {
            return Err(Error::invalid(
                "parameter `spectral_norm`: expected hidden units to bound, got `hidden` = 0",
            ));
        }
        let mut after = Builder::new("spectral_norm");
        for (network, seed) in self.networks().zip(seed..) {
            let vectors = network.power_vectors(seed)?;
            #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
            network.spectral_norm(&mut after, limit as f32, &vectors)?;
            vectors.into_iter().for_each(|(name, vector)| {
                b.constant(&name, vector);
            });
        }
        Ok(Some(after.finish()?))
    }
}

/// The alignment losses of the training and of the validation; their own weights are added to `trainable`.
fn align(
    b: &mut Builder,
    parameters: &MlpParameters,
    pairs: &[(usize, usize)],
    mapped: &[MappedItems],
    mask: Option<&BatchMask>,
    trainable: &mut Vec<String>,
) -> [Value; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    let mut scalar = |b: &mut Builder, name: &str, first: f64| {
        trainable.push(name.to_owned());
        b.constant(name, Tensor::scalar(first as f32))
    };
    let temperature = match parameters.loss {
        MlpLoss::Mse => None,
        MlpLoss::Infonce | MlpLoss::Siglip => {
            Some(scalar(b, "loss/log_temperature", parameters.temperature.ln()))
        }
    };
    let bias = match parameters.loss {
        // the log odds of a pair among a batch
        MlpLoss::Siglip => Some(scalar(b, "loss/bias", -(parameters.batch as f64).ln())),
        MlpLoss::Mse | MlpLoss::Infonce => None,
    };
    let masks: Vec<_> =
        pairs.iter().map(|&(first, second)| mask.map(|mask| mask.pair(b, [first, second]))).collect();
    let views: [fn(&MappedItems) -> &Value; 2] = [|mapped| &mapped.trained, |mapped| &mapped.validated];
    views.map(|of| {
        let terms: Vec<Value> = pairs
            .iter()
            .zip(&masks)
            .map(|(&(first, second), mask)| {
                let (x, y, mask) = (of(&mapped[first]), of(&mapped[second]), mask.as_ref());
                match (&temperature, &bias) {
                    (Some(temperature), Some(bias)) => losses::siglip(b, x, y, [temperature, bias], mask),
                    (Some(temperature), None) => losses::infonce(b, x, y, temperature, mask),
                    _ => losses::squared(b, x, y, mask),
                }
            })
            .collect();
        losses::average(b, &terms)
    })
}

/// The graph of a projection, `x` to `u`.
pub(crate) fn projection_graph(projection: &PrincipalProjection) -> Result<Graph> {
    projection.graph().map_err(plugin_error)
}
