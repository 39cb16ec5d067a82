//! `chiasm model`: lists, adds, changes and removes model cards.

use crate::{
    args::{GlobalOptions, ModelCommand},
    command_result::{CommandResult, json},
    print,
};
use chiasm_pipeline::{
    AddModelOptions, ChangedModel, EditedCard, Environment, Error, ModelStore, removable_model, set_in_card,
};
use serde_json::{Value, json as object};
use std::{io::IsTerminal, path::Path, process::Command};

/// Runs `chiasm model`.
///
/// # Errors
/// If a card does not exist, is not valid, or cannot be read or written.
pub fn model(command: &ModelCommand, global: &GlobalOptions, env: &Environment) -> CommandResult {
    match command {
        ModelCommand::Add { path, name, adapter, into, licence, overrides } => {
            let options = AddModelOptions {
                path: path.clone(),
                name: name.clone(),
                adapter: adapter.clone(),
                into: into.clone(),
                licence: licence.clone(),
                overrides: overrides.clone(),
            };
            add(&options, global, env)
        }
        ModelCommand::List => list(global, env),
        ModelCommand::Inspect { name } => inspect(name, global, env),
        ModelCommand::Set { name, assignments } => {
            let changed =
                set_in_card(name, assignments, &store(env), env).inspect_err(|_| unchanged(global))?;
            show(&changed, global);
            Ok(())
        }
        ModelCommand::Edit { name } => edit(name, global, env),
        ModelCommand::Remove { name, yes } => remove(name, *yes, global, env),
    }
}

fn list(global: &GlobalOptions, env: &Environment) -> CommandResult {
    let store = store(env);
    let found = store.list();
    if json(global) {
        let cards: Vec<Value> =
            found.iter().flatten().map(|(card, path)| object!({ "card": card, "path": path })).collect();
        print::json(&cards);
        return Ok(());
    }
    let rows = (found.into_iter())
        .map(|entry| match entry {
            Ok((card, path)) => vec![card.name, card.adapter, card.licence, path.display().to_string()],
            Err(problem) => vec!["(unreadable)".into(), String::new(), String::new(), problem.to_string()],
        })
        .collect();
    print::table(&["model", "adapter", "licence", "card"], rows, 4);
    print::line(&format!("searched: {store}"));
    Ok(())
}

fn inspect(name: &str, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let report = chiasm_pipeline::inspect_model(name, &store(env), env)?;
    if json(global) {
        print::json(&report);
        return Ok(());
    }
    for (key, value) in report.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        print::line(&format!("{key:>14}  {text}"));
    }
    Ok(())
}

fn add(options: &AddModelOptions, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let added = chiasm_pipeline::add_model(options, env)?;
    if json(global) {
        print::json(&object!({ "card": added.card, "path": added.path, "reason": added.reason }));
        return Ok(());
    }
    print::line(&added.path.display().to_string());
    print::line(&format!("adapter {}: {}", added.card.adapter, added.reason));
    print::line("look up guesses, which are marked CHECK, on the model's page");
    Ok(())
}

/// Returns the folders of model cards.
fn store(env: &Environment) -> ModelStore {
    ModelStore::new(Path::new("."), &env.models)
}

/// Says that a card was not written.
fn unchanged(global: &GlobalOptions) {
    if !global.quiet {
        print::note("the card was left as it was");
    }
}

fn show(changed: &ChangedModel, global: &GlobalOptions) {
    if json(global) {
        let problem = changed.problem.as_ref().map(ToString::to_string);
        print::json(&object!({ "card": changed.card, "path": changed.path, "problem": problem }));
        return;
    }
    print::line(&format!("wrote {}", changed.path.display()));
    if let Some(problem) = &changed.problem {
        print::line(&format!("the card still cannot be used: {problem}"));
    }
}

/// Opens the card in the user's editor, and replaces it by the new text if that is valid.
fn edit(name: &str, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let store = store(env);
    let edited = EditedCard::begin(name, &store)?;
    if edited.reopened {
        print::note(&format!("opening the text of an earlier edit, {}", edited.draft.display()));
    }
    let of_user = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
    let editor = of_user("VISUAL").or_else(|| of_user("EDITOR")).unwrap_or_else(|| "vi".into());
    // The shell splits an editor with arguments, as other programs do.
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let status = Command::new("sh").arg("-c").arg(&script).arg("editor").arg(&edited.draft).status();
    let ended = status.map_err(|e| Error::io("start", Path::new(&editor), e))?;
    if !ended.success() {
        let message = format!("the editor {} ended with {ended}", editor.display());
        let help = "set EDITOR to the command of an editor, or set single keys with `chiasm model set`";
        unchanged(global);
        edited.give_up()?;
        return Err(Error::input("chiasm::model::editor", message, help));
    }
    let changed = edited.finish(&store, env).inspect_err(|_| {
        let draft = edited.draft.display();
        print::note(&format!(
            "the card was left as it was; your text is in {draft}, and `chiasm model edit {name}` opens it \
             again"
        ));
    })?;
    match &changed {
        Some(changed) => show(changed, global),
        None if json(global) => print::json(&Value::Null),
        None => print::line("nothing was changed"),
    }
    Ok(())
}

/// Removes a card and the files in its folder that it names, after a question on a terminal.
fn remove(name: &str, yes: bool, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let removable = removable_model(name, &store(env))?;
    if !yes {
        removable.files.iter().for_each(|file| print::note(&file.display().to_string()));
        if !std::io::stdin().is_terminal() {
            let help = "give --yes to remove these files without a question";
            let message =
                format!("{name:?} was not removed: no question can be asked, since stdin is no terminal");
            return Err(Error::input("chiasm::model::remove", message, help));
        }
        print::note("remove these files? [y/N]");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(|e| Error::io("read", Path::new("stdin"), e))?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            print::line("nothing was removed");
            return Ok(());
        }
    }
    removable.remove()?;
    if json(global) {
        print::json(&object!({ "removed": removable.files, "stays": removable.stays }));
        return Ok(());
    }
    removable.files.iter().for_each(|file| print::line(&format!("removed {}", file.display())));
    removable.stays.iter().for_each(|file| print::line(&format!("  stays {}", file.display())));
    Ok(())
}
