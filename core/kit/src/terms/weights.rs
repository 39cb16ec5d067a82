//! All terms by name, and their weights.

use chiasm_plugin::graph::{Builder, Value};
use chiasm_plugin::{Error, Parameters, Result};
use serde::{Deserialize, Serialize};

use super::settings::TermSettings;
use super::{
    TermBatch, barycentric, covariance, curvature, cycle, distances, geodesics, gram_volume,
    gromov_wasserstein, infonce, injectivity, neighbourhood, paired_mse, plan_matching, reconstruction,
    siglip, smoothness, structure, task, translation, transport,
};

/// Builds one term.
type TermBuilder = fn(&mut Builder, &TermBatch<'_>) -> Value;

/// Adds a term by its name, a scalar; `None` for an unknown name.
pub fn term(b: &mut Builder, batch: &TermBatch<'_>, name: &str) -> Option<Value> {
    TERMS.iter().find(|(own, _)| *own == name).map(|(_, build)| build(b, batch))
}

/// Defines a term: its documentation, its name and what builds it.
macro_rules! terms {
    ($($(#[doc = $doc:literal])+ $name:ident: $build:path;)*) => {
        /// The names and builders of all terms.
        const TERMS: &[(&str, TermBuilder)] = &[$((stringify!($name), $build)),*];

        /// The weight of each term of a training objective; a term of weight 0 is left out.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Parameters)]
        #[serde(default, deny_unknown_fields)]
        #[parameters(builder)]
        pub struct TermWeights {
            $($(#[doc = $doc])+ #[parameter(range = 0..=1e6)] pub $name: Option<f64>,)*
        }

        impl TermWeights {
            /// These weights, and those of `defaults` where one is not set.
            #[must_use]
            pub fn or(self, defaults: Self) -> Self {
                Self { $($name: self.$name.or(defaults.$name)),* }
            }

            /// The names and weights of the terms above 0.
            pub fn active(&self) -> Vec<(&'static str, f64)> {
                let all = [$((stringify!($name), self.$name.unwrap_or_default())),*];
                all.into_iter().filter(|(_, weight)| *weight > 0.0).collect()
            }
        }
    };
}

terms! {
    /// InfoNCE: partners are told apart from the other items of the mini-batch.
    infonce: infonce::term;
    /// SigLIP: each pair is classified by itself as matching or not.
    siglip: siglip::term;
    /// The mean squared distance of partners.
    paired_mse: paired_mse::term;
    /// GRAM: InfoNCE by the volume that the vectors of all modalities span.
    gram_volume: gram_volume::term;
    /// Labels: items of one class are alike across modalities, those of others are not.
    task: task::term;
    /// The entropic transport cost between the clouds of two modalities.
    ot: transport::ot;
    /// The Sinkhorn divergence between the clouds of two modalities.
    sinkhorn_divergence: transport::divergence;
    /// The Gromov-Wasserstein discrepancy between the clouds of two modalities.
    gromov_wasserstein: gromov_wasserstein::term;
    /// The divergence of the transport plan from that of the closed form that training starts from.
    plan_matching: plan_matching::term;
    /// The divergence between the soft neighbours of partners.
    neighbourhood: neighbourhood::term;
    /// The squared difference of the distance matrices of two modalities.
    distances: distances::term;
    /// The von Neumann divergence between the local covariances of partners.
    covariance: covariance::term;
    /// The squared difference of distances along the neighbourhood graphs of two modalities.
    geodesics: geodesics::term;
    /// The squared difference of the curvature at partners.
    curvature: curvature::term;
    /// STRUCTURE: the divergence between the similarities of items before and after their map.
    structure: structure::term;
    /// The error of decoders; above 0 every modality has an approximate inverse.
    reconstruction: reconstruction::term;
    /// The error of items translated into another modality; above 0 every modality has a decoder.
    translation: translation::term;
    /// The error against targets of a transport plan; above 0 every modality has a decoder.
    barycentric: barycentric::term;
    /// The error of items carried to another modality and back; above 0 every modality has a decoder.
    cycle: cycle::term;
    /// The hinge on images of different items that are nearer than `margin`.
    injectivity: injectivity::term;
    /// The squared Frobenius norm of the Jacobians, estimated along random directions.
    smoothness: smoothness::term;
}

/// The terms that read a part of a batch only.
const ON_PARTS: [&str; 4] = ["barycentric", "cycle", "injectivity", "smoothness"];

/// Whether all of these terms read a part of a batch only, so that maps need not be evaluated on the rest.
pub(crate) fn read_parts_only<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.all(|name| ON_PARTS.contains(&name))
}

impl TermWeights {
    /// Whether a term needs decoders.
    pub fn needs_decoders(&self) -> bool {
        [self.reconstruction, self.translation, self.barycentric, self.cycle]
            .into_iter()
            .flatten()
            .any(|weight| weight > 0.0)
    }

    /// Whether items without a partner have a part in a term that compares modalities.
    pub fn uses_unpaired(&self) -> bool {
        let terms = [
            self.task,
            self.ot,
            self.sinkhorn_divergence,
            self.gromov_wasserstein,
            self.plan_matching,
            self.barycentric,
        ];
        terms.into_iter().flatten().any(|weight| weight > 0.0)
    }
}

impl TermWeights {
    /// Checks that a mini-batch of this many rows holds enough of them for the neighbours of the terms.
    pub(crate) fn check_neighbours(&self, settings: &TermSettings, rows: usize) -> Result<()> {
        let local = ["neighbourhood", "covariance", "geodesics", "curvature"];
        let rows = rows.min(settings.structure_rows);
        match self.active().into_iter().find(|(name, _)| local.contains(name)) {
            Some((name, _)) if rows <= settings.k => Err(Error::invalid(format!(
                "parameter `k`: expected fewer neighbours than the {rows} rows of a mini-batch, got {}; the \
                 term `{name}` compares neighbours",
                settings.k
            ))),
            _ => Ok(()),
        }
    }
}
