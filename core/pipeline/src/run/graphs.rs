//! Joining graphs to the merged model, and extracting parts of it.
//!
//! ```text
//! encoder  inputs of the model -> tokens, mask, pooled
//! head     <modality>/pooled -> <modality>/z -> <modality>_embeds
//! tower    the encoders of a modality and its head
//! merged   all towers, and the fusion
//! ```

use crate::base::error::Error;
use chiasm_graph::{Builder, DType, Dim, Graph, Port};
use std::collections::BTreeMap;

/// An encoder that becomes part of a merged model.
pub struct EncoderPart<'a> {
    /// The encoder's name, unique in its modality.
    pub name: &'a str,
    /// Its graph: the model with its tail.
    pub graph: &'a Graph,
    /// Its inputs: the name in the encoder, and the name in the merged model.
    pub inputs: Vec<(String, String)>,
}

/// Joins the encoders of a modality and concatenates their pooled vectors. The outputs are
/// `<modality>/pooled` and those of `ports` (`tokens`, `mask`) of the first encoder.
///
/// # Errors
/// If the graphs cannot be joined.
pub fn encoders(modality: &str, parts: &[EncoderPart<'_>], ports: &[&str]) -> Result<Graph, Error> {
    let context = || format!("the encoders of {modality:?}");
    let mut whole: Option<Graph> = None;
    let mut outputs: Vec<Port> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let prefix = format!("{modality}/{}", part.name);
        let ports = if index == 0 { ports } else { &[] };
        let wanted: Vec<&str> = std::iter::once("pooled").chain(ports.iter().copied()).collect();
        let only = part.graph.extract(&wanted).map_err(Error::graph(context()))?;
        let mut names: Vec<(String, String)> = (part.inputs.iter())
            .filter(|(from, _)| only.inputs().iter().any(|i| i.name == *from))
            .map(|(from, to)| (format!("{prefix}/{from}"), to.clone()))
            .collect();
        let of_modality = |port: &&&str| **port != "pooled" || parts.len() == 1;
        let port = |port: &str| (format!("{prefix}/{port}"), format!("{modality}/{port}"));
        names.extend(wanted.iter().filter(of_modality).map(|name| port(name)));
        let graph = rename(&only.prefixed(&prefix), &names).map_err(Error::graph(context()))?;
        outputs.extend(graph.outputs().into_iter().filter(|port| port.name.ends_with("/pooled")));
        whole = Some(match whole {
            None => graph,
            Some(before) => before.merge(&graph).map_err(Error::graph(context()))?,
        });
    }
    let whole = whole.ok_or_else(|| Error::Internal(format!("modality {modality:?} has no encoder")))?;
    if parts.len() == 1 {
        return Ok(whole);
    }
    let concat = concatenation(modality, &outputs).map_err(Error::graph(context()))?;
    let inputs = concat.inputs();
    let links: Vec<(&str, &str)> =
        outputs.iter().zip(&inputs).map(|(o, i)| (o.name.as_str(), i.name.as_str())).collect();
    whole.join(&concat, &links).map_err(Error::graph(context()))
}

fn concatenation(modality: &str, pooled: &[Port]) -> Result<Graph, chiasm_graph::Error> {
    let mut builder = Builder::new("concatenation");
    let mut values = Vec::new();
    let mut width = 0;
    for (index, port) in pooled.iter().enumerate() {
        let dim = port.fixed(-1).map_or(Dim::Unknown, Dim::Fixed);
        width += port.fixed(-1).unwrap_or_default();
        let name = format!("{modality}/pooled_{index}");
        values.push(builder.input(&name, DType::F32, &[Dim::named("batch"), dim])?);
    }
    let all = builder.concat(&values.iter().collect::<Vec<_>>(), 1);
    let name = format!("{modality}/pooled");
    builder.output(&name, &all, DType::F32, &[Dim::named("batch"), Dim::Fixed(width)]);
    builder.finish()
}

/// The map of one modality with its hubness bank, if any. It maps `<modality>/pooled` to `<modality>_embeds`,
/// and with a bank also to `<modality>/z`, the vectors before the bank.
#[derive(Debug, Clone)]
pub struct Head {
    /// The modality.
    pub modality: String,
    /// The graph.
    pub graph: Graph,
}

impl Head {
    /// Joins a map from `x` to `z` with the graph of a bank from `z` to `e`.
    ///
    /// # Errors
    /// If the graphs cannot be joined.
    pub fn new(modality: &str, map: &Graph, bank: Option<&Graph>) -> Result<Self, Error> {
        let context = || format!("the map of {modality:?}");
        let prefix = format!("{modality}/align");
        let z = if bank.is_some() { format!("{modality}/z") } else { embeds(modality) };
        let names = [(format!("{prefix}/x"), pooled(modality)), (format!("{prefix}/z"), z.clone())];
        let map = rename(&map.prefixed(&prefix), &names).map_err(Error::graph(context()))?;
        let graph = match bank {
            None => map,
            Some(bank) => {
                let prefix = format!("{modality}/bank");
                let names = [(format!("{prefix}/e"), embeds(modality))];
                let bank = rename(&bank.prefixed(&prefix), &names).map_err(Error::graph(context()))?;
                let joined = map.join(&bank, &[(&z, &format!("{prefix}/z"))]);
                joined.and_then(|joined| joined.expose(&z)).map_err(Error::graph(context()))?
            }
        };
        Ok(Self { modality: modality.to_owned(), graph })
    }

