//! Fusions of sequences. With more than two of them, each attends to all the others, concatenated.

use chiasm_plugin::graph::Value;

use super::{SMALL, TokenSequence};
use crate::layers::{LayerBuilder, WeightInit};

/// Sizes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// Heads of every attention.
    pub heads: usize,
    /// Hidden units of every feed-forward network.
    pub hidden: usize,
}

impl LayerBuilder<'_> {
    /// `LayerNorm(z_B + MHA(z_B, z_A, z_A))`, the shape of `z_B`.
    pub fn one_way(
        &mut self,
        name: &str,
        block: BlockSizes,
        queries: &TokenSequence,
        keys: &TokenSequence,
    ) -> TokenSequence {
        let attended = self.multi_head(&format!("{name}/cross"), block.heads, queries, keys);
        let sum = self.b.add(&queries.values, &attended);
        queries.with(self.norm(&format!("{name}/norm"), &sum, queries.width))
    }

    /// One layer of a decoder (Vaswani et al. 2017, section 3.1, with the normalisation inside the residual):
    /// self-attention of the queries, cross-attention to the keys, which stay as they are, and a feed-forward
    /// network.
    pub fn decoder(
        &mut self,
        name: &str,
        block: BlockSizes,
        queries: &TokenSequence,
        keys: &TokenSequence,
    ) -> TokenSequence {
        let normed = queries.with(self.norm(&format!("{name}/self/norm"), &queries.values, queries.width));
        let attended = self.multi_head(&format!("{name}/self"), block.heads, &normed, &normed);
        let x = queries.with(self.b.add(&queries.values, &attended));
        let x = self.cross_attention_residual(name, block, &x, keys);
        self.feed_forward_residual(name, block, &x)
    }

    /// One layer of co-attention: for each stream self-attention, cross-attention to the others' results, and
    /// a feed-forward network.
    ///
    /// `x += MHA(LN x)`, `x += MHA(LN x, LN others)`, `x += FFN(LN x)`, with the normalisation inside the
    /// residual (Xiong et al. 2020), which trains deep stacks without a warm-up.
    pub fn two_way(
        &mut self,
        name: &str,
        block: BlockSizes,
        streams: &[TokenSequence],
    ) -> Vec<TokenSequence> {
        let own: Vec<TokenSequence> = (streams.iter().enumerate())
            .map(|(at, x)| {
                let name = format!("{name}/{at}/self");
                let normed = x.with(self.norm(&format!("{name}/norm"), &x.values, x.width));
                let attended = self.multi_head(&name, block.heads, &normed, &normed);
                x.with(self.b.add(&x.values, &attended))
            })
            .collect();
        let normed: Vec<TokenSequence> = (own.iter().enumerate())
            .map(|(at, x)| x.with(self.norm(&format!("{name}/{at}/cross/norm"), &x.values, x.width)))
            .collect();
        (own.iter().enumerate())
            .map(|(at, x)| {
                let others = self.others(&normed, at);
                let attended =
                    self.multi_head(&format!("{name}/{at}/cross"), block.heads, &normed[at], &others);
                let x = x.with(self.b.add(&x.values, &attended));
                self.feed_forward_residual(&format!("{name}/{at}"), block, &x)
            })
            .collect()
    }

    /// `h_A = a z_A + (1 - a) CrossAttn(z_A, T_BA z_B)` with `CrossAttn(q, k) = softmax(q k' / sqrt(d)) k`,
    /// likewise every other stream; gives the pooled `LayerNorm(h)` side by side, `[batch, streams width]`.
    ///
    /// T are linear maps. The balance a lies in [0, 1] as the sigmoid of `<name>/<stream>/balance`, a scalar
    /// that starts at 0.
    pub fn gated(&mut self, name: &str, streams: &[TokenSequence]) -> Value {
        let pooled: Vec<Value> = (streams.iter().enumerate())
            .map(|(at, own)| {
                let translated: Vec<TokenSequence> = (streams.iter().enumerate())
                    .map(|(from, other)| match from == at {
                        true => other.clone(),
                        false => {
                            let map = format!("{name}/{at}/from_{from}");
                            other.with(self.linear(&map, &other.values, other.width, own.width))
                        }
                    })
                    .collect();
                let others = self.others(&translated, at);
                let attended = self.plain_attention(&format!("{name}/{at}/cross"), own, &others);
                let balance = self.weight(&format!("{name}/{at}/balance"), &[], WeightInit::Constant(0.0));
                let balance = self.b.op("Sigmoid", &[&balance], &[]);
                // a z + (1 - a) s = s + a (z - s)
                let difference = self.b.sub(&own.values, &attended);
                let difference = self.b.mul(&difference, &balance);
                let h = self.b.add(&attended, &difference);
                let h = own.with(self.norm(&format!("{name}/{at}/norm"), &h, own.width));
                self.pool(&h)
            })
            .collect();
        self.b.concat(&pooled.iter().collect::<Vec<_>>(), -1)
    }

    /// Learned queries, `[count, width]`, repeated for each row of `like`: `[batch, count, width]`.
    pub fn latents(&mut self, name: &str, count: usize, width: usize, like: &TokenSequence) -> TokenSequence {
        let values = self.weight(&format!("{name}/latents"), &[1, count, width], WeightInit::Normal(SMALL));
        let shape = self.b.shape(&like.values);
        let first = self.b.ints("axes", &[0]);
        let batch = self.b.gather(&shape, &first, 0);
        let ones = self.b.ints("ones", &[1, 1]);
        let batch = self.b.concat(&[&batch, &ones], 0);
        // Expanded here, because the engine refuses to broadcast the queries over an empty batch.
        let values = self.b.expand(&values, &batch);
        TokenSequence { values, mask: None, width }
    }

    /// One layer of a Perceiver (Jaegle et al. 2021): cross-attention of the latents to all tokens,
    /// self-attention among the latents and a feed-forward network. The cost is linear in the number of
    /// tokens.
    pub fn latent(
        &mut self,
        name: &str,
        block: BlockSizes,
        latents: &TokenSequence,
        tokens: &TokenSequence,
    ) -> TokenSequence {
        let x = self.cross_attention_residual(name, block, latents, tokens);
        let normed = x.with(self.norm(&format!("{name}/self/norm"), &x.values, x.width));
        let attended = self.multi_head(&format!("{name}/self"), block.heads, &normed, &normed);
        let x = x.with(self.b.add(&x.values, &attended));
        self.feed_forward_residual(name, block, &x)
    }

    /// `x + MHA(LN x, LN keys)`.
    fn cross_attention_residual(
        &mut self,
        name: &str,
        block: BlockSizes,
        x: &TokenSequence,
        keys: &TokenSequence,
    ) -> TokenSequence {
        let queries = x.with(self.norm(&format!("{name}/cross/norm"), &x.values, x.width));
        let keys = keys.with(self.norm(&format!("{name}/cross/keys"), &keys.values, keys.width));
        let attended = self.multi_head(&format!("{name}/cross"), block.heads, &queries, &keys);
        x.with(self.b.add(&x.values, &attended))
    }

    /// `x + FFN(LN x)`.
    fn feed_forward_residual(&mut self, name: &str, block: BlockSizes, x: &TokenSequence) -> TokenSequence {
        let normed = self.norm(&format!("{name}/feed/norm"), &x.values, x.width);
        let more = self.feed_forward(&format!("{name}/feed"), &normed, [x.width, block.hidden, x.width]);
        x.with(self.b.add(&x.values, &more))
    }

    /// All streams but one, concatenated; the stream itself when it is alone.
    fn others(&mut self, streams: &[TokenSequence], at: usize) -> TokenSequence {
        let others: Vec<&TokenSequence> =
            streams.iter().enumerate().filter(|(from, _)| *from != at).map(|(_, other)| other).collect();
        if others.is_empty() { streams[at].clone() } else { self.joined(&others) }
    }
}
