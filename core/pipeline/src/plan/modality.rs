//! One modality of a plan or of a run, with its encoders.

use crate::{catalog::encoder::Encoder, recipe::encoders::ItemRule};

/// One modality with its opened encoders.
pub struct ModalityEncoders {
    /// Its name.
    pub name: String,
    /// Which items of a row's list are used.
    pub rule: ItemRule,
    /// The same for training and validation rows.
    pub train_rule: ItemRule,
    /// Its encoders.
    pub encoders: Vec<Encoder>,
}

impl ModalityEncoders {
    /// Returns the width of the concatenated pooled vectors of all encoders.
    pub fn width(&self) -> usize {
        self.encoders.iter().map(|e| e.pooled_dim).sum()
    }

    /// Returns the width of each encoder's pooled vectors.
    pub fn blocks(&self) -> Vec<usize> {
        self.encoders.iter().map(|e| e.pooled_dim).collect()
    }
}
