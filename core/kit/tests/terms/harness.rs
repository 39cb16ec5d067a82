//! Builds one term on two small clouds and evaluates it in the engine.

use chiasm_geometry::random::Random;
use chiasm_kit::terms::{TermBatch, TermNetwork, TermSettings, term};
use chiasm_kit::{BatchMask, Network, tensor};
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::{Array1, Array2, Axis};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};

pub const NAMES: [&str; 2] = ["image", "text"];
pub const TAU: f64 = 0.2;
pub const BIAS: f64 = -1.5;

/// Sizes of the test batch.
pub struct Batch;

impl Batch {
    pub const ROWS: usize = 24;
    pub const WIDTH: usize = 5;
    pub const SOURCE: [usize; 2] = [6, 7];
}

/// A term and the values that it reads, in double precision.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub source: [Array2<f64>; 2],
    pub mapped: [Array2<f64>; 2],
    pub start: [Array2<f64>; 2],
    pub directions: [Array2<f64>; 2],
    pub settings: TermSettings,
    /// Whether the maps are evaluated on parts of the batch.
    pub maps_parts: bool,
    /// The clouds at which quantities that a term holds constant are computed.
    pub fixed: [Array2<f64>; 2],
}

/// Two clouds of normal vectors.
pub fn clouds(seed: u64) -> [Array2<f64>; 2] {
    let mut random = Random::new(seed);
    [0, 1].map(|_| Array2::from_shape_simple_fn((Batch::ROWS, Batch::WIDTH), || random.normal()))
}

pub fn unit(mut rows: Array2<f64>) -> Array2<f64> {
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt();
        row /= length;
    }
    rows
}

impl Case {
    pub fn new(name: &str) -> Self {
        let [x, noise] = clouds(1);
        // correlated clouds: a partner is near
        let mapped = [unit(x.clone()), unit(&x + &(noise * 0.8))];
        let [a, b] = clouds(2);
        let start = [unit(&x + &(a * 0.4)), unit(&x + &(b * 0.9))];
        let mut random = Random::new(3);
        let source =
            Batch::SOURCE.map(|width| Array2::from_shape_simple_fn((Batch::ROWS, width), || random.normal()));
        let directions = source.each_ref().map(|x| x.mapv(f64::signum));
        let settings = TermSettings { epsilon: 0.1, k: 4, structure_rows: 64, margin: 1.2 };
        Self {
            name: name.to_owned(),
            source,
            fixed: mapped.clone(),
            mapped,
            start,
            directions,
            settings,
            maps_parts: false,
        }
    }

    /// The classes of the rows; every fifth has none.
    pub fn labels(rows: usize) -> Vec<i64> {
        (0..rows).map(|row| if row % 5 == 4 { -1 } else { (row * row) as i64 % 3 }).collect()
    }

    /// The case with the mapped vectors moved, and what is held constant as it was.
    pub fn moved(&self, direction: &[Array2<f64>; 2], step: f64) -> Self {
        let mut moved = self.clone();
        for (own, direction) in moved.mapped.iter_mut().zip(direction) {
            own.scaled_add(step, direction);
        }
        moved
    }

    pub fn without_last(&self, count: usize) -> Self {
        let cut = |clouds: &[Array2<f64>; 2]| {
            clouds.each_ref().map(|x| x.select(Axis(0), &(0..x.nrows() - count).collect::<Vec<_>>()))
        };
        Self {
            source: cut(&self.source),
            mapped: cut(&self.mapped),
            start: cut(&self.start),
            directions: cut(&self.directions),
            fixed: cut(&self.fixed),
            ..self.clone()
        }
    }

    pub fn value(&self) -> f64 {
        let inputs = self.inputs();
        f64::from(run(&self.graph(false), &inputs)[0].1.as_f32().unwrap()[0])
    }

    /// The value with the last rows absent in both modalities.
    pub fn value_masked(&self, absent: usize) -> f64 {
        let mut inputs = self.inputs();
        let n = self.source[0].nrows();
        let present = Array1::from_shape_fn(n, |at| f32::from(u8::from(at < n - absent)));
        let rows: Vec<i64> = (0..n as i64).collect();
        inputs.push(("example/row".into(), Tensor::i64(&[n], rows).unwrap()));
        inputs.push(("example/weight".into(), Tensor::f32(&[n], vec![1.0; n]).unwrap()));
        for name in NAMES {
            inputs.push((format!("present/{name}"), Tensor::f32(&[n], present.to_vec()).unwrap()));
        }
        f64::from(run(&self.graph(true), &inputs)[0].1.as_f32().unwrap()[0])
    }

    /// The derivative in the mapped vectors.
    pub fn gradient(&self) -> Vec<Array2<f64>> {
        let wrt = ["mapped/image", "mapped/text"];
        let graph = self.graph(false).gradient("loss", &wrt).unwrap();
        let outputs = run(&graph, &self.inputs());
        let find = |name: &str| {
            let (_, tensor) = outputs.iter().find(|(own, _)| *own == format!("gradient/{name}")).unwrap();
            let values = tensor.as_f32().unwrap().iter().map(|&x| f64::from(x)).collect();
            Array2::from_shape_vec((Batch::ROWS, Batch::WIDTH), values).unwrap()
        };
        wrt.iter().map(|name| find(name)).collect()
    }

