//! The `chiasm` command. It prints results on stdout and everything else on stderr.

mod args;
mod attention_svg;
mod check;
mod command_result;
mod commands;
mod compare;
mod dataset;
mod doctor;
mod errors;
mod eval;
mod explain;
mod identifiability;
mod image_strip;
mod inspect;
mod measure;
mod merge_weights;
mod modality_flags;
mod models;
mod output_file;
mod panics;
mod plugin_host;
mod plugins;
mod print;
mod progress;
mod recipe;
mod report;
mod robustness;
mod serve;
mod stage;
mod stop;
mod study;
mod transport;
mod verify;

use args::{Cli, CliCommand, DeviceArg, EngineCommand, GlobalOptions};
use chiasm_pipeline::{Cache, Environment, Error, TrainingLog};
use clap::{CommandFactory, FromArgMatches};
use command_result::{CommandResult, json};
use std::{path::Path, process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == plugin_host::PLUGIN_PROCESS) {
        return chiasm_host::run_worker();
    }
    let mut command = modality_flags::with_modality_flags(Cli::command(), &arguments);
    let parsed = command.try_get_matches_from_mut(&arguments);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (mut cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return errors::usage(&error, &arguments),
    };
    // The server answers what it has accepted before it ends.
    if !matches!(cli.command, CliCommand::Serve(_)) {
        stop::listen(cli.command.resumes());
    }
    limit_threads(&mut cli.global);
    let given = modality_flags::modality_values(&matches);
    panics::record();
    let outcome = panics::caught(|| perform(&cli, given)).and_then(|()| match print::failure() {
        None => Ok(()),
        Some(error) => Err(Error::io("write", Path::new("stdout"), error.kind().into())),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(signal) = stop::requested() {
                print::note(&stop::kept());
                return ExitCode::from(stop::exit_code(signal));
            }
            errors::print(&error, json(&cli.global));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Limits `--threads` to the number of cores: further threads only wait for a core, and for each other.
fn limit_threads(global: &mut GlobalOptions) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(threads) = global.threads.filter(|threads| *threads > cores) else { return };
    global.threads = Some(cores);
    if !global.quiet {
        print::note(&format!("--threads {threads}: {cores} are used, one for each core"));
    }
}

fn perform(cli: &Cli, given: modality_flags::ModalityValues) -> CommandResult {
    let global = &cli.global;
    match &cli.command {
        CliCommand::Doctor { only } => doctor::doctor(*only, global, &unchecked_environment(global)?),
        CliCommand::Engine(EngineCommand::Install { cuda, tool }) => doctor::install(*cuda, *tool, global),
        CliCommand::Plugin(verb) => plugins::plugin(verb, global, || unchecked_environment(global)),
        CliCommand::Model(command) => models::model(command, global, &environment(global)?),
        CliCommand::Recipe(command) => recipe::recipe(command, global, &environment(global)?),
        CliCommand::Explain { name } => explain::explain(name.as_deref(), global),
        CliCommand::Plan(recipe) => commands::plan(recipe, global, &environment(global)?),
        CliCommand::Fit { recipe, output, flags } => {
            commands::fit(recipe, output, flags, global, &environment(global)?)
        }
        CliCommand::Verify { run } => verify::verify(run, global),
        CliCommand::Inspect(args) => inspect::inspect(args, global),
        CliCommand::Check(args) => check::check(args, global, &environment(global)?),
        CliCommand::Measure(args) => measure::measure(args, global),
        CliCommand::MergeWeights(args) => merge_weights::merge_weights(args, global, &environment(global)?),
        CliCommand::Eval(args) => eval::eval(args, global, &environment(global)?),
        CliCommand::Report { run, output } => report::report(run, output, global, &environment(global)?),
        CliCommand::Compare(args) => compare::compare(args, global, &environment(global)?),
        CliCommand::Tune(args) => study::tune(args, global, &environment(global)?),
        CliCommand::Ablate(args) => study::ablate(args, global, &environment(global)?),
        CliCommand::Transport(args) => transport::transport(args, global),
        CliCommand::Run { run, attention, shard } => {
            if let Some(output) = &run.output {
                output_file::check(output, run.input.iter())?;
            }
            let env = environment(global)?;
            match dataset::options(run, &given, attention.is_some(), *shard)? {
                Some(options) => dataset::run(&run.run, &options, global, &env),
                None => commands::run(run, &given, attention.as_deref(), global, &env),
            }
        }
        CliCommand::Search { run, among, top, strip } => {
            let how = commands::SearchRequest { among: among.as_deref(), top: *top, strip: strip.as_deref() };
            commands::search(run, &given, &how, global, &environment(global)?)
        }
        CliCommand::Serve(args) => serve::run(args, &environment(global)?),
        CliCommand::Export { run, args, output } => {
            commands::export(run, args, output, global, &environment(global)?)
        }
    }
}

/// Returns the environment. Fails if a plugin named with `--plugin` cannot be used.
fn environment(global: &GlobalOptions) -> CommandResult<Environment> {
    let env = unchecked_environment(global)?;
    env.host.check_named()?;
    env.host.replaced().iter().for_each(|sentence| env.reporter.note(sentence));
    Ok(env)
}

/// Returns the environment for commands that report the status of plugins themselves.
fn unchecked_environment(global: &GlobalOptions) -> CommandResult<Environment> {
    let device = match global.device {
        DeviceArg::Cpu => chiasm_runtime::Device::Cpu,
        DeviceArg::Cuda => chiasm_runtime::Device::Cuda,
        DeviceArg::Auto => chiasm_runtime::Device::Auto,
    };
    Ok(Environment {
        host: plugin_host::host(global)?,
        models: global.models.clone(),
        search: chiasm_runtime::EngineSearch::from_environment(global.engine.clone()),
        device,
        threads: global.threads.unwrap_or(0),
        cache: Cache::of_user(),
        reporter: Arc::new(progress::Terminal::new(global.quiet)),
        trainings: TrainingLog::default(),
        allow_changed: global.allow_changed,
    })
}
