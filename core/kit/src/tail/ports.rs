//! The `[ports]` table of a card.

use chiasm_plugin::{CardKey, CardKeys, EncoderSpec, Error, Result};
use serde::Deserialize;

use super::dense::DenseLayer;

/// Reads the `[ports]` table and the names in `pooled`.
pub(super) fn read_ports(spec: &EncoderSpec) -> Result<(Ports, Vec<String>)> {
    let mut ports: Ports = serde_json::from_value(spec.ports.clone())
        .map_err(|e| Error::invalid(format!("the [ports] table of `{}`: {e}", spec.name)))?;
    let names = ports.pooled.take().map_or_else(|| vec!["mean".to_owned()], Names::into_vec);
    if names.is_empty() {
        return Err(Error::invalid(format!(
            "[ports] of `{}`: pooled is an empty list; name a port or a pooling",
            spec.name
        )));
    }
    Ok((ports, names))
}

/// The keys of `[ports]`.
pub const PORT_KEYS: &[CardKey] = Ports::KEYS;

#[derive(Deserialize, CardKeys)]
#[serde(deny_unknown_fields)]
#[card(table = "ports")]
pub(super) struct Ports {
    /// The output of the model that holds tokens, floats [batch, tokens, features].
    pub tokens: Option<String>,
    /// The order of the axes of `tokens`. Default: BTD.
    pub axes: Option<String>,
    /// The pooled vector: a pooling of the tokens, an output of the model, or a list of them that are
    /// concatenated. Default: mean.
    #[card(takes = "mean, cls, max, std, gem3, lasttoken, weightedmean, mean_sqrt_len_tokens, or an output")]
    pooled: Option<Names>,
    /// Dense layers after the pooling, each with `weights`, a safetensors file, and optionally `activation`
    /// and `normalise`. Default: none.
    #[serde(default)]
    #[card(takes = "a list of tables")]
    pub dense: Vec<DenseLayer>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "pooled must be a name or a list of names")]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        }
    }
}

/// Returns the order in which the axes that a card names, such as `TBD`, become `[B,T,D]`.
///
/// # Errors
/// If `axes` does not have each of the three letters once.
pub(super) fn token_order(axes: &str, encoder: &str) -> Result<[i64; 3]> {
    let upper = axes.to_uppercase();
    let place = |letter: char| upper.find(letter).map(|at| at as i64);
    match (place('B'), place('T'), place('D')) {
        (Some(batch), Some(tokens), Some(features)) if axes.len() == 3 => Ok([batch, tokens, features]),
        _ => Err(Error::invalid(format!(
            "[ports] axes = \"{axes}\" of `{encoder}`: expected the letters B (batch), T (tokens) and D \
             (features) in the order of the axes of tokens, such as \"TBD\""
        ))),
    }
}
