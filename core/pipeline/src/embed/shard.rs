//! One encoder over many items: shards from the cache where they are there, else through the engine.

use super::tokens::Tokens;
use crate::{
    base::{digest::Key, error::Error, reporter::Steps, workbench::Workbench},
    catalog::{encoder::Encoder, raw::Raw},
};
use chiasm_graph::Tensor;
use chiasm_runtime::{BadItemPolicy, BatchReceiver, EmbedOptions, EmbedRequest, ItemInput, Session, embed};
use ndarray::{Array2, Array3, Axis, Slice};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Items of one shard: what a killed run loses at most.
const SHARD: usize = 2048;

/// What an encoder made of its items.
pub(super) struct Encoded {
    /// `[items, width]`; bad items are zero.
    pub pooled: Array2<f32>,
    /// When they were asked for; bad items have none.
    pub tokens: Option<Tokens>,
    /// Items that could not be read, and why.
    pub bad: BTreeMap<usize, String>,
}

/// Every item through an encoder; with tokens when they are wanted, for so many rows.
pub(super) fn encode(
    encoder: &Encoder,
    modality: &str,
    items: &[&Raw],
    tokens: Option<usize>,
    bench: &Workbench,
    skip_bad: bool,
) -> Result<Encoded, Error> {
    let engine = bench.engine_identity()?;
    let mut key = encoder.key();
    key.add(engine).add(bench.device.as_str());
    let shards: Vec<&[&Raw]> = items.chunks(SHARD).collect();
    let keys: Vec<String> = shards.iter().map(|shard| shard_key(&key, shard)).collect();
    let steps = Steps::begin(&*bench.reporter, &format!("embed {modality} ({})", encoder.name), items.len());
    let width = tokens.map(|_| encoder.tokens_dim()).transpose()?;
    let mut session = None;
    let mut pooled = Array2::zeros((items.len(), encoder.pooled_dim));
    let (mut sequences, mut bad) = (Vec::new(), BTreeMap::new());
    for (index, (shard, key)) in shards.iter().zip(&keys).enumerate() {
        let start = index * SHARD;
        let kept = kept(encoder, key, shard.len(), width, bench);
        let done = match kept {
            Some(kept) => {
                steps.add(shard.len());
                kept
            }
            None => {
                let session = match &mut session {
                    Some(session) => session,
                    none => none.insert(open(encoder, width.is_some(), bench)?),
                };
                let made = run(encoder, session, shard, width, bench, skip_bad, &steps)?;
                made.check_finite(encoder, shard)?;
                if made.bad.is_empty() {
                    made.store(key, bench)?; // a shard with a bad item is tried again next time
                }
                made
            }
        };
        if let Some((rows, tokens)) = tokens.zip(done.tokens.as_ref()) {
            fits_memory(&encoder.name, items.len() + rows, tokens.values.dim(), available_memory())?;
        }
        pooled.slice_axis_mut(Axis(0), Slice::from(start..start + shard.len())).assign(&done.pooled);
        sequences.extend(done.tokens);
        bad.extend(done.bad.into_iter().map(|(item, reason)| (start + item, reason)));
    }
    let tokens = width.map(|width| Tokens::joined(&sequences, width));
    Ok(Encoded { pooled, tokens, bad })
}

/// Refuses tokens that the machine cannot hold: those of all items, and once more those of the rows they are
/// split into.
fn fits_memory(
    encoder: &str,
    sequences: usize,
    (_, length, width): (usize, usize, usize),
    available: Option<u64>,
) -> Result<(), Error> {
    let wanted = sequences as u64 * length as u64 * width as u64 * 4;
    match available {
        Some(available) if wanted > available => {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            Err(Error::input(
                "chiasm::data::tokens_memory",
                format!(
                    "the tokens of {:?}, {length} of {width} numbers each, take {:.1} GiB for items and rows; \
                     {:.1} GiB are free",
                    encoder,
                    gib(wanted),
                    gib(available)
                ),
                "give fewer rows, or fuse pooled vectors: plugin = \"concat\" or \"mean\"",
            ))
        }
        _ => Ok(()),
    }
}

/// Bytes that can still be had, where the system says so.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A shard's parts have keys of their own, so that pooled vectors serve runs with and without tokens.
fn part(key: &str, part: &str) -> String {
    let mut whole = Key::default();
    whole.add(key).add(part);
    whole.finish()
}

