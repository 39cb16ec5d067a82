//! Regions of element-wise operators that compute one function of one value, whose derivative is one factor.
//!
//! Reverse mode node by node would take a cotangent through a dozen passes for one GELU and keep every
//! intermediate value in memory. The factor of a whole region depends on forward values only, so it is
//! computed together with them in one fused pass (`fuse.rs`), and the cotangent is multiplied once.

use std::collections::{HashMap, HashSet};

use super::{
    rule::{DerivativeRule, Factor},
    tape::{Tape, TapeNode},
};
use crate::{Graph, Result, Value};

/// For each value in a region, its source and its derivative with respect to the source, once computed.
pub(super) struct Regions {
    calls: HashMap<String, TapeNode>,
    source: HashMap<String, String>,
    factors: HashMap<String, Slope>,
}

/// The derivative of a value with respect to its region's source.
#[derive(Clone)]
enum Slope {
    /// 1.
    One,
    /// -1.
    Minus,
    /// This value.
    Is(Value),
}

impl Regions {
    /// Finds the regions of a graph among the values that depend on the inputs of interest.
    pub(super) fn of(graph: &Graph, tape: &mut Tape, dependent: &HashSet<String>) -> Self {
        let mut regions = Self { calls: HashMap::new(), source: HashMap::new(), factors: HashMap::new() };
        for node in &graph.graph.node {
            let node = TapeNode::new(node.clone());
            if node.is_stopped() || !matches!(node.rule(), Ok(DerivativeRule::Elementwise(_))) {
                continue;
            }
            let inputs = node.inputs.iter().map(Value::name).filter(|name| dependent.contains(*name));
            let mut sources: Vec<&str> =
                inputs.map(|name| regions.source.get(name).map_or(name, |s| s)).collect();
            sources.sort_unstable();
            sources.dedup();
            let [source] = sources[..] else { continue };
            let (source, y) = (Value::named(source), node.y());
            if tape.dims(&source).ok() == tape.dims(&y).ok() && tape.dtype(&source) == tape.dtype(&y) {
                regions.source.insert(y.name().to_owned(), source.name().to_owned());
                regions.calls.insert(y.name().to_owned(), node);
            }
        }
        regions
    }

    /// The source of a value, if more than one operator lies between them.
    pub(super) fn source_of(&self, y: &Value) -> Option<String> {
        let source = self.source.get(y.name())?;
        let deep = self.calls.get(y.name())?.inputs.iter().any(|x| self.source.contains_key(x.name()));
        deep.then(|| source.clone())
    }

    /// The cotangent of a region's source from the cotangent of a value.
    pub(super) fn cotangent_of_source(
        &mut self,
        tape: &mut Tape,
        y: &Value,
        cotangent: &Value,
    ) -> Result<Value> {
        let factor = match self.slope(tape, y.name())? {
            Slope::One => Factor::One,
            Slope::Minus => Factor::Minus,
            Slope::Is(value) => Factor::Times(value),
        };
        Ok(tape.scaled(cotangent, factor))
    }

    /// The derivative of a value by its source: the chain rule forward, each value once.
    ///
    /// What a value needs is kept on a list and not on the node stack, so that a chain may be of any length.
    fn slope(&mut self, tape: &mut Tape, y: &str) -> Result<Slope> {
        let mut needed = vec![y.to_owned()];
        while let Some(value) = needed.last() {
            let missing: Vec<String> = self.missing(value);
            if missing.is_empty() {
                let value = needed.pop().unwrap_or_default();
                self.chain(tape, &value)?;
            } else {
                needed.extend(missing);
            }
        }
        Ok(self.factors.get(y).cloned().unwrap_or(Slope::One))
    }

    /// The operands of a value whose derivatives are not computed yet.
    fn missing(&self, y: &str) -> Vec<String> {
        let (Some(node), Some(source), false) =
            (self.calls.get(y), self.source.get(y), self.factors.contains_key(y))
        else {
            return Vec::new();
        };
        let names = node.inputs.iter().map(Value::name);
        names
            .filter(|x| *x != source && self.source.get(*x) == Some(source))
            .filter(|x| self.calls.contains_key(*x) && !self.factors.contains_key(*x))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Computes the derivative of a value from those of its operands.
    fn chain(&mut self, tape: &mut Tape, y: &str) -> Result<()> {
        if self.factors.contains_key(y) {
            return Ok(());
        }
        let (Some(node), Some(source)) = (self.calls.get(y), self.source.get(y)) else { return Ok(()) };
        let mut total: Option<Slope> = None;
        for (input, x) in node.inputs.iter().enumerate() {
            let inner = match self.source.get(x.name()) {
                _ if x.name() == source => Slope::One,
                Some(other) if other == source => self.factors.get(x.name()).cloned().unwrap_or(Slope::One),
                _ => continue,
            };
            let DerivativeRule::Elementwise(factor) = node.rule()? else { continue };
            let factor = factor(tape, node, input)?;
            let term = inner.times(tape, factor);
            total = Some(match total {
                Some(before) => before.plus(tape, term, &node.y())?,
                None => term,
            });
        }
        self.factors.insert(y.to_owned(), total.unwrap_or(Slope::One));
        Ok(())
    }
}

impl Slope {
    fn times(self, tape: &mut Tape, factor: Factor) -> Self {
        match (self, factor) {
            (slope, Factor::One) => slope,
            (Self::One, Factor::Minus) => Self::Minus,
            (Self::Minus, Factor::Minus) => Self::One,
            (Self::One, Factor::Times(value)) => Self::Is(value),
            (Self::One, Factor::Over(value)) => Self::Is(tape.build.op("Reciprocal", &[&value], &[])),
            (Self::Minus, Factor::Times(value)) => Self::Is(tape.build.neg(&value)),
            (Self::Minus, Factor::Over(value)) => {
                let inverse = tape.build.op("Reciprocal", &[&value], &[]);
                Self::Is(tape.build.neg(&inverse))
            }
            (Self::Is(own), factor) => Self::Is(tape.scaled(&own, factor)),
        }
    }

    fn plus(self, tape: &mut Tape, other: Self, like: &Value) -> Result<Self> {
        let mut as_value = |slope: Self| match slope {
            Self::One => tape.number(1.0, like),
            Self::Minus => tape.number(-1.0, like),
            Self::Is(value) => Ok(value),
        };
        let (a, b) = (as_value(self)?, as_value(other)?);
        Ok(Self::Is(tape.build.add(&a, &b)))
    }
}
