//! The tail: the graph that follows an encoder and gives every encoder the same three output ports.
//!
//! It is built from the `[ports]` table of the encoder's card, which has these keys:
//!
//! - `tokens`: the model's port with one vector per token (`[B,T,D]`), or a feature map (`[B,C,H,W]`), whose
//!   positions become tokens row by row.
//! - `pooled`: one name, or a list of names whose vectors are concatenated without weights or normalisation.
//!
//! A port is an output of the model or an inner tensor of its graph. A name in `pooled` is a port or a
//! pooling over the tokens that are not masked:
//!
//! - `mean`: `sum_t x_t / T`; `cls`: the first token; `max`: the largest value of each feature;
//! - `std`: `(mean_t (x_t - mean)^2)^(1/2)`, the standard deviation of each feature;
//! - `gem3`: `(mean_t max(x_t, 1e-6)^3)^(1/3)`, the generalised mean (Radenovic, Tolias and Chum 2018) for
//!   features that are not negative;
//! - `lasttoken`: the last token;
//! - `weightedmean`: `sum_t t x_t / sum_t t` with t = 1, 2, .. (Muennighoff 2022);
//! - `mean_sqrt_len_tokens`: `sum_t x_t / T^(1/2)`.
//!
//! The last three are named as in sentence-transformers. The default of `pooled` is `mean`. Without `tokens`,
//! the pooled vector is the only token. The table is refused, with the name of the port, if a port does not
//! exist, has another rank or is not of floating point, or if there is a pooling without tokens.
//!
//! `axes` is the order of the axes of `tokens`, such as `TBD` for `[T,B,D]`; the default is `BTD`.
//!
//! A further key, `dense`, is a list of dense layers `f(W x + b)` that are applied to the pooled vector in
//! order: `weights` is a safetensors file with `linear.weight` `[out, in]` and perhaps `linear.bias`,
//! `activation` is `identity` (the default), `tanh`, `relu`, `sigmoid` or `gelu`, and `normalise = true`
//! scales x to length one first.
//!
//! [`windowed_tail`] is for an encoder that runs once for each window of a long item: each window is a token.
//!
//! ```
//! use chiasm_plugin::{DimSpec, EncoderSpec, PortSpec, graph::DType, json};
//!
//! let dims = vec![DimSpec::Named("batch".into()), DimSpec::Named("length".into()), DimSpec::Fixed(384)];
//! let spec = EncoderSpec {
//!     name: "text".into(),
//!     outputs: vec![PortSpec { name: "hidden".into(), dtype: DType::F32, dims: Some(dims) }],
//!     ports: json!({ "tokens": "hidden", "pooled": "mean" }),
//!     ..Default::default()
//! };
//! let tail = chiasm_kit::encoder_tail(&spec, None, false)?;
//! assert_eq!(tail.outputs()[2].to_string(), "pooled f32[batch,384]");
//! # Ok::<(), chiasm_plugin::Error>(())
//! ```

mod dense;
mod poolings;
mod ports;

use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};

use dense::DenseLayer;
pub use poolings::POOLINGS;
use poolings::pool;
pub use ports::PORT_KEYS;
use ports::{read_ports, token_order};

use chiasm_plugin::{DimSpec, EncoderSpec, Error, PortSpec, Result};

/// Builds the tail of an encoder, with the output ports `tokens` f32 `[batch,tokens,D]`, `mask` f32
/// `[batch,tokens]` and `pooled` f32 `[batch,P]`.
///
/// `mask` names the model's port `[B,T]` that is 1 for tokens and 0 for padding; without it no token is
/// padding. With `channels_last` a feature map is `[B,H,W,C]`, else `[B,C,H,W]`.
///
/// # Errors
/// When the `[ports]` table of `spec` does not fit the model.
pub fn encoder_tail(spec: &EncoderSpec, mask: Option<&str>, channels_last: bool) -> Result<Graph> {
    let (ports, names) = read_ports(spec)?;
    let mut tail = Tail { spec, b: Builder::new(format!("{}-tail", spec.name)), taken: Vec::new() };
    let tokens = match &ports.tokens {
        Some(port) => Some(tail.tokens(port, mask, channels_last, ports.axes.as_deref())?),
        None => None,
    };
    let pooled = names.iter().map(|name| tail.pooled(name, tokens.as_ref())).collect::<Result<Vec<_>>>()?;
    tail.finish(tokens, pooled, &ports.dense)
}

