//! `chiasm merge-weights`: one model from several of one architecture.

use crate::{
    CommandResult,
    args::{GlobalOptions, MergeWeightsArgs, WeightMethod},
    json, print,
};
use chiasm_graph::{DType, Graph, Tensor};
use chiasm_pipeline::{Environment, Error, read_npy};
use chiasm_weights::{WeightValues, aligned, average, fisher, fisher_information, slerp, ties};
use ndarray::Axis;
use serde_json::json as object;
use std::path::Path;

/// Runs `chiasm merge-weights`.
pub fn merge_weights(args: &MergeWeightsArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    check_options(args)?;
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let target = place(&args.output);
    if args.models.iter().chain(&args.base).any(|model| place(model) == target) {
        return Err(input(format!("{} is one of the models", args.output.display()), "name another output"));
    }
    let mut models = args.models.iter().map(|path| load(path)).collect::<CommandResult<Vec<Graph>>>()?;
    if args.align_units {
        for at in 1..models.len() {
            models[at] = aligned(&models[at], &models[0]).map_err(merging)?;
        }
    }
    let shares = if args.shares.is_empty() { vec![1.0; models.len()] } else { args.shares.clone() };
    let merged = match args.method {
        WeightMethod::Average => average(&models, &shares),
        WeightMethod::Slerp => match models.as_slice() {
            [first, second] => slerp(first, second, args.t.unwrap_or(0.5)),
            _ => {
                return Err(input(format!("slerp merges 2 models, got {}", models.len()), "name two models"));
            }
        },
        WeightMethod::Ties => {
            let help = "name the model that all were trained from: --base BASE.onnx";
            let base = args.base.as_deref().ok_or_else(|| input("ties needs --base".to_owned(), help))?;
            ties(&load(base)?, &models, args.density.unwrap_or(0.2), args.scale.unwrap_or(1.0))
        }
        WeightMethod::Fisher => fisher(&models, &information(args, &models, env)?, &shares),
    };
    let merged = merged.map_err(merging)?;
    merged.save(&args.output).map_err(|e| input(e.to_string(), "name a file in an existing folder"))?;
    let units: usize = models[0].hidden_units().iter().map(|units| units.count).sum();
    if json(global) {
        print::json(&object!({
            "output": args.output,
            "models": models.len(),
            "weights": merged.weight_names().count(),
            "units_aligned": args.align_units.then_some(units),
        }));
    } else {
        let aligned =
            if args.align_units { format!(", {units} hidden units aligned") } else { String::new() };
        let count = merged.weight_names().count();
        print::line(&format!(
            "{}: {count} weights of {} models{aligned}",
            args.output.display(),
            models.len()
        ));
    }
    Ok(())
}

/// Fails if an option belongs to another method.
fn check_options(args: &MergeWeightsArgs) -> CommandResult {
    use WeightMethod::{Average, Fisher, Slerp, Ties};
    let options: [(&str, bool, &[WeightMethod]); 7] = [
        ("--shares", !args.shares.is_empty(), &[Average, Fisher]),
        ("--t", args.t.is_some(), &[Slerp]),
        ("--base", args.base.is_some(), &[Ties]),
        ("--density", args.density.is_some(), &[Ties]),
        ("--scale", args.scale.is_some(), &[Ties]),
        ("--items", !args.items.is_empty(), &[Fisher]),
        ("--port", args.port.is_some(), &[Fisher]),
    ];
    match options.iter().find(|(_, given, methods)| *given && !methods.contains(&args.method)) {
        None => Ok(()),
        Some((option, ..)) => {
            let name = format!("{:?}", args.method).to_lowercase();
            Err(input(
                format!("{option} is not an option of --method {name}"),
                "remove it, or name its method",
            ))
        }
    }
}

fn load(path: &Path) -> CommandResult<Graph> {
    Graph::load(path).map_err(|e| input(e.to_string(), "give the path of an .onnx file"))
}

/// Estimates the Fisher information of each model on its items.
fn information(
    args: &MergeWeightsArgs,
    models: &[Graph],
    env: &Environment,
) -> CommandResult<Vec<WeightValues>> {
    let files = &args.items;
    if files.len() != 1 && files.len() != models.len() {
        let message = format!("fisher needs one file of items, or {}, got {}", models.len(), files.len());
        return Err(input(message, "name .npy files of floats [n, ...]: --items items.npy"));
    }
    let mut all = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let (inputs, outputs) = (model.inputs(), model.outputs());
        let one = inputs.first().filter(|port| inputs.len() == 1 && port.dtype == DType::F32);
        let Some(port) = one else {
            let names: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            let message = format!("fisher needs a model with one f32 input, got {}", names.join(", "));
            return Err(input(message, "merge with another method"));
        };
        let output = match (&args.port, outputs.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.name.clone(),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|port| port.name.as_str()).collect();
                let message = format!("the model has {} outputs, and --port is missing", several.len());
                return Err(input(message, &format!("name one: --port {}", names.join(" or --port "))));
            }
        };
        let items = items(&files[at.min(files.len() - 1)], &port.name)?;
        let run = |graph: &Graph, inputs: &[(&str, &Tensor)]| {
            env.session(graph)
                .and_then(|session| session.run(inputs).map_err(Error::from))
                .map_err(|e| e.to_string())
        };
        all.push(fisher_information(model, &output, &items, &run).map_err(merging)?);
    }
    Ok(all)
}

/// Reads items, each with a leading axis of length 1.
fn items(path: &Path, port: &str) -> CommandResult<Vec<Vec<(String, Tensor)>>> {
    let rows = read_npy(path)?;
    let mut items = Vec::with_capacity(rows.shape().first().copied().unwrap_or_default());
    for row in rows.axis_iter(Axis(0)) {
        let shape: Vec<usize> = std::iter::once(1).chain(row.shape().iter().copied()).collect();
        #[expect(clippy::cast_possible_truncation, reason = "models compute in 32 bits")]
        let values = row.iter().map(|x| *x as f32).collect();
        let tensor = Tensor::f32(&shape, values).map_err(|e| Error::Internal(e.to_string()))?;
        items.push(vec![(port.to_owned(), tensor)]);
    }
    Ok(items)
}

fn input(message: String, help: &str) -> Error {
    Error::input("chiasm::merge_weights", message, help)
}

fn merging(error: chiasm_weights::Error) -> Error {
    input(
        error.to_string(),
        "models merge if they have the same nodes, and weights of the same names and shapes",
    )
}
