//! RawItem inputs on the command line: each modality of the run named there is a flag of `run` and `search`.

use chiasm_pipeline::read_manifest;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{collections::BTreeMap, ffi::OsString, path::Path};

/// Values by modality, in the order given.
pub type ModalityValues = BTreeMap<String, Vec<String>>;

/// Prefix of the argument ids made here.
const ID: &str = "modality:";
const VERBS: [&str; 2] = ["run", "search"];

/// Adds a flag for every modality of the run that the arguments name.
pub fn with_modality_flags(command: Command, arguments: &[OsString]) -> Command {
    let names = modalities(arguments);
    VERBS.into_iter().fold(command, |command, verb| {
        command.mut_subcommand(verb, |mut sub| {
            let taken: Vec<String> =
                sub.get_arguments().filter_map(|a| a.get_long().map(str::to_owned)).collect();
            for name in names.iter().filter(|name| !taken.contains(name)) {
                sub = sub.arg(
                    Arg::new(format!("{ID}{name}"))
                        .long(name.clone())
                        .action(ArgAction::Append)
                        .value_name(name.to_uppercase())
                        .help(format!("A raw input of modality {name} (repeatable)")),
                );
            }
            sub
        })
    })
}

/// The modalities of the first run folder named after a verb that takes raw inputs.
fn modalities(arguments: &[OsString]) -> Vec<String> {
    let after = arguments.iter().skip_while(|a| !VERBS.iter().any(|v| a.as_os_str() == *v)).skip(1);
    let manifest = after.filter_map(|a| read_manifest(Path::new(a)).ok()).next();
    manifest.map(|m| m.modalities.into_iter().map(|m| m.name).collect()).unwrap_or_default()
}

/// What was given for each modality.
pub fn given(matches: &ArgMatches) -> ModalityValues {
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
        for verb in VERBS {
            let sub = command.find_subcommand(verb).unwrap();
            for flag in sub.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(chiasm_pipeline::RESERVED_NAMES.contains(&flag), "--{flag} of {verb}");
            }
        }
    }
}
