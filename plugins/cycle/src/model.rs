//! The two maps and what they are trained for.
//!
//! In principal coordinates u of the source and v of the target, whose mean square is one, with w = sqrt(q) unit(v) on the sphere
//! that images are scored on (q coordinates) and T_AB(u) = sqrt(q) unit(network(u)), T_BA(w) = network(w):
//!
//! ```text
//! loss = |T_AB u - w|² + |T_BA w - u|²                                                   pairs
//!      + contrast * InfoNCE(T_AB u, w)                                                   tells a pair from the others
//!      + cycle * (|T_BA T_AB u - u|² + |T_AB T_BA w - w|²)
//!      + injectivity * (hinge of T_AB + hinge of T_BA)      max(0, margin - |T xᵢ - T xⱼ|²) over neighbours in the batch
//!      + smoothness * (|J_AB e|² + |J_BA e|²)               E = |J|_F² for random signs e (Hutchinson 1990)
//! ```
//!
//! Squares are means over coordinates. The directional derivatives come from the networks' own graphs, by [`Graph::jvp`].

use chiasm_learned::{Network, losses};
use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{Draw, Objective};

use crate::settings::Settings;

/// The batch ports.
pub(crate) const SIDES: [&str; 2] = ["source", "target"];
/// Below this length a mapped row counts as zero.
const TINY: f32 = 1e-12;
/// Of the contrast.
const TEMPERATURE: f32 = 0.1;

/// T_AB and T_BA.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub maps: [Network; 2],
}

/// Rows brought to length sqrt(width).
pub(crate) fn sphere(b: &mut Builder, rows: &Value, width: usize) -> Value {
    let unit = b.l2_normalise(rows, -1, TINY);
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    b.mul_scalar(&unit, (width as f64).sqrt() as f32)
}

impl Model {
    /// The maps that begin as these matrices, there and back.
    pub(crate) fn new(starts: &[Array2<f64>; 2], hidden: usize, seed: u64) -> Result<Self> {
        let there = Network::new("there", &starts[0], hidden, seed)?;
        Ok(Self { maps: [there, Network::new("back", &starts[1], hidden, seed.wrapping_add(1))?] })
    }

    pub(crate) fn take(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        self.maps.iter_mut().try_for_each(|network| network.take(trained))
    }

    /// What makes the maps better.
    pub(crate) fn objective(&self, settings: &Settings) -> Result<Objective> {
        let names: Vec<&str> = self.maps.iter().flat_map(Network::trainable).collect();
        let main = self.terms(settings)?;
        if settings.smoothness == 0.0 {
            return Ok(Objective::new(main, &names)?);
        }
        // weights become ports while graphs are joined, so that what they share is told by name and not by equal bytes
        let weights: Vec<&str> = self.maps.iter().flat_map(Network::names).collect();
        let values: Vec<(&str, Tensor)> =
            weights.iter().map(|name| Ok((*name, main.weight(name)?))).collect::<Result<_>>()?;
        let mut joined = main.lifted(&weights)?;
        for (at, side) in SIDES.iter().enumerate() {
            joined = self
                .stretched(at)?
                .join(&joined, &[(&format!("stretch/{side}"), &format!("stretched/{side}"))])?;
        }
        let outputs: Vec<String> = main.outputs().into_iter().map(|port| port.name).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let graph = joined.extract(&outputs)?.bound(&values)?;
        let objective = Objective::new(graph, &names)?;
        Ok(SIDES.iter().fold(objective, |objective, side| {
            objective.with_random(&format!("direction/{side}"), Draw::Sign)
        }))
    }