/// Builds the tail of an encoder whose batch holds the windows of all items, item by item.
///
/// `mask` names a tensor f32 `[batch, windows]` of the adapter that is 1 for the windows of an item and 0 for
/// padding. The port `tokens` of the card has one vector per window, `[batch * windows, D]` with axes of
/// length one anywhere; it becomes the tokens `[batch, windows, D]`. `pooled` names poolings over them.
///
/// # Errors
/// When the `[ports]` table of `spec` does not fit the model.
pub fn windowed_tail(spec: &EncoderSpec, mask: &str) -> Result<Graph> {
    let (ports, names) = read_ports(spec)?;
    if ports.axes.is_some() {
        return Err(Error::invalid(format!(
            "[ports] axes of `{}`: the model runs once for each window, so its tokens have no axes to order; \
             remove the key",
            spec.name
        )));
    }
    let Some(port) = &ports.tokens else {
        return Err(Error::invalid(format!(
            "[ports] of `{}`: the model runs once for each window, so name the port with the vector of a \
             window as tokens, and pool the windows, for example with pooled = \"mean\"",
            spec.name
        )));
    };
    let mut tail = Tail { spec, b: Builder::new(format!("{}-tail", spec.name)), taken: Vec::new() };
    let mask = tail.b.input(mask, DType::F32, &[Dim::named("batch"), Dim::named("windows")])?;
    let tokens = tail.windows(port, mask)?;
    if let Some(name) = names.iter().find(|name| !POOLINGS.contains(&name.as_str())) {
        return Err(Error::invalid(format!(
            "[ports] pooled = \"{name}\" of `{}`: the model runs once for each window, so expected poolings \
             over the windows: {}",
            spec.name,
            POOLINGS.join(", ")
        )));
    }
    let pooled = names.iter().map(|name| tail.pooled(name, Some(&tokens))).collect::<Result<Vec<_>>>()?;
    tail.finish(Some(tokens), pooled, &ports.dense)
}

/// Tokens `[B,T,D]` with their mask `[B,T]`, both f32.
struct TailTokens {
    values: Value,
    mask: Value,
    dim: Dim,
}

/// A vector per item, `[B,P]` f32.
struct TailVector {
    values: Value,
    dim: Dim,
}

struct Tail<'a> {
    spec: &'a EncoderSpec,
    b: Builder,
    /// Ports of the model that are inputs already.
    taken: Vec<(String, Value)>,
}

