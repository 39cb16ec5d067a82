//! An aligner of a plugin.

use std::sync::Arc;

use chiasm_abi::stable::RSlice;
use chiasm_abi::{AlignerModule_Ref, Code, FitJob, NamedTensor, Outcome, Reply, ServicesRef};
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, data::Data, kept};
use crate::load::Loaded;
use crate::services::Bridge;
use crate::verify::{self, Axis};
use crate::{HostError, HostServices, Inverse, InverseKind, Learned, Parameter, Phase, PluginTag, Result};

/// Learns two maps into a shared space.
#[derive(Clone)]
pub struct Aligner {
    id: String,
    tag: Arc<PluginTag>,
    module: AlignerModule_Ref,
    sha256: [u8; 32],
}

/// The JSON beside an aligner's graphs.
#[derive(Deserialize)]
struct Report {
    parameters: Value,
    #[serde(default)]
    notes: Value,
    #[serde(default)]
    inverse: Option<InverseKind>,
}

impl Aligner {
    pub(crate) fn new(id: &str, tag: Arc<PluginTag>, loaded: Loaded) -> Result<Self> {
        let module = kept(loaded.aligners, id, "aligner", &tag)?;
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

    /// Fits on paired rows `source.pooled` `[n, dA]` and `target.pooled` `[n, dB]`, and checks what comes back: graphs sound and finite, `x`
    /// `[batch, dA]` and `y` `[batch, dB]` to `z` `[batch, k]`, the inverse from `z` to `x`.
    pub fn fit(
        &self,
        data: &[(&str, Data<'_>)],
        parameters: &Value,
        services: &dyn HostServices,
    ) -> Result<Learned> {
        let (source_dim, target_dim) = self.paired(data)?;
        let answer = Answer { tag: &self.tag, phase: Phase::Fit };
        let outcome = fit(&answer, &self.id, data, parameters, &Value::Null, services, |job, services| {
            self.module.fit()(job, services)
        })?;
        let report: Report = answer.json(&outcome.report, "notes")?;
        answer.check(learned(&outcome, report, source_dim, target_dim))
    }

    /// The two dimensions of paired rows; the caller's mistake, found before the plugin is asked.
    fn paired(&self, data: &[(&str, Data<'_>)]) -> Result<(usize, usize)> {
        let fail = |message: String| Err(HostError::new(Code::INVALID, Phase::Fit, message).of(&self.tag));
        let find = |name: &str| data.iter().find(|(own, _)| *own == name).map(|(_, data)| data);
        let (Some(source), Some(target)) = (find("source.pooled"), find("target.pooled")) else {
            return fail("an aligner needs `source.pooled` and `target.pooled`".into());
        };
        if source.rank() != 2 || target.rank() != 2 || source.axis(0) != target.axis(0) {
            let shapes = format!("{:?} and {:?}", source.shape(), target.shape());
            return fail(format!("expected matrices with one row per pair, got shapes {shapes}"));
        }
        Ok((source.axis(1).unwrap_or(0), target.axis(1).unwrap_or(0)))
    }
}

/// A fit over the ABI: for aligners and fusions alike.
pub(super) fn fit(
    answer: &Answer<'_>,
    id: &str,
    data: &[(&str, Data<'_>)],
    parameters: &Value,
    context: &Value,
    services: &dyn HostServices,
    call: impl FnOnce(FitJob<'_>, &ServicesRef<'_>) -> Reply<Outcome>,
) -> Result<Outcome> {
    let named: Vec<NamedTensor<'_>> = data.iter().map(|(name, data)| data.named(name)).collect();
    let (parameters, context) = (parameters.to_string(), context.to_string());
    let job = FitJob {
        id: id.into(),
        data: RSlice::from_slice(&named),
        parameters: parameters.as_str().into(),
        context: context.as_str().into(),
    };
    with_services(answer, services, |services| call(job, services))
}

/// A call that lends services; what happened to them meanwhile outranks a good reply.
pub(super) fn with_services<T>(
    answer: &Answer<'_>,
    services: &dyn HostServices,
    call: impl FnOnce(&ServicesRef<'_>) -> Reply<T>,
) -> Result<T> {
    let bridge = Bridge::new(services, &answer.tag.id);
    let reply = {
        let lent: ServicesRef<'_> = chiasm_abi::lend(&bridge);
        call(&lent)
    };
    let value = answer.take(reply)?;
    bridge.aftermath(answer.phase).map_err(|e| e.of(answer.tag))?;
    Ok(value)
}

/// The graphs of these names, each once and no others.
pub(super) fn graphs<'a>(outcome: &'a Outcome, names: &[&str]) -> Result<Vec<Option<&'a [u8]>>, String> {
    let mut found = vec![None; names.len()];
    for graph in &outcome.graphs {
        let place = names.iter().position(|name| *name == graph.name.as_str());
        let place = place
            .ok_or_else(|| format!("it gave a graph `{}`; expected: {}", graph.name, names.join(", ")))?;
        if found[place].replace(graph.bytes.as_slice()).is_some() {
            return Err(format!("it gave the graph `{}` twice", graph.name));
        }
    }
    Ok(found)
}

fn learned(
    outcome: &Outcome,
    report: Report,
    source_dim: usize,
    target_dim: usize,
) -> Result<Learned, String> {
    use Axis::{Batch, Exactly, Fixed};
    let found = graphs(outcome, &["source", "target", "inverse"])?;
    let missing = |role: &str| format!("it gave no graph `{role}`");
    let source = verify::graph(found[0].ok_or_else(|| missing("source"))?, "source")?;
    verify::ports(&source, "source", &[("x", &[Batch, Exactly(source_dim)])], &[("z", &[Batch, Fixed])])?;
    let shared = verify::last(&source, "z", "source")?;
    let target = verify::graph(found[1].ok_or_else(|| missing("target"))?, "target")?;
    verify::ports(
        &target,
        "target",
        &[("y", &[Batch, Exactly(target_dim)])],
        &[("z", &[Batch, Exactly(shared)])],
    )?;
    let inverse = match (found[2], report.inverse) {
        (None, None) => None,
        (Some(bytes), Some(kind)) => {
            let graph = verify::graph(bytes, "inverse")?;
            let (z, x) = ([Batch, Exactly(shared)], [Batch, Exactly(source_dim)]);
            verify::ports(&graph, "inverse", &[("z", &z)], &[("x", &x)])?;
            Some(Inverse { graph, kind })
        }
        (Some(_), None) => return Err("it gave an inverse and did not say of which kind".into()),
        (None, Some(_)) => return Err(missing("inverse")),
    };
    if !report.parameters.is_object() {
        return Err(format!(
            "its parameters are {}, expected an object that refits as it was",
            report.parameters
        ));
    }
    Ok(Learned { source, target, inverse, parameters: report.parameters, notes: report.notes })
}