    /// Returns the name of the tensor with the aligned vectors, before a bank.
    pub fn z(&self) -> String {
        let z = format!("{}/z", self.modality);
        if self.graph.output(&z).is_ok() { z } else { embeds(&self.modality) }
    }

    /// Returns the map without the bank, from `<modality>/pooled` to the aligned vectors.
    ///
    /// # Errors
    /// If the map cannot be extracted.
    pub fn map(&self) -> Result<Graph, Error> {
        self.graph.extract(&[&self.z()]).map_err(Error::graph(format!("the map of {:?}", self.modality)))
    }
}

/// Returns the name of the tensor with the pooled vectors of a modality.
pub fn pooled(modality: &str) -> String {
    format!("{modality}/pooled")
}

/// Returns the name of a modality's output of the merged model.
pub fn embeds(modality: &str) -> String {
    format!("{modality}_embeds")
}

/// The fused output of the merged model.
pub const FUSED: &str = "fused_embeds";
/// The predictions of the merged model for its task.
pub const LOGITS: &str = "logits";

/// Returns the name of the output with the fusion's attention weight on each token of a modality.
pub fn attention(modality: &str) -> String {
    format!("{modality}_attention")
}

/// Returns the name in the merged model of an output of the fusion.
pub fn fused_output(name: &str) -> String {
    match name.strip_prefix("attention.") {
        Some(modality) => attention(modality),
        None if name == "fused" => FUSED.to_owned(),
        None => name.to_owned(),
    }
}

/// One modality of a merged model.
pub struct Tower {
    /// Its encoders, with the outputs of [`encoders`].
    pub encoders: Graph,
    /// Its head.
    pub head: Head,
}

impl Tower {
    fn graph(&self) -> Result<Graph, chiasm_graph::Error> {
        let pooled = pooled(&self.head.modality);
        self.encoders.join(&self.head.graph, &[(&pooled, &pooled)])
    }
}

/// Returns the name in the merged model of an input of the fusion, for a modality without a tower.
pub fn absent(modality: &str, port: &str) -> String {
    format!("fuse/{modality}.{port}")
}

/// Joins all towers and the fusion to the merged model.
///
/// The outputs are `<modality>_embeds` of each tower, then those of the fusion: `fused_embeds`, `logits`, and
/// with `attention` its attention weights. The inputs of the fusion that belong to a modality without a tower
/// become inputs of the model, with the names of [`absent`].
///
/// # Errors
/// If the graphs cannot be joined, e.g. because of their operator sets.
pub fn merged(towers: &[Tower], fusion: Option<&Graph>, attention: bool) -> Result<Graph, Error> {
    let context = || "the merged model".to_owned();
    let mut whole: Option<Graph> = None;
    for tower in towers {
        let graph = tower.graph().map_err(Error::graph(context()))?;
        whole = Some(match whole {
            None => graph,
            Some(before) => before.merge(&graph).map_err(Error::graph(context()))?,
        });
    }
    let mut whole = whole.ok_or_else(|| Error::Internal("a merged model without towers".to_owned()))?;
    let mut outputs: Vec<String> = towers.iter().map(|tower| embeds(&tower.head.modality)).collect();
    if let Some(fusion) = fusion {
        whole = with_fusion(whole, towers, fusion).map_err(Error::graph(context()))?;
        let of_fusion = fusion.outputs().into_iter().map(|port| port.name);
        outputs.extend(
            of_fusion
                .filter(|name| attention || !name.starts_with("attention."))
                .map(|name| fused_output(&name)),
        );
    }
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let whole = whole.extract(&outputs).map_err(Error::graph(context()))?;
    Ok(with_plain_axes(&whole, fusion.is_some()))
}

/// Joins the towers with the fusion. The embeddings remain outputs.
fn with_fusion(towers_graph: Graph, towers: &[Tower], fusion: &Graph) -> Result<Graph, chiasm_graph::Error> {
    let names: Vec<(String, String)> = fusion
        .outputs()
        .iter()
        .map(|port| (format!("fuse/{}", port.name), fused_output(&port.name)))
        .collect();
    let renamed = rename(&fusion.prefixed("fuse"), &names)?;
    let mut links: Vec<(String, String)> = Vec::new();
    for tower in towers {
        let modality = &tower.head.modality;
        let from = [
            ("pooled", tower.head.z()),
            ("tokens", format!("{modality}/tokens")),
            ("mask", format!("{modality}/mask")),
        ];
        let read = |port: &str| fusion.input(&format!("{modality}.{port}")).is_ok();
        links.extend(
            from.into_iter()
                .filter(|(port, _)| read(port))
                .map(|(port, from)| (from, absent(modality, port))),
        );
    }
    let links: Vec<(&str, &str)> = links.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut whole = towers_graph.join(&renamed, &links)?;
    for output in towers.iter().map(|tower| embeds(&tower.head.modality)) {
        if whole.outputs().iter().all(|port| port.name != output) {
            whole = whole.expose(&output)?;
        }
    }
    Ok(whole)
}