impl Tail<'_> {
    fn tokens(
        &mut self,
        name: &str,
        mask: Option<&str>,
        channels_last: bool,
        axes: Option<&str>,
    ) -> Result<TailTokens> {
        let port = self.output(name).ok_or_else(|| self.missing("tokens", name))?;
        let order = axes.map(|axes| token_order(axes, &self.spec.name)).transpose()?;
        let (values, dim) = match (port.dims.as_deref(), channels_last) {
            (Some(dims @ [_, _, _]), _) if order.is_some() => {
                let order = order.unwrap_or([0, 1, 2]);
                let values = self.float(&port)?;
                (self.b.transpose(&values, &order), to_dim(&dims[order[2] as usize]))
            }
            _ if order.is_some() => {
                return Err(self.rank("tokens", &port, "three axes, which the key axes puts in order"));
            }
            (Some([_, _, dim]), _) => (self.float(&port)?, to_dim(dim)),
            (Some([_, dim, height, width]), false) => {
                let map = self.float(&port)?;
                let length = positions(height, width);
                let rows = self.b.reshape(&map, &[0, fixed(dim), length]);
                (self.b.transpose(&rows, &[0, 2, 1]), to_dim(dim))
            }
            (Some([_, height, width, dim]), true) => {
                let map = self.float(&port)?;
                let channels_first = self.b.transpose(&map, &[0, 3, 1, 2]);
                let rows = self.b.reshape(&channels_first, &[0, fixed(dim), positions(height, width)]);
                (self.b.transpose(&rows, &[0, 2, 1]), to_dim(dim))
            }
            _ => return Err(self.rank("tokens", &port, "[batch, tokens, D] or a feature map of rank 4")),
        };
        let mask = match mask {
            Some(mask) => {
                let port = self.port(mask).ok_or_else(|| self.missing("mask", mask))?;
                let mask = self.input(&port)?;
                self.b.cast(&mask, DType::F32)
            }
            None => self.ones(&values)?,
        };
        Ok(TailTokens { values, mask, dim })
    }

    /// Reads a port with one vector per window as tokens.
    fn windows(&mut self, name: &str, mask: Value) -> Result<TailTokens> {
        let port = self.output(name).ok_or_else(|| self.missing("tokens", name))?;
        let rest = port.dims.as_deref().unwrap_or_default().iter().skip(1);
        let wide: Vec<&DimSpec> = rest.filter(|dim| **dim != DimSpec::Fixed(1)).collect();
        let dim = match wide.as_slice() {
            [] if port.dims.is_some() => 1,
            [DimSpec::Fixed(dim)] => *dim,
            _ => {
                let expected = "one vector of a fixed length per window, [windows, D]";
                return Err(self.rank("tokens", &port, expected));
            }
        };
        let values = self.float(&port)?;
        let leading = self.b.op("Shape", &[&mask], &[]);
        let width = self.b.ints("width", &[dim as i64]);
        let shape = self.b.concat(&[&leading, &width], 0);
        Ok(TailTokens { values: self.b.reshape_to(&values, &shape), mask, dim: Dim::Fixed(dim) })
    }

    fn pooled(&mut self, name: &str, tokens: Option<&TailTokens>) -> Result<TailVector> {
        let tensor = |ports: &[PortSpec]| ports.iter().find(|port| port.name == name).cloned();
        // An inner tensor may happen to be called like a pooling.
        let inner = || tensor(&self.spec.inner).filter(|_| !POOLINGS.contains(&name));
        if let Some(port) = tensor(&self.spec.outputs).or_else(inner) {
            return self.pooled_port(&port);
        }
        let Some(tokens) = tokens.filter(|_| POOLINGS.contains(&name)) else {
            return Err(self.missing("pooled", name));
        };
        let TailTokens { values, mask, dim } = tokens;
        let values = pool(&mut self.b, name, values, mask)?;
        Ok(TailVector { values, dim: dim.clone() })
    }

    /// Reads a port `[B,D]`, or `[B,D,1,..]`.
    fn pooled_port(&mut self, port: &PortSpec) -> Result<TailVector> {
        let dim = match port.dims.as_deref() {
            Some([_, dim, rest @ ..]) if rest.iter().all(|dim| *dim == DimSpec::Fixed(1)) => to_dim(dim),
            _ => return Err(self.rank("pooled", port, "[batch, D] (or [batch, D, 1, 1])")),
        };
        let flat = port.dims.as_ref().is_some_and(|dims| dims.len() == 2);
        let value = self.float(port)?;
        let values = if flat { value } else { self.b.reshape(&value, &[0, -1]) };
        Ok(TailVector { values, dim })
    }

    fn finish(
        mut self,
        tokens: Option<TailTokens>,
        pooled: Vec<TailVector>,
        dense: &[DenseLayer],
    ) -> Result<Graph> {
        let mut total = pooled.iter().map(|part| part.dim.fixed()).sum::<Option<usize>>();
        let parts: Vec<&Value> = pooled.iter().map(|part| &part.values).collect();
        let mut vector = match parts.as_slice() {
            [one] => (*one).clone(),
            many => self.b.concat(many, 1),
        };
        for layer in dense {
            let applied = layer.apply(&mut self.b, &vector, total, &self.spec.directory);
            let about = |reason| Error::invalid(format!("[ports] of `{}`: {reason}", self.spec.name));
            let (values, width) = applied.map_err(about)?;
            (vector, total) = (values, Some(width));
        }
        let dim = total.map_or(Dim::Unknown, Dim::Fixed);
        let tokens = match tokens {
            Some(tokens) => tokens,
            None => {
                let values = self.b.unsqueeze(&vector, &[1]);
                let mask = self.ones(&values)?;
                TailTokens { values, mask, dim: dim.clone() }
            }
        };
        let (batch, length) = (Dim::named("batch"), Dim::named("tokens"));
        self.b.output("tokens", &tokens.values, DType::F32, &[batch.clone(), length.clone(), tokens.dim]);
        self.b.output("mask", &tokens.mask, DType::F32, &[batch.clone(), length]);
        self.b.output("pooled", &vector, DType::F32, &[batch, dim]);
        Ok(self.b.finish()?)
    }

    /// Returns a mask of ones for tokens `[B,T,D]`.
    fn ones(&mut self, tokens: &Value) -> Result<Value> {
        let shape = self.b.op("Shape", &[tokens], &[("start", 0.into()), ("end", 2.into())]);
        let one = Tensor::f32(&[1], vec![1.0])?;
        Ok(self.b.op("ConstantOfShape", &[&shape], &[("value", chiasm_plugin::graph::Attr::Tensor(one))]))
    }

    /// Returns the port as an input of the tail, cast to f32.
    fn float(&mut self, port: &PortSpec) -> Result<Value> {
        let value = self.input(port)?;
        match port.dtype {
            DType::F32 => Ok(value),
            DType::F16 | DType::BF16 | DType::F64 => Ok(self.b.cast(&value, DType::F32)),
            other => Err(Error::invalid(format!(
                "port `{}` of `{}`: expected floating-point features, got {other}",
                port.name, self.spec.name
            ))),
        }
    }

    fn input(&mut self, port: &PortSpec) -> Result<Value> {
        if let Some((_, value)) = self.taken.iter().find(|(name, _)| *name == port.name) {
            return Ok(value.clone());
        }
        let dims: Vec<Dim> = port.dims.iter().flatten().map(to_dim).collect();
        let value = self.b.input(&port.name, port.dtype, &dims)?;
        self.taken.push((port.name.clone(), value.clone()));
        Ok(value)
    }

    fn output(&self, name: &str) -> Option<PortSpec> {
        self.spec.outputs.iter().chain(&self.spec.inner).find(|port| port.name == name).cloned()
    }

    fn port(&self, name: &str) -> Option<PortSpec> {
        self.output(name).or_else(|| self.spec.inputs.iter().find(|port| port.name == name).cloned())
    }

    fn missing(&self, key: &str, name: &str) -> Error {
        let known: Vec<&str> = self.spec.outputs.iter().map(|port| port.name.as_str()).collect();
        let poolings = match key {
            "pooled" => format!("; over tokens: {} (they need tokens)", POOLINGS.join(", ")),
            _ => String::new(),
        };
        Error::invalid(format!(
            "[ports] {key} = \"{name}\": the model of `{}` has no such output or inner tensor; its outputs \
             are {}{poolings}",
            self.spec.name,
            known.join(", ")
        ))
    }

    fn rank(&self, key: &str, port: &PortSpec, expected: &str) -> Error {
        let shape = port.dims.as_ref().map_or("unknown rank".to_owned(), |dims| {
            let dims: Vec<String> = dims.iter().map(|dim| to_dim(dim).to_string()).collect();
            format!("[{}]", dims.join(", "))
        });
        Error::invalid(format!(
            "[ports] {key} = \"{}\" of `{}`: expected {expected}, got {shape}; name another port",
            port.name, self.spec.name
        ))
    }
}

/// Returns the number of tokens of a feature map for a reshape; -1 if it is not fixed.
fn positions(height: &DimSpec, width: &DimSpec) -> i64 {
    match (height, width) {
        (DimSpec::Fixed(height), DimSpec::Fixed(width)) => (height * width) as i64,
        _ => -1,
    }
}

/// Returns the length of a dimension for a reshape; 0, which keeps it, if it is not fixed.
fn fixed(dim: &DimSpec) -> i64 {
    match dim {
        DimSpec::Fixed(length) => *length as i64,
        _ => 0,
    }
}

fn to_dim(dim: &DimSpec) -> Dim {
    match dim {
        DimSpec::Fixed(length) => Dim::Fixed(*length),
        DimSpec::Named(name) => Dim::named(name),
        DimSpec::Unknown => Dim::Unknown,
    }
}
