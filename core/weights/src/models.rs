//! The models of a merge: one architecture, and the weights that are merged.

use chiasm_graph::{DType, Graph, Tensor};

use crate::{Error, Result};

/// Two or more checked models.
pub(crate) struct Models<'a> {
    all: Vec<&'a Graph>,
    /// The names of the weights that are merged.
    names: Vec<String>,
}

impl<'a> Models<'a> {
    /// Checks that the models have one architecture, and that the weights that are not merged are equal.
    pub(crate) fn new(models: impl IntoIterator<Item = &'a Graph>) -> Result<Self> {
        let all: Vec<&Graph> = models.into_iter().collect();
        let Some((first, rest)) = all.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            return Err(Error::argument("models", "two or more", all.len()));
        };
        let hashes = first.weight_hashes();
        let mut names = Vec::new();
        for name in first.weight_names() {
            if first.weight(name).is_ok_and(|weight| weight.dtype() == DType::F32) {
                names.push(name.to_owned());
            }
        }
        for (at, other) in rest.iter().enumerate() {
            let number = at + 2;
            if let Some(difference) = first.architecture_difference(other) {
                return Err(Error::Architecture { number, difference });
            }
            let theirs = other.weight_hashes();
            let differs = |name: &&String| !names.contains(name) && theirs.get(*name) != hashes.get(*name);
            if let Some(name) = hashes.keys().find(differs) {
                let difference = format!(
                    "the weight `{name}` differs and has no 32-bit floats; models with weights of 8 or 16 \
                     bits cannot be merged, only those they were made from"
                );
                return Err(Error::Architecture { number, difference });
            }
        }
        Ok(Self { all, names })
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Merges each weight: `merge` gets its name and its values in every model.
    pub(crate) fn merged(&self, merge: impl Fn(&str, &[&[f32]]) -> Result<Vec<f32>>) -> Result<Graph> {
        let mut merged = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let tensors: Vec<Tensor> =
                self.all.iter().map(|model| Ok(model.weight(name)?)).collect::<Result<_>>()?;
            let values: Vec<&[f32]> = tensors.iter().filter_map(Tensor::as_f32).collect();
            if let Some(at) = values.iter().position(|own| own.iter().any(|x| !x.is_finite())) {
                let got = format!("NaN or infinity in `{name}` of model {}", at + 1);
                return Err(Error::argument("weights", "finite numbers", got));
            }
            let shape = tensors[0].shape().to_vec();
            merged.push((name.as_str(), Tensor::f32(&shape, merge(name, &values)?)?));
        }
        Ok(self.all[0].with_weights(&merged)?)
    }
}
