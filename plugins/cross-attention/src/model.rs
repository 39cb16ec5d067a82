//! From ports to one fused row, by mode.

use chiasm_learned::attention::{Block, Entry, Tokens};
use chiasm_learned::{Begin, Layers};
use chiasm_plugin::graph::{DType, Dim, Value};
use chiasm_plugin::{Error, Result};

use crate::looks::Look;
use crate::settings::{Mode, Settings};

/// Deviation of a learned stand-in at the start.
const SMALL: f64 = 0.02;

/// The sizes of one modality.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub name: String,
    /// Length of what is read: a token or a pooled vector.
    pub width: usize,
    /// Tokens of the longest training row.
    pub longest: usize,
    /// Length of its aligned vector.
    pub pooled: usize,
}

/// What the weights are for.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub streams: Vec<Stream>,
    pub settings: Settings,
    /// The place of the modality that asks.
    pub query: usize,
    /// Whether the answer is a correction of the sum of the aligned vectors.
    pub corrects: bool,
}

/// What comes of the modalities.
pub(crate) struct Merged {
    /// `[batch, width]`.
    pub row: Value,
    pub width: usize,
    /// Who looked at whom; empty without attention.
    pub looks: Vec<Look>,
    /// The sequences that were looked at, by stream.
    pub sequences: Vec<Tokens>,
    /// The sum of the aligned vectors that are there, each with a learned weight; when the answer corrects it.
    pub sum: Option<Value>,
}

impl Merged {
    fn of(row: Value, width: usize) -> Self {
        Self { row, width, looks: Vec::new(), sequences: Vec::new(), sum: None }
    }
}

/// One modality in a graph.
struct Seen {
    /// Tokens `[batch, T, width]`, or a pooled vector `[batch, width]`.
    values: Value,
    /// `[batch, T]`.
    mask: Value,
    /// The aligned vector, `[batch, k]`, where the answer corrects it.
    aligned: Option<Value>,
}

impl Model {
    /// Checks that the mode makes sense for these modalities.
    pub(crate) fn new(streams: Vec<Stream>, settings: Settings, corrects: bool) -> Result<Self> {
        let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
        let query = match &settings.query {
            None => names.len().saturating_sub(1),
            Some(name) => names.iter().position(|own| own == name).ok_or_else(|| {
                let names = names.join(", ");
                Error::invalid(format!("parameter `query`: expected one of {names}, got {name}"))
            })?,
        };
        if names.len() < 2 {
            return Err(Error::invalid(format!("expected at least two modalities, got {}", names.len())));
        }
        Ok(Self { streams, settings, query, corrects })
    }

    /// The modalities that look at a single key: for them attention is the identity.
    pub(crate) fn idle(&self) -> Vec<&str> {
        let keys = |at: usize| -> usize {
            let others = self.streams.iter().enumerate().filter(|(other, _)| *other != at);
            others.map(|(_, stream)| stream.longest).sum()
        };
        let asking: Vec<usize> = match self.settings.mode {
            Mode::Decoder | Mode::OneWay => vec![self.query],
            Mode::TwoWay | Mode::Gated => (0..self.streams.len()).collect(),
            _ => Vec::new(),
        };
        asking.into_iter().filter(|at| keys(*at) < 2).map(|at| self.streams[at].name.as_str()).collect()
    }

    /// Whether every modality that looks, looks at a single key.
    pub(crate) fn blind(&self) -> bool {
        let asking = if self.settings.mode.one_asks() { 1 } else { self.streams.len() };
        self.idle().len() == asking
    }

