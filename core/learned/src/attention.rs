//! Attention over sequences that may be padded, short, or not there at all.
//!
//! A mask says which tokens are there. Hidden keys get a score so low that the softmax gives them nothing, and hidden values are
//! zero: both are finite, so a row that sees no key at all gets zeros and not NaN. Sequences that enter through [`Layers::entry`] never
//! come to that: a sequence without a token is an absent modality, and shows one learned token in its place.
//!
//! Made of it are the ways to fuse: [`Layers::one_way`], [`Layers::two_way`], [`Layers::gated`] and [`Layers::latent`].

mod blocks;

pub use blocks::Block;

use chiasm_plugin::graph::{DType, Tensor, Value};
use chiasm_plugin::{Error, Result};

use crate::layers::{Begin, Layers};

/// Added to the score of a hidden key: `e` to this is zero, and no score is large enough to matter beside it.
const HIDDEN: f32 = 1e9;
/// Deviation of learned tokens at the start.
const SMALL: f64 = 0.02;
/// Deviation of places at the start: that of a normalised token. Places that start small are not found: answers to "what is left of ..."
/// stayed at "one of the others" then (52 % right, and 99.9 % with these).
const PLACES: f64 = 1.0;

/// A sequence in a graph.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `[batch, T, width]`.
    pub values: Value,
    /// `[batch, T]` of 0 and 1; none when every token is there.
    pub mask: Option<Value>,
    /// Length of a token.
    pub width: usize,
}

impl Tokens {
    /// The same mask over other values of the same width.
    #[must_use]
    pub fn with(&self, values: Value) -> Self {
        Self { values, ..self.clone() }
    }
}

/// A modality's tokens as they come from its encoder.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Its name, under which its weights stand.
    pub name: &'a str,
    /// `[batch, T, width]`; what a hidden token holds does not matter, not even NaN.
    pub tokens: &'a Value,
    /// `[batch, T]` of 0 and 1; a row of zeros says that the modality is absent there.
    pub mask: &'a Value,
    /// Length of a token.
    pub width: usize,
    /// Places that are told apart; later tokens share the last one. 0 tells none apart.
    pub places: usize,
}