    /// Everything but the directional derivatives, which come in as `stretched/<side> [1, batch, width]`.
    fn terms(&self, settings: &Settings) -> Result<Graph> {
        let [r, q] = [self.maps[0].shape().input, self.maps[0].shape().output];
        let mut b = Builder::new("cycle");
        let port = |b: &mut Builder, name: &str, width: usize| {
            b.input(name, DType::F32, &[Dim::named("batch"), width.into()])
        };
        let u = port(&mut b, SIDES[0], r)?;
        let v = port(&mut b, SIDES[1], q)?;
        let w = sphere(&mut b, &v, q);
        let [there, back] = self.maps.each_ref().map(|map| map.place(&mut b));
        let (there_u, back_w) = (there.call(&mut b, &u, None), back.call(&mut b, &w, None));
        let image = sphere(&mut b, &there_u, q);
        let (round_u, round_w) = (back.call(&mut b, &image, None), there.call(&mut b, &back_w, None));
        let round_w = sphere(&mut b, &round_w, q);
        let pairs = [apart(&mut b, &image, &w), apart(&mut b, &back_w, &u)];
        let rounds = [apart(&mut b, &round_u, &u), apart(&mut b, &round_w, &w)];
        let pairs = b.add(&pairs[0], &pairs[1]);
        let rounds = b.add(&rounds[0], &rounds[1]);
        let mut loss = losses::plus(&mut b, &pairs, settings.cycle.unwrap_or(1.0), &rounds);
        b.output("pairs", &pairs, DType::F32, &[]);
        b.output("cycle", &rounds, DType::F32, &[]);
        if settings.contrast > 0.0 {
            let temperature = b.constant("log_temperature", Tensor::scalar(TEMPERATURE.ln()));
            let [first, second] = [&image, &w].map(|rows| b.l2_normalise(rows, -1, TINY));
            let contrast = losses::infonce(&mut b, &first, &second, &temperature);
            b.output("contrast", &contrast, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, settings.contrast, &contrast);
        }
        if settings.injectivity > 0.0 {
            let hinges = [hinge(&mut b, &image, settings.margin), hinge(&mut b, &back_w, settings.margin)];
            let hinges = b.add(&hinges[0], &hinges[1]);
            b.output("injectivity", &hinges, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, settings.injectivity, &hinges);
        }
        if settings.smoothness > 0.0 {
            let mut stretches = Vec::new();
            for (side, width) in SIDES.iter().zip([q, r]) {
                let dims = [1.into(), Dim::named("batch"), width.into()];
                let stretched = b.input(&format!("stretched/{side}"), DType::F32, &dims)?;
                let squares = b.mul(&stretched, &stretched);
                stretches.push(losses::mean(&mut b, &squares));
            }
            let stretch = b.add(&stretches[0], &stretches[1]);
            b.output("smoothness", &stretch, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, settings.smoothness, &stretch);
        }
        b.output("loss", &loss, DType::F32, &[]);
        Ok(b.finish()?)
    }

    /// A map's derivative along `direction/<side>`, as `stretch/<side> [1, batch, width]`; its weights are ports.
    fn stretched(&self, at: usize) -> Result<Graph> {
        let (side, map) = (SIDES[at], &self.maps[at]);
        let port = format!("at/{side}");
        let image = format!("image/{side}");
        let names: Vec<&str> = map.names().collect();
        let derivative = map.graph(&port, &image)?.lifted(&names)?.jvp(&[&port])?;
        let mut b = Builder::new("direction");
        let width = map.shape().input;
        let dims = [Dim::named("batch"), width.into()];
        let rows = b.input(side, DType::F32, &dims)?;
        let rows = if at == 1 { sphere(&mut b, &rows, width) } else { rows };
        let direction = b.input(&format!("direction/{side}"), DType::F32, &dims)?;
        let direction = b.unsqueeze(&direction, &[0]);
        b.output(&port, &rows, DType::F32, &dims);
        let tangent = format!("tangent/{port}");
        b.output(&tangent, &direction, DType::F32, &[1.into(), Dim::named("batch"), width.into()]);
        let joined = b.finish()?.join(&derivative, &[(&port, &port), (&tangent, &tangent)])?;
        let mut tail = Builder::new("stretch");
        let dims = [1.into(), Dim::named("batch"), map.shape().output.into()];
        let stretch = tail.input("stretch", DType::F32, &dims)?;
        tail.output(&format!("stretch/{side}"), &stretch, DType::F32, &dims);
        let joined = joined.join(&tail.finish()?, &[(&format!("tangent/{image}"), "stretch")])?;
        Ok(joined.extract(&[&format!("stretch/{side}")])?)
    }
}

/// Mean square distance per coordinate.
fn apart(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let apart = b.sub(first, second);
    let squares = b.mul(&apart, &apart);
    losses::mean(b, &squares)
}

/// `max(0, margin - d²)`, d² the mean square distance per coordinate of an image to its neighbour in the shuffled batch.
fn hinge(b: &mut Builder, images: &Value, margin: f64) -> Value {
    let place = |b: &mut Builder, name: &str, at: i64| b.ints(name, &[at]);
    let (zero, one, end) = (place(b, "zero", 0), place(b, "one", 1), place(b, "end", i64::MAX));
    let rest = b.op("Slice", &[images, &one, &end, &zero], &[]);
    let first = b.op("Slice", &[images, &zero, &one, &zero], &[]);
    let next = b.concat(&[&rest, &first], 0);
    let apart = b.sub(images, &next);
    let squares = b.mul(&apart, &apart);
    let distance =
        b.op("ReduceMean", &[&squares], &[("axes", [-1_i64].as_slice().into()), ("keepdims", 0.into())]);
    let short = b.neg(&distance);
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    let short = b.add_scalar(&short, margin as f32);
    let short = b.relu(&short);
    losses::mean(b, &short)
}
