//! The `chiasm` binary: arguments in, one verb of the pipeline, results on stdout, everything else on stderr.

mod args;
mod check;
mod doctor;
mod items;
mod looks;
mod measure;
mod outcome;
mod plugins;
mod print;
mod progress;
mod strip;
mod transport;
mod verbs;

use args::{Cli, DeviceArg, EngineVerb, ModelVerb, Shared, Verb};
use chiasm_host::{EngineSearch as PluginSearch, Host};
use chiasm_pipeline::{Cache, Error, Trainings, Workbench};
use clap::{CommandFactory, FromArgMatches};
use miette::Diagnostic;
use outcome::{Outcome, json};
use std::{path::Path, process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let mut command = items::with_modalities(Cli::command(), &arguments);
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => error.exit(), // clap prints; usage errors exit with 2
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let given = items::given(&matches);
    let outcome = perform(&cli, given).and_then(|()| match print::failure() {
        None => Ok(()),
        Some(error) => Err(Error::io("write", Path::new("stdout"), error.kind().into())),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn perform(cli: &Cli, given: items::Given) -> Outcome {
    let shared = &cli.shared;
    match &cli.verb {
        Verb::Doctor { only } => doctor::doctor(*only, shared, &unchecked_workbench(shared)),
        Verb::Engine(EngineVerb::Install { cuda, tool }) => doctor::install(*cuda, *tool, shared),
        Verb::Plugin(verb) => plugins::plugin(verb, shared, &unchecked_workbench(shared).host),
        Verb::Model(ModelVerb::List) => verbs::model_list(shared, &workbench(shared)?),
        Verb::Model(ModelVerb::Inspect { name }) => verbs::model_inspect(name, shared, &workbench(shared)?),
        Verb::Model(ModelVerb::Add { path, name, adapter, into, licence, overrides }) => {
            let options = chiasm_pipeline::AddOptions {
                path: path.clone(),
                name: name.clone(),
                adapter: adapter.clone(),
                into: into.clone(),
                licence: licence.clone(),
                overrides: overrides.clone(),
            };
            verbs::model_add(&options, shared, &workbench(shared)?)
        }
        Verb::Plan(recipe) => verbs::plan(recipe, shared, &workbench(shared)?),
        Verb::Fit { recipe, output, skip_bad, force } => {
            verbs::fit(recipe, output, *skip_bad, *force, shared, &workbench(shared)?)
        }
        Verb::Check(args) => check::check(args, shared, &workbench(shared)?),
        Verb::Measure(args) => measure::measure(args, shared),
        Verb::Eval { run } => verbs::eval(run, shared, &workbench(shared)?),
        Verb::Compare { recipe, swap, folds, skip_bad } => {
            verbs::compare(recipe, swap, *folds, *skip_bad, shared, &workbench(shared)?)
        }
        Verb::Transport(args) => transport::transport(args, shared),
        Verb::Run { run, attention } => {
            verbs::run(run, &given, attention.as_deref(), shared, &workbench(shared)?)
        }
        Verb::EngineSearch { run, among, top, strip } => {
            let how = verbs::SearchHow { among: among.as_deref(), top: *top, strip: strip.as_deref() };
            verbs::search(run, &given, &how, shared, &workbench(shared)?)
        }
        Verb::Export { run, layout, weights, output } => {
            verbs::export(run, *layout, *weights, output, shared, &workbench(shared)?)
        }
    }
}

/// What the verbs work with; fails when a plugin that the user named cannot be used.
fn workbench(shared: &Shared) -> Outcome<Workbench> {
    let bench = unchecked_workbench(shared);
    bench.host.check_named()?;
    Ok(bench)
}

/// The same for verbs that report what is wrong with a plugin.
fn unchecked_workbench(shared: &Shared) -> Workbench {
    let device = match shared.device {
        DeviceArg::Cpu => chiasm_runtime::Device::Cpu,
        DeviceArg::Cuda => chiasm_runtime::Device::Cuda,
        DeviceArg::Auto => chiasm_runtime::Device::Auto,
    };
    Workbench {
        host: Host::discover(&PluginSearch::from_environment(shared.plugins.clone())),
        models: shared.models.clone(),
        search: chiasm_runtime::EngineSearch::from_environment(shared.engine.clone()),
        device,
        threads: shared.threads.unwrap_or(0),
        cache: Cache::of_user(),
        reporter: Arc::new(progress::Terminal::new(shared.quiet)),
        trainings: Trainings::default(),
    }
}

/// Prints an error once, with its place in the user's file where it has one.
fn complain(error: &Error) {
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme()).with_width(100);
    let drawn = match error {
        Error::Problems(problems) => handler.render_report(&mut text, problems as &dyn Diagnostic),
        other => handler.render_report(&mut text, &Plain(other.to_string())),
    };
    match drawn {
        Ok(()) => print::note(text.trim_end()),
        Err(_) => print::note(&format!("error: {error}")),
    }
}

fn theme() -> miette::GraphicalTheme {
    use std::io::IsTerminal;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::unicode_nocolor() }
}

/// An error with a message and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Plain(String);

impl Diagnostic for Plain {}
