//! Trained members as the graphs that leave.

use chiasm_closed_form::Front;
use chiasm_learned::refuse;
use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};

use crate::model::{Model, TINY};

/// Members that share their fronts.
pub(crate) struct Ensemble {
    pub fronts: [Front; 2],
    pub members: Vec<Model>,
}

impl Ensemble {
    /// A side's map, rows to unit rows `z`; the members have this share of the score, the start the rest.
    pub(crate) fn graph(&self, side: usize, input: &str, blend: f64) -> Result<Graph> {
        let front = &self.fronts[side];
        let mut b = Builder::new("mlp");
        let u = b.input("u", DType::F32, &[Dim::named("batch"), front.coordinates().into()])?;
        let mut parts: Vec<Value> = Vec::new();
        if blend < 1.0 {
            let start = front.start();
            #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
            let values = start.iter().map(|&x| x as f32).collect();
            let weights = b.constant("start", Tensor::f32(&[start.nrows(), start.ncols()], values)?);
            let image = b.matmul(&u, &weights);
            parts.push(shared(&mut b, &image, 1.0 - blend));
        }
        if blend > 0.0 {
            for member in &self.members {
                let image = member.maps[side].place(&mut b).call(&mut b, &u, None);
                parts.push(shared(&mut b, &image, self.share(blend)));
            }
        }
        let z = match parts.as_slice() {
            [one] => one.clone(),
            several => b.concat(&several.iter().collect::<Vec<_>>(), 1),
        };
        let width = front.start().ncols() * parts.len();
        b.output("z", &z, DType::F32, &[Dim::named("batch"), width.into()]);
        Ok(front.graph(input).map_err(refuse)?.join(&b.finish()?, &[("u", "u")])?)
    }

    /// The way back from the source's image: the mean of what the members' decoders say; or why there is none.
    pub(crate) fn inverse(&self, blend: f64) -> Result<(Option<Graph>, String)> {
        let front = &self.fronts[0];
        let decoders: Vec<_> =
            self.members.iter().filter_map(|m| m.decoders.as_ref().map(|d| &d[0])).collect();
        if decoders.is_empty() {
            let reason = "none: a network has no closed inverse; `reconstruction` above 0 trains a decoder";
            return Ok((None, reason.to_owned()));
        }
        let back = match front.back("x").map_err(refuse)? {
            Ok(back) => back,
            Err(reason) => return Ok((None, format!("none: {reason}"))),
        };
        let width = front.start().ncols();
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
            let part = b.l2_normalise(&part, -1, TINY);
            let u = decoder.place(&mut b).call(&mut b, &part, None);
            sum = Some(sum.map_or(u.clone(), |sum| b.add(&sum, &u)));
        }
        let sum = sum.unwrap_or(z);
        #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
        let u = b.mul_scalar(&sum, (decoders.len() as f64).recip() as f32);
        b.output("u", &u, DType::F32, &[Dim::named("batch"), front.coordinates().into()]);
        let graph = b.finish()?.join(&back, &[("u", "u")])?;
        Ok((Some(graph), "trained decoders: inverse(source(x)) is near x, up to the length of x".to_owned()))
    }

    /// One member's share of the score.
    fn share(&self, blend: f64) -> f64 {
        blend / self.members.len() as f64
    }
}

/// Unit rows that bring this share into a dot product.
fn shared(b: &mut Builder, image: &Value, share: f64) -> Value {
    let unit = b.l2_normalise(image, -1, TINY);
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    b.mul_scalar(&unit, share.sqrt() as f32)
}
