//! One modality of a plan or of a run.

use crate::{catalog::encoder::Encoder, recipe::encoders::ItemRule};

/// One modality, its encoders opened.
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
    /// Width of the pooled vectors, all encoders together.
    pub fn width(&self) -> usize {
        self.encoders.iter().map(|e| e.pooled_dim).sum()
    }

    /// Width of each encoder's pooled vectors.
    pub fn blocks(&self) -> Vec<usize> {
        self.encoders.iter().map(|e| e.pooled_dim).collect()
    }
}
