//! The two networks of a pair of modalities and their objective.
//!
//! In principal coordinates u of a modality and v of the reference, whose mean square is one, with w =
//! sqrt(q) unit(v) on the sphere on which items are scored (q coordinates), T_AB(u) = sqrt(q)
//! unit(network(u)) and T_BA(w) = network(w):
//!
//! ```text
//! loss = |T_AB u - w|² + |T_BA w - u|²                  regression on pairs
//!      + contrast * InfoNCE(T_AB u, w)                  each pair against the others
//!      + cycle * (|T_BA T_AB u - u|² + |T_AB T_BA w - w|²)
//!      + injectivity * (hinge of T_AB + hinge of T_BA)  max(0, margin - |T xᵢ - T xⱼ|²), neighbours
//!      + smoothness * (|J_AB e|² + |J_BA e|²)           E = |J|_F² for random signs e (Hutchinson 1990)
//! ```
//!
//! Squares are means over coordinates. The directional derivatives come from the networks' own graphs, by
//! [`Graph::jvp`]. Where a row gives several examples, each counts with its weight in the first three lines,
//! and InfoNCE does not contrast them.

use chiasm_kit::Network;
use chiasm_kit::losses::{self, BatchMask};
use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{NoiseDistribution, Objective};

use crate::parameters::CycleParameters;

/// The batch ports: coordinates of the modality and of the reference.
pub(crate) const PORTS: [&str; 2] = ["modality", "reference"];
/// Below this length a mapped item counts as zero.
const TINY: f32 = 1e-12;
/// Temperature of the contrast.
const TEMPERATURE: f32 = 0.1;

/// T_AB and T_BA.
#[derive(Debug, Clone)]
pub(crate) struct CycleNetworks {
    pub maps: [Network; 2],
}

/// Rows scaled to length sqrt(width).
pub(crate) fn sphere(b: &mut Builder, rows: &Value, width: usize) -> Value {
    let unit = b.l2_normalise(rows, -1, TINY);
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    b.mul_scalar(&unit, (width as f64).sqrt() as f32)
}

impl CycleNetworks {
    /// Networks that equal these matrices, there and back.
    pub(crate) fn new(starts: &[Array2<f64>; 2], hidden: usize, seed: u64) -> Result<Self> {
        let there = Network::new("there", &starts[0], hidden, seed)?;
        Ok(Self { maps: [there, Network::new("back", &starts[1], hidden, seed.wrapping_add(1))?] })
    }

    /// Replaces the weights by trained ones.
    pub(crate) fn load(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        self.maps.iter_mut().try_for_each(|network| network.load(trained))
    }

    /// The training of the networks; with `masked` the batch has the ports of [`BatchMask::new`] too.
    pub(crate) fn objective(
        &self,
        parameters: &CycleParameters,
        cycle: f64,
        masked: bool,
    ) -> Result<Objective> {
        let names: Vec<&str> = self.maps.iter().flat_map(Network::trainable).collect();
        let main = self.terms(parameters, cycle, masked)?;
        if parameters.smoothness == 0.0 {
            return Ok(Objective::new(main, &names)?);
        }
        // weights become ports while graphs are joined, so that shared weights are found by name and not by
        // equal bytes
        let weights: Vec<&str> = self.maps.iter().flat_map(Network::names).collect();
        let values: Vec<(&str, Tensor)> =
            weights.iter().map(|name| Ok((*name, main.weight(name)?))).collect::<Result<_>>()?;
        let mut joined = main.lifted(&weights)?;
        for (at, port) in PORTS.iter().enumerate() {
            let name = format!("derivative/{port}");
            joined = self.derivative(at)?.join(&joined, &[(&name, &name)])?;
        }
        let outputs: Vec<String> = main.outputs().into_iter().map(|port| port.name).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let graph = joined.extract(&outputs)?.bound(&values)?;
        let objective = Objective::new(graph, &names)?;
        Ok(PORTS.iter().fold(objective, |objective, port| {
            objective.with_random(&format!("direction/{port}"), NoiseDistribution::Sign)
        }))
    }

