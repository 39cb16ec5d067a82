//! The objective that trains a member.
//!
//! ```text
//! z_m  = unit(f_m(u_m + noise))          u_m: principal coordinates of an item of modality m
//! loss = sum over terms of  weight * term
//! ```
//!
//! The mean square of a coordinate is one, so that a decoder's error is the share of the variance that it
//! misses. Validation has neither noise nor dropout. Its terms on scores measure the network joined with its
//! start, each with half of the score: on a few hundred rows a network alone has a lower recall than its
//! start, and both together have a higher one.

use chiasm_plugin::graph::{Builder, DType, Dim, Tensor, Value};
use chiasm_plugin::objective::{NoiseDistribution, Objective};
use chiasm_plugin::{Error, Result};

use super::model::HeadMember;
use super::parameters::HeadParameters;
use crate::network::{BoundNetwork, Network};
use crate::terms::{self, TermBatch, TermNetwork, first_rows, plus};
use crate::{BatchMask, NetworkShape};

/// Terms that compare items by their scores, and trained scalars.
const SCORED: [&str; 5] = ["infonce", "siglip", "paired_mse", "gram_volume", "task"];

/// The port with the class of each example.
pub(super) const LABEL_PORT: &str = "example/label";

/// What an objective is made of besides the member and the parameters.
#[derive(Debug)]
pub(super) struct HeadObjective {
    /// The terms and their weights.
    pub terms: Vec<(&'static str, f64)>,
    /// Pairs of modalities.
    pub pairs: Vec<(usize, usize)>,
    /// The modality that the Gram volume compares with the others.
    pub anchor: usize,
    /// Whether examples lack modalities or share rows.
    pub masked: bool,
    /// Whether the batch has labels.
    pub labelled: bool,
    /// The standard deviation of the noise on each modality's coordinates.
    pub noise: Vec<f64>,
}

/// The values of all modalities, with noise and dropout or without.
#[derive(Default)]
struct MappedItems {
    source: Vec<Value>,
    /// With noise and dropout, `[batch, width]`.
    trained: Vec<Value>,
    /// Without them.
    clean: Vec<Value>,
    /// Without them and joined with the start, `[batch, 2 width]`.
    joined: Vec<Value>,
    start: Vec<Value>,
    directions: Vec<Option<Value>>,
    maps: Vec<BoundNetwork>,
    decoders: Vec<BoundNetwork>,
    random: Vec<(String, NoiseDistribution)>,
}

impl MappedItems {
    /// The map of each modality, with these images, on the first `count` examples.
    fn networks(&self, b: &mut Builder, images: &[Value], count: usize) -> Vec<TermNetwork> {
        let mut network = |modality: usize| {
            let source = first_rows(b, &self.source[modality], count);
            TermNetwork {
                modality,
                values: self.maps[modality].evaluate(b, &source, None),
                network: self.maps[modality].clone(),
                images: first_rows(b, &images[modality], count),
                unit: true,
                direction: self.directions[modality].as_ref().map(|signs| first_rows(b, signs, count)),
            }
        };
        (0..self.maps.len()).map(&mut network).collect()
    }
}

impl HeadObjective {
    fn has(&self, name: &str) -> bool {
        self.terms.iter().any(|(own, _)| *own == name)
    }

    /// The training of a member: batch ports `items/<modality>` f32 `[batch, coordinates]`, and with a mask
    /// those of [`BatchMask::new`]; with labels `example/label` i64 `[batch]`.
    pub fn build(&self, member: &HeadMember, parameters: &HeadParameters, seed: u64) -> Result<Objective> {
        self.check_terms()?;
        let mut b = Builder::new("heads");
        let names: Vec<&str> = member.names.iter().map(String::as_str).collect();
        let mask = if self.masked { Some(BatchMask::new(&mut b, &names)?) } else { None };
        let labels = self.labels(&mut b)?;
        let mut mapped = MappedItems::default();
        for at in 0..names.len() {
            self.map(&mut b, member, at, parameters, &mut mapped)?;
        }
        let training_mask = match &mask {
            Some(mask) if parameters.modality_dropout > 0.0 => {
                let kept = drawn_presence(&mut b, &names, parameters.modality_dropout, &mut mapped)?;
                Some(mask.clone().dropped(&mut b, &kept))
            }
            _ => mask.clone(),
        };
        let mut trainable: Vec<String> =
            member.networks().flat_map(Network::trainable).map(str::to_owned).collect();
        let [log_tau, bias] = self.scalars(&mut b, parameters, &mut trainable);
        let width = member.maps[0].shape().output;
        let count = parameters.settings.structure_rows;
        let [trained, clean] =
            [&mapped.trained, &mapped.clean].map(|images| mapped.networks(&mut b, images, count));
        let start: Vec<Value> = mapped.start.iter().map(|rows| first_rows(&mut b, rows, count)).collect();
        let batch = |values, networks, mask, width| TermBatch {
            pairs: &self.pairs,
            anchor: self.anchor,
            mask,
            labels: labels.as_ref(),
            source: &mapped.source,
            mapped: values,
            maps_parts: false,
            start: &start,
            networks,
            maps: &mapped.maps,
            decoders: &mapped.decoders,
            width,
            log_tau: &log_tau,
            bias: &bias,
            settings: parameters.settings,
        };
        let training = batch(mapped.trained.as_slice(), trained.as_slice(), training_mask.as_ref(), width);
        let loss = self.sum(&mut b, |_| &training, true);
        let alone = batch(mapped.clean.as_slice(), clean.as_slice(), mask.as_ref(), width);
        let joined = batch(mapped.joined.as_slice(), clean.as_slice(), mask.as_ref(), 2 * width);
        let validation =
            self.sum(&mut b, |name| if SCORED.contains(&name) { &joined } else { &alone }, false);
        b.output("loss", &loss, DType::F32, &[]);
        b.output("validation", &validation, DType::F32, &[]);
        let after = member.spectral_norm(&mut b, parameters, seed)?;
        let names: Vec<&str> = trainable.iter().map(String::as_str).collect();
        let mut objective = Objective::new(b.finish()?, &names)?;
        for (port, draw) in mapped.random {
            objective = objective.with_random(&port, draw);
        }
        objective.after = after;
        Ok(objective)
    }

