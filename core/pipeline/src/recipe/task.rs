//! `[task]`: what a fusion is trained for.

use super::tree::{At, Reader};
use crate::base::problem::Problem;
use chiasm_host::TaskKind;

const KINDS: [TaskKind; 4] =
    [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Regression, TaskKind::Retrieval];

/// `[task]`: what a fusion is trained for.
#[derive(Debug, Clone)]
pub struct TaskRecipe {
    /// What kind of task.
    pub kind: At<TaskKind>,
    /// The column of the pairs that holds each row's answer; for retrieval the modality whose other items are
    /// to be found.
    pub of: At<String>,
}

impl TaskRecipe {
    /// The column of the pairs that it reads; retrieval reads none of its own.
    pub fn column(&self) -> Option<&At<String>> {
        (self.kind.value != TaskKind::Retrieval).then_some(&self.of)
    }
}

/// Reads `[task]`.
pub(super) fn read_task(root: &Reader<'_>) -> Option<TaskRecipe> {
    let table = root.table("task")?;
    let written = table.required_string("kind", "kind = \"classification\"");
    let kind = written.and_then(|written| {
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == written.value);
        if kind.is_none() {
            let known = KINDS.map(TaskKind::as_str).join(", ");
            let message = format!("`task.kind` expects one of {known}, got {:?}", written.value);
            table.problem(Problem::new("chiasm::recipe::task", message).at(&written.at, "this kind"));
        }
        Some(At { value: kind?, at: written.at })
    });
    let of = match kind.as_ref().map(|kind| kind.value) {
        Some(TaskKind::Retrieval) => table.required_string("modality", "modality = \"text\""),
        Some(_) => table.required_string("column", "column = \"answer\""),
        None => {
            // both keys are known, whatever the kind was to be
            let _ = (table.string("modality"), table.string("column"));
            None
        }
    };
    table.finish();
    Some(TaskRecipe { kind: kind?, of: of? })
}
