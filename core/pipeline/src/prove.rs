//! What must hold before a merged model is handed out: frozen weights untouched, and the merged model computes what
//! its parts compute. A failure is a gate: no run folder appears.

use crate::{
    Error, Plan, Workbench,
    cache::Key,
    compose::{embeds, fused_output},
    encoder::EncoderPlan,
    fit::{Merged, input_names},
    fuse::Fusion,
    plan::ModalityPlan,
};
use chiasm_graph::Tensor;
use chiasm_runtime::Session;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Largest absolute difference allowed between staged and merged outputs: embeddings are unit vectors in f32, and
/// the two ways differ only in how ONNX Runtime fuses and orders the same sums.
pub const TOLERANCE: f32 = 1e-4;
/// Held-out rows that both ways are compared on.
const ROWS: usize = 8;

/// What was proved.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// Rows compared.
    pub rows: usize,
    /// The largest absolute difference allowed.
    pub tolerance: f32,
    /// The largest absolute difference seen, by output.
    pub staged_against_merged: BTreeMap<String, f32>,
    /// Encoder to sha256 over its weights: the same before and after.
    pub frozen_weights: BTreeMap<String, String>,
    /// The provider that really ran the merged model.
    pub provider: String,
}

/// Proves a merged model on held-out rows.
///
/// # Errors
/// [`Error::Gate`], naming the encoder whose weights changed or the first output that differs; else the engine's.
pub fn merged(plan: &Plan, merged: &Merged, test: &[usize], bench: &Workbench) -> Result<Proof, Error> {
    let frozen_weights = frozen(plan, merged)?;
    let rows: Vec<usize> = test.iter().copied().take(ROWS).collect();
    let whole = bench.session(&merged.graph)?;
    let mut differences: BTreeMap<String, f32> = BTreeMap::new();
    let staged = Staged::open(plan, merged, bench)?;
    for &row in &rows {
        let inputs = raw_inputs(plan, row)?;
        let expected = staged.run(plan, row)?;
        let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let got = whole.run(&borrowed)?;
        for (name, expected) in &expected {
            let got = got.iter().find(|(n, _)| n == name).map(|(_, t)| t);
            let difference = got.map_or(f32::INFINITY, |got| largest_difference(expected, got));
            let seen = differences.entry(name.clone()).or_default();
            *seen = seen.max(difference);
        }
    }
    let order: Vec<String> = merged.graph.outputs().into_iter().map(|port| port.name).collect();
    for name in order {
        if let Some(difference) = differences.get(&name).filter(|d| **d > TOLERANCE) {
            return Err(Error::Gate(format!(
                "the merged model does not reproduce its parts: {name} differs by {difference:e}, at most {TOLERANCE:e} is allowed; no run folder was made"
            )));
        }
    }
    let provider = whole.device_used().to_owned();
    Ok(Proof {
        rows: rows.len(),
        tolerance: TOLERANCE,
        staged_against_merged: differences,
        frozen_weights,
        provider,
    })
}

/// The outputs of an encoder that the merged model uses, pooled first.
fn used(merged: &Merged, modality: &ModalityPlan, index: usize) -> &'static [&'static str] {
    let reads = |fusion: &Fusion| fusion.reads_tokens(&modality.name);
    let tokens = index == 0 && merged.fusion.as_ref().is_some_and(reads);
    if tokens { &["pooled", "tokens", "mask"] } else { &["pooled"] }
}

/// Every weight of every encoder and of every map is in the merged model, byte for byte.
fn frozen(plan: &Plan, merged: &Merged) -> Result<BTreeMap<String, String>, Error> {
    let there: BTreeSet<String> = merged.graph.weight_hashes().into_values().collect();
    let mut proved = BTreeMap::new();
    let encoders =
        plan.modalities.iter().flat_map(|m| m.encoders.iter().enumerate().map(move |(i, e)| (m, i, e)));
    for (modality, index, encoder) in encoders {
        let used = encoder
            .graph
            .extract(used(merged, modality, index))
            .map_err(Error::graph(format!("the weights of {:?}", encoder.name)))?;
        let mut key = Key::default();
        for (name, hash) in used.weight_hashes() {
            if !there.contains(&hash) {
                return Err(Error::Gate(format!(
                    "the weight {name:?} of {:?} is not in the merged model as it was: frozen weights must not change",
                    encoder.name
                )));
            }
            key.add(name).add(hash);
        }
        proved.insert(encoder.name.clone(), key.finish());
    }
    for head in merged.maps.heads() {
        let lost = head.graph()?.weight_hashes().into_iter().find(|(_, hash)| !there.contains(hash));
        if let Some((name, _)) = lost {
            let map = head.modality;
            return Err(Error::Gate(format!(
                "the weight {name:?} of the map of {map:?} is not in the merged model as it was: only a fusion may be trained after it"
            )));
        }
    }
    Ok(proved)
}

