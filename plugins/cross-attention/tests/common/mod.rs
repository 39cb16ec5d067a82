//! An engine and a trainer in place of the host's, for plugins that train.

use std::sync::Mutex;

use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::objective::{Objective, Options, Rows, Trained};
use chiasm_plugin::{Error, Lent, Result};
use chiasm_runtime::{Engine, Search, SessionOptions};
use chiasm_train::Trainer;

/// What the host would lend.
pub struct Bench {
    pub engine: &'static Engine,
    pub seed: u64,
    pub said: Mutex<Vec<String>>,
}

impl Bench {
    pub fn new(seed: u64) -> Self {
        let engine = Engine::open(&Search::from_environment(None)).unwrap();
        Self { engine, seed, said: Mutex::default() }
    }
}

impl Lent for Bench {
    fn log(&self, _: u8, message: &str) {
        self.said.lock().unwrap().push(message.to_owned());
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

    fn train(&self, objective: &Objective, rows: &Rows<'_>, options: &Options) -> Result<Trained> {
        let trainer = Trainer { engine: self.engine, session: SessionOptions::default(), checkpoints: None };
        trainer.train(objective, rows, options, &mut |_| true).map_err(Error::from)
    }
}
