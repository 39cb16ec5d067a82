//! The proof of a merged model: the frozen weights are unchanged, and `model.onnx` reproduces the outputs of
//! its parts. Without it, no run folder is written.

use super::{
    graphs::{embeds, fused_output, pooled},
    open::Run,
};
use crate::{
    base::{digest::KeyHasher, environment::Environment, error::Error},
    catalog::{encoder::Encoder, raw::RawItem},
    embed::batch_effect::BatchEffect,
    plan::ModalityEncoders,
};
use chiasm_graph::{Graph, Tensor};
use chiasm_runtime::Session;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The largest absolute difference allowed between the merged model and its parts. Embeddings are unit
/// vectors in f32, and ONNX Runtime may fuse and order the same sums differently.
pub const TOLERANCE: f32 = 1e-4;
/// Maximum number of combinations of items that are compared.
const ROWS: usize = 8;

/// The result of the comparison of a merged model with its parts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proof {
    /// Number of combinations of items that were compared.
    pub rows: usize,
    /// The largest absolute difference allowed.
    pub tolerance: f32,
    /// The largest absolute difference of each output.
    pub staged_against_merged: BTreeMap<String, f32>,
    /// The SHA-256 of the weights of each encoder, by `modality/encoder`.
    pub frozen_weights: BTreeMap<String, String>,
    /// The execution provider that ran the merged model.
    pub provider: String,
    /// How the vectors of each encoder depend on their batch, by `modality/encoder`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub batch_effects: BTreeMap<String, BatchEffect>,
}

impl Run<'_> {
    /// Compares `model.onnx` with the encoders that it was joined from, on some items of each modality. The
    /// i-th items of all modalities are run together.
    ///
    /// # Errors
    /// [`Error::Gate`] if the weights of an encoder changed or an output differs. Also if an item cannot be
    /// read or the engine fails.
    pub fn prove(&self, encoders: &[ModalityEncoders], items: &[Vec<RawItem>]) -> Result<Proof, Error> {
        let model = &self.merged;
        let frozen_weights = self.check_frozen_weights(encoders, model)?;
        let whole = self.env.session(model)?;
        let staged = StagedModel::open(self, encoders)?;
        let mut differences: BTreeMap<String, f32> = BTreeMap::new();
        let rows = items.iter().map(Vec::len).max().unwrap_or_default().min(ROWS);
        for row in 0..rows {
            let raws: Vec<&RawItem> =
                items.iter().filter_map(|items| items.get(row % items.len().max(1))).collect();
            let inputs = self.merged_inputs(encoders, &raws)?;
            let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
            let got = whole.run(&borrowed)?;
            for (name, expected) in staged.run(encoders, &raws)? {
                let got = got.iter().find(|(n, _)| *n == name).map(|(_, t)| t);
                let difference = got.map_or(f32::INFINITY, |got| largest_difference(&expected, got));
                let seen = differences.entry(name).or_default();
                *seen = seen.max(difference);
            }
        }
        for port in model.outputs() {
            if let Some(difference) = differences.get(&port.name).filter(|d| **d > TOLERANCE) {
                return Err(Error::Gate(format!(
                    "the merged model does not reproduce its parts: {} differs by {difference:e}, the limit \
                     is {TOLERANCE:e}; no run folder was written",
                    port.name
                )));
            }
        }
        let provider = whole.device_used().to_owned();
        let staged_against_merged = differences;
        let batch_effects = BTreeMap::new();
        Ok(Proof {
            rows,
            tolerance: TOLERANCE,
            staged_against_merged,
            frozen_weights,
            provider,
            batch_effects,
        })
    }

    /// Returns the outputs of an encoder that the merged model uses, starting with `pooled`.
    fn used(&self, modality: &str, encoder: usize) -> Vec<&'static str> {
        let ports = if encoder == 0 { self.model.token_ports(modality) } else { Vec::new() };
        std::iter::once("pooled").chain(ports).collect()
    }

    /// Checks that every weight of every encoder and map is in the merged model, byte for byte. Returns the
    /// digest of each encoder's weights.
    fn check_frozen_weights(
        &self,
        encoders: &[ModalityEncoders],
        model: &Graph,
    ) -> Result<BTreeMap<String, String>, Error> {
        let there: BTreeSet<String> = model.weight_hashes().into_values().collect();
        let mut proved = BTreeMap::new();
        for modality in encoders {
            for (at, encoder) in modality.encoders.iter().enumerate() {
                let used = encoder.graph.extract(&self.used(&modality.name, at));
                let used = used.map_err(Error::graph(format!("the weights of {:?}", encoder.name)))?;
                let mut key = KeyHasher::default();
                for (name, hash) in used.weight_hashes() {
                    if !there.contains(&hash) {
                        return Err(Error::Gate(format!(
                            "the frozen weight {name:?} of {:?} is missing from the merged model, or was \
                             changed",
                            encoder.name
                        )));
                    }
                    key.add(name).add(hash);
                }
                proved.insert(format!("{}/{}", modality.name, encoder.name), key.finish());
            }
        }
        for head in &self.model.heads {
            let lost = head.graph.weight_hashes().into_iter().find(|(_, hash)| !there.contains(hash));
            if let Some((name, _)) = lost {
                return Err(Error::Gate(format!(
                    "the weight {name:?} of the map of {:?} is missing from the merged model, or was changed",
                    head.modality
                )));
            }
        }
        Ok(proved)
    }

    /// Returns the merged model's inputs for one item of each modality, with a batch axis of length 1.
    fn merged_inputs(
        &self,
        encoders: &[ModalityEncoders],
        raws: &[&RawItem],
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let mut inputs = Vec::new();
        for ((modality, manifest), raw) in encoders.iter().zip(&self.manifest.modalities).zip(raws) {
            for (encoder, recorded) in modality.encoders.iter().zip(&manifest.encoders) {
                for (name, tensor) in prepared(encoder, raw)? {
                    inputs.extend(recorded.inputs.get(&name).map(|merged| (merged.clone(), tensor)));
                }
            }
        }
        inputs.retain(|(name, _)| self.merged.input(name).is_ok());
        Ok(inputs)
    }
}

