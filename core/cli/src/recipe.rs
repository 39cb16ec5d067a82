//! `chiasm recipe new`: a recipe with comments.

use crate::{
    args::{GlobalOptions, RecipeCommand},
    command_result::{CommandResult, json},
    print,
};
use chiasm_pipeline::{Environment, Error, NewRecipeOptions, new_recipe};
use serde_json::json as object;
use std::{fs::OpenOptions, io::Write};

/// Runs `chiasm recipe`.
///
/// # Errors
/// If the recipe exists, cannot be written, or would not be valid.
pub fn recipe(command: &RecipeCommand, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let RecipeCommand::New { sources, pairs, aligner, output } = command;
    let options = NewRecipeOptions {
        sources: sources.clone(),
        pairs: pairs.clone(),
        aligner: aligner.clone(),
        output: output.clone(),
    };
    env.host.aligner(aligner)?;
    let text = new_recipe(&options, env)?;
    // An existing file is never replaced.
    let created = OpenOptions::new().write(true).create_new(true).open(output);
    created
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::io("write", output, e))?;
    if json(global) {
        print::json(&object!({ "recipe": output }));
        return Ok(());
    }
    print::line(&format!("wrote {}", output.display()));
    print::line(&format!("next: chiasm plan {}", output.display()));
    Ok(())
}
