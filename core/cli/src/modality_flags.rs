//! Flags for raw items: `run` and `search` have one flag for each modality of the run folder in the
//! arguments.

use chiasm_pipeline::{Error, read_manifest};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{collections::BTreeMap, ffi::OsString, path::Path};

/// The values of the modality flags, by modality.
pub type ModalityValues = BTreeMap<String, Vec<String>>;

/// The prefix of the argument ids of modality flags.
const ID: &str = "modality:";
const COMMANDS: [&str; 2] = ["run", "search"];

/// Adds a flag for every modality of the run folder in the arguments.
pub fn with_modality_flags(command: Command, arguments: &[OsString]) -> Command {
    let names = modalities(arguments);
    COMMANDS.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |mut sub| {
            let taken: Vec<String> =
                sub.get_arguments().filter_map(|a| a.get_long().map(str::to_owned)).collect();
            for name in names.iter().filter(|name| !taken.contains(name)) {
                sub = sub.arg(
                    Arg::new(format!("{ID}{name}"))
                        .long(name.clone())
                        .action(ArgAction::Append)
                        .value_name(name.to_uppercase())
                        .help(format!("Raw item of the modality {name} (repeatable)")),
                );
            }
            sub
        })
    })
}

/// Returns the arguments after a command that takes raw items.
fn after_command(arguments: &[OsString]) -> impl Iterator<Item = &OsString> {
    arguments.iter().skip_while(|a| !COMMANDS.iter().any(|c| a.as_os_str() == *c)).skip(1)
}

/// Returns why the run folder of a command that takes raw items cannot be read, if it cannot.
pub fn unread_run(arguments: &[OsString]) -> Option<Error> {
    let folder = after_command(arguments)
        .take_while(|argument| !argument.to_string_lossy().starts_with('-'))
        .next()?;
    read_manifest(Path::new(folder)).err()
}

/// Returns the modalities of the first run folder after a command that takes raw items.
fn modalities(arguments: &[OsString]) -> Vec<String> {
    let manifest = after_command(arguments).filter_map(|a| read_manifest(Path::new(a)).ok()).next();
    manifest.map(|m| m.modalities.into_iter().map(|m| m.name).collect()).unwrap_or_default()
}

/// Returns the values of the modality flags.
pub fn modality_values(matches: &ArgMatches) -> ModalityValues {
    let Some((_, sub)) = matches.subcommand() else { return ModalityValues::new() };
    (sub.ids())
        .filter_map(|id| Some((id.as_str(), id.as_str().strip_prefix(ID)?)))
        .map(|(id, name)| {
            (name.to_owned(), sub.get_many::<String>(id).into_iter().flatten().cloned().collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_modality_may_be_named_like_a_flag() {
        let mut command = crate::args::Cli::command();
        command.build();
        for name in COMMANDS {
            let sub = command.find_subcommand(name).unwrap();
            for flag in sub.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(chiasm_pipeline::RESERVED_NAMES.contains(&flag), "--{flag} of {name}");
            }
        }
    }
}
