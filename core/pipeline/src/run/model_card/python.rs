//! The Python program of a model card: it prepares one item of each modality and runs the model with ONNX
//! Runtime.

use super::{
    facts::{CardFacts, CardModel},
    preparation::{PythonPreparation, prepared as prepared_by},
    text::quoted,
};
use chiasm_graph::Port;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// The program, and what it leaves out.
pub struct PythonProgram {
    /// The program; `None` if no modality can be prepared in Python.
    pub code: Option<String>,
    /// The packages to install.
    pub packages: Vec<&'static str>,
    /// The modalities whose items it does not prepare, and why.
    pub left_out: Vec<(String, String)>,
}

/// A modality whose items a program prepares.
pub struct PreparedModality<'a> {
    pub modality: &'a str,
    /// The output of the run's model.
    pub output: &'a str,
    /// The names of functions of an item, one for each encoder, and how they make the inputs of the model.
    pub functions: Vec<(String, PythonPreparation)>,
}

impl PythonProgram {
    /// Writes the program for `models`, which lie in the folder of the card.
    pub fn of(facts: &CardFacts<'_>, models: &[CardModel]) -> Self {
        let ports: Vec<Port> = models.iter().flat_map(|model| model.inputs.iter().cloned()).collect();
        let (prepared, left_out) = prepared_modalities(facts, &ports);
        if prepared.is_empty() {
            return Self { code: None, packages: Vec::new(), left_out };
        }
        let all: Vec<&PythonPreparation> =
            prepared.iter().flat_map(|one| one.functions.iter().map(|(_, function)| function)).collect();
        let imports: BTreeSet<&str> = all.iter().flat_map(|one| one.imports.iter().copied()).collect();
        let mut packages = vec!["numpy", "onnxruntime"];
        let needs = |word: &str| imports.iter().any(|line| line.contains(word));
        packages.extend(needs("PIL").then_some("pillow"));
        packages.extend(needs("tokenizers").then_some("tokenizers"));
        let extended = needs("onnxruntime_extensions");
        packages.extend(extended.then_some("onnxruntime-extensions"));
        let mut code = String::from("import sys\n\nimport numpy as np\nimport onnxruntime\n");
        // A line that imports less is not needed beside one that imports more.
        let kept = imports.iter().filter(|line| {
            imports.iter().all(|other| other == *line || !other.starts_with(&format!("{line},")))
        });
        kept.for_each(|line| code.push_str(&format!("{line}\n")));
        items(&mut code, &prepared);
        for (name, function) in prepared.iter().flat_map(|one| &one.functions) {
            let _ = write!(
                code,
                "\n\ndef {name}(item):\n    \"\"\"Returns what the model reads of an item: {}.\"\"\"\n",
                function.item
            );
            for line in &function.body {
                code.push_str(format!("    {line}").trim_end());
                code.push('\n');
            }
        }
        feeds(&mut code, &prepared);
        session(&mut code, &prepared, models, [left_out.is_empty(), extended]);
        Self { code: Some(code), packages, left_out }
    }
}

/// Returns the modalities that can be prepared in Python for a model with the inputs `ports`, and those that
/// cannot, with the reason.
pub fn prepared_modalities<'a>(
    facts: &'a CardFacts<'_>,
    ports: &[Port],
) -> (Vec<PreparedModality<'a>>, Vec<(String, String)>) {
    let (mut all, mut left_out) = (Vec::new(), Vec::new());
    let mut names = BTreeMap::new();
    for modality in &facts.manifest.modalities {
        let own = facts.encoders.iter().filter(|encoder| encoder.modality == modality.name);
        let made: Result<Vec<_>, String> = own.map(|encoder| prepared_by(encoder, ports).python).collect();
        match made {
            Ok(made) => {
                let functions =
                    made.into_iter().map(|one| (function_name(&modality.name, &mut names), one)).collect();
                all.push(PreparedModality { modality: &modality.name, output: &modality.output, functions });
            }
            Err(reason) => left_out.push((modality.name.clone(), reason)),
        }
    }
    (all, left_out)
}

