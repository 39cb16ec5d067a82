//! The attention weight of each token, an output of the exported graph.

use chiasm_kit::LayerBuilder;
use chiasm_kit::attention::TokenSequence;
use chiasm_plugin::graph::Value;

/// One attention: its queries, and the streams whose tokens, concatenated, are its keys.
pub(crate) struct AttentionRecord {
    name: String,
    heads: bool,
    queries: TokenSequence,
    keys: Vec<usize>,
}

impl AttentionRecord {
    /// Of a multi-head attention.
    pub(crate) fn of_heads(name: &str, queries: TokenSequence, keys: Vec<usize>) -> Self {
        Self { name: name.to_owned(), heads: true, queries, keys }
    }

    /// Of an attention without heads.
    pub(crate) fn plain(name: &str, queries: TokenSequence, keys: Vec<usize>) -> Self {
        Self { name: name.to_owned(), heads: false, queries, keys }
    }
}

/// For every stream that was attended to: its place, and the attention weight of each of its tokens, `[batch,
/// T]`, averaged over the attentions. The learned token in front of a stream is left out: it is masked where
/// the modality is present.
pub(crate) fn weights_by_stream(
    layers: &mut LayerBuilder<'_>,
    records: &[AttentionRecord],
    sequences: &[TokenSequence],
) -> Vec<(usize, Value)> {
    let (one, first) = (layers.b.ints("one", &[1]), layers.b.ints("first", &[0]));
    let lengths: Vec<Value> = (sequences.iter())
        .map(|sequence| {
            let shape = layers.b.shape(&sequence.values);
            layers.b.gather(&shape, &one, 0)
        })
        .collect();
    let mut parts: Vec<Vec<Value>> = vec![Vec::new(); sequences.len()];
    for record in records {
        let weights = layers.attention_weights(&record.name, record.heads, &record.queries);
        let mut start = first.clone();
        for &key in &record.keys {
            let (own, end) = (layers.b.add(&start, &one), layers.b.add(&start, &lengths[key]));
            parts[key].push(layers.b.op("Slice", &[&weights, &own, &end, &one], &[]));
            start = end;
        }
    }
    let averaged = parts.into_iter().enumerate().filter_map(|(stream, parts)| {
        #[expect(clippy::cast_precision_loss, reason = "a few modalities")]
        let share = (parts.len() as f32).recip();
        let sum = parts.into_iter().reduce(|all, part| layers.b.add(&all, &part))?;
        Some((stream, layers.b.mul_scalar(&sum, share)))
    });
    averaged.collect()
}
