//! The messages between the host and the process of a plugin.

use chiasm_abi::stable::RString;
use chiasm_abi::{Code, PluginError};
use serde::{Deserialize, Serialize};

use crate::calls::{ComponentKind, Question};

/// The first message to a process. The descriptor of the library's sealed copy comes with it.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub id: String,
    pub version: String,
    pub path: std::path::PathBuf,
    /// The largest size of the process's memory, in bytes.
    pub memory: Option<u64>,
}

/// The answer to [`Start`].
#[derive(Serialize, Deserialize)]
pub(super) enum Started {
    /// The library is loaded and has these kinds of components.
    Loaded(Vec<ComponentKind>),
    /// The library cannot be loaded.
    Refused { code: u32, message: String, detail: Option<String> },
}

/// A later message on the same socket. The descriptor of the socket of a new channel comes with it.
#[derive(Serialize, Deserialize)]
pub(super) struct NewChannel;

/// A message to the process.
#[derive(Serialize, Deserialize)]
pub(super) enum ToWorker {
    Ask {
        question: Question,
        id: String,
        argument: String,
    },
    /// The tensor is the path of the directory.
    Draft {
        id: String,
        signature: String,
    },
    Open {
        id: String,
        spec: String,
    },
    /// The tensors are the data.
    Fit {
        kind: ComponentKind,
        id: String,
        parameters: String,
        context: String,
    },
    AdapterInputs {
        object: u64,
    },
    AdapterRows {
        object: u64,
    },
    AdapterTail {
        object: u64,
    },
    AdapterHead {
        object: u64,
    },
    /// The tensor is the bytes of the item.
    Prepare {
        object: u64,
        kind: u32,
        row: u64,
    },
    /// Drops an adapter. It has no answer.
    Close {
        object: u64,
    },
    Quiesce,
    /// The answer to a [`ServiceCall`].
    Served(Answer),
    /// The error of a [`ServiceCall`].
    NotServed(Failure),
}

/// A message from the process.
#[derive(Serialize, Deserialize)]
pub(super) enum ToHost {
    /// The result of the call.
    Answer(Answer),
    /// The error of the call.
    Failure(Failure),
    /// A request to a service of the host. All but `Log` wait for an answer.
    Service(ServiceCall),
}

/// A request to a service of the host.
#[derive(Serialize, Deserialize)]
pub(super) enum ServiceCall {
    Log {
        level: u8,
        message: String,
    },
    Progress {
        done: u64,
        total: u64,
    },
    Seed,
    Threads,
    /// The tensors are the graph and its inputs.
    Run,
    /// The tensors are the graphs, the training rows and the validation rows.
    Train {
        specification: String,
        graphs: usize,
        training: usize,
    },
}

/// A result. The tensors of the message belong to it.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub text: String,
    pub number: Option<u64>,
}

impl Answer {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), number: None }
    }

    pub(super) fn number(number: impl Into<Option<u64>>) -> Self {
        Self { text: String::new(), number: number.into() }
    }
}

/// A [`PluginError`].
#[derive(Serialize, Deserialize)]
pub(super) struct Failure {
    code: u32,
    message: String,
    detail: String,
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let PluginError { code, message, detail } = error;
        Self { code: code.0, message: message.into(), detail: detail.into() }
    }
}

impl From<Failure> for PluginError {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, detail } = failure;
        Self { code: Code(code), message: message.into(), detail: detail.into() }
    }
}

/// Returns an error of the host or of the process itself.
pub(super) fn failure(code: Code, message: impl Into<RString>) -> PluginError {
    PluginError { code, message: message.into(), detail: RString::new() }
}
