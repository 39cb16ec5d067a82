//! One ensemble member: a network and optionally a decoder for each modality.

use chiasm_closed_form::PrincipalProjection;
use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, Graph, Tensor};
use chiasm_plugin::ndarray::Array2;

use super::parameters::HeadParameters;
use crate::{Network, plugin_error};

/// A member's networks, one for each modality.
#[derive(Debug, Clone)]
pub(super) struct HeadMember {
    pub names: Vec<String>,
    pub maps: Vec<Network>,
    /// One for each modality, or none.
    pub decoders: Vec<Network>,
}

impl HeadMember {
    /// Networks that equal their starts, for modalities of these names.
    pub fn new(
        names: &[&str],
        projections: &[PrincipalProjection],
        hidden: usize,
        decoders: bool,
        seed: u64,
    ) -> Result<Self> {
        let network = |kind: &str, place: usize, start: &Array2<f64>| {
            let seed = seed.wrapping_add(place as u64);
            Network::new(&format!("{kind}/{}", names[place % names.len()]), start, hidden, seed)
        };
        let starts = projections.iter().map(PrincipalProjection::start).enumerate();
        let maps = starts.map(|(place, start)| network("map", place, start)).collect::<Result<_>>()?;
        let decoded = projections.iter().enumerate().filter(|_| decoders);
        let decoders = decoded.map(|(place, projection)| {
            let zeros = Array2::zeros((projection.start().ncols(), projection.coordinates()));
            network("decoder", place + names.len(), &zeros)
        });
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { names, maps, decoders: decoders.collect::<Result<_>>()? })
    }

    /// Replaces the weights by trained ones.
    pub fn load(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        self.maps.iter_mut().chain(&mut self.decoders).try_for_each(|network| network.load(trained))
    }

    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.maps.iter().chain(&self.decoders)
    }

    /// The bounds on the layers, and the vectors of their power iterations as weights of the objective.
    pub fn spectral_norm(
        &self,
        b: &mut Builder,
        parameters: &HeadParameters,
        seed: u64,
    ) -> Result<Option<Graph>> {
        let Some(limit) = parameters.spectral_norm else { return Ok(None) };
        let mut after = Builder::new("spectral_norm");
        for (network, seed) in self.networks().zip(seed..) {
            let vectors = network.power_vectors(seed)?;
            #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
            network.spectral_norm(&mut after, limit as f32, &vectors)?;
            vectors.into_iter().for_each(|(name, vector)| {
                b.constant(&name, vector);
            });
        }
        Ok(Some(after.finish()?))
    }
}

/// The graph of a projection, `x` to `u`.
pub(super) fn projection_graph(projection: &PrincipalProjection) -> Result<Graph> {
    projection.graph().map_err(plugin_error)
}