    /// The length of the derivative in what the term trains: mapped vectors, or weights of networks.
    pub fn weight_gradient(&self) -> f64 {
        let wrt = match self.name.as_str() {
            "reconstruction" | "cycle" | "translation" | "barycentric" => "decoder/image/out",
            "smoothness" => "map/image/out",
            _ => "mapped/image",
        };
        let graph = self.graph(false);
        let graph = if wrt.starts_with("mapped") { graph } else { graph.lifted(&[wrt]).unwrap() };
        let mut inputs = self.inputs();
        if let Ok(weight) = self.graph(false).weight(wrt) {
            inputs.push((wrt.to_owned(), weight));
        }
        let outputs = run(&graph.gradient("loss", &[wrt]).unwrap(), &inputs);
        let (_, tensor) = outputs.iter().find(|(own, _)| own.starts_with("gradient/")).unwrap();
        tensor.as_f32().unwrap().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    }

    fn inputs(&self) -> Vec<(String, Tensor)> {
        let mut inputs = Vec::new();
        for (at, name) in NAMES.iter().enumerate() {
            for (kind, of) in [
                ("source", &self.source),
                ("mapped", &self.mapped),
                ("start", &self.start),
                ("direction", &self.directions),
            ] {
                let rows = of[at].mapv(|x| x as f32);
                inputs.push((format!("{kind}/{name}"), tensor(rows.view()).unwrap()));
            }
        }
        let rows = self.source[0].nrows();
        inputs.push(("label".to_owned(), Tensor::i64(&[rows], Self::labels(rows)).unwrap()));
        let known = self.graph(false);
        inputs.retain(|(name, _)| known.input(name).is_ok());
        inputs
    }

    /// The networks of the term, with weights that are not those of a start.
    pub fn networks(&self) -> [[Network; 2]; 2] {
        let network = |name: String, input: usize, output: usize, seed: u64| {
            let start = Array2::from_shape_fn((input, output), |(i, j)| ((2 * i + 3 * j) as f64).sin() * 0.4);
            let mut network = Network::new(&name, &start, 4, seed).unwrap();
            let mut random = Random::new(seed + 50);
            let trained: Vec<(String, Tensor)> = (network.weights().iter())
                .map(|(name, tensor)| {
                    let count = tensor.shape().iter().product();
                    let values = (0..count).map(|_| (random.normal() * 0.3) as f32).collect();
                    (name.clone(), Tensor::f32(tensor.shape(), values).unwrap())
                })
                .collect();
            network.load(&trained).unwrap();
            network
        };
        let maps = [0, 1]
            .map(|at| network(format!("map/{}", NAMES[at]), Batch::SOURCE[at], Batch::WIDTH, at as u64));
        let decoders = [0, 1].map(|at| {
            network(format!("decoder/{}", NAMES[at]), Batch::WIDTH, Batch::SOURCE[at], 7 + at as u64)
        });
        [maps, decoders]
    }

    /// The unit images of the sources under the maps.
    pub fn images(&self) -> [Array2<f64>; 2] {
        let [maps, _] = self.networks();
        [0, 1].map(|at| unit(crate::formulas::forward(&maps[at], &self.source[at])))
    }

    fn graph(&self, masked: bool) -> Graph {
        let mut b = Builder::new("term");
        let mask = masked.then(|| BatchMask::new(&mut b, &NAMES).unwrap());
        let mut ports = |kind: &str, widths: [usize; 2]| -> Vec<Value> {
            let port = |(name, width): (&&str, usize)| {
                b.input(&format!("{kind}/{name}"), DType::F32, &[Dim::named("batch"), width.into()]).unwrap()
            };
            NAMES.iter().zip(widths).map(port).collect()
        };
        let source = ports("source", Batch::SOURCE);
        let mapped = ports("mapped", [Batch::WIDTH; 2]);
        let start = ports("start", [Batch::WIDTH; 2]);
        let directions = ports("direction", Batch::SOURCE);
        let labels = b.input("label", DType::I64, &[Dim::named("batch")]).unwrap();
        let [maps, decoders] = self.networks();
        let [maps, decoders] = [maps, decoders].map(|networks| networks.map(|network| network.bind(&mut b)));
        let networks = [0, 1].map(|at| TermNetwork {
            modality: at,
            network: maps[at].clone(),
            values: maps[at].evaluate(&mut b, &source[at], None),
            images: mapped[at].clone(),
            unit: at == 0,
            direction: Some(directions[at].clone()),
        });
        let log_tau = b.constant("log_tau", Tensor::scalar(TAU.ln() as f32));
        let bias = b.constant("bias", Tensor::scalar(BIAS as f32));
        let batch = TermBatch {
            pairs: &[(0, 1)],
            anchor: 1,
            mask: mask.as_ref(),
            labels: Some(&labels),
            source: &source,
            mapped: &mapped,
            maps_parts: self.maps_parts,
            start: &start,
            networks: &networks,
            maps: &maps,
            decoders: &decoders,
            width: Batch::WIDTH,
            log_tau: &log_tau,
            bias: &bias,
            settings: self.settings,
        };
        let value = term(&mut b, &batch, &self.name).unwrap();
        b.output("loss", &value, DType::F32, &[]);
        b.finish().unwrap()
    }
}

fn run(graph: &Graph, inputs: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
    let given: Vec<(&str, &Tensor)> = (inputs.iter())
        .filter(|(name, _)| graph.input(name).is_ok())
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    engine.session(graph, &SessionOptions::default()).unwrap().run(&given).unwrap()
}
