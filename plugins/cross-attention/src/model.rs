//! The network from input ports to one fused row, for each mode.

use chiasm_kit::attention::{BlockSizes, TokenInput, TokenSequence};
use chiasm_kit::terms::average;
use chiasm_kit::{LayerBuilder, WeightInit};
use chiasm_plugin::graph::{DType, Dim, Value};
use chiasm_plugin::{Error, Result};

use crate::attention::AttentionRecord;
use crate::parameters::{CrossAttentionParameters, FusionMode};

/// Standard deviation of the vector of an absent modality at initialisation.
const SMALL: f64 = 0.02;

/// The sizes of one modality.
#[derive(Debug, Clone)]
pub(crate) struct FusionStream {
    pub name: String,
    /// Length of its input: a token or a pooled vector.
    pub width: usize,
    /// Tokens of the longest training row.
    pub longest: usize,
    /// Length of its aligned vector.
    pub pooled: usize,
}

/// A network over these modalities.
#[derive(Debug, Clone)]
pub(crate) struct FusionNetwork {
    pub streams: Vec<FusionStream>,
    pub parameters: CrossAttentionParameters,
    /// The place of the modality that gives the queries.
    pub query: usize,
    /// Whether the answer is a correction of the sum of the aligned vectors.
    pub corrects: bool,
}

/// The modalities fused.
pub(crate) struct FusedStreams {
    /// `[batch, width]`.
    pub row: Value,
    pub width: usize,
    /// Every attention; empty for modes without.
    pub records: Vec<AttentionRecord>,
    /// The sequences attended to, by stream.
    pub sequences: Vec<TokenSequence>,
    /// The sum of the aligned vectors that are present, each with a learned weight; when the answer corrects
    /// it.
    pub sum: Option<Value>,
}

impl FusedStreams {
    fn of(row: Value, width: usize) -> Self {
        Self { row, width, records: Vec::new(), sequences: Vec::new(), sum: None }
    }
}

/// The inputs of one modality in a graph.
struct FusionStreamInput {
    /// Tokens `[batch, T, width]`, or a pooled vector `[batch, width]`.
    values: Value,
    /// `[batch, T]`.
    mask: Value,
    /// The aligned vector, `[batch, k]`, where the answer corrects it.
    aligned: Option<Value>,
}

impl FusionNetwork {
    /// A model of at least two modalities.
    ///
    /// # Errors
    /// When there are fewer, or the modality of the queries is none of them.
    pub(crate) fn new(
        streams: Vec<FusionStream>,
        parameters: CrossAttentionParameters,
        corrects: bool,
    ) -> Result<Self> {
        let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
        let query = match &parameters.query {
            None => names.len().saturating_sub(1),
            Some(name) => names.iter().position(|own| own == name).ok_or_else(|| {
                let names = names.join(", ");
                Error::invalid(format!("parameter `query`: expected one of {names}, got {name}"))
            })?,
        };
        if names.len() < 2 {
            return Err(Error::invalid(format!("expected at least two modalities, got {}", names.len())));
        }
        Ok(Self { streams, parameters, query, corrects })
    }

    /// The modalities whose queries have a single key: their attention weights are always 1.
    pub(crate) fn with_single_key(&self) -> Vec<&str> {
        let keys = |at: usize| -> usize {
            let others = self.streams.iter().enumerate().filter(|(other, _)| *other != at);
            others.map(|(_, stream)| stream.longest).sum()
        };
        let querying: Vec<usize> = match self.parameters.mode {
            FusionMode::Decoder | FusionMode::OneWay => vec![self.query],
            FusionMode::TwoWay | FusionMode::Gated => (0..self.streams.len()).collect(),
            _ => Vec::new(),
        };
        querying.into_iter().filter(|at| keys(*at) < 2).map(|at| self.streams[at].name.as_str()).collect()
    }

    /// Whether every modality with queries has a single key.
    pub(crate) fn has_single_keys_only(&self) -> bool {
        let querying = if self.parameters.mode.has_one_query_modality() { 1 } else { self.streams.len() };
        self.with_single_key().len() == querying
    }