/// Renames free axes. The first is `batch`, or `<modality>_batch` if no fusion joins the modalities. The
/// others get the name that they have in their encoder.
fn with_plain_axes(graph: &Graph, joined: bool) -> Graph {
    let mut names: Vec<(String, String)> = Vec::new();
    for port in graph.inputs().iter().chain(&graph.outputs()) {
        for (axis, dim) in port.dims.iter().flatten().enumerate() {
            let Dim::Named(name) = dim else { continue };
            let (first, last) = (name.split('/').next(), name.rsplit('/').next());
            let plain = match axis {
                0 if joined => "batch".to_owned(),
                0 => format!("{}_batch", first.unwrap_or_default()),
                _ => last.unwrap_or_default().to_owned(),
            };
            let taken = names.iter().any(|(from, to)| *to == plain && from != name && axis > 0);
            if !taken && names.iter().all(|(from, _)| from != name) {
                names.push((name.clone(), plain));
            }
        }
    }
    let names: Vec<(&str, &str)> = names.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    graph.renamed_dims(&names)
}

fn rename(graph: &Graph, names: &[(String, String)]) -> Result<Graph, chiasm_graph::Error> {
    let names: Vec<(&str, &str)> = names.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    graph.renamed(&names)
}

/// The inputs of an encoder, for [`input_names`].
pub struct EncoderInputNames<'a> {
    /// Its modality.
    pub modality: &'a str,
    /// Its own name.
    pub encoder: &'a str,
    /// Its inputs.
    pub inputs: Vec<String>,
}

/// Returns the name of each input in the merged model. It is the name in the encoder if that is unique, else
/// with the encoder's name as prefix, else with the names of modality and encoder. No two encoders share an
/// input.
pub fn input_names(encoders: &[EncoderInputNames<'_>]) -> Vec<Vec<(String, String)>> {
    let ways: [fn(&EncoderInputNames<'_>, &str) -> String; 3] = [
        |_, input| input.to_owned(),
        |named, input| format!("{}_{input}", named.encoder),
        |named, input| format!("{}_{}_{input}", named.modality, named.encoder),
    ];
    let count = |way: &fn(&EncoderInputNames<'_>, &str) -> String, name: &str| {
        let all = encoders.iter().flat_map(|named| named.inputs.iter().map(move |input| way(named, input)));
        all.filter(|other| other == name).count()
    };
    let merged = |named: &EncoderInputNames<'_>, input: &str| {
        let free = ways.iter().find(|way| count(way, &way(named, input)) == 1);
        free.unwrap_or(&ways[2])(named, input)
    };
    let of = |named: &EncoderInputNames<'_>| {
        named.inputs.iter().map(|input| (input.clone(), merged(named, input))).collect()
    };
    encoders.iter().map(of).collect()
}

/// Extracts the encoders of a modality from a merged model. The outputs are `<modality>/pooled` and those of
/// `ports` (`tokens`, `mask`).
///
/// # Errors
/// If the model has no such tensor.
pub fn extract_encoders(model: &Graph, modality: &str, ports: &[&str]) -> Result<Graph, Error> {
    let names: Vec<String> =
        std::iter::once(&"pooled").chain(ports).map(|port| format!("{modality}/{port}")).collect();
    extract(model, &names, modality)
}

/// Extracts one encoder from a merged model, with the port names that it had before. `ports` are those of
/// `tokens` and `mask` that the merged model has; they become outputs besides `pooled`.
///
/// # Errors
/// If the model has no such tensor.
pub fn extract_encoder(
    model: &Graph,
    modality: &str,
    place: &EncoderPlace<'_>,
    ports: &[&str],
) -> Result<Graph, Error> {
    let context = || format!("the encoder {:?}", place.name);
    let own = if place.alone { pooled(modality) } else { format!("{modality}/{}/pooled", place.name) };
    let mut outputs = vec![(own, "pooled".to_owned())];
    outputs.extend(ports.iter().map(|port| (format!("{modality}/{port}"), (*port).to_owned())));
    let names: Vec<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
    let graph = extract(model, &names, modality)?;
    let inputs = place.inputs.iter().filter(|(_, merged)| graph.input(merged).is_ok());
    outputs.extend(inputs.map(|(own, merged)| (merged.clone(), own.clone())));
    rename(&graph, &outputs).map_err(Error::graph(context()))
}

/// Identifies an encoder in a merged model.
pub struct EncoderPlace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is the only encoder of its modality.
    pub alone: bool,
    /// The names of its inputs in the merged model, by their names in the adapter.
    pub inputs: &'a BTreeMap<String, String>,
}

fn extract(model: &Graph, names: &[String], modality: &str) -> Result<Graph, Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let context = format!("the encoders of {modality:?} in the merged model");
    model.extract(&names).map_err(Error::graph(context))
}
