//! An engine and a trainer in place of the host's, and the data of a fit, for plugins that train.

use std::sync::Mutex;

use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::ndarray::{Array1, Array2};
use chiasm_plugin::objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};
use chiasm_plugin::{
    AlignModality, AlignSpec, Aligner, Error, Inputs, Json, Learned, Result, ServiceBackend, Services,
};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_train::Trainer;

/// What the host would lend.
pub struct TestHost {
    pub engine: &'static Engine,
    pub seed: u64,
    pub messages: Mutex<Vec<String>>,
}

impl TestHost {
    pub fn new(seed: u64) -> Self {
        let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
        Self { engine, seed, messages: Mutex::default() }
    }
}

impl ServiceBackend for TestHost {
    fn log(&self, _: u8, message: &str) {
        self.messages.lock().unwrap().push(message.to_owned());
    }

    fn progress(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn threads(&self) -> usize {
        2
    }

    fn run(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        Ok(self.engine.session(graph, &SessionOptions::default()).and_then(|session| session.run(inputs))?)
    }

    fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights> {
        let trainer = Trainer { engine: self.engine, session: SessionOptions::default(), checkpoints: None };
        trainer.train(objective, rows, options, &mut |_| true).map_err(Error::from)
    }
}

/// Rows through a graph.
pub fn through(host: &TestHost, graph: &Graph, rows: &Array2<f32>) -> Array2<f32> {
    let input = Tensor::f32(&[rows.nrows(), rows.ncols()], rows.iter().copied().collect()).unwrap();
    let (_, output) = host.run(graph, &[(&graph.inputs()[0].name, &input)]).unwrap().remove(0);
    let shape = (output.shape()[0], output.shape()[1]);
    Array2::from_shape_vec(shape, output.into_f32().unwrap()).unwrap()
}

/// The items of some modalities and their rows.
#[derive(Clone)]
pub struct AlignData {
    pub modalities: Vec<(&'static str, Array2<f32>, Vec<usize>)>,
    pub anchor: Option<&'static str>,
    pub validation: Vec<usize>,
    /// The class of each row.
    pub labels: Vec<usize>,
}

impl AlignData {
    /// One item of each modality in every row.
    pub fn complete(modalities: &[(&'static str, &Array2<f32>)]) -> Self {
        let modalities = modalities
            .iter()
            .map(|(name, items)| (*name, (*items).clone(), (0..items.nrows()).collect()))
            .collect();
        Self { modalities, anchor: None, validation: Vec::new(), labels: Vec::new() }
    }

    /// A fit on these items.
    pub fn fit<A: Aligner>(&self, host: &dyn ServiceBackend, parameters: &Json) -> Result<Learned> {
        let spec = AlignSpec {
            modalities: (self.modalities.iter())
                .map(|(name, items, _)| AlignModality {
                    name: (*name).to_owned(),
                    dim: items.ncols(),
                    blocks: vec![items.ncols()],
                })
                .collect(),
            anchor: self.anchor.map(str::to_owned),
        };
        let integers = |values: &[usize]| -> Array1<i64> {
            values.iter().map(|value| i64::try_from(*value).unwrap()).collect()
        };
        let names: Vec<[String; 2]> = (self.modalities.iter())
            .map(|(name, ..)| [format!("{name}.pooled"), format!("{name}.row")])
            .collect();
        let rows: Vec<Array1<i64>> = self.modalities.iter().map(|(.., rows)| integers(rows)).collect();
        let validation = integers(&self.validation);
        let matrices: Vec<_> = (names.iter().zip(&self.modalities))
            .map(|([name, _], (_, items, _))| (name.as_str(), items.view()))
            .collect();
        let mut arrays: Vec<_> = names
            .iter()
            .zip(&rows)
            .map(|([_, name], rows)| (name.as_str(), rows.view().into_dyn()))
            .collect();
        let labelled: Vec<usize> = (0..self.labels.len()).collect();
        let labels = [labelled.as_slice(), &self.labels].map(integers);
        if !self.labels.is_empty() {
            arrays.push(("label.row", labels[0].view().into_dyn()));
            arrays.push(("label", labels[1].view().into_dyn()));
        }
        if !self.validation.is_empty() {
            arrays.push(("validation", validation.view().into_dyn()));
        }
        let data = Inputs::of(&matrices).and_integers(&arrays);
        A::fit_json(&spec, &data, parameters, &Services::of(host))
    }
}