/// Returns a name for the function of a modality that no other function has.
fn function_name(modality: &str, taken: &mut BTreeMap<String, usize>) -> String {
    let letters = modality.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let name: String = "prepare_".chars().chain(letters).collect();
    let count = taken.entry(name.clone()).or_default();
    *count += 1;
    if *count == 1 { name } else { format!("{name}__{count}") }
}

/// Writes the items of the example.
fn items(code: &mut String, prepared: &[PreparedModality<'_>]) {
    code.push_str(
        "\n# One item of each modality: change them here, or give them as arguments in this order.\n",
    );
    code.push_str("items = {\n");
    for one in prepared {
        let example = one.functions.first().map_or("\"\"", |(_, function)| function.example.as_str());
        let _ = writeln!(code, "    {}: {example},", quoted(one.modality));
    }
    code.push_str("}\nitems.update(zip(items, sys.argv[1:]))\n");
}

/// Writes the calls of all functions.
fn feeds(code: &mut String, prepared: &[PreparedModality<'_>]) {
    code.push_str("\n\nfeeds = {}\n");
    for one in prepared {
        for (name, _) in &one.functions {
            let _ = writeln!(code, "feeds.update({name}(items[{}]))", quoted(one.modality));
        }
    }
}

/// Writes the part that runs the models and prints their outputs. If some inputs are not `fed`, they are
/// zeros, and the outputs that depend on them are not computed. Models that are `extended` have operators of
/// onnxruntime-extensions.
fn session(
    code: &mut String,
    prepared: &[PreparedModality<'_>],
    models: &[CardModel],
    [fed, extended]: [bool; 2],
) {
    let is_wanted = |name: &str| fed || prepared.iter().any(|one| one.output == name);
    code.push_str("\nmodels = {\n");
    for model in models {
        let wanted = model.outputs.iter().map(|port| port.name.as_str()).filter(|name| is_wanted(name));
        let wanted: Vec<String> = wanted.map(quoted).collect();
        if !wanted.is_empty() {
            let _ = writeln!(code, "    {}: [{}],", quoted(&model.file), wanted.join(", "));
        }
    }
    code.push_str("}\noutputs = {}\n");
    if extended {
        code.push_str("options = onnxruntime.SessionOptions()\n");
        code.push_str("options.register_custom_ops_library(get_library_path())\n");
    }
    let options = if extended { "options, " } else { "" };
    let _ = write!(
        code,
        "for file, names in models.items():\n    session = onnxruntime.InferenceSession(file, \
         {options}providers=[\"CPUExecutionProvider\"])\n"
    );
    if !fed {
        code.push_str(
            "    # The other modalities get zeros; the outputs above do not depend on them.\n    types = \
             {\"tensor(float)\": np.float32, \"tensor(int32)\": np.int32, \"tensor(int64)\": np.int64}\n    \
             for port in session.get_inputs():\n        shape = [n if isinstance(n, int) else 1 for n in \
             port.shape]\n        feeds.setdefault(port.name, np.zeros(shape, types[port.type]))\n",
        );
    }
    code.push_str("    own = {port.name: feeds[port.name] for port in session.get_inputs()}\n");
    code.push_str("    outputs.update(zip(names, session.run(names, own)))\n\n");
    code.push_str("for name, value in outputs.items():\n    print(name, value.shape, value.ravel()[:4])\n");
    for (at, first) in prepared.iter().enumerate() {
        for second in &prepared[at + 1..] {
            let label = quoted(&format!("score of {} and {}:", first.modality, second.modality));
            let [a, b] = [first, second].map(|one| format!("outputs[{}][0]", quoted(one.output)));
            let _ = writeln!(code, "print({label}, float({a} @ {b}))");
        }
    }
}
