//! From a fit to what an aligner plugin returns, so that each plugin is a name, a sentence and its parameters.

use chiasm_graph::Graph;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Conduct, Fitted, Inverse, Pairs, Result};

/// Parameters of a method: checked, then fitted.
pub trait Method: DeserializeOwned + Serialize {
    /// Checks the parameters and fits.
    ///
    /// # Errors
    /// When a parameter is out of range, the rows cannot be fitted, or the caller asked to stop.
    fn fit_pairs(self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<Self>>;
}

/// Graphs and notes, ready to leave.
#[derive(Debug)]
pub struct Delivery {
    /// `x` to `z`.
    pub source: Graph,
    /// `y` to `z`.
    pub target: Graph,
    /// `z` to `x`, where it exists.
    pub inverse: Option<Inverse>,
    /// Everything chosen.
    pub parameters: Value,
    /// How it was chosen, and what is to be said of the inverse.
    pub notes: Value,
}

impl<P: Serialize> Fitted<P> {
    /// The graphs of a fit with its notes.
    ///
    /// # Errors
    /// When a graph does not verify, which would be a defect of this crate.
    pub fn deliver(&self) -> Result<Delivery> {
        let (inverse, said) = match self.source.inverse()? {
            Ok(inverse) => {
                let note = inverse.note.clone();
                (Some(inverse), note)
            }
            Err(reason) => (None, format!("none: {reason}")),
        };
        Ok(Delivery {
            source: self.source.graph("x")?,
            target: self.target.graph("y")?,
            inverse,
            parameters: serde_json::to_value(&self.parameters).unwrap_or_default(),
            notes: json!({ "dimensions": self.source.output_dim(), "search": self.report, "inverse": said }),
        })
    }
}

/// Makes a `chiasm_plugin::Aligner` of a method; the plugin names it, says what it does and lists its parameters as
/// `key: kind, "what it is"`, each chosen from the data unless given.
#[macro_export]
macro_rules! aligner {
    (
        $name:ident($parameters:ty), $id:literal, $doc:literal,
        { $($key:literal: $kind:literal, $what:literal;)* }
    ) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl ::chiasm_plugin::Aligner for $name {
            const ID: &'static str = $id;
            const DOC: &'static str = $doc;

            fn parameters() -> Vec<::chiasm_plugin::Parameter> {
                vec![$(::chiasm_plugin::Parameter::new($key, $kind, ::chiasm_plugin::Json::Null, $what)),*]
            }

            fn fit(
                data: &::chiasm_plugin::Inputs<'_>,
                parameters: &::chiasm_plugin::Json,
                services: &::chiasm_plugin::Services<'_>,
            ) -> ::chiasm_plugin::Result<::chiasm_plugin::Learned> {
                use ::chiasm_plugin::{Error, Inverse, InverseKind, Learned};
                let refuse = |error: $crate::Error| match error {
                    $crate::Error::Cancelled => Error::cancelled(),
                    error @ ($crate::Error::Graph(_) | $crate::Error::Linfa(_)) => Error::from(error),
                    error => Error::invalid(error.to_string()),
                };
                let parameters: $parameters = ::chiasm_plugin::read_parameters(parameters)?;
                let progress = |done, total| services.progress(done, total).is_ok();
                let conduct = $crate::Conduct { seed: services.seed(), progress: &progress };
                let pairs = $crate::Pairs::new(data.matrix("source.pooled")?, data.matrix("target.pooled")?);
                let made = pairs
                    .and_then(|pairs| $crate::Method::fit_pairs(parameters, pairs, conduct))
                    .and_then(|fitted| fitted.deliver())
                    .map_err(refuse)?;
                let kind = |kind| match kind {
                    $crate::InverseKind::TwoSided => InverseKind::TwoSided,
                    $crate::InverseKind::Left => InverseKind::Left,
                    $crate::InverseKind::Right => InverseKind::Right,
                };
                Ok(Learned {
                    source: made.source,
                    target: made.target,
                    inverse: made.inverse.map(|way| Inverse { graph: way.graph, kind: kind(way.kind) }),
                    parameters: made.parameters,
                    notes: made.notes,
                })
            }
        }
    };
}

/// What every plugin made by [`aligner!`] promises, as tests: its ports, that what was chosen fits again to the same
/// bytes, that its list of parameters is what it accepts, and that bad rows are told as the user's to mend.
#[macro_export]
macro_rules! aligner_tests {
    ($name:ident) => {
        #[cfg(test)]
        mod tests {
            use ::chiasm_plugin::ndarray::Array2;
            use ::chiasm_plugin::{Aligner, Code, Inputs, Json, Services, json};

            use super::$name;

            fn fit(
                x: &Array2<f32>,
                y: &Array2<f32>,
                parameters: Json,
            ) -> ::chiasm_plugin::Result<::chiasm_plugin::Learned> {
                let data = Inputs::of(&[("source.pooled", x.view()), ("target.pooled", y.view())]);
                $name::fit(&data, &parameters, &Services::detached(3, 1))
            }

            fn cloud(columns: usize) -> Array2<f32> {
                Array2::from_shape_fn((30, columns), |(i, j)| ((i * (2 * j + 3)) as f32).sin())
            }

            #[test]
            fn what_was_learned_has_the_promised_ports() {
                let learned = fit(&cloud(7), &cloud(4), json!({})).unwrap();
                let port = |graph: &::chiasm_plugin::graph::Graph| {
                    let (from, to) = (graph.inputs().remove(0), graph.outputs().remove(0));
                    (from.to_string(), to.name)
                };
                assert_eq!(port(&learned.source), ("x f32[batch,7]".to_owned(), "z".to_owned()));
                assert_eq!(port(&learned.target), ("y f32[batch,4]".to_owned(), "z".to_owned()));
                assert!(learned.notes["inverse"].is_string());
                let again = fit(&cloud(7), &cloud(4), learned.parameters.clone()).unwrap();
                assert_eq!(again.source.to_bytes().unwrap(), learned.source.to_bytes().unwrap());
            }

            /// The list that `plugin inspect` shows and the keys that a fit accepts must not drift apart.
            #[test]
            fn the_listed_parameters_are_the_known_ones() {
                let refusal = fit(&cloud(7), &cloud(4), json!({ "no such key": 1 })).unwrap_err();
                for parameter in $name::parameters() {
                    assert!(refusal.message().contains(&format!("`{}`", parameter.name)), "{refusal}");
                    fit(&cloud(7), &cloud(4), json!({ parameter.name.as_str(): null })).unwrap();
                }
                let named = refusal.message().matches('`').count() / 2 - 1;
                assert_eq!(named, $name::parameters().len(), "{refusal}");
            }

            #[test]
            fn bad_rows_are_the_users_to_mend() {
                let mut holed = cloud(4);
                holed[[3, 1]] = f32::NAN;
                let refusal = fit(&cloud(7), &holed, json!({})).unwrap_err();
                assert_eq!(refusal.code(), Code::INVALID);
                assert!(refusal.message().contains("target rows: row 3"), "{refusal}");
            }
        }
    };
}