    /// Fails if no term compares items.
    fn check_terms(&self) -> Result<()> {
        if self.terms.iter().any(|(name, _)| *name != "smoothness") {
            return Ok(());
        }
        let got = if self.terms.is_empty() { "none" } else { "`smoothness` alone" };
        Err(Error::invalid(format!(
            "parameter `terms`: expected a term with a weight above 0 that compares items, got {got}; for \
             InfoNCE set `infonce = 1.0`"
        )))
    }

    /// The port of the labels, if a term reads them.
    fn labels(&self, b: &mut Builder) -> Result<Option<Value>> {
        if !self.labelled {
            return Ok(None);
        }
        Ok(Some(b.input(LABEL_PORT, DType::I64, &[Dim::named("batch")])?))
    }

    /// The weighted sum of the terms; with `recorded` each is an output too, if there are several.
    fn sum<'a>(&self, b: &mut Builder, batch: impl Fn(&str) -> &'a TermBatch<'a>, recorded: bool) -> Value {
        let mut sum: Option<Value> = None;
        for (name, weight) in &self.terms {
            let value = terms::term(b, batch(name), name).unwrap_or_else(Value::none);
            if recorded && self.terms.len() > 1 {
                b.output(name, &value, DType::F32, &[]);
            }
            let base = sum.take().unwrap_or_else(|| b.scalar(0.0));
            sum = Some(if self.terms.len() == 1 && *weight == 1.0 {
                value
            } else {
                plus(b, &base, *weight, &value)
            });
        }
        sum.unwrap_or_else(Value::none)
    }

    /// The logarithm of the temperature and SigLIP's bias; those that a term uses are trained.
    fn scalars(
        &self,
        b: &mut Builder,
        parameters: &HeadParameters,
        trainable: &mut Vec<String>,
    ) -> [Value; 2] {
        let sharp = ["infonce", "siglip", "gram_volume", "task"].iter().any(|name| self.has(name));
        // the log odds of a pair among a batch
        let bias = -(parameters.batch as f64).ln();
        [("loss/log_tau", parameters.tau.ln(), sharp), ("loss/bias", bias, self.has("siglip"))].map(
            |(name, first, used)| {
                if used {
                    trainable.push(name.to_owned());
                }
                #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
                b.constant(name, Tensor::scalar(first as f32))
            },
        )
    }

    /// Adds one modality's ports and networks to the graph.
    fn map(
        &self,
        b: &mut Builder,
        member: &HeadMember,
        at: usize,
        parameters: &HeadParameters,
        mapped: &mut MappedItems,
    ) -> Result<()> {
        let NetworkShape { input, hidden, .. } = member.maps[at].shape();
        let name = &member.names[at];
        let port = |b: &mut Builder, kind: &str, width: usize| {
            let name = format!("{kind}/{name}");
            let value = b.input(&name, DType::F32, &[Dim::named("batch"), width.into()])?;
            Ok::<_, Error>((name, value))
        };
        let (_, items) = port(b, "items", input)?;
        let mut noisy = items.clone();
        if self.noise[at] > 0.0 {
            let (name, drawn) = port(b, "noise", input)?;
            noisy = plus(b, &items, self.noise[at], &drawn);
            mapped.random.push((name, NoiseDistribution::Normal));
        }
        let mut dropout = None;
        if parameters.dropout > 0.0 && hidden > 0 {
            let (name, drawn) = port(b, "dropout", hidden)?;
            dropout = Some(drawn);
            mapped.random.push((name, NoiseDistribution::Mask { keep: 1.0 - parameters.dropout }));
        }
        let mut direction = None;
        if self.has("smoothness") {
            let (name, drawn) = port(b, "direction", input)?;
            direction = Some(drawn);
            mapped.random.push((name, NoiseDistribution::Sign));
        }
        mapped.directions.push(direction);
        let map = member.maps[at].bind(b);
        let outputs =
            [map.forward(b, &noisy, dropout.as_ref()), map.forward(b, &items, None), map.start(b, &items)];
        let [trained, clean, start] = outputs.map(|output| b.l2_normalise(&output, -1, crate::LEAST_LENGTH));
        let joined = b.concat(&[&clean, &start], 1);
        mapped.joined.push(b.mul_scalar(&joined, std::f32::consts::FRAC_1_SQRT_2));
        mapped.source.push(items);
        mapped.trained.push(trained);
        mapped.clean.push(clean);
        mapped.start.push(start);
        mapped.maps.push(map);
        mapped.decoders.extend(member.decoders.get(at).map(|decoder| decoder.bind(b)));
        Ok(())
    }
}

/// Ports that hide modalities of examples at random: 0 with this probability, f32 `[batch]`.
fn drawn_presence(
    b: &mut Builder,
    names: &[&str],
    hidden: f64,
    mapped: &mut MappedItems,
) -> Result<Vec<Value>> {
    let mut kept = Vec::new();
    for name in names {
        let name = format!("kept/{name}");
        kept.push(b.input(&name, DType::F32, &[Dim::named("batch")])?);
        mapped.random.push((name, NoiseDistribution::Mask { keep: 1.0 - hidden }));
    }
    Ok(kept)
}
