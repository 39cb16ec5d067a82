//! Aligners of plugins, and the fit over the ABI.

use std::collections::BTreeMap;
use std::sync::Arc;

use chiasm_abi::stable::RSlice;
use chiasm_abi::{Code, FitJob, NamedTensor, Outcome, Reply, ServicesRef};
use serde::Deserialize;
use serde_json::Value;

use super::{ReplyReader, data::BorrowedArray, require};
use crate::calls::{ArrayFile, CallContext, ComponentKind, PluginCalls, Question};
use crate::services::GuardedServices;
use crate::start::LoadedPlugin;
use crate::verify::{self, AxisRequirement};
use crate::{
    AlignSpec, HostError, HostServices, Inverse, InverseKind, Learned, ModalityCount, Parameter, Phase,
    PluginTag, Result,
};

/// An aligner of a plugin: it fits a map of every modality into one shared space.
#[derive(Clone)]
pub struct AlignerHandle {
    id: String,
    tag: Arc<PluginTag>,
    plugin: Arc<dyn PluginCalls>,
    sha256: [u8; 32],
}

/// The JSON that accompanies the graphs of an aligner.
#[derive(Deserialize)]
struct AlignerReport {
    parameters: Value,
    #[serde(default)]
    notes: Value,
    #[serde(default)]
    inverses: BTreeMap<String, InverseKind>,
}

impl AlignerHandle {
    pub(crate) fn new(id: &str, tag: Arc<PluginTag>, loaded: LoadedPlugin) -> Result<Self> {
        require(&loaded, ComponentKind::Aligner, id, &tag)?;
        Ok(Self { id: id.to_owned(), tag, plugin: loaded.calls, sha256: loaded.sha256 })
    }

    /// Returns the plugin that it belongs to.
    pub fn plugin(&self) -> &PluginTag {
        &self.tag
    }

    /// Returns the SHA-256 digest of the plugin's file as it was loaded.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns its parameters.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Describe };
        reader.parameters(self.plugin.ask(Question::AlignerParameters, self.id.as_str().into(), "".into()))
    }

    /// Checks parameters, a JSON object, and returns how many modalities it takes with them.
    ///
    /// # Errors
    /// If a parameter is unknown, of another type or out of range, or the plugin fails.
    pub fn takes(&self, parameters: &Value) -> Result<ModalityCount> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Describe };
        let text = reader.take(self.plugin.ask(
            Question::AlignerTakes,
            self.id.as_str().into(),
            parameters.to_string().as_str().into(),
        ))?;
        reader.json(&text, "numbers of modalities")
    }

    /// Fits on the arrays that [`AlignSpec`] describes, and checks the result: for every modality a valid
    /// graph with finite weights from `x` `[batch, dim]` to `z` `[batch, k]`, the same k for all, and
    /// inverses from `z` to `x`.
    ///
    /// # Errors
    /// If the arrays do not match the specification, the plugin fails, or its result is invalid.
    pub fn fit(
        &self,
        spec: &AlignSpec,
        data: &[(&str, BorrowedArray<'_>)],
        parameters: &Value,
        services: &dyn HostServices,
    ) -> Result<Learned> {
        let fail = |message: String| HostError::new(Code::INVALID, Phase::Fit, message).of(&self.tag);
        check_data(spec, data).map_err(fail)?;
        let context = serde_json::to_value(spec).map_err(|e| fail(e.to_string()))?;
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Fit };
        let outcome = fit(&reader, &self.id, data, parameters, &context, services, |job, context| {
            self.plugin.fit(ComponentKind::Aligner, job, context)
        })?;
        let report: AlignerReport = reader.json(&outcome.report, "notes")?;
        reader.check(learned(&outcome, report, spec))
    }
}

