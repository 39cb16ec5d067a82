//! The `[ports]` table of a draft.

use chiasm_kit::draft::{CardDraft, are_scores, better_than_scores, is_vector, lengths, use_before_scores};
use chiasm_plugin::{DimSpec, PortSpec, Signature};

/// The numbers of classes of ImageNet, with and without a class for the background.
const IMAGENET_CLASSES: [usize; 4] = [1000, 1001, 21_841, 21_843];

/// Sets `tokens` and `pooled`.
pub(super) fn set(card: &mut CardDraft, signature: &Signature) {
    let outputs = &signature.outputs;
    let rank = |port: &PortSpec| port.dims.as_ref().map(Vec::len);
    let tokens = outputs.iter().find(|port| matches!(rank(port), Some(3 | 4)) && !is_vector(port));
    let vectors: Vec<&PortSpec> = outputs.iter().filter(|port| is_vector(port)).collect();
    let named = |port: &PortSpec| {
        let name = port.name.to_lowercase();
        name.contains("embed") || name.contains("pool")
    };
    let scores = |port: &PortSpec| are_scores(&port.name) || has_imagenet_classes(port);
    let pooled =
        vectors.iter().find(|port| named(port)).or_else(|| vectors.iter().find(|port| !scores(port)));
    if let Some(tokens) = tokens {
        card.port("tokens", tokens.name.as_str(), format!("one vector per position {}", lengths(tokens)));
    }
    if let Some(port) = pooled {
        card.port("pooled", port.name.as_str(), format!("one vector per picture {}", lengths(port)));
        if let Some(better) = better_than_scores(signature, port).filter(|_| !named(port)) {
            card.note(better);
        }
    } else if tokens.is_some() {
        let others: Vec<&str> = vectors.iter().map(|port| port.name.as_str()).collect();
        let instead = match others.is_empty() {
            true => String::new(),
            false => format!("; `{}` looks like class scores", others.join("`, `")),
        };
        card.port("pooled", "mean", format!("the mean of the tokens, as no output is an embedding{instead}"));
    } else if let Some(scores) = vectors.first() {
        classifier(card, signature, scores);
    } else {
        card.port("pooled", "mean", "a guess, the model has no output of a known shape; CHECK");
    }
}

/// Sets the ports of a model whose only vector holds class scores.
fn classifier(card: &mut CardDraft, signature: &Signature, scores: &PortSpec) {
    if !use_before_scores(card, signature, scores) {
        card.port(
            "pooled",
            scores.name.as_str(),
            "the only vector, though it looks like class scores: name an inner tensor instead with --set \
             ports.pooled=...; CHECK",
        );
    } else if signature.before_last.get(&scores.name).is_some_and(|inner| !is_vector(inner)) {
        card.port("pooled", "mean", "the mean of the tokens");
    }
}

fn has_imagenet_classes(port: &PortSpec) -> bool {
    let length = port.dims.as_ref().and_then(|dims| dims.get(1));
    matches!(length, Some(DimSpec::Fixed(length)) if IMAGENET_CLASSES.contains(length))
}
