//! The exported graphs of trained members.

use crate::plugin_error;
use chiasm_closed_form::PrincipalProjection;
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::{Inverse, InverseKind, Result};

use super::model::{HeadMember, projection_graph};

/// Members that share the projections of their modalities.
#[derive(Debug)]
pub(super) struct Ensemble {
    pub projections: Vec<PrincipalProjection>,
    pub members: Vec<HeadMember>,
}

impl Ensemble {
    /// Returns the map of every modality, `x` to unit rows `z`. `blend` is the share of the members in the
    /// score; the start has the rest.
    pub(super) fn maps(&self, blend: f64) -> Result<Vec<Graph>> {
        (0..self.projections.len()).map(|modality| self.map(modality, blend)).collect()
    }

    fn map(&self, modality: usize, blend: f64) -> Result<Graph> {
        let projection = &self.projections[modality];
        let mut b = Builder::new("heads");
        let u = b.input("u", DType::F32, &[Dim::named("batch"), projection.coordinates().into()])?;
        let mut parts: Vec<Value> = Vec::new();
        if blend < 1.0 {
            let start = projection.start();
            #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
            let values = start.iter().map(|&x| x as f32).collect();
            let weights = b.constant("start", Tensor::f32(&[start.nrows(), start.ncols()], values)?);
            let output = b.matmul(&u, &weights);
            parts.push(unit_with_share(&mut b, &output, 1.0 - blend));
        }
        if blend > 0.0 {
            for member in &self.members {
                let output = member.maps[modality].bind(&mut b).forward(&mut b, &u, None);
                parts.push(unit_with_share(&mut b, &output, blend / self.members.len() as f64));
            }
        }
        let z = match parts.as_slice() {
            [one] => one.clone(),
            several => b.concat(&several.iter().collect::<Vec<_>>(), 1),
        };
        let width = projection.start().ncols() * parts.len();
        b.output("z", &z, DType::F32, &[Dim::named("batch"), width.into()]);
        Ok(projection_graph(projection)?.join(&b.finish()?, &[("u", "u")])?)
    }

    /// The approximate inverse of a modality's map, the mean of the members' decoders, or the reason why
    /// there is none; with a sentence for the notes.
    pub(super) fn inverse(&self, modality: usize, blend: f64) -> Result<(Option<Inverse>, String)> {
        let projection = &self.projections[modality];
        let decoders: Vec<_> =
            self.members.iter().filter_map(|member| member.decoders.get(modality)).collect();
        if decoders.is_empty() {
            let reason = "none: a network has no closed inverse; `reconstruction` above 0 trains a decoder";
            return Ok((None, reason.to_owned()));
        }
        let undo = match projection.inverse().map_err(plugin_error)? {
            Ok(undo) => undo,
            Err(reason) => return Ok((None, format!("none: {reason}"))),
        };
        let width = projection.start().ncols();
        let first = usize::from(blend < 1.0);
        let mut b = Builder::new("decoder");
        let total = width * (first + decoders.len());
        let z = b.input("z", DType::F32, &[Dim::named("batch"), total.into()])?;
        let mut sum: Option<Value> = None;
        for (at, decoder) in decoders.iter().enumerate() {
            let from = width * (first + at);
            let [starts, ends, axes] = [("starts", from), ("ends", from + width), ("axes", 1)]
                .map(|(name, at)| b.ints(name, &[at as i64]));
            let part = b.op("Slice", &[&z, &starts, &ends, &axes], &[]);
            let part = b.l2_normalise(&part, -1, crate::LEAST_LENGTH);
            let u = decoder.bind(&mut b).forward(&mut b, &part, None);
            sum = Some(sum.map_or(u.clone(), |sum| b.add(&sum, &u)));
        }
        let sum = sum.unwrap_or(z);
        #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
        let u = b.mul_scalar(&sum, (decoders.len() as f64).recip() as f32);
        b.output("u", &u, DType::F32, &[Dim::named("batch"), projection.coordinates().into()]);
        let graph = b.finish()?.join(&undo, &[("u", "u")])?;
        let sense = "approximate, by trained decoders: inverse(map(x)) is near x, up to the length of x";
        Ok((Some(Inverse { graph, kind: InverseKind::Approximate }), sense.to_owned()))
    }
}

/// Rows of length sqrt(share), whose dot products are that share of a score.
fn unit_with_share(b: &mut Builder, rows: &Value, share: f64) -> Value {
    let unit = b.l2_normalise(rows, -1, crate::LEAST_LENGTH);
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    b.mul_scalar(&unit, share.sqrt() as f32)
}