fn prepared(encoder: &Encoder, raw: &RawItem) -> Result<Vec<(String, Tensor)>, Error> {
    let tensors = encoder.prepare(raw)?;
    let named = encoder.inputs.iter().zip(tensors);
    named.map(|(input, tensor)| Ok((input.name.clone(), batch_of_one(tensor)?))).collect()
}

/// Returns the largest absolute difference of two tensors. It is infinite if the shapes differ or a value is
/// NaN.
pub fn largest_difference(expected: &Tensor, got: &Tensor) -> f32 {
    match (expected.as_f32(), got.as_f32()) {
        (Some(a), Some(b)) if expected.shape() == got.shape() => {
            // `f32::max` would ignore a NaN.
            let difference =
                |(a, b): (&f32, &f32)| if a.is_nan() || b.is_nan() { f32::INFINITY } else { (a - b).abs() };
            a.iter().zip(b).map(difference).fold(0.0, f32::max)
        }
        _ => f32::INFINITY,
    }
}

/// Adds a batch axis of length 1 as the first axis.
fn batch_of_one(tensor: Tensor) -> Result<Tensor, Error> {
    let shape: Vec<usize> = std::iter::once(1).chain(tensor.shape().iter().copied()).collect();
    tensor.reshaped(&shape).map_err(|e| Error::Internal(e.to_string()))
}

/// The parts of a merged model in separate sessions: each encoder, each head, and the fusion.
struct StagedModel {
    encoders: Vec<Vec<Session>>,
    heads: Vec<HeadSession>,
    fusion: Option<Session>,
}

/// The session of a head.
struct HeadSession {
    modality: String,
    z: String,
    outputs: Vec<String>,
    session: Session,
}

impl StagedModel {
    fn open(run: &Run<'_>, encoders: &[ModalityEncoders]) -> Result<Self, Error> {
        let env: &Environment = run.env;
        let (mut all, mut heads) = (Vec::new(), Vec::new());
        for (modality, head) in encoders.iter().zip(&run.model.heads) {
            let mut sessions = Vec::new();
            for (at, encoder) in modality.encoders.iter().enumerate() {
                let part = encoder.graph.extract(&run.used(&modality.name, at));
                sessions.push(env.session(&part.map_err(Error::graph(format!("{:?}", encoder.name)))?)?);
            }
            all.push(sessions);
            let (z, own) = (head.z(), embeds(&head.modality));
            let outputs = if z == own { vec![own] } else { vec![own, z.clone()] };
            let session = env.session(&head.graph)?;
            heads.push(HeadSession { modality: head.modality.clone(), z, outputs, session });
        }
        let fusion = run.model.fusion.as_ref().map(|fusion| {
            let outputs = fusion.outputs().into_iter().map(|port| port.name);
            let outputs: Vec<String> = outputs.filter(|name| !name.starts_with("attention.")).collect();
            let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
            env.session(&fusion.extract(&outputs).map_err(Error::graph("the fusion"))?)
        });
        Ok(Self { encoders: all, heads, fusion: fusion.transpose()? })
    }

    /// Returns the outputs that the merged model should have for one item of each modality.
    fn run(&self, encoders: &[ModalityEncoders], raws: &[&RawItem]) -> Result<Vec<(String, Tensor)>, Error> {
        let mut outputs = Vec::new();
        let mut fused = Vec::new();
        for (at, modality) in encoders.iter().enumerate() {
            let mut values = Vec::new();
            for (encoder, session) in modality.encoders.iter().zip(&self.encoders[at]) {
                let inputs = prepared(encoder, raws[at])?;
                let wanted: Vec<(&str, &Tensor)> = (inputs.iter())
                    .filter(|(name, _)| session.inputs().iter().any(|port| port.name == *name))
                    .map(|(name, tensor)| (name.as_str(), tensor))
                    .collect();
                for (name, tensor) in session.run(&wanted)? {
                    match name.as_str() {
                        "pooled" => values.extend_from_slice(tensor.as_f32().unwrap_or_default()),
                        _ => fused.push((format!("{}.{name}", modality.name), tensor)),
                    }
                }
            }
            let tensor =
                Tensor::f32(&[1, values.len()], values).map_err(|e| Error::Internal(e.to_string()))?;
            let head = &self.heads[at];
            let names: Vec<&str> = head.outputs.iter().map(String::as_str).collect();
            for (name, tensor) in head.session.run_outputs(&[(&pooled(&head.modality), &tensor)], &names)? {
                if name == head.z {
                    fused.push((format!("{}.pooled", modality.name), tensor.clone()));
                }
                if name == embeds(&modality.name) {
                    outputs.push((name, tensor));
                }
            }
        }
        if let Some(fusion) = &self.fusion {
            let inputs: Vec<(&str, &Tensor)> = (fused.iter())
                .filter(|(name, _)| fusion.inputs().iter().any(|port| port.name == *name))
                .map(|(name, tensor)| (name.as_str(), tensor))
                .collect();
            outputs
                .extend(fusion.run(&inputs)?.into_iter().map(|(name, tensor)| (fused_output(&name), tensor)));
        }
        Ok(outputs)
    }
}