fn kept(
    encoder: &Encoder,
    key: &str,
    rows: usize,
    width: Option<usize>,
    bench: &Workbench,
) -> Option<Encoded> {
    let pooled: Array2<f32> = bench.cache.load(key, rows)?;
    let tokens = match width {
        None => None,
        Some(width) => {
            let values: Array3<f32> = bench.cache.load(&part(key, "tokens"), rows)?;
            let mask: Array2<f32> = bench.cache.load(&part(key, "mask"), rows)?;
            let fits = values.dim() == (rows, mask.ncols(), width);
            Some(fits.then_some(Tokens { values, mask })?)
        }
    };
    (pooled.ncols() == encoder.pooled_dim).then_some(Encoded { pooled, tokens, bad: BTreeMap::new() })
}

impl Encoded {
    fn store(&self, key: &str, bench: &Workbench) -> Result<(), Error> {
        if let Some(tokens) = &self.tokens {
            bench.cache.store(&part(key, "tokens"), &tokens.values)?;
            bench.cache.store(&part(key, "mask"), &tokens.mask)?;
        }
        bench.cache.store(key, &self.pooled)
    }

    fn check_finite(&self, encoder: &Encoder, shard: &[&Raw]) -> Result<(), Error> {
        let finite = |row: usize| {
            let tokens =
                self.tokens.iter().flat_map(|tokens| tokens.values.index_axis(Axis(0), row).into_iter());
            self.pooled.row(row).into_iter().chain(tokens).all(|value| value.is_finite())
        };
        match (0..shard.len()).find(|row| !finite(*row)) {
            None => Ok(()),
            Some(row) => Err(Error::input(
                "chiasm::data::not_finite",
                format!("{:?} gives NaN or infinity for {}", encoder.name, shard[row].shown()),
                "look at that input, and at the model's preprocessing; nothing was kept",
            )),
        }
    }
}

fn open(encoder: &Encoder, tokens: bool, bench: &Workbench) -> Result<Session, Error> {
    let wanted: &[&str] = if tokens { &["pooled", "tokens", "mask"] } else { &["pooled"] };
    let graph = encoder.graph.extract(wanted);
    bench.session_for_batches(&graph.map_err(Error::graph(format!("the outputs of {:?}", encoder.name)))?)
}

fn run(
    encoder: &Encoder,
    session: &Session,
    shard: &[&Raw],
    width: Option<usize>,
    bench: &Workbench,
    skip_bad: bool,
    steps: &Steps<'_>,
) -> Result<Encoded, Error> {
    let inputs: Vec<ItemInput> = (encoder.inputs.iter())
        .filter(|i| session.inputs().iter().any(|port| port.name == i.name))
        .map(|i| ItemInput { name: i.name.clone(), dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
        .collect();
    let wanted: Vec<bool> =
        encoder.inputs.iter().map(|i| inputs.iter().any(|kept| kept.name == i.name)).collect();
    let prepare = |item: usize| {
        encoder.prepare(shard[item]).map(|tensors| {
            tensors.into_iter().zip(&wanted).filter_map(|(t, &keep)| keep.then_some(t)).collect::<Vec<_>>()
        })
    };
    let options = EmbedOptions { threads: bench.threads, limits: None };
    let mut gather = Gather {
        shard,
        skip_bad,
        pooled: Array2::zeros((shard.len(), encoder.pooled_dim)),
        sequences: vec![(Vec::new(), Vec::new()); if width.is_some() { shard.len() } else { 0 }],
        bad: BTreeMap::new(),
        steps,
        before: 0,
    };
    let outputs: &[&str] = if width.is_some() { &["pooled", "tokens", "mask"] } else { &["pooled"] };
    let request = EmbedRequest { items: shard.len(), inputs: &inputs, outputs, options };
    match embed(session, &request, prepare, &mut gather) {
        Err(chiasm_runtime::Error::Item { index, reason }) => return Err(unreadable(shard[index], &reason)),
        other => other?,
    };
    let tokens = width.map(|width| gather.tokens(width));
    Ok(Encoded { pooled: gather.pooled, tokens, bad: gather.bad })
}

/// Keeps what a session gives for the items of a shard, at their places.
struct Gather<'a> {
    shard: &'a [&'a Raw],
    skip_bad: bool,
    pooled: Array2<f32>,
    /// Of every item the tokens up to the last one that is there, and their mask.
    sequences: Vec<(Vec<f32>, Vec<f32>)>,
    bad: BTreeMap<usize, String>,
    steps: &'a Steps<'a>,
    before: usize,
}