    /// Everything but the directional derivatives, which come in as `derivative/<port> [1, batch, width]`.
    fn terms(&self, parameters: &CycleParameters, cycle: f64, masked: bool) -> Result<Graph> {
        let [r, q] = [self.maps[0].shape().input, self.maps[0].shape().output];
        let mut b = Builder::new("cycle");
        let port = |b: &mut Builder, name: &str, width: usize| {
            b.input(name, DType::F32, &[Dim::named("batch"), width.into()])
        };
        let u = port(&mut b, PORTS[0], r)?;
        let v = port(&mut b, PORTS[1], q)?;
        let mask = if masked { Some(BatchMask::new(&mut b, &PORTS)?) } else { None };
        let mask = mask.as_ref();
        let w = sphere(&mut b, &v, q);
        let [there, back] = self.maps.each_ref().map(|map| map.bind(&mut b));
        let (there_u, back_w) = (there.forward(&mut b, &u, None), back.forward(&mut b, &w, None));
        let image = sphere(&mut b, &there_u, q);
        let (cycle_u, cycle_w) = (back.forward(&mut b, &image, None), there.forward(&mut b, &back_w, None));
        let cycle_w = sphere(&mut b, &cycle_w, q);
        let pairs = [squared_error(&mut b, &image, &w, mask), squared_error(&mut b, &back_w, &u, mask)];
        let cycles = [squared_error(&mut b, &cycle_u, &u, mask), squared_error(&mut b, &cycle_w, &w, mask)];
        let pairs = b.add(&pairs[0], &pairs[1]);
        let cycles = b.add(&cycles[0], &cycles[1]);
        let mut loss = losses::plus(&mut b, &pairs, cycle, &cycles);
        b.output("pairs", &pairs, DType::F32, &[]);
        b.output("cycle", &cycles, DType::F32, &[]);
        if parameters.contrast > 0.0 {
            let temperature = b.constant("log_temperature", Tensor::scalar(TEMPERATURE.ln()));
            let [first, second] = [&image, &w].map(|rows| b.l2_normalise(rows, -1, TINY));
            let mask = mask.map(|mask| mask.pair(&mut b, [0, 1]));
            let contrast = losses::infonce(&mut b, &first, &second, &temperature, mask.as_ref());
            b.output("contrast", &contrast, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, parameters.contrast, &contrast);
        }
        if parameters.injectivity > 0.0 {
            let hinges =
                [hinge(&mut b, &image, parameters.margin), hinge(&mut b, &back_w, parameters.margin)];
            let hinges = b.add(&hinges[0], &hinges[1]);
            b.output("injectivity", &hinges, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, parameters.injectivity, &hinges);
        }
        if parameters.smoothness > 0.0 {
            let mut means = Vec::new();
            for (port, width) in PORTS.iter().zip([q, r]) {
                let dims = [1.into(), Dim::named("batch"), width.into()];
                let derivative = b.input(&format!("derivative/{port}"), DType::F32, &dims)?;
                let squares = b.mul(&derivative, &derivative);
                means.push(losses::mean(&mut b, &squares));
            }
            let smoothness = b.add(&means[0], &means[1]);
            b.output("smoothness", &smoothness, DType::F32, &[]);
            loss = losses::plus(&mut b, &loss, parameters.smoothness, &smoothness);
        }
        b.output("loss", &loss, DType::F32, &[]);
        Ok(b.finish()?)
    }

    /// A map's derivative along `direction/<port>`, as `derivative/<port> [1, batch, width]`; its weights are
    /// ports.
    fn derivative(&self, at: usize) -> Result<Graph> {
        let (port, map) = (PORTS[at], &self.maps[at]);
        let input = format!("at/{port}");
        let image = format!("image/{port}");
        let names: Vec<&str> = map.names().collect();
        let derivative = map.graph(&input, &image)?.lifted(&names)?.jvp(&[&input])?;
        let mut b = Builder::new("direction");
        let width = map.shape().input;
        let dims = [Dim::named("batch"), width.into()];
        let rows = b.input(port, DType::F32, &dims)?;
        let rows = if at == 1 { sphere(&mut b, &rows, width) } else { rows };
        let direction = b.input(&format!("direction/{port}"), DType::F32, &dims)?;
        let direction = b.unsqueeze(&direction, &[0]);
        b.output(&input, &rows, DType::F32, &dims);
        let tangent = format!("tangent/{input}");
        b.output(&tangent, &direction, DType::F32, &[1.into(), Dim::named("batch"), width.into()]);
        let joined = b.finish()?.join(&derivative, &[(&input, &input), (&tangent, &tangent)])?;
        let mut tail = Builder::new("derivative");
        let dims = [1.into(), Dim::named("batch"), map.shape().output.into()];
        let value = tail.input("value", DType::F32, &dims)?;
        let name = format!("derivative/{port}");
        tail.output(&name, &value, DType::F32, &dims);
        let joined = joined.join(&tail.finish()?, &[(&format!("tangent/{image}"), "value")])?;
        Ok(joined.extract(&[&name])?)
    }
}

/// Mean over the coordinates, `[batch]`.
fn mean_over_coordinates(b: &mut Builder, squares: &Value) -> Value {
    b.op("ReduceMean", &[squares], &[("axes", [-1_i64].as_slice().into()), ("keepdims", 0.into())])
}

/// Mean squared error per coordinate, over the examples with their weights.
fn squared_error(b: &mut Builder, first: &Value, second: &Value, mask: Option<&BatchMask>) -> Value {
    let difference = b.sub(first, second);
    let squares = b.mul(&difference, &difference);
    match mask {
        None => losses::mean(b, &squares),
        Some(mask) => {
            let means = mean_over_coordinates(b, &squares);
            mask.mean(b, &means, 0)
        }
    }
}

/// `max(0, margin - d²)`, d² the mean squared distance per coordinate of an image to its neighbour in the
/// shuffled batch.
fn hinge(b: &mut Builder, images: &Value, margin: f64) -> Value {
    let bound = |b: &mut Builder, name: &str, at: i64| b.ints(name, &[at]);
    let (zero, one, end) = (bound(b, "zero", 0), bound(b, "one", 1), bound(b, "end", i64::MAX));
    let rest = b.op("Slice", &[images, &one, &end, &zero], &[]);
    let first = b.op("Slice", &[images, &zero, &one, &zero], &[]);
    let next = b.concat(&[&rest, &first], 0);
    let difference = b.sub(images, &next);
    let squares = b.mul(&difference, &difference);
    let distance = mean_over_coordinates(b, &squares);
    let below = b.neg(&distance);
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    let below = b.add_scalar(&below, margin as f32);
    let hinge = b.relu(&below);
    losses::mean(b, &hinge)
}
