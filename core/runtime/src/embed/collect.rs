//! [`embed_all`]: every result in memory, one tensor per output, rows in item order.

use std::fmt::Display;

use chiasm_graph::{DType, Dim, Port, Tensor};

use super::{BadItemPolicy, BatchReceiver, EmbedReport, EmbedRequest, embed};
use crate::{Error, Result, Session};

/// The results of [`embed_all`].
#[derive(Debug, Clone)]
pub struct EmbeddedItems {
    /// One tensor per output asked for, in that order; its first axis runs over `items`.
    pub outputs: Vec<(String, Tensor)>,
    /// The item of each row: all of them, unless some were skipped.
    pub items: Vec<usize>,
    /// Counts and times of the run.
    pub report: EmbedReport,
}

/// Runs [`embed`] and returns all outputs as tensors, for outputs of one size per item (pooled vectors).
///
/// `on_bad` decides about bad items; `on_progress` is called with (done, total) and stops the run when it
/// returns `false`.
///
/// # Errors
/// Those of [`embed`]; [`Error::Receiver`] for an output whose rows differ in shape between batches.
pub fn embed_all<P, E>(
    session: &Session,
    request: &EmbedRequest<'_>,
    prepare: P,
    on_bad: &mut (dyn FnMut(usize, &str) -> BadItemPolicy + Send),
    on_progress: &mut (dyn FnMut(usize, usize) -> bool + Send),
) -> Result<EmbeddedItems>
where
    P: Fn(usize) -> Result<Vec<Tensor>, E> + Sync,
    E: Display,
{
    let items = request.items;
    let ports: Vec<&Port> = request.outputs.iter().map(|name| session.output(name)).collect::<Result<_>>()?;
    let columns = ports.iter().map(|port| OutputColumn::new(port, items)).collect();
    let mut all = Collector { columns, seen: vec![false; items], on_bad, on_progress };
    let report = embed(session, request, prepare, &mut all)?;
    let Collector { columns, seen, .. } = all;
    let kept: Vec<usize> = (0..items).filter(|i| seen[*i]).collect();
    let outputs = columns
        .into_iter()
        .zip(ports)
        .map(|(column, port)| Ok((port.name.clone(), column.finish(port, &kept, items)?)))
        .collect::<Result<_>>()?;
    Ok(EmbeddedItems { outputs, items: kept, report })
}

struct Collector<'a> {
    columns: Vec<OutputColumn>,
    seen: Vec<bool>,
    on_bad: &'a mut (dyn FnMut(usize, &str) -> BadItemPolicy + Send),
    on_progress: &'a mut (dyn FnMut(usize, usize) -> bool + Send),
}

impl BatchReceiver for Collector<'_> {
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
        for (column, (name, tensor)) in self.columns.iter_mut().zip(&outputs) {
            column.place(rows, tensor).map_err(|reason| format!("output \"{name}\": {reason}"))?;
        }
        for row in rows {
            self.seen[*row] = true;
        }
        Ok(())
    }

    fn bad_item(&mut self, item: usize, reason: &str) -> BadItemPolicy {
        (self.on_bad)(item, reason)
    }

    fn progress(&mut self, done: usize, total: usize) -> bool {
        (self.on_progress)(done, total)
    }
}

/// The rows of one output as bytes, in item order.
struct OutputColumn {
    dtype: DType,
    /// Shape of one row; known from the first batch on.
    row: Option<Vec<usize>>,
    bytes: Vec<u8>,
    items: usize,
}

impl OutputColumn {
    fn new(port: &Port, items: usize) -> Self {
        Self { dtype: port.dtype, row: None, bytes: Vec::new(), items }
    }

    fn place(&mut self, rows: &[usize], tensor: &Tensor) -> Result<(), String> {
        let shape = tensor.shape().get(1..).unwrap_or_default();
        let row = self.row.get_or_insert_with(|| shape.to_vec());
        if row != shape {
            return Err(format!(
                "rows of shape {row:?} and then {shape:?} cannot be kept as one tensor; take them batch by \
                 batch"
            ));
        }
        let size = tensor.bytes().len() / rows.len().max(1);
        if self.bytes.is_empty() {
            self.bytes = vec![0; size * self.items];
        }
        for (row, bytes) in rows.iter().zip(tensor.bytes().chunks_exact(size.max(1))) {
            self.bytes[row * size..(row + 1) * size].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn finish(mut self, port: &Port, kept: &[usize], items: usize) -> Result<Tensor> {
        let row = match self.row {
            Some(row) => row,
            None => empty_row(port)?,
        };
        if kept.len() < items && !self.bytes.is_empty() {
            let size = self.bytes.len() / items;
            for (to, from) in kept.iter().enumerate() {
                self.bytes.copy_within(from * size..(from + 1) * size, to * size);
            }
            self.bytes.truncate(kept.len() * size);
        }
        let shape: Vec<usize> = std::iter::once(kept.len()).chain(row).collect();
        Ok(Tensor::from_bytes(self.dtype, &shape, &self.bytes)?)
    }
}

/// The shape of a row when no item was embedded: that of the port, if it fixes every axis after the first.
fn empty_row(port: &Port) -> Result<Vec<usize>> {
    let dims = port.dims.as_ref().and_then(|dims| dims.get(1..));
    dims.and_then(|dims| dims.iter().map(Dim::fixed).collect()).ok_or_else(|| {
        Error::Receiver(format!(
            "no item could be embedded, and the model does not fix the shape of output {port}"
        ))
    })
}
