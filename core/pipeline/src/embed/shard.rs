//! Running one encoder over many items. Each shard is loaded from the cache, or else computed by the engine.

use super::tokens::TokenSequences;
use crate::{
    base::{
        cache::ShardFolder, digest::KeyHasher, environment::Environment, error::Error,
        memory::available_memory, reporter::StageProgress,
    },
    catalog::{encoder::Encoder, raw::RawItem},
};
use chiasm_graph::Tensor;
use chiasm_runtime::{
    BadItemPolicy, BatchLimits, BatchReceiver, Device, EmbedOptions, EmbedRequest, ItemInput, Session, embed,
};
use ndarray::{Array2, Array3, Axis, Ix2, Ix3, Slice};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Items per shard. An interrupted fit loses at most the items of one shard.
const SHARD: usize = 2048;

/// The output of an encoder for a list of items.
pub(super) struct EncodedItems {
    /// Pooled vectors, `[items, width]`; zero for items that could not be read.
    pub pooled: Array2<f32>,
    /// Tokens, if requested. Items that could not be read have none.
    pub tokens: Option<TokenSequences>,
    /// The items that could not be read, with the reasons.
    pub bad: BTreeMap<usize, String>,
}

/// The outputs for all items, or the item that could not be read and was not to be skipped, with the reason.
pub(super) type Encoded = Result<EncodedItems, (usize, String)>;