/// The largest absolute difference; infinite when shapes differ or anything is NaN.
pub(crate) fn largest_difference(expected: &Tensor, got: &Tensor) -> f32 {
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

/// The first item of a row, prepared for every encoder, with a batch axis and the merged model's names.
fn raw_inputs(plan: &Plan, row: usize) -> Result<Vec<(String, Tensor)>, Error> {
    let encoders = plan.modalities.iter().flat_map(|m| m.encoders.iter().map(move |e| (m, e)));
    let mut inputs = Vec::new();
    for ((modality, encoder), names) in encoders.zip(input_names(plan)) {
        for (name, tensor) in prepared(encoder, modality, row)? {
            if let Some((_, merged)) = names.iter().find(|(own, _)| *own == name) {
                inputs.push((merged.clone(), tensor));
            }
        }
    }
    Ok(inputs)
}

fn prepared(
    encoder: &EncoderPlan,
    modality: &ModalityPlan,
    row: usize,
) -> Result<Vec<(String, Tensor)>, Error> {
    let tensors = encoder.prepare(&modality.items[row][0])?;
    encoder
        .inputs
        .iter()
        .zip(tensors)
        .map(|(input, tensor)| Ok((input.name.clone(), batch_of_one(tensor)?)))
        .collect()
}

/// A tensor with a batch axis of length 1 in front.
pub fn batch_of_one(tensor: Tensor) -> Result<Tensor, Error> {
    let shape: Vec<usize> = std::iter::once(1).chain(tensor.shape().iter().copied()).collect();
    tensor.reshaped(&shape).map_err(|e| Error::Internal(e.to_string()))
}

/// The same computation in stages: each encoder alone, then each head, then the fusion.
struct Staged {
    encoders: Vec<Vec<Session>>,
    heads: Vec<(Vec<String>, Session)>,
    fusion: Option<Session>,
    z: Vec<String>,
}

impl Staged {
    fn open(plan: &Plan, merged: &Merged, bench: &Workbench) -> Result<Self, Error> {
        let mut encoders = Vec::new();
        let mut heads = Vec::new();
        let mut z = Vec::new();
        for (modality, head) in plan.modalities.iter().zip(merged.maps.heads()) {
            let sessions: Result<Vec<_>, Error> = (modality.encoders.iter().enumerate())
                .map(|(index, e)| {
                    let part = e.graph.extract(used(merged, modality, index));
                    bench.session(&part.map_err(Error::graph(format!("{:?}", e.name)))?)
                })
                .collect();
            encoders.push(sessions?);
            let outputs =
                if head.bank.is_some() { vec![embeds(&modality.name), head.z()] } else { vec![head.z()] };
            heads.push((outputs, bench.session(&head.graph()?)?));
            z.push(head.z());
        }
        let fusion = merged.fusion.as_ref().map(|fusion| {
            let outputs = fusion.graph.outputs().into_iter().map(|port| port.name);
            let outputs: Vec<String> = outputs.filter(|name| !name.starts_with("attention.")).collect();
            let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
            bench.session(&fusion.graph.extract(&outputs).map_err(Error::graph("the fusion"))?)
        });
        Ok(Self { encoders, heads, fusion: fusion.transpose()?, z })
    }

    fn run(&self, plan: &Plan, row: usize) -> Result<Vec<(String, Tensor)>, Error> {
        let mut outputs = Vec::new();
        let mut fused_inputs = Vec::new();
        for (side, modality) in plan.modalities.iter().enumerate() {
            let mut pooled = Vec::new();
            for (encoder, session) in modality.encoders.iter().zip(&self.encoders[side]) {
                let inputs = prepared(encoder, modality, row)?;
                let wanted: Vec<(&str, &Tensor)> = (inputs.iter())
                    .filter(|(name, _)| session.inputs().iter().any(|port| port.name == *name))
                    .map(|(name, tensor)| (name.as_str(), tensor))
                    .collect();
                for (name, tensor) in session.run(&wanted)? {
                    match name.as_str() {
                        "pooled" => pooled.extend_from_slice(tensor.as_f32().unwrap_or_default()),
                        _ => fused_inputs.push((format!("{}.{name}", modality.name), tensor)),
                    }
                }
            }
            let pooled =
                Tensor::f32(&[1, pooled.len()], pooled).map_err(|e| Error::Internal(e.to_string()))?;
            let (names, head) = &self.heads[side];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let input = format!("{}/pooled", modality.name);
            for (name, tensor) in head.run_outputs(&[(&input, &pooled)], &names)? {
                if name == self.z[side] {
                    fused_inputs.push((format!("{}.pooled", modality.name), tensor.clone()));
                }
                if name == embeds(&modality.name) {
                    outputs.push((name, tensor));
                }
            }
        }
        if let Some(fusion) = &self.fusion {
            let inputs: Vec<(&str, &Tensor)> = (fused_inputs.iter())
                .filter(|(name, _)| fusion.inputs().iter().any(|port| port.name == *name))
                .map(|(name, tensor)| (name.as_str(), tensor))
                .collect();
            outputs
                .extend(fusion.run(&inputs)?.into_iter().map(|(name, tensor)| (fused_output(&name), tensor)));
        }
        Ok(outputs)
    }
}
