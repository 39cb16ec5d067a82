//! Models that take texts, and tokenize them with operators of onnxruntime-extensions.

use super::{
    layout::ExportedModel,
    text_graph::{IDS, MASK, TEXT, TYPES, TextSettings, text_graph},
    wordpiece::WordPieces,
};
use crate::{
    base::error::Error,
    run::{
        files::{MAX_TEXT, read_in},
        model_card::{CardFacts, EncoderFacts, TextTable, usual_name},
    },
};
use chiasm_graph::{Builder, DType, Dim, Graph, Port, Value};
use std::{collections::BTreeMap, path::Path};

/// The preparation of an encoder's texts as a graph.
pub struct TextHead {
    modality: String,
    /// From [`TEXT`] to the ports of the model.
    graph: Graph,
}

/// Returns the preparation of the texts of each encoder that can be written as operators, and notes in
/// `facts` that the models do it. Those that cannot be are returned with the reason, by modality.
pub fn text_heads(
    models: &[ExportedModel],
    facts: &mut CardFacts<'_>,
) -> (Vec<TextHead>, BTreeMap<String, String>) {
    let (mut heads, mut left_out) = (Vec::new(), BTreeMap::new());
    let folder = facts.folder;
    for encoder in facts.encoders.iter_mut().filter(|encoder| encoder.adapter == "text") {
        let inputs = models.iter().map(|made| made.inputs_of(encoder)).find(|inputs| !inputs.is_empty());
        match head(encoder, &inputs.unwrap_or_default(), folder) {
            Ok(graph) => {
                heads.push(TextHead { modality: encoder.modality.to_owned(), graph });
                let name = input(encoder.modality);
                encoder.inputs.values_mut().for_each(|there| there.clone_from(&name));
                encoder.raw = true;
            }
            Err(reason) => {
                left_out.insert(encoder.modality.to_owned(), reason);
            }
        }
    }
    (heads, left_out)
}

/// Puts the preparation of texts in front of the models, and writes them into the folder again.
///
/// # Errors
/// If a graph cannot be written in the operator set of its model, or a file cannot be written.
pub fn with_texts(models: &mut [ExportedModel], heads: &[TextHead], folder: &Path) -> Result<(), Error> {
    for made in models.iter_mut().filter(|_| !heads.is_empty()) {
        for head in heads {
            let joined = joined(&made.graph, head);
            made.graph = joined.map_err(Error::graph(format!("--with-preprocessing: {}", made.file)))?;
        }
        made.save(folder)?;
    }
    Ok(())
}

/// The input for the texts of a modality.
fn input(modality: &str) -> String {
    format!("{modality}_text")
}

fn joined(model: &Graph, head: &TextHead) -> Result<Graph, chiasm_graph::Error> {
    let ports: Vec<String> = head.graph.outputs().into_iter().map(|port| port.name).collect();
    let own: Vec<Port> = model.inputs().into_iter().filter(|port| ports.contains(&port.name)).collect();
    if own.is_empty() {
        return Ok(model.clone());
    }
    let name = input(&head.modality);
    let links: Vec<(String, String)> =
        own.iter().map(|port| (port.name.clone(), format!("{}/made", port.name))).collect();
    let links: Vec<(&str, &str)> = links.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let other = format!("other/{name}");
    let mut renamed = links.clone();
    if model.inputs().iter().any(|port| port.name == name) && ports.iter().all(|port| *port != name) {
        renamed.push((&name, &other));
    }
    let model = model.renamed(&renamed)?;
    let names: Vec<&str> = own.iter().map(|port| port.name.as_str()).collect();
    let text = head.graph.extract(&names)?.in_opset(model.opset())?;
    let text = text.renamed(&[&[(TEXT, name.as_str())], &links[..]].concat())?;
    let same: Vec<(&str, &str)> = links.iter().map(|(_, link)| (*link, *link)).collect();
    text.join(&model, &same)
}

/// Returns the graph from [`TEXT`] to the ports of an encoder, or why there is none.
fn head(encoder: &EncoderFacts<'_>, inputs: &[(String, Port)], folder: &Path) -> Result<Graph, String> {
    let table: TextTable = encoder.table()?;
    if table.lowercase {
        return Err("`lowercase = true` of its card is not written as an operator".to_owned());
    }
    let name = format!("{}/{}", encoder.folder.as_deref().unwrap_or_default(), table.tokenizer);
    let content = read_in(folder, &name, MAX_TEXT).map_err(|error| error.to_string())?;
    if let Some(length) = inputs.iter().find_map(|(_, port)| port.fixed(1)) {
        return Err(format!("its model takes texts of exactly {length} tokens, which are not filled up"));
    }
    let words = WordPieces::read(&content)?;
    let most = table.max_length.or(words.most);
    let graph = text_graph(&words, &TextSettings { prefix: table.prefix(), most })?;
    ported(&graph, inputs).map_err(|error| error.to_string())
}

/// Returns the graph with the ports of the model as outputs, in their types.
fn ported(graph: &Graph, inputs: &[(String, Port)]) -> Result<Graph, chiasm_graph::Error> {
    let mut b = Builder::new("ports");
    let row = [1.into(), Dim::named("tokens")];
    let mut made: BTreeMap<&str, Value> = BTreeMap::new();
    for (own, port) in inputs {
        let source = match usual_name(own) {
            "attention_mask" => MASK,
            "token_type_ids" => TYPES,
            _ => IDS,
        };
        let value = match made.get(source) {
            Some(value) => value.clone(),
            None => b.input(source, DType::I64, &row)?,
        };
        made.insert(source, value.clone());
        let value = if port.dtype == DType::I64 { value } else { b.cast(&value, port.dtype) };
        b.output(&port.name, &value, port.dtype, &row);
    }
    let sources: Vec<&str> = made.keys().copied().collect();
    let same: Vec<(&str, &str)> = sources.iter().map(|source| (*source, *source)).collect();
    graph.extract(&sources)?.join(&b.finish()?, &same)
}
