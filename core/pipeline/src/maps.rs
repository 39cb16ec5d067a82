//! Fitting the maps between two clouds, and sending rows through them: what `fit` and `compare` share.

use crate::{
    Error, Workbench,
    compose::{self, Head},
    embed::ItemTokens,
    evaluate::Embedded,
    recipe::{Bank, PluginRecipe},
};
use chiasm_closed_form::bank::{Role, bank_tail};
use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Data, Learned};
use ndarray::{Array2, Axis};
use serde_json::Value;

/// The pooled vectors of both modalities, source first; row i of one belongs to row i of the other.
#[derive(Debug, Clone)]
pub struct Clouds {
    /// The modalities' names.
    pub names: [String; 2],
    /// Their pooled vectors.
    pub sides: [Array2<f32>; 2],
    /// The widths of each side's encoders.
    pub blocks: [Vec<usize>; 2],
    /// Their tokens, for a fusion that reads them.
    pub tokens: [Option<ItemTokens>; 2],
    /// For a fusion that retrieves: what it shall find.
    pub others: Option<Others>,
}

/// Items of one side beyond the first of each row, e.g. the other captions of a picture.
#[derive(Debug, Clone)]
pub struct Others {
    /// The side.
    pub side: usize,
    /// Their pooled vectors, row after row.
    pub pooled: Array2<f32>,
    /// Where each row's begin; and, last, their number.
    pub starts: Vec<usize>,
}

impl Others {
    /// Those of some rows, and how many each has.
    pub fn of(&self, rows: &[usize]) -> (Array2<f32>, Vec<usize>) {
        let items = |row: usize| self.starts[row]..self.starts[row + 1];
        let picked: Vec<usize> = rows.iter().flat_map(|row| items(*row)).collect();
        (self.pooled.select(Axis(0), &picked), rows.iter().map(|row| items(*row).len()).collect())
    }
}

impl Clouds {
    /// Some rows of both sides.
    pub fn select(&self, rows: &[usize]) -> [Array2<f32>; 2] {
        [self.sides[0].select(Axis(0), rows), self.sides[1].select(Axis(0), rows)]
    }
}

/// The learned maps of one fit.
#[derive(Debug)]
pub struct Maps {
    names: [String; 2],
    /// What the aligner returned.
    pub learned: Learned,
    banks: Option<[Graph; 2]>,
}

impl Maps {
    /// Fits the aligner on paired rows.
    ///
    /// # Errors
    /// When the aligner refuses or fails; the error names the plugin.
    pub fn fit(
        names: &[String; 2],
        rows: &[Array2<f32>; 2],
        blocks: &[Vec<usize>; 2],
        aligner: &PluginRecipe,
        parameters: &Value,
        bench: &Workbench,
    ) -> Result<Self, Error> {
        let handle = bench.host.aligner(&aligner.id.value)?;
        let data = [("source.pooled", view(&rows[0])), ("target.pooled", view(&rows[1]))];
        let parameters = with_blocks(parameters, blocks);
        let services = bench.services(&format!("align ({})", aligner.id.value));
        let learned = handle.fit(&data, &parameters, &services)?;
        Ok(Self { names: names.clone(), learned, banks: None })
    }

    /// Adds the hubness bank: each side's correction looks at the other side's training rows.
    ///
    /// # Errors
    /// When the training rows cannot be mapped.
    pub fn add_bank(
        &mut self,
        training: &[Array2<f32>; 2],
        bank: Bank,
        bench: &Workbench,
    ) -> Result<(), Error> {
        let z = self.apply(training, bench)?;
        let side = |others: &Array2<f32>, side| {
            bank_tail(others.view(), bank.top, bank.weight, side)
                .map_err(|e| Error::Internal(format!("the hubness bank: {e}")))
        };
        let first = side(&z.sides[1], Role::Source)?;
        let second = side(&z.sides[0], Role::Target)?;
        self.banks = Some([first, second]);
        Ok(())
    }

    /// The two heads, to be joined with their towers.
    pub fn heads(&self) -> [Head<'_>; 2] {
        let bank = |side: usize| self.banks.as_ref().map(|b| &b[side]);
        [
            Head { modality: &self.names[0], map: (&self.learned.source, "x"), bank: bank(0) },
            Head { modality: &self.names[1], map: (&self.learned.target, "y"), bank: bank(1) },
        ]
    }

    /// Rows through the maps, before any bank.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn apply(&self, rows: &[Array2<f32>; 2], bench: &Workbench) -> Result<Embedded, Error> {
        let [first, second] = [0, 1].map(|side| self.apply_one(side, &rows[side], bench));
        Ok(Embedded { names: self.names.clone(), sides: [first?, second?] })
    }

    /// Rows of one side through its map, before any bank.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn apply_one(
        &self,
        side: usize,
        rows: &Array2<f32>,
        bench: &Workbench,
    ) -> Result<Array2<f32>, Error> {
        let (map, input) = [(&self.learned.source, "x"), (&self.learned.target, "y")][side];
        run_rows(map, input, "z", rows, bench)
    }

    /// Rows through the whole heads: what the merged model's embeddings are.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn embed(&self, rows: &[Array2<f32>; 2], bench: &Workbench) -> Result<Embedded, Error> {
        let side = |head: &Head<'_>, rows| {
            let input = format!("{}/pooled", head.modality);
            run_rows(&head.graph()?, &input, &compose::embeds(head.modality), rows, bench)
        };
        let [first, second] = self.heads();
        Ok(Embedded { names: self.names.clone(), sides: [side(&first, &rows[0])?, side(&second, &rows[1])?] })
    }
}

/// The parameters, told of several encoders side by side in one row: each is normalised on its own.
fn with_blocks(parameters: &Value, blocks: &[Vec<usize>; 2]) -> Value {
    let mut parameters = parameters.clone();
    if let Some(object) = parameters.as_object_mut() {
        for (name, widths) in ["source_blocks", "target_blocks"].into_iter().zip(blocks) {
            if widths.len() > 1 {
                object.entry(name).or_insert_with(|| serde_json::json!(widths));
            }
        }
    }
    parameters
}

/// A matrix as a plugin sees it. Matrices here are always dense and row-major.
pub(crate) fn view(matrix: &Array2<f32>) -> Data<'_> {
    Data::f32(&[matrix.nrows(), matrix.ncols()], matrix.as_slice().unwrap_or_default())
}

/// A matrix through a graph with one input and one wanted output.
fn run_rows(
    graph: &Graph,
    input: &str,
    output: &str,
    rows: &Array2<f32>,
    bench: &Workbench,
) -> Result<Array2<f32>, Error> {
    let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
    let shape = [rows.nrows(), rows.ncols()];
    let tensor = Tensor::f32(&shape, rows.iter().copied().collect()).map_err(internal)?;
    let mut outputs = bench.session(graph)?.run_outputs(&[(input, &tensor)], &[output])?;
    let (_, tensor) = outputs.pop().ok_or_else(|| Error::Internal(format!("no output {output:?}")))?;
    let width = tensor.shape().last().copied().unwrap_or_default();
    let values = tensor.into_f32().map_err(internal)?;
    Array2::from_shape_vec((rows.nrows(), width), values)
        .map_err(|e| Error::Internal(format!("output {output:?}: {e}")))
}