impl Gather<'_> {
    /// All sequences, padded to the longest.
    fn tokens(&mut self, width: usize) -> Tokens {
        let sequences = std::mem::take(&mut self.sequences);
        let longest = sequences.iter().map(|(_, mask)| mask.len()).max().unwrap_or_default();
        let mut tokens = Tokens {
            values: Array3::zeros((sequences.len(), longest, width)),
            mask: Array2::zeros((sequences.len(), longest)),
        };
        let rows = tokens.values.outer_iter_mut().zip(tokens.mask.outer_iter_mut());
        for ((mut values, mut mask), own) in rows.zip(sequences) {
            // what comes after the last token stays zero
            values.iter_mut().zip(own.0).for_each(|(to, from)| *to = from);
            mask.iter_mut().zip(own.1).for_each(|(to, from)| *to = from);
        }
        tokens
    }
}

impl BatchReceiver for Gather<'_> {
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
        let named = |name: &str| {
            let found = outputs.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor);
            let values = found.and_then(|tensor| Some((tensor.shape(), tensor.as_f32()?)));
            values.ok_or_else(|| format!("the session gave no numbers `{name}`"))
        };
        let (_, pooled) = named("pooled")?;
        for (row, values) in rows.iter().zip(pooled.chunks_exact(self.pooled.ncols().max(1))) {
            self.pooled.row_mut(*row).iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
        if self.sequences.is_empty() {
            return Ok(());
        }
        let ((shape, tokens), (_, mask)) = (named("tokens")?, named("mask")?);
        let &[_, length, width] = shape else { return Err(format!("tokens of shape {shape:?}")) };
        let items = tokens.chunks_exact((length * width).max(1)).zip(mask.chunks_exact(length.max(1)));
        for (row, (tokens, mask)) in rows.iter().zip(items) {
            let steps = mask.iter().rposition(|there| *there != 0.0).map_or(0, |last| last + 1);
            let mut own = tokens[..steps * width].to_vec();
            // what a hidden token holds is of no use to anybody
            let hidden = mask[..steps].iter().enumerate().filter(|(_, there)| **there == 0.0);
            hidden.for_each(|(step, _)| own[step * width..(step + 1) * width].fill(0.0));
            self.sequences[*row] = (own, mask[..steps].to_vec());
        }
        Ok(())
    }

    fn bad_item(&mut self, item: usize, reason: &str) -> BadItemPolicy {
        self.bad.insert(item, format!("{}: {reason}", self.shard[item].shown()));
        if self.skip_bad { BadItemPolicy::Skip } else { BadItemPolicy::Abort }
    }

    fn progress(&mut self, done: usize, _: usize) -> bool {
        self.steps.add(done - self.before);
        self.before = done;
        true
    }
}

fn unreadable(item: &Raw, reason: &str) -> Error {
    Error::input(
        "chiasm::data::unreadable_item",
        format!("cannot read {}: {reason}", item.shown()),
        "mend or remove it, or leave such rows out with --skip-bad",
    )
}

/// The key of a shard: the encoder's, and the content of every item.
fn shard_key(encoder: &Key, shard: &[&Raw]) -> String {
    let contents: Vec<String> = shard.par_iter().map(|raw| raw.content()).collect();
    let mut key = encoder.clone();
    contents.iter().for_each(|content| {
        key.add(content);
    });
    key.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million pictures of 49 tokens of 1280 numbers are 250.88e9 bytes.
    #[test]
    fn tokens_that_do_not_fit_are_refused_before_they_fill_the_memory() {
        let fits = |free| fits_memory("big", 1_000_000, (0, 49, 1280), free);
        let message = fits(Some(16 << 30)).unwrap_err().to_string();
        assert!(message.contains("take 233.7 GiB") && message.contains("16.0 GiB are free"), "{message}");
        fits(Some(256 << 30)).unwrap();
        fits(None).unwrap();
        assert!(!cfg!(target_os = "linux") || available_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