    /// The ports that the mode reads, and the fused row behind them. `hide` may take away modalities: it is given the graph, a
    /// modality's name and its mask.
    pub(crate) fn fused(
        &self,
        layers: &mut Layers<'_>,
        hide: &mut dyn FnMut(&mut Layers<'_>, &str, Value) -> Result<Value>,
    ) -> Result<Merged> {
        let mut seen = Vec::new();
        for Stream { name, width, pooled, .. } in &self.streams {
            let (batch, length) = (Dim::named("batch"), Dim::named(format!("{name}_length")));
            let dims = match self.settings.mode.attends() {
                true => vec![batch.clone(), length.clone(), (*width).into()],
                false => vec![batch.clone(), (*width).into()],
            };
            let port = if self.settings.mode.attends() { "tokens" } else { "pooled" };
            let values = layers.b.input(&format!("{name}.{port}"), DType::F32, &dims)?;
            let mask = layers.b.input(&format!("{name}.mask"), DType::F32, &[batch, length])?;
            let mask = hide(layers, name, mask)?;
            let aligned = match self.corrects {
                false => None,
                true if !self.settings.mode.attends() => Some(values.clone()),
                true => Some(layers.b.input(
                    &format!("{name}.pooled"),
                    DType::F32,
                    &[Dim::named("batch"), (*pooled).into()],
                )?),
            };
            seen.push(Seen { values, mask, aligned });
        }
        let mut merged =
            if self.settings.mode.attends() { self.attended(layers, &seen) } else { self.met(layers, &seen) };
        merged.sum = self.sum(layers, &seen);
        Ok(merged)
    }

    /// The sum of the aligned vectors that are there, each with a learned weight: that of the modality that asks begins at 1, the others' at a
    /// half, for what was mapped is less to be trusted than what it was mapped to.
    fn sum(&self, layers: &mut Layers<'_>, seen: &[Seen]) -> Option<Value> {
        if !self.corrects {
            return None;
        }
        let parts: Option<Vec<Value>> = (self.streams.iter().zip(seen).enumerate())
            .map(|(at, (stream, seen))| {
                let begin = if at == self.query { 1.0 } else { 0.5 };
                let share = layers.weight(&format!("{}/share", stream.name), &[], Begin::At(begin));
                // Not by a factor of zero: an encoder that was given nothing may have made NaN of it.
                let (there, zero) = (some(layers, &seen.mask), layers.b.scalar(0.0));
                let aligned = layers.b.where_(&there, seen.aligned.as_ref()?, &zero);
                Some(layers.b.mul(&aligned, &share))
            })
            .collect();
        parts.map(|parts| sum(layers, &parts))
    }

    /// Fused by attention over tokens.
    fn attended(&self, layers: &mut Layers<'_>, seen: &[Seen]) -> Merged {
        let set = &self.settings;
        let (width, block) = (set.width, Block { heads: set.heads, hidden: set.hidden });
        let mut streams: Vec<Tokens> = (self.streams.iter().zip(seen))
            .map(|(stream, seen)| {
                let places = set.places.unwrap_or(stream.longest);
                let (name, tokens, mask) = (stream.name.as_str(), &seen.values, &seen.mask);
                layers.entry(&Entry { name, tokens, mask, width: stream.width, places }, width)
            })
            .collect();
        let sequences = streams.clone();
        let others = |at: usize| (0..sequences.len()).filter(|other| *other != at).collect::<Vec<_>>();
        let mut looks = Vec::new();
        let (row, width) = match set.mode {
            Mode::Decoder | Mode::OneWay => {
                let mut asking = streams.remove(self.query);
                let keys = layers.joined(&streams.iter().collect::<Vec<_>>());
                let mut look = |name: &str, asking: &Tokens| {
                    looks.push(Look::of_heads(&format!("{name}/cross"), asking.clone(), others(self.query)));
                };
                if set.mode == Mode::OneWay {
                    asking = layers.one_way("fusion", block, &asking, &keys);
                    look("fusion", &asking);
                } else {
                    for name in (0..set.depth).map(|layer| format!("fusion/{layer}")) {
                        asking = layers.decoder(&name, block, &asking, &keys);
                        look(&name, &asking);
                    }
                    asking = asking.with(layers.norm("fusion/norm", &asking.values, width));
                }
                (layers.pool(&asking), width)
            }
            Mode::Gated => {
                for (at, stream) in streams.iter().enumerate() {
                    looks.push(Look::plain(&format!("fusion/{at}/cross"), stream.clone(), others(at)));
                }
                (layers.gated("fusion", &streams), streams.len() * width)
            }
            Mode::Latent => {
                let keys = layers.joined(&streams.iter().collect::<Vec<_>>());
                let mut latents = layers.latents("fusion", set.latents, width, &keys);
                for name in (0..set.depth).map(|layer| format!("fusion/{layer}")) {
                    latents = layers.latent(&name, block, &latents, &keys);
                    looks.push(Look::of_heads(
                        &format!("{name}/cross"),
                        latents.clone(),
                        (0..streams.len()).collect(),
                    ));
                }
                let out = latents.with(layers.norm("fusion/norm", &latents.values, width));
                (layers.pool(&out), width)
            }
            _ => {
                for name in (0..set.depth).map(|layer| format!("fusion/{layer}")) {
                    streams = layers.two_way(&name, block, &streams);
                    for (at, stream) in streams.iter().enumerate() {
                        looks.push(Look::of_heads(&format!("{name}/{at}/cross"), stream.clone(), others(at)));
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
        Merged { looks, sequences, ..Merged::of(row, width) }
    }

    /// Fused from pooled vectors, a learned one in place of each that is absent.
    fn met(&self, layers: &mut Layers<'_>, seen: &[Seen]) -> Merged {
        let Settings { mode, width, hidden, .. } = self.settings;
        let zero = layers.b.scalar(0.0);
        let (mut rows, mut there) = (Vec::new(), Vec::new());
        for (stream, seen) in self.streams.iter().zip(seen) {
            let some = some(layers, &seen.mask);
            let absent =
                layers.weight(&format!("{}/absent", stream.name), &[stream.width], Begin::Normal(SMALL));
            let row = layers.norm(&format!("{}/norm", stream.name), &seen.values, stream.width);
            rows.push(layers.b.where_(&some, &row, &absent));
            there.push(layers.b.cast(&some, DType::F32));
        }
        let projected = |layers: &mut Layers<'_>, what: &str| -> Vec<Value> {
            (self.streams.iter().zip(&rows))
                .map(|(stream, row)| {
                    layers.linear(&format!("{}/{what}", stream.name), row, stream.width, width)
                })
                .collect()
        };
        let total: usize = self.streams.iter().map(|stream| stream.width).sum();
        let (row, width) = match mode {
            Mode::Mean => {
                let parts = projected(layers, "entry");
                let sum = sum(layers, &parts);
                #[expect(clippy::cast_precision_loss, reason = "a few modalities")]
                let share = (parts.len() as f32).recip();
                (layers.b.mul_scalar(&sum, share), width)
            }
            Mode::GatedSum => {
                let parts = projected(layers, "entry");
                (self.gated_sum(layers, &rows, &parts), width)
            }
            Mode::Bilinear => {
                let parts = projected(layers, "entry");
                let bent: Vec<Value> = parts.iter().map(|part| layers.b.tanh(part)).collect();
                let product = bent.into_iter().reduce(|all, part| layers.b.mul(&all, &part));
                (product.unwrap_or(zero), width)
            }
            Mode::Late => {
                let count = sum(layers, &there);
                let count = layers.b.max_scalar(&count, 1.0);
                let parts: Vec<Value> = (self.streams.iter().zip(&rows).zip(&there))
                    .map(|((stream, row), there)| {
                        let sizes = [stream.width, hidden, width];
                        let part = layers.feed_forward(&format!("{}/alone", stream.name), row, sizes);
                        let part = layers.b.gelu(&part);
                        let share = layers.b.div(there, &count);
                        layers.b.mul(&part, &share)
                    })
                    .collect();
                // a linear head over these is the mean of the heads of those that are there
                (layers.b.concat(&parts.iter().collect::<Vec<_>>(), 1), parts.len() * width)
            }
            _ => (layers.b.concat(&rows.iter().collect::<Vec<_>>(), 1), total),
        };
        Merged::of(row, width)
    }

    /// The gated multimodal unit: `sum_m g_m tanh(part_m)`, the shares g a softmax over what all rows say together.
    fn gated_sum(&self, layers: &mut Layers<'_>, rows: &[Value], parts: &[Value]) -> Value {
        let total = self.streams.iter().map(|stream| stream.width).sum();
        let all = layers.b.concat(&rows.iter().collect::<Vec<_>>(), 1);
        let gates: Vec<Value> = (self.streams.iter())
            .map(|stream| layers.linear(&format!("{}/gate", stream.name), &all, total, 1))
            .collect();
        let gates = layers.b.concat(&gates.iter().collect::<Vec<_>>(), 1);
        let gates = layers.b.softmax(&gates, 1);
        let bent: Vec<Value> = parts
            .iter()
            .map(|part| {
                let part = layers.b.tanh(part);
                layers.b.unsqueeze(&part, &[1])
            })
            .collect();
        let bent = layers.b.concat(&bent.iter().collect::<Vec<_>>(), 1);
        let gates = layers.b.unsqueeze(&gates, &[1]);
        let sum = layers.b.matmul(&gates, &bent);
        layers.b.squeeze(&sum, &[1])
    }
}

/// Whether a modality is there, `[batch, 1]`.
fn some(layers: &mut Layers<'_>, mask: &Value) -> Value {
    let count = layers.b.reduce_sum(mask, &[1], true);
    let zero = layers.b.scalar(0.0);
    layers.b.op("Greater", &[&count, &zero], &[])
}

fn sum(layers: &mut Layers<'_>, parts: &[Value]) -> Value {
    parts.iter().cloned().reduce(|all, part| layers.b.add(&all, &part)).unwrap_or_else(Value::none)
}
