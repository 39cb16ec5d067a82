//! The two networks of a pair of modalities and their objective.

use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Dim, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{NoiseDistribution, Objective};

use crate::terms::{self, TermBatch, TermNetwork, TermSettings, first_rows, plus, read_parts_only};
use crate::{BatchMask, BoundNetwork, LEAST_LENGTH, Network, NetworkValues};

/// The batch ports: coordinates of the modality and of the reference.
pub(super) const PORTS: [&str; 2] = ["modality", "reference"];
/// The pairs of modalities and the place of the reference.
const PAIRS: [(usize, usize); 1] = [(0, 1)];
const REFERENCE: usize = 1;

/// T_AB and T_BA.
#[derive(Debug, Clone)]
pub(super) struct TranslatorNetworks {
    pub maps: [Network; 2],
}

/// What an objective is made of besides the networks.
#[derive(Debug)]
pub(super) struct TranslatorObjective {
    /// The terms and their weights.
    pub terms: Vec<(&'static str, f64)>,
    pub settings: TermSettings,
    /// The temperature of scores.
    pub tau: f64,
    /// Examples of a mini-batch.
    pub batch: usize,
    /// Whether the batch has the ports of [`BatchMask::new`] too.
    pub masked: bool,
}

/// Rows scaled to length sqrt(width).
pub(super) fn sphere(b: &mut Builder, rows: &Value, width: usize) -> Value {
    let unit = b.l2_normalise(rows, -1, LEAST_LENGTH);
    b.mul_scalar(&unit, root(width))
}

/// The square root of a width.
fn root(width: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    let root = (width as f64).sqrt() as f32;
    root
}

impl TranslatorNetworks {
    /// Networks that equal these matrices, there and back.
    pub(super) fn new(starts: &[Array2<f64>; 2], hidden: usize, seed: u64) -> Result<Self> {
        let there = Network::new("there", &starts[0], hidden, seed)?;
        Ok(Self { maps: [there, Network::new("back", &starts[1], hidden, seed.wrapping_add(1))?] })
    }

    /// Replaces the weights by trained ones.
    pub(super) fn load(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        self.maps.iter_mut().try_for_each(|network| network.load(trained))
    }

    /// The training of the networks.
    pub(super) fn objective(&self, of: &TranslatorObjective) -> Result<Objective> {
        let [r, q] = [self.maps[0].shape().input, self.maps[0].shape().output];
        let mut b = Builder::new("translators");
        let mut port =
            |name: &str, width: usize| b.input(name, DType::F32, &[Dim::named("batch"), width.into()]);
        let (u, v) = (port(PORTS[0], r)?, port(PORTS[1], q)?);
        let directions = match of.terms.iter().any(|(name, _)| *name == "smoothness") {
            true => [Some(port("direction/modality", r)?), Some(port("direction/reference", q)?)],
            false => [None, None],
        };
        let mask = if of.masked { Some(BatchMask::new(&mut b, &PORTS)?) } else { None };
        let [there, back] = self.maps.each_ref().map(|map| map.bind(&mut b));
        let unit_v = b.l2_normalise(&v, -1, LEAST_LENGTH);
        let w = b.mul_scalar(&unit_v, root(q));
        let image = there.forward(&mut b, &u, None);
        let image = b.l2_normalise(&image, -1, LEAST_LENGTH);
        let count = of.settings.structure_rows;
        let maps_parts = 2 * count <= of.batch && read_parts_only(of.terms.iter().map(|(name, _)| *name));
        let [some_u, some_w] = [&u, &w].map(|rows| first_rows(&mut b, rows, count));
        let some_w = b.l2_normalise(&some_w, -1, LEAST_LENGTH);
        let start = there.start(&mut b, &some_u);
        let start = b.l2_normalise(&start, -1, LEAST_LENGTH);
        let decoder = back.with_input_scale(root(q));
        let values = [(&there, [&u, &some_u]), (&decoder, [&unit_v, &some_w])].map(|(map, [all, some])| {
            // as the terms evaluate them, so that equal values are computed once
            match maps_parts {
                true => map.evaluate(&mut b, some, None),
                false => map.evaluate(&mut b, all, None).at(|rows| first_rows(&mut b, rows, count)),
            }
        });
        let signs = directions.each_ref().map(|all| all.as_ref().map(|all| first_rows(&mut b, all, count)));
        let networks = term_networks(&mut b, [&there, &back], values, r, signs);
        #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
        let scalars = [of.tau.ln() as f32, -(of.batch as f64).ln() as f32];
        let [log_tau, bias] = scalars.map(|value| b.scalar(value));
        let batch = TermBatch {
            pairs: &PAIRS,
            anchor: REFERENCE,
            mask: mask.as_ref(),
            labels: None,
            source: &[u, w],
            mapped: &[image, unit_v],
            maps_parts,
            start: &[start, some_w],
            networks: &networks,
            maps: &[there, BoundNetwork::scaling(1.0)],
            decoders: &[decoder, BoundNetwork::scaling(root(q))],
            width: q,
            log_tau: &log_tau,
            bias: &bias,
            settings: of.settings,
        };
        add_loss(&mut b, &batch, &of.terms);
        let names: Vec<&str> = self.maps.iter().flat_map(Network::trainable).collect();
        let objective = Objective::new(b.finish()?, &names)?;
        let drawn = PORTS.iter().zip(&directions).filter(|(_, direction)| direction.is_some());
        Ok(drawn.fold(objective, |objective, (port, _)| {
            objective.with_random(&format!("direction/{port}"), NoiseDistribution::Sign)
        }))
    }
}

/// Adds the terms and their weighted sum, `loss`, as outputs.
fn add_loss(b: &mut Builder, batch: &TermBatch<'_>, terms: &[(&'static str, f64)]) {
    let mut loss = b.scalar(0.0);
    for (name, weight) in terms {
        let value = terms::term(b, batch, name).unwrap_or_else(Value::none);
        b.output(name, &value, DType::F32, &[]);
        loss = plus(b, &loss, *weight, &value);
    }
    b.output("loss", &loss, DType::F32, &[]);
}

/// The networks for `injectivity` and `smoothness`; the modality has `r` coordinates.
fn term_networks(
    b: &mut Builder,
    [there, back]: [&BoundNetwork; 2],
    [own, other]: [NetworkValues; 2],
    r: usize,
    [direction, direction_back]: [Option<Value>; 2],
) -> [TermNetwork; 2] {
    // the modality's map ends on the sphere
    let image = b.l2_normalise(&own.output, -1, LEAST_LENGTH);
    let image_back = b.mul_scalar(&other.output, root(r).recip());
    let network = |modality, network: &BoundNetwork, values, images, direction| TermNetwork {
        modality,
        network: network.clone(),
        values,
        images,
        unit: modality != REFERENCE,
        direction,
    };
    [network(0, there, own, image, direction), network(REFERENCE, back, other, image_back, direction_back)]
}