    /// Adds the ports that the mode reads, and fuses them. `hide` may hide modalities: it is given the graph,
    /// a modality's name and its mask, and returns the mask to use.
    pub(crate) fn fused(
        &self,
        layers: &mut LayerBuilder<'_>,
        hide: &mut dyn FnMut(&mut LayerBuilder<'_>, &str, Value) -> Result<Value>,
    ) -> Result<FusedStreams> {
        let mut inputs = Vec::new();
        for FusionStream { name, width, pooled, .. } in &self.streams {
            let (batch, length) = (Dim::named("batch"), Dim::named(format!("{name}_length")));
            let dims = match self.parameters.mode.attends() {
                true => vec![batch.clone(), length.clone(), (*width).into()],
                false => vec![batch.clone(), (*width).into()],
            };
            let port = if self.parameters.mode.attends() { "tokens" } else { "pooled" };
            let values = layers.b.input(&format!("{name}.{port}"), DType::F32, &dims)?;
            let mask = layers.b.input(&format!("{name}.mask"), DType::F32, &[batch, length])?;
            let mask = hide(layers, name, mask)?;
            let aligned = match self.corrects {
                false => None,
                true if !self.parameters.mode.attends() => Some(values.clone()),
                true => Some(layers.b.input(
                    &format!("{name}.pooled"),
                    DType::F32,
                    &[Dim::named("batch"), (*pooled).into()],
                )?),
            };
            inputs.push(FusionStreamInput { values, mask, aligned });
        }
        let mut fused = match self.parameters.mode.attends() {
            true => self.fuse_tokens(layers, &inputs),
            false => self.fuse_pooled(layers, &inputs),
        };
        fused.sum = self.sum(layers, &inputs);
        Ok(fused)
    }

    /// The sum of the aligned vectors that are present, each with a learned weight. The weight of the
    /// modality of the queries starts at 1, those of the others at a half.
    fn sum(&self, layers: &mut LayerBuilder<'_>, inputs: &[FusionStreamInput]) -> Option<Value> {
        if !self.corrects {
            return None;
        }
        let parts: Option<Vec<Value>> = (self.streams.iter().zip(inputs).enumerate())
            .map(|(at, (stream, input))| {
                let first = if at == self.query { 1.0 } else { 0.5 };
                let share =
                    layers.weight(&format!("{}/share", stream.name), &[], WeightInit::Constant(first));
                // not multiplied by zero, because the vector of an absent modality may hold NaN
                let (present, zero) = (is_present(layers, &input.mask), layers.b.scalar(0.0));
                let aligned = layers.b.where_(&present, input.aligned.as_ref()?, &zero);
                Some(layers.b.mul(&aligned, &share))
            })
            .collect();
        parts.map(|parts| sum(layers, &parts))
    }

    /// Fuses by attention over tokens.
    fn fuse_tokens(&self, layers: &mut LayerBuilder<'_>, inputs: &[FusionStreamInput]) -> FusedStreams {
        let parameters = &self.parameters;
        let (width, block) = (parameters.width, self.block());
        let mut streams: Vec<TokenSequence> = (self.streams.iter().zip(inputs))
            .map(|(stream, input)| {
                let positions = parameters.positions.unwrap_or(stream.longest);
                let (name, tokens, mask) = (stream.name.as_str(), &input.values, &input.mask);
                let input = TokenInput { name, tokens, mask, width: stream.width, positions };
                layers.embed_tokens(&input, width)
            })
            .collect();
        let sequences = streams.clone();
        let mut records = Vec::new();
        let (row, width) = match parameters.mode {
            FusionMode::Decoder | FusionMode::OneWay => {
                (self.attend_from_query(layers, streams, &mut records), width)
            }
            FusionMode::Gated => {
                for (at, stream) in streams.iter().enumerate() {
                    let name = format!("fusion/{at}/cross");
                    records.push(AttentionRecord::plain(&name, stream.clone(), self.others(at)));
                }
                (layers.gated("fusion", &streams), streams.len() * width)
            }
            FusionMode::Latent => (self.attend_from_latents(layers, &streams, &mut records), width),
            _ => {
                for name in (0..parameters.depth).map(|layer| format!("fusion/{layer}")) {
                    streams = layers.two_way(&name, block, &streams);
                    for (at, stream) in streams.iter().enumerate() {
                        let name = format!("{name}/{at}/cross");
                        records.push(AttentionRecord::of_heads(&name, stream.clone(), self.others(at)));
                    }
                }
                let pooled: Vec<Value> = (self.streams.iter().zip(&streams))
                    .map(|(stream, tokens)| {
                        let name = format!("fusion/norm/{}", stream.name);
                        let out = tokens.with(layers.norm(&name, &tokens.values, width));
                        layers.pool(&out)
                    })
                    .collect();
                (layers.b.concat(&pooled.iter().collect::<Vec<_>>(), 1), pooled.len() * width)
            }
        };
        FusedStreams { records, sequences, ..FusedStreams::of(row, width) }
    }

    /// The places of all modalities but one.
    fn others(&self, at: usize) -> Vec<usize> {
        (0..self.streams.len()).filter(|other| *other != at).collect()
    }

    fn block(&self) -> BlockSizes {
        BlockSizes { heads: self.parameters.heads, hidden: self.parameters.hidden }
    }

    /// The modality of the queries attends to the others; pooled, `[batch, width]`.
    fn attend_from_query(
        &self,
        layers: &mut LayerBuilder<'_>,
        mut streams: Vec<TokenSequence>,
        records: &mut Vec<AttentionRecord>,
    ) -> Value {
        let mut queries = streams.remove(self.query);
        let keys = layers.joined(&streams.iter().collect::<Vec<_>>());
        let mut record = |name: &str, queries: &TokenSequence| {
            let name = format!("{name}/cross");
            records.push(AttentionRecord::of_heads(&name, queries.clone(), self.others(self.query)));
        };
        if self.parameters.mode == FusionMode::OneWay {
            queries = layers.one_way("fusion", self.block(), &queries, &keys);
            record("fusion", &queries);
        } else {
            for name in (0..self.parameters.depth).map(|layer| format!("fusion/{layer}")) {
                queries = layers.decoder(&name, self.block(), &queries, &keys);
                record(&name, &queries);
            }
            queries = queries.with(layers.norm("fusion/norm", &queries.values, queries.width));
        }
        layers.pool(&queries)
    }

    /// Learned queries attend to all modalities; pooled, `[batch, width]`.
    fn attend_from_latents(
        &self,
        layers: &mut LayerBuilder<'_>,
        streams: &[TokenSequence],
        records: &mut Vec<AttentionRecord>,
    ) -> Value {
        let CrossAttentionParameters { width, depth, latents, .. } = self.parameters;
        let keys = layers.joined(&streams.iter().collect::<Vec<_>>());
        let mut latents = layers.latents("fusion", latents, width, &keys);
        for name in (0..depth).map(|layer| format!("fusion/{layer}")) {
            latents = layers.latent(&name, self.block(), &latents, &keys);
            let all = (0..streams.len()).collect();
            records.push(AttentionRecord::of_heads(&format!("{name}/cross"), latents.clone(), all));
        }
        let out = latents.with(layers.norm("fusion/norm", &latents.values, width));
        layers.pool(&out)
    }

    /// Fuses pooled vectors, with a learned one in place of each that is absent.
    fn fuse_pooled(&self, layers: &mut LayerBuilder<'_>, inputs: &[FusionStreamInput]) -> FusedStreams {
        let CrossAttentionParameters { mode, width, hidden, .. } = self.parameters;
        let zero = layers.b.scalar(0.0);
        let (mut rows, mut present) = (Vec::new(), Vec::new());
        for (stream, input) in self.streams.iter().zip(inputs) {
            let is_present = is_present(layers, &input.mask);
            let absent =
                layers.weight(&format!("{}/absent", stream.name), &[stream.width], WeightInit::Normal(SMALL));
            // before the norm, because an absent vector may hold NaN, and the derivative would be NaN
            let values = layers.b.where_(&is_present, &input.values, &zero);
            let row = layers.norm(&format!("{}/norm", stream.name), &values, stream.width);
            rows.push(layers.b.where_(&is_present, &row, &absent));
            present.push(layers.b.cast(&is_present, DType::F32));
        }
        let projected = |layers: &mut LayerBuilder<'_>| -> Vec<Value> {
            (self.streams.iter().zip(&rows))
                .map(|(stream, row)| {
                    layers.linear(&format!("{}/input", stream.name), row, stream.width, width)
                })
                .collect()
        };
        let total: usize = self.streams.iter().map(|stream| stream.width).sum();
        let (row, width) = match mode {
            FusionMode::Mean => {
                let parts = projected(layers);
                (average(&mut layers.b, &parts), width)
            }
            FusionMode::GatedSum => {
                let parts = projected(layers);
                (self.gated_sum(layers, &rows, &parts), width)
            }
            FusionMode::Bilinear => {
                let parts = projected(layers);
                (bilinear(layers, &parts), width)
            }
            FusionMode::Late => {
                let count = sum(layers, &present);
                let count = layers.b.max_scalar(&count, 1.0);
                let parts: Vec<Value> = (self.streams.iter().zip(&rows).zip(&present))
                    .map(|((stream, row), present)| {
                        let sizes = [stream.width, hidden, width];
                        let part = layers.feed_forward(&format!("{}/alone", stream.name), row, sizes);
                        let part = layers.b.gelu(&part);
                        let share = layers.b.div(present, &count);
                        layers.b.mul(&part, &share)
                    })
                    .collect();
                // a linear head over these is the mean of the heads of the modalities that are present
                (layers.b.concat(&parts.iter().collect::<Vec<_>>(), 1), parts.len() * width)
            }
            _ => (layers.b.concat(&rows.iter().collect::<Vec<_>>(), 1), total),
        };
        FusedStreams::of(row, width)
    }