/// Checks that every modality has vectors of its width and as many row numbers.
fn check_data(spec: &AlignSpec, data: &[(&str, BorrowedArray<'_>)]) -> Result<(), String> {
    let find = |name: &str| data.iter().find(|(own, _)| *own == name).map(|(_, data)| data);
    for modality in &spec.modalities {
        let names = [format!("{}.pooled", modality.name), format!("{}.row", modality.name)];
        let (Some(pooled), Some(rows)) = (find(&names[0]), find(&names[1])) else {
            return Err(format!("an aligner needs the arrays `{}` and `{}`", names[0], names[1]));
        };
        let expected = pooled.rank() == 2 && pooled.axis(1) == Some(modality.dim);
        if !expected || rows.rank() != 1 || rows.axis(0) != pooled.axis(0) {
            return Err(format!(
                "expected `{}` [items, {}] and one row number per item, got shapes {:?} and {:?}",
                names[0],
                modality.dim,
                pooled.shape(),
                rows.shape()
            ));
        }
    }
    Ok(())
}

/// Runs a fit of an aligner or a fusion over the ABI.
pub(super) fn fit(
    reader: &ReplyReader<'_>,
    id: &str,
    data: &[(&str, BorrowedArray<'_>)],
    parameters: &Value,
    context: &Value,
    services: &dyn HostServices,
    call: impl FnOnce(FitJob<'_>, CallContext<'_, '_>) -> Reply<Outcome>,
) -> Result<Outcome> {
    let named: Vec<NamedTensor<'_>> = data.iter().map(|(name, data)| data.named(name)).collect();
    let files: Vec<Option<ArrayFile<'_>>> = data.iter().map(|(_, data)| data.file()).collect();
    let (parameters, context) = (parameters.to_string(), context.to_string());
    let job = FitJob {
        id: id.into(),
        data: RSlice::from_slice(&named),
        parameters: parameters.as_str().into(),
        context: context.as_str().into(),
    };
    with_services(reader, services, |context| call(job, CallContext { files: &files, ..context }))
}

/// Runs a call with services. A panic of a service or a request to stop is an error even if the reply is
/// good.
pub(super) fn with_services<T>(
    reader: &ReplyReader<'_>,
    services: &dyn HostServices,
    call: impl FnOnce(CallContext<'_, '_>) -> Reply<T>,
) -> Result<T> {
    let guarded = GuardedServices::new(services, &reader.tag.id);
    let reply = {
        let borrowed: ServicesRef<'_> = chiasm_abi::borrow_services(&guarded);
        call(CallContext { services: &borrowed, stop_requested: &|| guarded.stop_requested(), files: &[] })
    };
    let value = reader.take(reply)?;
    guarded.check_after_call(reader.phase).map_err(|e| e.of(reader.tag))?;
    Ok(value)
}

/// Returns the graphs of these names.
///
/// # Errors
/// If a graph is repeated or has another name.
pub(super) fn graphs<'a>(outcome: &'a Outcome, names: &[&str]) -> Result<Vec<Option<&'a [u8]>>, String> {
    let mut found = vec![None; names.len()];
    for graph in &outcome.graphs {
        let place = names.iter().position(|name| *name == graph.name.as_str());
        let place = place.ok_or_else(|| {
            format!("it returned an unexpected graph `{}`; expected: {}", graph.name, names.join(", "))
        })?;
        if found[place].replace(graph.bytes.as_slice()).is_some() {
            return Err(format!("it returned the graph `{}` twice", graph.name));
        }
    }
    Ok(found)
}

fn learned(outcome: &Outcome, report: AlignerReport, spec: &AlignSpec) -> Result<Learned, String> {
    use AxisRequirement::{Batch, Exactly, Fixed};
    let roles = |kind: &str| -> Vec<String> {
        spec.modalities.iter().map(|modality| format!("{kind}.{}", modality.name)).collect()
    };
    let (map_roles, inverse_roles) = (roles("map"), roles("inverse"));
    let names: Vec<&str> = map_roles.iter().chain(&inverse_roles).map(String::as_str).collect();
    let found = graphs(outcome, &names)?;
    let (maps_found, inverses_found) = found.split_at(map_roles.len());
    let missing = |role: &str| format!("it returned no graph `{role}`");
    let (mut maps, mut inverses) = (Vec::new(), Vec::new());
    let mut shared: Option<usize> = None;
    for ((modality, role), bytes) in spec.modalities.iter().zip(&map_roles).zip(maps_found) {
        let map = verify::graph(bytes.ok_or_else(|| missing(role))?, role)?;
        let z = [Batch, shared.map_or(Fixed, Exactly)];
        verify::ports(&map, role, &[("x", &[Batch, Exactly(modality.dim)])], &[("z", &z)])?;
        shared = Some(verify::last(&map, "z", role)?);
        maps.push(map);
    }
    let shared = shared.ok_or("expected at least one modality, got none")?;
    for ((modality, role), bytes) in spec.modalities.iter().zip(&inverse_roles).zip(inverses_found) {
        inverses.push(match (bytes, report.inverses.get(&modality.name)) {
            (None, None) => None,
            (Some(bytes), Some(kind)) => {
                let graph = verify::graph(bytes, role)?;
                let (z, x) = ([Batch, Exactly(shared)], [Batch, Exactly(modality.dim)]);
                verify::ports(&graph, role, &[("z", &z)], &[("x", &x)])?;
                Some(Inverse { graph, kind: *kind })
            }
            (Some(_), None) => return Err(format!("it returned `{role}` without the kind of the inverse")),
            (None, Some(_)) => return Err(missing(role)),
        });
    }
    let known = |name: &&String| spec.modalities.iter().any(|modality| modality.name == **name);
    if let Some(name) = report.inverses.keys().find(|name| !known(name)) {
        return Err(format!(
            "it returned the kind of an inverse of `{name}`, which is not a modality of the fit"
        ));
    }
    if !report.parameters.is_object() {
        return Err(format!("its parameters: expected an object, got {}", report.parameters));
    }
    Ok(Learned { maps, inverses, parameters: report.parameters, notes: report.notes })
}
