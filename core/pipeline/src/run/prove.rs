//! What must hold before a merged model is handed out: the frozen weights are untouched, and `model.onnx`
//! computes what its parts compute. A failure is a gate: no run folder appears.

use super::{
    graphs::{embeds, fused_output, pooled},
    open::Run,
};
use crate::{
    base::{digest::KeyHasher, environment::Environment, error::Error},
    catalog::{encoder::Encoder, raw::RawItem},
    plan::ModalityEncoders,
};
use chiasm_graph::{Graph, Tensor};
use chiasm_runtime::Session;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Largest absolute difference allowed between staged and merged outputs: embeddings are unit vectors in f32,
/// and the two ways differ only in how ONNX Runtime fuses and orders the same sums.
pub const TOLERANCE: f32 = 1e-4;
/// Combinations of held-out items that both ways are compared on.
const ROWS: usize = 8;

/// What was proved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proof {
    /// Combinations of items compared.
    pub rows: usize,
    /// The largest absolute difference allowed.
    pub tolerance: f32,
    /// The largest absolute difference seen, by output.
    pub staged_against_merged: BTreeMap<String, f32>,
    /// `modality/encoder` to sha256 over its weights: the same before and after.
    pub frozen_weights: BTreeMap<String, String>,
    /// The provider that really ran the merged model.
    pub provider: String,
}

impl Run<'_> {
    /// Proves the run's `model.onnx` against the encoders that it was made from, on some held-out items of
    /// each modality (the i-th of one beside the i-th of the others).
    ///
    /// # Errors
    /// [`Error::Gate`], naming the encoder whose weights changed or the first output that differs; else the
    /// engine's.
    pub fn prove(&self, encoders: &[ModalityEncoders], items: &[Vec<RawItem>]) -> Result<Proof, Error> {
        let model = &self.merged;
        let frozen_weights = self.frozen(encoders, model)?;
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
                    "the merged model does not reproduce its parts: {} differs by {difference:e}, at most \
                     {TOLERANCE:e} is allowed; no run folder was made",
                    port.name
                )));
            }
        }
        let provider = whole.device_used().to_owned();
        let staged_against_merged = differences;
        Ok(Proof { rows, tolerance: TOLERANCE, staged_against_merged, frozen_weights, provider })
    }

    /// The outputs of an encoder that the merged model uses, pooled first.
    fn used(&self, modality: &str, encoder: usize) -> &'static [&'static str] {
        let tokens = encoder == 0 && self.model.reads_tokens(modality);
        if tokens { &["pooled", "tokens", "mask"] } else { &["pooled"] }
    }

    /// Every weight of every encoder and of every map is in the merged model, byte for byte.
    fn frozen(
        &self,
        encoders: &[ModalityEncoders],
        model: &Graph,
    ) -> Result<BTreeMap<String, String>, Error> {
        let there: BTreeSet<String> = model.weight_hashes().into_values().collect();
        let mut proved = BTreeMap::new();
        for modality in encoders {
            for (at, encoder) in modality.encoders.iter().enumerate() {
                let used = encoder.graph.extract(self.used(&modality.name, at));
                let used = used.map_err(Error::graph(format!("the weights of {:?}", encoder.name)))?;
                let mut key = KeyHasher::default();
                for (name, hash) in used.weight_hashes() {
                    if !there.contains(&hash) {
                        return Err(Error::Gate(format!(
                            "the weight {name:?} of {:?} is not in the merged model as it was: frozen weights \
                             must not change",
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
                    "the weight {name:?} of the map of {:?} is not in the merged model as it was: only a \
                     fusion may be trained after it",
                    head.modality
                )));
            }
        }
        Ok(proved)
    }

    /// One item of each modality, prepared for every encoder, with a batch axis and the merged model's names.
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

/// The largest absolute difference; infinite when shapes differ or anything is NaN.
pub fn largest_difference(expected: &Tensor, got: &Tensor) -> f32 {
    match (expected.as_f32(), got.as_f32()) {
        (Some(a), Some(b)) if expected.shape() == got.shape() => {
            // a NaN must not hide: it compares as infinitely different
            let difference =
                |(a, b): (&f32, &f32)| if a.is_nan() || b.is_nan() { f32::INFINITY } else { (a - b).abs() };
            a.iter().zip(b).map(difference).fold(0.0, f32::max)
        }
        _ => f32::INFINITY,
    }
}

/// A tensor with a batch axis of length 1 in front.
fn batch_of_one(tensor: Tensor) -> Result<Tensor, Error> {
    let shape: Vec<usize> = std::iter::once(1).chain(tensor.shape().iter().copied()).collect();
    tensor.reshaped(&shape).map_err(|e| Error::Internal(e.to_string()))
}

/// The same computation in stages: each encoder alone, then each head, then the fusion.
struct StagedModel {
    encoders: Vec<Vec<Session>>,
    heads: Vec<HeadSession>,
    fusion: Option<Session>,
}

/// A head with the names of its outputs.
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
                let part = encoder.graph.extract(run.used(&modality.name, at));
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

    /// The merged model's outputs for one item of each modality.
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