    /// The gated multimodal unit: `sum_m g_m tanh(part_m)`, the shares g a softmax of a linear map of all
    /// rows.
    fn gated_sum(&self, layers: &mut LayerBuilder<'_>, rows: &[Value], parts: &[Value]) -> Value {
        let total = self.streams.iter().map(|stream| stream.width).sum();
        let all = layers.b.concat(&rows.iter().collect::<Vec<_>>(), 1);
        let gates: Vec<Value> = (self.streams.iter())
            .map(|stream| layers.linear(&format!("{}/gate", stream.name), &all, total, 1))
            .collect();
        let gates = layers.b.concat(&gates.iter().collect::<Vec<_>>(), 1);
        let gates = layers.b.softmax(&gates, 1);
        let bounded: Vec<Value> = parts
            .iter()
            .map(|part| {
                let part = layers.b.tanh(part);
                layers.b.unsqueeze(&part, &[1])
            })
            .collect();
        let bounded = layers.b.concat(&bounded.iter().collect::<Vec<_>>(), 1);
        let gates = layers.b.unsqueeze(&gates, &[1]);
        let sum = layers.b.matmul(&gates, &bounded);
        layers.b.squeeze(&sum, &[1])
    }
}

/// The mean over all pairs of `tanh(a) tanh(b)`. A product of all of them would be near zero from three on,
/// and learn nothing.
fn bilinear(layers: &mut LayerBuilder<'_>, parts: &[Value]) -> Value {
    let bounded: Vec<Value> = parts.iter().map(|part| layers.b.tanh(part)).collect();
    let pairs = (0..bounded.len()).flat_map(|a| (a + 1..bounded.len()).map(move |b| (a, b)));
    let products: Vec<Value> = pairs.map(|(a, b)| layers.b.mul(&bounded[a], &bounded[b])).collect();
    average(&mut layers.b, &products)
}

/// Whether a modality is present, `[batch, 1]`.
fn is_present(layers: &mut LayerBuilder<'_>, mask: &Value) -> Value {
    let count = layers.b.reduce_sum(mask, &[1], true);
    let zero = layers.b.scalar(0.0);
    layers.b.op("Greater", &[&count, &zero], &[])
}

fn sum(layers: &mut LayerBuilder<'_>, parts: &[Value]) -> Value {
    parts.iter().cloned().reduce(|all, part| layers.b.add(&all, &part)).unwrap_or_else(Value::none)
}
