//! A fusion of a plugin.

use std::sync::Arc;

use chiasm_abi::{Code, FusionModule_Ref};
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, aligner, data::Data, kept};
use crate::load::Loaded;
use crate::verify::{self, Axis};
use crate::{Fused, HostError, HostServices, Modality, Parameter, Phase, PluginTag, Result};

/// Merges vectors of several modalities into one.
#[derive(Clone)]
pub struct Fusion {
    id: String,
    tag: Arc<PluginTag>,
    module: FusionModule_Ref,
    sha256: [u8; 32],
}

/// The JSON beside a fusion's graph.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    notes: Value,
}

impl Fusion {
    pub(crate) fn new(id: &str, tag: Arc<PluginTag>, loaded: Loaded) -> Result<Self> {
        let module = kept(loaded.fusions, id, "fusion", &tag)?;
        Ok(Self { id: id.to_owned(), tag, module, sha256: loaded.sha256 })
    }

    /// The plugin that it belongs to.
    pub fn plugin(&self) -> &PluginTag {
        &self.tag
    }

    /// The hash of the plugin's file, as it was loaded.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What the user may set.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let answer = Answer { tag: &self.tag, phase: Phase::Describe };
        answer.parameters(self.module.parameters()(self.id.as_str().into()))
    }

    /// Fits or builds on `<modality>.pooled` rows, and checks what comes back: a sound, finite graph from `<modality>.pooled` `[batch, k]` to `fused`
    /// `[batch, f]`.
    pub fn fit(
        &self,
        modalities: &[Modality],
        data: &[(&str, Data<'_>)],
        parameters: &Value,
        services: &dyn HostServices,
    ) -> Result<Fused> {
        let answer = Answer { tag: &self.tag, phase: Phase::Fit };
        let context = serde_json::to_value(modalities)
            .map_err(|e| HostError::new(Code::INVALID, Phase::Fit, e.to_string()).of(&self.tag))?;
        let outcome =
            aligner::fit(&answer, &self.id, data, parameters, &context, services, |job, services| {
                self.module.fit()(job, services)
            })?;
        let report: Report = answer.json(&outcome.report, "notes")?;
        let bytes = answer.check(aligner::graphs(&outcome, &["fused"]))?;
        let bytes = answer.check(bytes[0].ok_or_else(|| "it gave no graph `fused`".to_owned()))?;
        let graph = answer.check(verify::graph(bytes, "fused"))?;
        let names: Vec<String> = modalities.iter().map(|one| format!("{}.pooled", one.name)).collect();
        let axes: Vec<[Axis; 2]> =
            modalities.iter().map(|one| [Axis::Batch, Axis::Exactly(one.pooled_dim)]).collect();
        let inputs: Vec<(&str, &[Axis])> =
            names.iter().zip(&axes).map(|(name, axes)| (name.as_str(), &axes[..])).collect();
        answer.check(verify::ports(&graph, "fused", &inputs, &[("fused", &[Axis::Batch, Axis::Fixed])]))?;
        Ok(Fused { graph, notes: report.notes })
    }
}
