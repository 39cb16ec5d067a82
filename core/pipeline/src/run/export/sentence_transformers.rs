//! The layout that sentence-transformers opens: a module in one Python file, with the models beside it.
//!
//! The standard modules cannot say a map that is no dense layer, so the module runs the whole model of a
//! modality. Its functions are those of the program on the model card.

use super::layout::{Consumer, ExportedModel, Layout, towers};
use crate::{
    base::error::Error,
    run::{
        draft::DraftFolder,
        graphs::embeds,
        model_card::{CardFacts, PreparedModality, plain, prepared_modalities, quoted},
    },
};
use chiasm_graph::Graph;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// The module, with the places of what depends on the run.
const MODULE: &str = include_str!("sentence_transformers.py");
const FILE: &str = "chiasm_module.py";

/// The layout.
pub struct SentenceTransformers;

/// A modality that the module embeds.
struct Embedded<'a> {
    /// The kind of its items, as sentence-transformers calls it.
    kind: &'static str,
    prepared: PreparedModality<'a>,
}

impl Layout for SentenceTransformers {
    fn models(&self, facts: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error> {
        let mut models = towers(facts, model, &|name| format!("{name}.onnx"))?;
        let (embedded, left_out) = embedded(facts, &models);
        if embedded.is_empty() {
            let reasons: Vec<String> = left_out.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            let message =
                format!("sentence-transformers can embed no modality of this run: {}", reasons.join("; "));
            return Err(Error::input("chiasm::export::preparation", message, "use --layout onnx or towers"));
        }
        let names: BTreeSet<&str> = embedded.iter().map(|one| one.prepared.modality).collect();
        models.retain(|made| made.modality.as_deref().is_some_and(|name| names.contains(name)));
        Ok(models)
    }

    fn write(
        &self,
        facts: &mut CardFacts<'_>,
        models: &[ExportedModel],
        draft: &DraftFolder,
    ) -> Result<Consumer, Error> {
        let (embedded, left_out) = embedded(facts, models);
        let width =
            models.first().and_then(|made| made.graph.outputs().first()?.fixed(-1)).unwrap_or_default();
        let configuration = json!({
            "model_type": "SentenceTransformer",
            "prompts": {},
            "default_prompt_name": null,
            "similarity_fn_name": "dot",
        });
        let modules = json!([{ "idx": 0, "name": "0", "path": "", "type": "chiasm_module.ChiasmModule" }]);
        draft.write(FILE, module(&embedded, width))?;
        draft.write_json("modules.json", &modules)?;
        draft.write_json("config_sentence_transformers.json", &configuration)?;
        let files = [FILE, "modules.json", "config_sentence_transformers.json"].map(str::to_owned).to_vec();
        let mut program = program(&embedded);
        for (name, reason) in &left_out {
            let _ = writeln!(program, "\n{}: {}.", plain(name), plain(reason));
        }
        let what = "This is an export of a Chiasm run that sentence-transformers opens: its module \
                    `chiasm_module.py` runs one model for each modality. There is no fusion in it."
            .to_owned();
        Ok(Consumer { what, program: Some(program), left_out, files })
    }
}

/// Returns the modalities that the module embeds, one for each kind of items, and why others are left out.
fn embedded<'a>(
    facts: &'a CardFacts<'_>,
    models: &[ExportedModel],
) -> (Vec<Embedded<'a>>, BTreeMap<String, String>) {
    let ports: Vec<_> = models.iter().flat_map(|made| made.graph.inputs()).collect();
    let (all, left_out) = prepared_modalities(facts, &ports);
    let mut left_out: BTreeMap<String, String> = left_out.into_iter().collect();
    let mut embedded: Vec<Embedded<'a>> = Vec::new();
    for prepared in all {
        let encoder = facts.encoders.iter().find(|encoder| encoder.modality == prepared.modality);
        let kind = match encoder.map(|encoder| encoder.adapter) {
            Some("text") => "text",
            Some("image") => "image",
            Some("audio") => "audio",
            _ => {
                let reason = "its items are vectors, which sentence-transformers does not take".to_owned();
                left_out.insert(prepared.modality.to_owned(), reason);
                continue;
            }
        };
        match embedded.iter().find(|one| one.kind == kind) {
            None => embedded.push(Embedded { kind, prepared }),
            Some(other) => {
                let reason = format!("its items are of the kind of those of {}", other.prepared.modality);
                left_out.insert(prepared.modality.to_owned(), reason);
            }
        }
    }
    (embedded, left_out)
}

