//! Type-erased entries for the adapters, aligners and fusions of a plugin.

use std::path::Path;

use chiasm_abi::AdapterBox;
use serde_json::Value;

use super::guarded_adapter::GuardedAdapter;
use crate::{
    Adapter, AlignSpec, Aligner, Draft, EncoderSpec, Error, Fused, Fusion, FusionNeeds, FusionSpec, Inputs,
    Learned, ModalityCount, Parameter, Parameters, Result, Services, Signature, Takes, read_parameters,
};

/// A plugin, implemented by [`export_plugin!`](crate::export_plugin).
pub trait Plugin: 'static {
    /// Its adapters.
    const ADAPTERS: &'static [AdapterEntry];
    /// Its aligners.
    const ALIGNERS: &'static [AlignerEntry];
    /// Its fusions.
    const FUSIONS: &'static [FusionEntry];
    /// Returns its manifest from the ELF section.
    fn manifest() -> &'static str;
}

/// A type-erased adapter.
pub struct AdapterEntry {
    pub(super) id: &'static str,
    pub(super) takes: fn() -> Takes,
    pub(super) draft: fn(&Signature, &Path) -> Result<Option<Draft>>,
    pub(super) open: fn(&EncoderSpec, &Services<'_>) -> Result<AdapterBox>,
}

impl AdapterEntry {
    /// Returns the entry of an adapter.
    pub const fn of<A: Adapter>() -> Self {
        Self { id: A::ID, takes: A::takes, draft: A::draft, open: GuardedAdapter::<A>::open }
    }
}

/// A type-erased aligner.
pub struct AlignerEntry {
    pub(super) id: &'static str,
    pub(super) parameters: fn() -> Vec<Parameter>,
    pub(super) takes: fn(&Value) -> Result<ModalityCount>,
    pub(super) fit: FitAligner,
}

type FitAligner = fn(&AlignSpec, &Inputs<'_>, &Value, &Services<'_>) -> Result<Learned>;

impl AlignerEntry {
    /// Returns the entry of an aligner.
    pub const fn of<A: Aligner>() -> Self {
        Self {
            id: A::ID,
            parameters: A::Parameters::list,
            takes: |parameters| Ok(A::takes(&read_parameters(parameters)?)),
            fit: A::fit_json,
        }
    }
}

type FitFusion = fn(&FusionSpec, &Inputs<'_>, &Value, &Services<'_>) -> Result<Fused>;

/// A type-erased fusion.
pub struct FusionEntry {
    pub(super) id: &'static str,
    pub(super) parameters: fn() -> Vec<Parameter>,
    pub(super) needs: fn(&Value) -> Result<FusionNeeds>,
    pub(super) fit: FitFusion,
}

impl FusionEntry {
    /// Returns the entry of a fusion.
    pub const fn of<F: Fusion>() -> Self {
        Self {
            id: F::ID,
            parameters: F::Parameters::list,
            needs: |parameters| Ok(F::needs(&read_parameters(parameters)?)),
            fit: F::fit_json,
        }
    }
}

/// Returns the entry of this id. The error lists the known ids.
pub(super) fn find<'a, T>(
    entries: &'a [T],
    kind: &str,
    id: &str,
    own: impl Fn(&T) -> &'static str,
) -> Result<&'a T> {
    entries.iter().find(|entry| own(entry) == id).ok_or_else(|| {
        let known = entries.iter().map(&own).collect::<Vec<_>>().join(", ");
        Error::invalid(format!("this plugin has no {kind} `{id}`; it has: {known}"))
    })
}
