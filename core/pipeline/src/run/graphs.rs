//! The graphs of a run: encoders joined to a tower, towers, maps and fusion to the merged model; and the way
//! back, parts cut out of a merged model.
//!
//! ```text
//! encoder  inputs of the model -> tokens, mask, pooled
//! head     <modality>/pooled -> <modality>/z -> <modality>_embeds
//! tower    inputs of its encoders -> <modality>/pooled, and its head
//! merged   every tower, and the fusion
//! ```

use crate::base::error::Error;
use chiasm_graph::{Builder, DType, Dim, Graph, Port};
use std::collections::BTreeMap;

/// One encoder's place in the merged model.
pub struct EncoderPart<'a> {
    /// The encoder's name, unique in its modality.
    pub name: &'a str,
    /// Its graph: model and tail.
    pub graph: &'a Graph,
    /// Its input ports and what the merged model calls them.
    pub inputs: Vec<(String, String)>,
}

/// A modality's encoders, pooled vectors concatenated: output `<modality>/pooled`, and `<modality>/tokens`
/// and `<modality>/mask` of the first encoder when they are wanted.
///
/// # Errors
/// When the graphs cannot be joined.
pub fn encoders(modality: &str, parts: &[EncoderPart<'_>], tokens: bool) -> Result<Graph, Error> {
    let context = || format!("the encoders of {modality:?}");
    let mut whole: Option<Graph> = None;
    let mut outputs: Vec<Port> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let prefix = format!("{modality}/{}", part.name);
        let wanted: &[&str] = if tokens && index == 0 { &["pooled", "tokens", "mask"] } else { &["pooled"] };
        let only = part.graph.extract(wanted).map_err(Error::graph(context()))?;
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

/// The map of one modality with its hubness bank: `<modality>/pooled` to `<modality>_embeds`, and to
/// `<modality>/z` where a bank follows the map.
#[derive(Debug, Clone)]
pub struct Head {
    /// The modality.
    pub modality: String,
    /// The graph.
    pub graph: Graph,
}

impl Head {
    /// A map from `x` to `z`, and a bank's graph from `z` to `e` behind it.
    ///
    /// # Errors
    /// When the graphs cannot be joined.
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

    /// The tensor with the aligned vectors before any bank.
    pub fn z(&self) -> String {
        let z = format!("{}/z", self.modality);
        if self.graph.output(&z).is_ok() { z } else { embeds(&self.modality) }
    }

    /// The map alone: `<modality>/pooled` to the aligned vectors.
    ///
    /// # Errors
    /// When the graph cannot be cut.
    pub fn map(&self) -> Result<Graph, Error> {
        self.graph.extract(&[&self.z()]).map_err(Error::graph(format!("the map of {:?}", self.modality)))
    }
}

/// The tensor with a modality's pooled vectors.
pub fn pooled(modality: &str) -> String {
    format!("{modality}/pooled")
}

/// A modality's output of the merged model.
pub fn embeds(modality: &str) -> String {
    format!("{modality}_embeds")
}

/// The fused output of the merged model.
pub const FUSED: &str = "fused_embeds";
/// The answers of the merged model to its task.
pub const LOGITS: &str = "logits";

/// The share of the fusion's attention on each token of a modality; an output of graphs that are made to show
/// it.
pub fn attention(modality: &str) -> String {
    format!("{modality}_attention")
}

/// What a merged model calls the output of a fused graph.
pub fn fused_output(name: &str) -> String {
    match name.strip_prefix("attention.") {
        Some(modality) => attention(modality),
        None if name == "fused" => FUSED.to_owned(),
        None => name.to_owned(),
    }
}

/// One modality of a merged model.
pub struct Tower {
    /// Its encoders, to `<modality>/pooled` and perhaps `<modality>/tokens` and `<modality>/mask`.
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

/// A modality's port of the fusion inside a merged model, where the modality has no tower.
pub fn absent(modality: &str, port: &str) -> String {
    format!("fuse/{modality}.{port}")
}

/// The merged model: every tower (encoders and head), and the fusion over aligned embeddings and tokens.
///
/// RunOutputs `<modality>_embeds` for each tower, then those of the fusion: `fused_embeds`, `logits`, and with
/// `attention` its shares of attention. A modality of the fusion without a tower is absent: its ports stay
/// inputs, by the names of [`absent`].
///
/// # Errors
/// When the graphs cannot be joined, e.g. for operator sets that cannot be brought together.
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

/// The towers joined with the fusion, their embeddings still outputs.
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

/// Free axes called as people call them: `batch` for the first (one for each modality while nothing joins
/// them), and for the others the name their encoder gave them.
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

/// An encoder among those whose inputs get names.
pub struct EncoderInputNames<'a> {
    /// Its modality.
    pub modality: &'a str,
    /// Its own name.
    pub encoder: &'a str,
    /// Its inputs.
    pub inputs: Vec<String>,
}

/// What the merged model calls each encoder's inputs: the model's own name when it is free, else with the
/// encoder's name in front, or, for an encoder that serves two modalities, the modality's: so that no two
/// encoders read the same port by accident.
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

/// The encoders of a modality cut out of a merged model: `<modality>/pooled`, and of `tokens` and `mask`
/// those asked for.
///
/// # Errors
/// When the model has no such tensor.
pub fn cut_encoders(model: &Graph, modality: &str, ports: &[&str]) -> Result<Graph, Error> {
    let names: Vec<String> =
        std::iter::once(&"pooled").chain(ports).map(|port| format!("{modality}/{port}")).collect();
    cut(model, &names, modality)
}

/// One encoder cut out of a merged model, with the ports that it had before it was joined: the inputs of its
/// adapter, and the outputs `pooled`, `tokens` and `mask` where `ports`, those that the merged model has, are
/// not empty. TokenSequences that nothing reads are not in the model: the mask stands in their place, one number a
/// token.
///
/// # Errors
/// When the model has no such tensor.
pub fn cut_encoder(
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
    let graph = cut(model, &names, modality)?;
    let inputs = place.inputs.iter().filter(|(_, merged)| graph.input(merged).is_ok());
    outputs.extend(inputs.map(|(own, merged)| (merged.clone(), own.clone())));
    let graph = rename(&graph, &outputs).map_err(Error::graph(context()))?;
    if ports != ["mask"] {
        return Ok(graph);
    }
    let joined = mask_as_tokens().and_then(|tokens| graph.join(&tokens, &[("mask", "own_mask")]));
    joined.and_then(|joined| joined.extract(&["pooled", "tokens", "mask"])).map_err(Error::graph(context()))
}

fn mask_as_tokens() -> Result<Graph, chiasm_graph::Error> {
    let mut b = Builder::new("mask");
    let dims = [Dim::named("batch"), Dim::named("tokens")];
    let mask = b.input("own_mask", DType::F32, &dims)?;
    let tokens = b.unsqueeze(&mask, &[2]);
    let [batch, length] = dims;
    b.output("tokens", &tokens, DType::F32, &[batch, length, Dim::Fixed(1)]);
    b.finish()
}

/// Where an encoder stands in a merged model.
pub struct EncoderPlace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is its modality's only encoder.
    pub alone: bool,
    /// Its adapter's input names, and what the merged model calls them.
    pub inputs: &'a BTreeMap<String, String>,
}

fn cut(model: &Graph, names: &[String], modality: &str) -> Result<Graph, Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let context = format!("the encoders of {modality:?} in the merged model");
    model.extract(&names).map_err(Error::graph(context))
}