/// Runs an encoder over `items`. Tokens are returned if `tokens` is given: the number of items, with
/// repetitions, that will need their sequences.
pub(super) fn encode(
    encoder: &Encoder,
    modality: &str,
    items: &[&RawItem],
    tokens: Option<usize>,
    env: &Environment,
    skip_bad: bool,
) -> Result<Encoded, Error> {
    let engine = env.engine_identity()?;
    let cache = env.cache.embeddings()?;
    let mut session = None;
    let device = match env.device {
        // Where a session runs is known once it is open.
        Device::Auto => session.insert(open(encoder, tokens.is_some(), env)?).device_used(),
        chosen => chosen.as_str(),
    };
    let mut key = encoder.key();
    key.add(engine).add(device);
    let shards: Vec<&[&RawItem]> = items.chunks(SHARD).collect();
    let keys: Vec<String> = shards.iter().map(|shard| shard_key(&key, shard)).collect();
    let steps =
        StageProgress::begin(&*env.reporter, &format!("embed {modality} ({})", encoder.name), items.len());
    let width = tokens.map(|_| encoder.tokens_dim()).transpose()?;
    let mut pooled = Array2::zeros((items.len(), encoder.pooled_dim));
    let (mut sequences, mut bad) = (Vec::new(), BTreeMap::new());
    for (index, (shard, key)) in shards.iter().zip(&keys).enumerate() {
        let start = index * SHARD;
        let done = match undamaged(kept(encoder, key, shard.len(), width, &cache), env) {
            Some(kept) => {
                steps.add(shard.len());
                kept
            }
            None => {
                let session = match &mut session {
                    Some(session) => session,
                    none => none.insert(open(encoder, width.is_some(), env)?),
                };
                let request = ShardRun { encoder, items: shard, width, skip_bad, limits: None };
                let made = match run(&request, session, env, &steps)? {
                    Ok(made) => made,
                    Err((item, reason)) => return Ok(Err((start + item, reason))),
                };
                made.check_finite(encoder, shard)?;
                if made.bad.is_empty() {
                    made.store(key, &cache)?; // a shard with unreadable items is not cached
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
    let tokens = width.map(|width| TokenSequences::joined(&sequences, width));
    Ok(Ok(EncodedItems { pooled, tokens, bad }))
}

/// Returns an error if the tokens do not fit into memory: `sequences` counts those of the distinct items and
/// once more those of all items.
fn fits_memory(
    encoder: &str,
    sequences: usize,
    (_, length, width): (usize, usize, usize),
    available: Option<u64>,
) -> Result<(), Error> {
    let needed = sequences as u64 * length as u64 * width as u64 * 4;
    match available {
        Some(available) if needed > available => {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            Err(Error::input(
                "chiasm::data::tokens_memory",
                format!(
                    "the tokens of {:?}, {length} x {width} numbers per item, take {:.1} GiB; {:.1} GiB are \
                     free",
                    encoder,
                    gib(needed),
                    gib(available)
                ),
                "give fewer rows, or fuse pooled vectors: plugin = \"concat\" or \"mean\"",
            ))
        }
        _ => Ok(()),
    }
}

/// Returns the key of a part of a shard. Tokens have their own keys, so that fits with and without tokens
/// share the pooled vectors.
fn part(key: &str, part: &str) -> String {
    let mut whole = KeyHasher::default();
    whole.add(key).add(part);
    whole.finish()
}

/// Returns what the cache holds, and nothing if that is damaged, which is reported.
fn undamaged(kept: Result<Option<EncodedItems>, String>, env: &Environment) -> Option<EncodedItems> {
    kept.unwrap_or_else(|damage| {
        env.reporter.note(&format!("cached vectors are damaged and are computed again: {damage}"));
        None
    })
}

fn kept(
    encoder: &Encoder,
    key: &str,
    rows: usize,
    width: Option<usize>,
    cache: &ShardFolder,
) -> Result<Option<EncodedItems>, String> {
    let Some(pooled) = cache.load::<Ix2>(key, rows)? else { return Ok(None) };
    let tokens = match width {
        None => None,
        Some(width) => {
            let values = cache.load::<Ix3>(&part(key, "tokens"), rows)?;
            let mask = cache.load::<Ix2>(&part(key, "mask"), rows)?;
            let Some((values, mask)) = values.zip(mask) else { return Ok(None) };
            if values.dim() != (rows, mask.ncols(), width) {
                return Err(format!("the tokens of {:?} have the shape {:?}", encoder.name, values.dim()));
            }
            Some(TokenSequences { values, mask })
        }
    };
    if pooled.ncols() != encoder.pooled_dim {
        return Err(format!("the vectors of {:?} have the shape {:?}", encoder.name, pooled.dim()));
    }
    Ok(Some(EncodedItems { pooled, tokens, bad: BTreeMap::new() }))
}

impl EncodedItems {
    fn store(&self, key: &str, cache: &ShardFolder) -> Result<(), Error> {
        if let Some(tokens) = &self.tokens {
            cache.store(&part(key, "tokens"), &tokens.values)?;
            cache.store(&part(key, "mask"), &tokens.mask)?;
        }
        cache.store(key, &self.pooled)
    }

    fn check_finite(&self, encoder: &Encoder, shard: &[&RawItem]) -> Result<(), Error> {
        let finite = |row: usize| {
            let tokens =
                self.tokens.iter().flat_map(|tokens| tokens.values.index_axis(Axis(0), row).into_iter());
            self.pooled.row(row).into_iter().chain(tokens).all(|value| value.is_finite())
        };
        match (0..shard.len()).find(|row| !finite(*row)) {
            None => Ok(()),
            Some(row) => Err(Error::input(
                "chiasm::data::not_finite",
                format!("{:?} gives NaN or infinity for {}", encoder.name, shard[row].describe()),
                "check that item and the preprocessing of the model; nothing was kept",
            )),
        }
    }
}

/// Opens a session with the pooled vectors, and the tokens and masks if wanted.
pub(super) fn open(encoder: &Encoder, tokens: bool, env: &Environment) -> Result<Session, Error> {
    let wanted: &[&str] = if tokens { &["pooled", "tokens", "mask"] } else { &["pooled"] };
    let graph = encoder.graph.extract(wanted);
    env.session_for_batches(&graph.map_err(Error::graph(format!("the outputs of {:?}", encoder.name)))?)
}

/// One run of an encoder over a list of items, without the cache.
pub(super) struct ShardRun<'a> {
    pub encoder: &'a Encoder,
    pub items: &'a [&'a RawItem],
    /// The width of the token vectors, if tokens are wanted.
    pub width: Option<usize>,
    pub skip_bad: bool,
    /// The limits of a batch; `None` for those of the device.
    pub limits: Option<BatchLimits>,
}

/// Embeds the items of `request`.
pub(super) fn run(
    request: &ShardRun<'_>,
    session: &Session,
    env: &Environment,
    steps: &StageProgress<'_>,
) -> Result<Encoded, Error> {
    let &ShardRun { encoder, items: shard, width, skip_bad, limits } = request;
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
    let options = EmbedOptions { threads: env.threads, limits };
    let mut gather = ShardCollector {
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
        Err(chiasm_runtime::Error::Item { index, reason }) => return Ok(Err((index, reason))),
        other => other?,
    };
    let tokens = width.map(|width| gather.tokens(width));
    Ok(Ok(EncodedItems { pooled: gather.pooled, tokens, bad: gather.bad }))
}

/// Collects the outputs of a session for the items of a shard.
struct ShardCollector<'a> {
    shard: &'a [&'a RawItem],
    skip_bad: bool,
    pooled: Array2<f32>,
    /// The tokens of each item up to the last one with mask 1, and their mask.
    sequences: Vec<(Vec<f32>, Vec<f32>)>,
    bad: BTreeMap<usize, String>,
    steps: &'a StageProgress<'a>,
    before: usize,
}