/// Returns the module's file.
fn module(embedded: &[Embedded<'_>], width: usize) -> String {
    let all = || embedded.iter().flat_map(|one| one.prepared.functions.iter());
    let lines: BTreeSet<&str> = all().flat_map(|(_, function)| function.imports.iter().copied()).collect();
    let (mut standard, mut imports) =
        (String::new(), String::from("\nimport numpy as np\nimport onnxruntime\n"));
    for line in &lines {
        match *line {
            "from tokenizers import Tokenizer" => imports.push_str("import tokenizers\n"),
            "import wave" => standard.push_str("import wave\n"),
            "from PIL import Image" if lines.contains("from PIL import Image, ImageOps") => {}
            other => imports.push_str(&format!("{other}\n")),
        }
    }
    imports.push_str("import torch\n");
    let (mut functions, mut table, mut models) = (String::new(), String::new(), String::from("{\n"));
    for one in embedded {
        let modality = one.prepared.modality;
        let (file, output) = (quoted(&format!("{modality}.onnx")), quoted(&embeds(modality)));
        let _ = writeln!(models, "    \"{}\": ({file}, {output}),", one.kind);
        let names: Vec<&str> = one.prepared.functions.iter().map(|(name, _)| name.as_str()).collect();
        for (name, function) in &one.prepared.functions {
            let _ = writeln!(functions, "\n    def {name}(item):");
            for line in &function.body {
                functions.push_str(format!("        {line}").trim_end());
                functions.push('\n');
            }
        }
        let calls: Vec<String> = names.iter().map(|name| format!("**{name}(item)")).collect();
        let _ = writeln!(table, "        \"{}\": lambda item: {{{}}},", one.kind, calls.join(", "));
    }
    models.push('}');
    let functions = format!("{functions}\n    return {{\n{table}    }}\n");
    MODULE
        .replace("@IMPORTS@", format!("{standard}{imports}").trim_end())
        .replace("@MODELS@", &models)
        .replace("@WIDTH@", &width.to_string())
        .replace("@FUNCTIONS@", &functions)
}

/// Returns the section of the card on how the models are run.
fn program(embedded: &[Embedded<'_>]) -> String {
    let mut code = String::from(
        "import sys\n\nfrom sentence_transformers import SentenceTransformer\n\n# One item of each kind: \
         change them here, or give them as arguments in this order.\nitems = {\n",
    );
    for one in embedded {
        let example =
            one.prepared.functions.first().map_or("\"\"", |(_, function)| function.example.as_str());
        let _ = writeln!(code, "    \"{}\": {example},", one.kind);
    }
    code.push_str(
        "}\nitems.update(zip(items, sys.argv[1:]))\n\nmodel = SentenceTransformer(\"./\", \
         trust_remote_code=True)\noutputs = {\n",
    );
    for one in embedded {
        let output = quoted(&embeds(one.prepared.modality));
        let _ = writeln!(code, "    {output}: model.encode([items[\"{}\"]]),", one.kind);
    }
    code.push_str(
        "}\nfor name, value in outputs.items():\n    print(name, value.shape, value.ravel()[:4])\n",
    );
    if let [first, second, ..] = embedded {
        let [a, b] = [first, second].map(|one| quoted(&embeds(one.prepared.modality)));
        let _ = writeln!(code, "print(model.similarity(outputs[{a}], outputs[{b}]))");
    }
    format!(
        "\n## How to run it\n\nThis program needs Python with sentence-transformers, onnxruntime and the \
         packages that `{FILE}` imports. Start it in the folder of this file. `trust_remote_code` lets it \
         run that file: read it first.\n\n```python\n{code}```\n"
    )
}