impl Layers<'_> {
    /// Tokens brought to one width and scale, told their places, and behind a learned token that is seen where there is no other:
    /// `[batch, 1 + T, width]`.
    pub fn entry(&mut self, entry: &Entry<'_>, width: usize) -> Tokens {
        let Entry { name, tokens, mask, .. } = *entry;
        let column = self.b.unsqueeze(mask, &[2]);
        let zero = self.b.scalar(0.0);
        let there = self.b.op("Greater", &[&column, &zero], &[]);
        let clean = self.b.where_(&there, tokens, &zero);
        let mut values = self.linear(&format!("{name}/entry"), &clean, entry.width, width);
        values = self.norm(&format!("{name}/entry/norm"), &values, width);
        if entry.places > 0 {
            let table = self.weight(&format!("{name}/places"), &[entry.places, width], Begin::Normal(PLACES));
            match self.places(tokens, entry.places) {
                Ok(places) => {
                    let places = self.b.gather(&table, &places, 0);
                    values = self.b.add(&values, &places);
                }
                Err(error) => return Tokens { values: self.fail(error), mask: None, width },
            }
        }
        let count = self.b.reduce_sum(mask, &[1], true);
        let some = self.b.op("Greater", &[&count, &zero], &[]);
        let some = self.b.cast(&some, DType::F32);
        let one = self.b.scalar(1.0);
        let none = self.b.sub(&one, &some);
        let learned = self.weight(&format!("{name}/absent"), &[width], Begin::Normal(SMALL));
        let lone = self.b.unsqueeze(&none, &[2]);
        let lone = self.b.mul(&lone, &learned);
        Tokens {
            values: self.b.concat(&[&lone, &values], 1),
            mask: Some(self.b.concat(&[&none, mask], 1)),
            width,
        }
    }

    /// `min(0 .. T, places - 1)`, `i64[T]`.
    fn places(&mut self, tokens: &Value, places: usize) -> Result<Value> {
        let mut scalar =
            |value: i64| Ok::<_, Error>(self.b.constant("place", Tensor::i64(&[], vec![value])?));
        let [zero, one, last] = [scalar(0)?, scalar(1)?, scalar(i64::try_from(places)? - 1)?];
        let shape = self.b.shape(tokens);
        let length = self.b.gather(&shape, &one, 0);
        let all = self.b.op("Range", &[&zero, &length, &one], &[]);
        Ok(self.b.op("Min", &[&all, &last], &[]))
    }

    /// Multi-head attention (Vaswani et al. 2017): `concat_h(softmax(Q_h K_h' / sqrt(d)) V_h) W_out + b_out`, d = width / heads.
    ///
    /// Queries `[batch, Tq, width]`, keys of any width; gives `[batch, Tq, width]`. A batch of 1 on one side serves the whole batch of the other.
    /// Weights: `<name>/query`, `/key`, `/value` and `/out`. Heads that do not divide the width are a mistake.
    pub fn multi_head(&mut self, name: &str, heads: usize, queries: &Tokens, keys: &Tokens) -> Value {
        let width = queries.width;
        if heads == 0 || !width.is_multiple_of(heads) {
            let message = format!("expected a number of heads that divides the width {width}, got {heads}");
            return self.fail(Error::invalid(message));
        }
        let part = width / heads;
        let query = self.linear(&format!("{name}/query"), &queries.values, width, width);
        let key = self.linear(&format!("{name}/key"), &keys.values, keys.width, width);
        let value = self.linear(&format!("{name}/value"), &keys.values, keys.width, width);
        let value = self.shown(&value, keys.mask.as_ref());
        #[expect(clippy::cast_possible_wrap, reason = "widths are small")]
        let shape = [0, 0, heads as i64, part as i64];
        let mut split = |x: &Value, order: &[i64]| {
            let x = self.b.reshape(x, &shape);
            self.b.transpose(&x, order)
        };
        let query = split(&query, &[0, 2, 1, 3]);
        let key = split(&key, &[0, 2, 3, 1]);
        let value = split(&value, &[0, 2, 1, 3]);
        let bias = keys.mask.as_ref().map(|mask| self.bias(mask, &[1, 2]));
        let seen = self.attend(name, [&query, &key, &value], bias.as_ref(), part);
        let seen = self.b.transpose(&seen, &[0, 2, 1, 3]);
        #[expect(clippy::cast_possible_wrap, reason = "widths are small")]
        let seen = self.b.reshape(&seen, &[0, 0, width as i64]);
        self.linear(&format!("{name}/out"), &seen, width, width)
    }

    /// Attention without weights: `softmax(Q K' / sqrt(width)) K`, `[batch, Tq, width]`.
    pub fn plain_attention(&mut self, name: &str, queries: &Tokens, keys: &Tokens) -> Value {
        let turned = self.b.transpose(&keys.values, &[0, 2, 1]);
        let values = self.shown(&keys.values, keys.mask.as_ref());
        let bias = keys.mask.as_ref().map(|mask| self.bias(mask, &[1]));
        self.attend(name, [&queries.values, &turned, &values], bias.as_ref(), queries.width)
    }

    /// How much each key was looked at by the attention of this name, `[batch, Tk]`: its shares, averaged over its heads and over the
    /// queries that are there. They sum to one over the keys.
    pub fn looks(&mut self, name: &str, heads: bool, queries: &Tokens) -> Value {
        let Some(shares) = self.shares.get(name).cloned() else {
            return self.fail(Error::other(format!("there is no attention `{name}`")));
        };
        let shares = if heads { self.mean_over(&shares, 1) } else { shares };
        self.pool(&queries.with(shares))
    }

    /// The mean of the tokens that are there, `[batch, width]`; zero where there is none.
    pub fn pool(&mut self, tokens: &Tokens) -> Value {
        match &tokens.mask {
            Some(mask) => self.b.mean_pool(&tokens.values, mask),
            None => self.mean_over(&tokens.values, 1),
        }
    }

    fn mean_over(&mut self, x: &Value, axis: i64) -> Value {
        let axes: &[i64] = &[axis];
        self.b.op("ReduceMean", &[x], &[("axes", axes.into()), ("keepdims", 0.into())])
    }

    /// Sequences of one width, one after the other.
    pub fn joined(&mut self, parts: &[&Tokens]) -> Tokens {
        if let [one] = parts {
            return (*one).clone();
        }
        let masks: Vec<Value> = parts.iter().map(|part| self.mask(part)).collect();
        let values: Vec<&Value> = parts.iter().map(|part| &part.values).collect();
        Tokens {
            values: self.b.concat(&values, 1),
            mask: Some(self.b.concat(&masks.iter().collect::<Vec<_>>(), 1)),
            width: parts.first().map_or(0, |part| part.width),
        }
    }

    /// The mask, ones where there is none.
    fn mask(&mut self, tokens: &Tokens) -> Value {
        if let Some(mask) = &tokens.mask {
            return mask.clone();
        }
        let shape = self.b.shape(&tokens.values);
        let first_two = self.b.ints("places", &[0, 1]);
        let shape = self.b.gather(&shape, &first_two, 0);
        let one = self.b.scalar(1.0);
        self.b.expand(&one, &shape)
    }

    /// `softmax(Q K' / sqrt(width) + bias) V` over the last two axes; the keys come turned.
    fn attend(
        &mut self,
        name: &str,
        [query, key, value]: [&Value; 3],
        bias: Option<&Value>,
        width: usize,
    ) -> Value {
        // scaling the queries and not their products saves a pass over [Tq, Tk]
        #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
        let query = self.b.mul_scalar(query, (width as f64).sqrt().recip() as f32);
        let mut scores = self.b.matmul(&query, key);
        if let Some(bias) = bias {
            scores = self.b.add(&scores, bias);
        }
        let shares = self.b.softmax(&scores, -1);
        self.shares.insert(name.to_owned(), shares.clone());
        self.b.matmul(&shares, value)
    }

    /// 0 for keys that are there, very low for the others; axes of length 1 at these places.
    fn bias(&mut self, mask: &Value, axes: &[i64]) -> Value {
        let hidden = self.b.add_scalar(mask, -1.0);
        let hidden = self.b.mul_scalar(&hidden, HIDDEN);
        self.b.unsqueeze(&hidden, axes)
    }

    /// Values with the hidden ones zero.
    fn shown(&mut self, values: &Value, mask: Option<&Value>) -> Value {
        let Some(mask) = mask else { return values.clone() };
        let column = self.b.unsqueeze(mask, &[2]);
        self.b.mul(values, &column)
    }
}