impl ShardCollector<'_> {
    /// Returns all sequences, padded to the longest.
    fn tokens(&mut self, width: usize) -> TokenSequences {
        let sequences = std::mem::take(&mut self.sequences);
        let longest = sequences.iter().map(|(_, mask)| mask.len()).max().unwrap_or_default();
        let mut tokens = TokenSequences {
            values: Array3::zeros((sequences.len(), longest, width)),
            mask: Array2::zeros((sequences.len(), longest)),
        };
        let rows = tokens.values.outer_iter_mut().zip(tokens.mask.outer_iter_mut());
        for ((mut values, mut mask), own) in rows.zip(sequences) {
            // The padding stays zero.
            values.iter_mut().zip(own.0).for_each(|(to, from)| *to = from);
            mask.iter_mut().zip(own.1).for_each(|(to, from)| *to = from);
        }
        tokens
    }
}

impl BatchReceiver for ShardCollector<'_> {
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
        let named = |name: &str| {
            let found = outputs.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor);
            let values = found.and_then(|tensor| Some((tensor.shape(), tensor.as_f32()?)));
            values.ok_or_else(|| format!("the session returned no f32 output `{name}`"))
        };
        let (_, pooled) = named("pooled")?;
        for (row, values) in rows.iter().zip(pooled.chunks_exact(self.pooled.ncols().max(1))) {
            self.pooled.row_mut(*row).iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
        if self.sequences.is_empty() {
            return Ok(());
        }
        let ((shape, tokens), (_, mask)) = (named("tokens")?, named("mask")?);
        let &[_, length, width] = shape else {
            return Err(format!("expected tokens with 3 axes, got the shape {shape:?}"));
        };
        let items = tokens.chunks_exact((length * width).max(1)).zip(mask.chunks_exact(length.max(1)));
        for (row, (tokens, mask)) in rows.iter().zip(items) {
            let steps = mask.iter().rposition(|there| *there != 0.0).map_or(0, |last| last + 1);
            let mut own = tokens[..steps * width].to_vec();
            // Masked tokens are set to zero.
            let hidden = mask[..steps].iter().enumerate().filter(|(_, there)| **there == 0.0);
            hidden.for_each(|(step, _)| own[step * width..(step + 1) * width].fill(0.0));
            self.sequences[*row] = (own, mask[..steps].to_vec());
        }
        Ok(())
    }

    fn bad_item(&mut self, item: usize, reason: &str) -> BadItemPolicy {
        self.bad.insert(item, format!("{}: {reason}", self.shard[item].describe()));
        if self.skip_bad { BadItemPolicy::Skip } else { BadItemPolicy::Abort }
    }

    fn progress(&mut self, done: usize, _: usize) -> bool {
        let go_on = self.steps.add(done - self.before);
        self.before = done;
        go_on
    }
}

/// Returns the key of a shard: the digest of the encoder's key and the content of every item.
fn shard_key(encoder: &KeyHasher, shard: &[&RawItem]) -> String {
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

    /// One million items x 49 tokens x 1280 numbers x 4 bytes = 250.88e9 bytes.
    #[test]
    fn tokens_that_do_not_fit_into_memory_are_refused() {
        let fits = |free| fits_memory("big", 1_000_000, (0, 49, 1280), free);
        let message = fits(Some(16 << 30)).unwrap_err().to_string();
        assert!(message.contains("take 233.7 GiB") && message.contains("16.0 GiB are free"), "{message}");
        fits(Some(256 << 30)).unwrap();
        fits(None).unwrap();
        assert!(!cfg!(target_os = "linux") || available_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
