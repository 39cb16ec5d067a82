//! Implements `chiasm.aligner/2` and `chiasm.fusion/2` with the [`Aligner`](crate::Aligner)s and
//! [`Fusion`](crate::Fusion)s of a plugin.

use chiasm_abi::stable::{RStr, RString};
use chiasm_abi::{FitJob, NamedBytes, Outcome, Reply, ServicesRef};
use chiasm_graph::Graph;
use serde_json::{Value, json};

use super::{
    entries::{Plugin, find},
    guard, thread_pool,
};
use crate::{AlignSpec, Error, FusionSpec, Inputs, Result, Services};

pub(super) extern "C" fn aligner_parameters<P: Plugin>(id: RStr<'_>) -> Reply<RString> {
    guard::call(|| {
        let entry = find(P::ALIGNERS, "aligner", id.as_str(), |entry| entry.id)?;
        Ok(serde_json::to_string(&(entry.parameters)())?.into())
    })
}

pub(super) extern "C" fn aligner_takes<P: Plugin>(id: RStr<'_>, parameters: RStr<'_>) -> Reply<RString> {
    guard::call(|| {
        let entry = find(P::ALIGNERS, "aligner", id.as_str(), |entry| entry.id)?;
        Ok(serde_json::to_string(&(entry.takes)(&serde_json::from_str(parameters.as_str())?)?)?.into())
    })
}

pub(super) extern "C" fn fusion_parameters<P: Plugin>(id: RStr<'_>) -> Reply<RString> {
    guard::call(|| {
        let entry = find(P::FUSIONS, "fusion", id.as_str(), |entry| entry.id)?;
        Ok(serde_json::to_string(&(entry.parameters)())?.into())
    })
}

pub(super) extern "C" fn fusion_needs<P: Plugin>(id: RStr<'_>, parameters: RStr<'_>) -> Reply<RString> {
    guard::call(|| {
        let entry = find(P::FUSIONS, "fusion", id.as_str(), |entry| entry.id)?;
        Ok(serde_json::to_string(&(entry.needs)(&serde_json::from_str(parameters.as_str())?)?)?.into())
    })
}

pub(super) extern "C" fn aligner<P: Plugin>(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome> {
    guard::call(|| {
        let entry = find(P::ALIGNERS, "aligner", job.id.as_str(), |entry| entry.id)?;
        let (inputs, parameters) = read(&job)?;
        let spec: AlignSpec = serde_json::from_str(job.context.as_str())?;
        let services = Services::from_abi(services);
        let learned = thread_pool::run_with(services.threads(), || {
            (entry.fit)(&spec, &inputs, &parameters, &services)
        })?;
        let names: Vec<&str> = spec.modalities.iter().map(|modality| modality.name.as_str()).collect();
        let (maps, inverses) = (learned.maps.len(), learned.inverses.len());
        if maps != names.len() || inverses != names.len() {
            let expected = names.len();
            return Err(Error::other(format!(
                "expected {expected} maps and optional inverses, one per modality, got {maps} and {inverses}"
            )));
        }
        let mut graphs = Vec::new();
        let mut kinds = serde_json::Map::new();
        for ((name, map), inverse) in names.iter().zip(&learned.maps).zip(&learned.inverses) {
            graphs.push((format!("map.{name}"), map));
            if let Some(inverse) = inverse {
                graphs.push((format!("inverse.{name}"), &inverse.graph));
                kinds.insert((*name).to_owned(), json!(inverse.kind));
            }
        }
        let graphs: Vec<(&str, &Graph)> =
            graphs.iter().map(|(name, graph)| (name.as_str(), *graph)).collect();
        let report = json!({ "parameters": learned.parameters, "notes": learned.notes, "inverses": kinds });
        outcome(&graphs, &report)
    })
}

pub(super) extern "C" fn fusion<P: Plugin>(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome> {
    guard::call(|| {
        let entry = find(P::FUSIONS, "fusion", job.id.as_str(), |entry| entry.id)?;
        let (inputs, parameters) = read(&job)?;
        let spec: FusionSpec = serde_json::from_str(job.context.as_str())?;
        let services = Services::from_abi(services);
        let fused = thread_pool::run_with(services.threads(), || {
            (entry.fit)(&spec, &inputs, &parameters, &services)
        })?;
        outcome(&[("fused", &fused.graph)], &json!({ "notes": fused.notes }))
    })
}

fn read<'a>(job: &FitJob<'a>) -> Result<(Inputs<'a>, Value)> {
    Ok((Inputs::from_abi(job.data.as_slice())?, serde_json::from_str(job.parameters.as_str())?))
}

fn outcome(graphs: &[(&str, &Graph)], report: &Value) -> Result<Outcome> {
    let named = |(name, graph): &(&str, &Graph)| {
        let bytes = graph.to_bytes().map_err(|e| Error::from(e).context(format!("graph `{name}`")))?;
        Ok(NamedBytes { name: (*name).into(), bytes: bytes.into() })
    };
    Ok(Outcome {
        graphs: graphs.iter().map(named).collect::<Result<_>>()?,
        report: report.to_string().into(),
    })
}
