//! The model of a card as its adapter sees it: the part of the file that the card names, with names and a
//! batch axis that the graph before and after it can be joined to.

use crate::base::problem::Problem;
use chiasm_graph::{Dim, Graph, NEWEST_OPSET, Port};
use std::collections::BTreeSet;

/// The ports of every opened encoder. A model whose own ports have these names gets others for them.
const OPENED: [&str; 3] = ["tokens", "mask", "pooled"];
/// The key of `[ports]` with the batch that the model runs with.
const BATCH: &str = "batch";

/// The prefix of the new name of a port that is called like one of an opened encoder.
const RENAMED: &str = "model_";

/// Returns the model and the `[ports]` table as the adapter gets them.
///
/// Of a file with several encoders, the one that the card names is kept. Ports called `tokens`, `mask` or
/// `pooled` are renamed. A model that takes batches of a fixed size runs once for each so many items.
///
/// # Errors
/// If the inputs of the model have batches of different sizes, or it cannot run so.
pub(super) fn adapted(
    name: &str,
    model: Graph,
    ports: &toml::Table,
) -> Result<(Graph, toml::Table), Problem> {
    let problem = |message: String| Problem::new("chiasm::model::ports", message);
    let mut ports = ports.clone();
    let stated = match ports.remove(BATCH) {
        None => None,
        Some(toml::Value::Integer(size)) if size >= 1 => usize::try_from(size).ok(),
        Some(other) => {
            let message = format!("[ports] batch of {name:?} is {other}, expected an integer >= 1");
            return Err(problem(message).help("remove the key for a model with a free batch axis"));
        }
    };
    if model.opset() > NEWEST_OPSET {
        let message = format!(
            "the model of {name:?} uses operator set {}, and those up to {NEWEST_OPSET} are known",
            model.opset()
        );
        return Err(problem(message).help("export the model again with an older operator set"));
    }
    let of_graph = |error: chiasm_graph::Error| problem(format!("model {name:?}: {error}"));
    let (model, ports) = with_free_names(model, ports).map_err(of_graph)?;
    let wanted = named(&model, &ports).map_err(of_graph)?;
    let model = one_part(&model, &wanted).map_err(of_graph)?;
    let batches: BTreeSet<usize> = model.inputs().iter().filter_map(fixed_batch).collect();
    let sizes: BTreeSet<usize> = batches.into_iter().chain(stated).collect();
    let Some(&size) = sizes.last() else { return Ok((model, ports)) };
    let again = "export the model again with a free batch axis";
    if sizes.len() > 1 {
        let inputs: Vec<String> = model.inputs().iter().map(Port::to_string).collect();
        let of_card = stated.map(|size| format!(", and the card says {size}")).unwrap_or_default();
        let message = format!(
            "the inputs of the model of {name:?} have different batches ({}{of_card})",
            inputs.join(", ")
        );
        return Err(problem(message).help(again));
    }
    if ports.get("axes").is_some_and(|axes| !axes.to_string().to_uppercase().starts_with("\"B")) {
        let message = format!(
            "the model of {name:?} takes a batch of {size}, and the batch is not the first axis of its \
             tokens: it cannot run so"
        );
        return Err(problem(message).help(again));
    }
    let needed = match wanted.is_empty() {
        true => Ok(model),
        false => model.extract(&wanted.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    let in_batches = |needed: Graph| if size == 1 { needed.per_item() } else { needed.in_batches(size) };
    let each = needed.and_then(in_batches).map_err(|error| {
        problem(format!("the model of {name:?} takes a batch of {size} and cannot run so: {error}"))
            .help(again)
    })?;
    Ok((each, ports))
}

/// Returns the encoders of a file that holds several, each as a graph of its own; nothing for other files.
///
/// Two outputs belong to one encoder if they share an input. An output that needs the inputs of several
/// encoders, such as the similarities of a CLIP model, belongs to none.
pub(super) fn parts(model: &Graph) -> Vec<Graph> {
    let part = |group: &EncoderInputs| {
        let outputs = group.outputs_of(model);
        model.extract(&outputs.iter().map(String::as_str).collect::<Vec<_>>()).ok()
    };
    let parts: Vec<Graph> = groups(model).iter().filter_map(part).collect();
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// The inputs of one encoder of a file.
struct EncoderInputs(BTreeSet<String>);

impl EncoderInputs {
    /// Returns the outputs that need no other inputs than these.
    fn outputs_of(&self, model: &Graph) -> Vec<String> {
        let own = |output: &String| {
            let needed = inputs_of(model, &[output]);
            !needed.is_empty() && needed.is_subset(&self.0)
        };
        output_names(model).into_iter().filter(own).collect()
    }
}

/// Returns the encoders of a file, by their inputs.
fn groups(model: &Graph) -> Vec<EncoderInputs> {
    // Some exports return their integer inputs, too; an encoder gives floating-point numbers.
    let is_float = |port: &Port| port.dtype.is_float();
    let outputs: Vec<String> = model.outputs().into_iter().filter(is_float).map(|port| port.name).collect();
    if model.inputs().len() < 2 || outputs.len() < 2 {
        return Vec::new();
    }
    let mut needs: Vec<BTreeSet<String>> =
        outputs.iter().map(|output| inputs_of(model, &[output])).filter(|set| !set.is_empty()).collect();
    // An output of one encoder needs fewer inputs than one of several.
    needs.sort_by_key(BTreeSet::len);
    let mut groups: Vec<EncoderInputs> = Vec::new();
    for need in needs {
        let mut sharing = groups.iter_mut().filter(|group| !group.0.is_disjoint(&need));
        match (sharing.next(), sharing.next()) {
            (None, _) => groups.push(EncoderInputs(need)),
            (Some(group), None) => group.0.extend(need),
            (Some(_), Some(_)) => {}
        }
    }
    groups
}

fn output_names(model: &Graph) -> Vec<String> {
    model.outputs().into_iter().map(|port| port.name).collect()
}

fn inputs_of(model: &Graph, tensors: &[&str]) -> BTreeSet<String> {
    let part = model.extract(tensors);
    part.map_or_else(|_| BTreeSet::new(), |part| part.inputs().into_iter().map(|port| port.name).collect())
}

/// Returns the part of a file that the tensors `wanted` belong to.
fn one_part(model: &Graph, wanted: &[String]) -> Result<Graph, chiasm_graph::Error> {
    let groups = groups(model);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let needed = inputs_of(model, &wanted);
    let mut own = groups.iter().filter(|group| !group.0.is_disjoint(&needed));
    match (own.next(), own.next()) {
        (Some(group), None) if groups.len() > 1 => {
            let mut kept = group.outputs_of(model);
            kept.retain(|output| !wanted.contains(&output.as_str()));
            kept.extend(wanted.iter().map(|name| (*name).to_owned()));
            model.extract(&kept.iter().map(String::as_str).collect::<Vec<_>>())
        }
        _ => Ok(model.clone()),
    }
}

/// Returns the tensors of the model that a `[ports]` table names.
///
/// # Errors
/// For a tensor whose type is not known.
fn named(model: &Graph, ports: &toml::Table) -> Result<Vec<String>, chiasm_graph::Error> {
    let mut names: Vec<String> = Vec::new();
    let list = |value: &toml::Value| match value {
        toml::Value::String(name) => vec![name.clone()],
        toml::Value::Array(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    for name in ["tokens", "pooled"].iter().filter_map(|key| ports.get(*key)).flat_map(list) {
        let input = model.inputs().iter().any(|port| port.name == name);
        if input || names.contains(&name) {
            continue;
        }
        match model.expose(&name) {
            Ok(_) => names.push(name),
            // It is a pooling, or a mistake that the adapter reports.
            Err(chiasm_graph::Error::Unknown { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

/// Returns the fixed length of the first axis of an input of rank two or more.
fn fixed_batch(port: &Port) -> Option<usize> {
    match port.dims.as_deref() {
        Some([Dim::Fixed(length), _, ..]) => Some(*length),
        _ => None,
    }
}

/// Renames the ports of a model that are called like those of an opened encoder, and tensors of these names
/// that the card names.
fn with_free_names(
    model: Graph,
    mut ports: toml::Table,
) -> Result<(Graph, toml::Table), chiasm_graph::Error> {
    let mut model = model;
    let mut names = Vec::new();
    for own in OPENED {
        let of_card = ports.iter().any(|(key, value)| key != "axes" && names_tensor(value, own));
        if of_card && let Ok(exposed) = model.expose(own) {
            model = exposed;
        }
        if model.inputs().iter().chain(&model.outputs()).any(|port| port.name == own) {
            names.push((own, format!("{RENAMED}{own}")));
        }
    }
    let renames: Vec<(&str, &str)> = names.iter().map(|(own, new)| (*own, new.as_str())).collect();
    let model = if renames.is_empty() { model } else { model.renamed(&renames)? };
    for (_, value) in ports.iter_mut() {
        rename(value, &names);
    }
    Ok((model, ports))
}

fn names_tensor(value: &toml::Value, name: &str) -> bool {
    match value {
        toml::Value::String(text) => text == name,
        toml::Value::Array(values) => values.iter().any(|value| names_tensor(value, name)),
        _ => false,
    }
}

fn rename(value: &mut toml::Value, names: &[(&str, String)]) {
    match value {
        toml::Value::String(text) => {
            if let Some((_, new)) = names.iter().find(|(own, _)| own == text) {
                text.clone_from(new);
            }
        }
        toml::Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_graph::{Builder, DType};

    /// A file with an image encoder, a text encoder and the similarity of their vectors.
    fn two_encoders() -> Graph {
        let mut b = Builder::new("both");
        let batch = || Dim::named("batch");
        let image = b.input("pixel_values", DType::F32, &[batch(), 3.into()]).unwrap();
        let text = b.input("input_ids", DType::I64, &[batch(), 3.into()]).unwrap();
        let mask = b.input("attention_mask", DType::I64, &[batch(), 3.into()]).unwrap();
        let image = b.tanh(&image);
        let text = b.cast(&text, DType::F32);
        let mask = b.cast(&mask, DType::F32);
        let text = b.mul(&text, &mask);
        let both = b.mul(&image, &text);
        for (name, value) in [("logits", &both), ("text_embeds", &text), ("image_embeds", &image)] {
            b.output(name, value, DType::F32, &[batch(), 3.into()]);
        }
        b.finish().unwrap()
    }

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    fn names(ports: Vec<Port>) -> Vec<String> {
        ports.into_iter().map(|port| port.name).collect()
    }

    #[test]
    fn each_encoder_of_a_file_has_its_own_inputs() {
        let parts = parts(&two_encoders());
        let inputs: Vec<Vec<String>> = parts.iter().map(|part| names(part.inputs())).collect();
        assert_eq!(
            inputs,
            [vec!["pixel_values".to_owned()], vec!["input_ids".into(), "attention_mask".into()]]
        );
        assert!(super::parts(&parts[0]).is_empty() && super::parts(&parts[1]).is_empty());
    }

    #[test]
    fn a_card_gets_the_encoder_that_it_names() {
        let of = |ports: &str| adapted("both", two_encoders(), &table(ports)).unwrap().0;
        assert_eq!(names(of("pooled = \"image_embeds\"").inputs()), ["pixel_values"]);
        assert_eq!(names(of("pooled = \"text_embeds\"").inputs()), ["input_ids", "attention_mask"]);
        assert_eq!(of("pooled = \"logits\"").inputs().len(), 3);
    }

    #[test]
    fn ports_named_like_those_of_an_opened_encoder_are_renamed() {
        let model = two_encoders().renamed(&[("text_embeds", "pooled"), ("attention_mask", "mask")]).unwrap();
        let (model, ports) = adapted("named", model, &table("pooled = [\"pooled\"]")).unwrap();
        assert_eq!(names(model.inputs()), ["input_ids", "model_mask"]);
        assert_eq!(ports, table("pooled = [\"model_pooled\"]"));
    }

    #[test]
    fn a_fixed_batch_becomes_free() {
        let model = |batch: usize| {
            let mut b = Builder::new("fixed");
            let x = b.input("x", DType::F32, &[batch.into(), 3.into()]).unwrap();
            let y = b.tanh(&x);
            b.output("y", &y, DType::F32, &[batch.into(), 3.into()]);
            b.finish().unwrap()
        };
        let (each, _) = adapted("fixed", model(1), &table("pooled = \"y\"")).unwrap();
        assert_eq!(each.inputs()[0].to_string(), "x f32[batch,3]");
        let (four, _) = adapted("fixed", model(4), &table("pooled = \"y\"")).unwrap();
        assert_eq!(four.inputs()[0].to_string(), "x f32[batch,3]");
        let stated = table("pooled = \"y\"\nbatch = 2");
        let problem = adapted("fixed", model(4), &stated).unwrap_err().to_string();
        assert!(problem.contains("different batches (x f32[4,3], and the card says 2)"), "{problem}");
        let problem = adapted("fixed", model(1), &table("batch = 0")).unwrap_err().to_string();
        assert!(problem.contains("expected an integer >= 1"), "{problem}");
    }
}
