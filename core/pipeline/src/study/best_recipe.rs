//! The recipe with the best setting of a tuning.

use super::{
    fits::{RecipeChanges, StudyFits},
    trial::Trial,
};
use crate::{
    base::{error::Error, paths::relative_path},
    recipe::{
        ALIGN_KEYS,
        tree::{self, TomlTable, TomlValue},
        write::format_table,
    },
};
use std::path::Path;

/// Returns the text of the recipe with some changes, to be written into a folder: its paths start there.
///
/// # Errors
/// If the recipe or a change is not valid.
pub fn best_recipe(
    fits: &StudyFits<'_>,
    changes: &RecipeChanges,
    trials: &[Trial],
    folder: &Path,
) -> Result<String, Error> {
    let recipe = fits.recipe(changes)?;
    let (mut table, _) = tree::parse("recipe", &recipe.text)?;
    for assignment in &recipe.overrides {
        tree::set(&mut table, assignment)?;
    }
    let kept = &recipe.align.plugin.parameters;
    if let Some(align) = inner(&mut table, "align") {
        align.retain(|(key, _)| ALIGN_KEYS.contains(&key.as_str()) || kept.iter().any(|(own, _)| own == key));
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Error::io("find", path, e));
    let folder = absolute(folder)?;
    let moved = |written: &mut TomlValue| {
        if let TomlValue::String(path) = written {
            *path = relative_path(&folder, &recipe.path(path)).display().to_string();
        }
    };
    if let Some((_, pairs)) =
        inner(&mut table, "data").and_then(|data| data.iter_mut().find(|(key, _)| key == "pairs"))
    {
        moved(&mut pairs.value);
    }
    for (_, encoder) in inner(&mut table, "encoders").into_iter().flatten() {
        if let TomlValue::Table(encoder) = &mut encoder.value {
            let vectors = encoder.iter_mut().filter(|(key, _)| key == "vectors");
            vectors.for_each(|(_, node)| moved(&mut node.value));
        }
    }
    let score = trials.first().and_then(|trial| trial.score).unwrap_or(f64::NAN);
    let name = fits.path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!(
        "# {name} with the best of {} settings of `chiasm tune`: {} {score:.4} on validation rows.\n{}",
        trials.len(),
        fits.metric.name(),
        format_table(&table)
    ))
}

/// Returns the table of this name.
fn inner<'t>(table: &'t mut TomlTable, name: &str) -> Option<&'t mut TomlTable> {
    let node = table.iter_mut().find(|(key, _)| key == name)?;
    if let TomlValue::Table(inner) = &mut node.1.value { Some(inner) } else { None }
}
