//! `[task]`: the task that a fusion is trained for.

use super::reader::{Located, TableReader};
use crate::base::problem::Problem;
use chiasm_host::TaskKind;

const KINDS: [TaskKind; 4] =
    [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Regression, TaskKind::Retrieval];

/// The table `[task]`.
#[derive(Debug, Clone)]
pub struct TaskRecipe {
    /// The kind of task.
    pub kind: Located<TaskKind>,
    /// The column of the data that holds the target of each row; for retrieval, the modality whose other
    /// items are the targets.
    pub of: Located<String>,
}

impl TaskRecipe {
    /// Returns the column of targets; `None` for retrieval.
    pub fn column(&self) -> Option<&Located<String>> {
        (self.kind.value != TaskKind::Retrieval).then_some(&self.of)
    }
}

/// Reads `[task]`.
pub(super) fn read_task(root: &TableReader<'_>) -> Option<TaskRecipe> {
    let table = root.table("task")?;
    let written = table.required_string("kind", "kind = \"classification\"");
    let kind = written.and_then(|written| {
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == written.value);
        if kind.is_none() {
            let known = KINDS.map(TaskKind::as_str).join(", ");
            let message = format!("`task.kind` expects one of {known}, got {:?}", written.value);
            let problem = Problem::new("chiasm::recipe::task", message).at(&written.at, "this kind");
            table.problem(problem.suggest(&written.value, KINDS.map(TaskKind::as_str)));
        }
        Some(Located { value: kind?, at: written.at })
    });
    let of = match kind.as_ref().map(|kind| kind.value) {
        Some(TaskKind::Retrieval) => table.required_string("modality", "modality = \"text\""),
        Some(_) => table.required_string("column", "column = \"answer\""),
        None => {
            // Mark both keys as known, since the kind is invalid.
            let _ = (table.string("modality"), table.string("column"));
            None
        }
    };
    table.finish();
    Some(TaskRecipe { kind: kind?, of: of? })
}
