//! The calls that a plugin answers, wherever its code runs.

use std::os::fd::BorrowedFd;

use chiasm_abi::stable::{RStr, RString};
use chiasm_abi::{AdapterBox, FitJob, Outcome, Reply, ServicesRef};
use serde::{Deserialize, Serialize};

/// The kind of a component of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ComponentKind {
    Adapter,
    Aligner,
    Fusion,
}

impl ComponentKind {
    /// Returns the name used in manifests.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ComponentKind::Adapter => "adapter",
            ComponentKind::Aligner => "aligner",
            ComponentKind::Fusion => "fusion",
        }
    }
}

/// A question about a component. The answer is JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// The kind of item that an adapter takes.
    AdapterTakes,
    /// The parameters of an aligner.
    AlignerParameters,
    /// The parameters of a fusion.
    FusionParameters,
    /// The numbers of modalities that an aligner takes with these parameters.
    AlignerTakes,
    /// Whether a fusion reads tokens with these parameters, and its tasks.
    FusionNeeds,
}

/// A file with the bytes of an array that never change. A plugin's process maps it to read them in place.
#[derive(Clone, Copy)]
pub(crate) struct ArrayFile<'a> {
    /// The number of the array, which no other array of this process has.
    pub id: u64,
    pub descriptor: BorrowedFd<'a>,
}

/// What the host offers to a plugin during one call.
#[derive(Clone, Copy)]
pub(crate) struct CallContext<'a, 's> {
    /// The services that the plugin may use.
    pub services: &'a ServicesRef<'s>,
    /// Returns whether the user asked to stop.
    pub stop_requested: &'a (dyn Fn() -> bool + 'a),
    /// The files of the arrays of a fit, in their order; those of the last arrays may be left out.
    pub files: &'a [Option<ArrayFile<'a>>],
}

/// A loaded plugin: in this process, or in one of its own.
pub(crate) trait PluginCalls: Send + Sync {
    /// Returns whether the library has this kind of component.
    fn offers(&self, kind: ComponentKind) -> bool;
    /// Asks about a component. `argument` is the parameters, as a JSON object, where the question has them.
    fn ask(&self, question: Question, id: RStr<'_>, argument: RStr<'_>) -> Reply<RString>;
    /// Drafts a card.
    fn draft(&self, id: RStr<'_>, signature: RStr<'_>, directory: &[u8]) -> Reply<RString>;
    /// Opens an adapter.
    fn open(&self, id: RStr<'_>, spec: RStr<'_>, context: CallContext<'_, '_>) -> Reply<AdapterBox>;
    /// Fits an aligner or a fusion.
    fn fit(&self, kind: ComponentKind, job: FitJob<'_>, context: CallContext<'_, '_>) -> Reply<Outcome>;
    /// Refuses further calls, and returns when the active calls have ended.
    fn quiesce(&self);
}
