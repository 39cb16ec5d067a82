//! How much each token was looked at: the figure behind "it looked at the right object".

use chiasm_learned::Layers;
use chiasm_learned::attention::Tokens;
use chiasm_plugin::graph::Value;

/// One attention: who asked, and the streams whose tokens, one after the other, were its keys.
pub(crate) struct Look {
    name: String,
    heads: bool,
    queries: Tokens,
    keys: Vec<usize>,
}

impl Look {
    /// Of a multi-head attention.
    pub(crate) fn of_heads(name: &str, queries: Tokens, keys: Vec<usize>) -> Self {
        Self { name: name.to_owned(), heads: true, queries, keys }
    }

    /// Of one without heads.
    pub(crate) fn plain(name: &str, queries: Tokens, keys: Vec<usize>) -> Self {
        Self { name: name.to_owned(), heads: false, queries, keys }
    }
}

/// For every stream that was looked at: its place, and the share of the looks that each of its tokens got, `[batch, T]`, averaged over
/// those who looked. The learned token in front of a stream is left out: where the modality is there, nobody sees it.
pub(crate) fn attention(
    layers: &mut Layers<'_>,
    looks: &[Look],
    sequences: &[Tokens],
) -> Vec<(usize, Value)> {
    let (one, first) = (layers.b.ints("one", &[1]), layers.b.ints("first", &[0]));
    let lengths: Vec<Value> = (sequences.iter())
        .map(|sequence| {
            let shape = layers.b.shape(&sequence.values);
            layers.b.gather(&shape, &one, 0)
        })
        .collect();
    let mut got: Vec<Vec<Value>> = vec![Vec::new(); sequences.len()];
    for look in looks {
        let shares = layers.looks(&look.name, look.heads, &look.queries);
        let mut start = first.clone();
        for &key in &look.keys {
            let (own, end) = (layers.b.add(&start, &one), layers.b.add(&start, &lengths[key]));
            got[key].push(layers.b.op("Slice", &[&shares, &own, &end, &one], &[]));
            start = end;
        }
    }
    let averaged = got.into_iter().enumerate().filter_map(|(stream, parts)| {
        #[expect(clippy::cast_precision_loss, reason = "a few modalities")]
        let share = (parts.len() as f32).recip();
        let sum = parts.into_iter().reduce(|all, part| layers.b.add(&all, &part))?;
        Some((stream, layers.b.mul_scalar(&sum, share)))
    });
    averaged.collect()
}
