//! What comes out of a fit, and the trait of everything that can be fitted.

use chiasm_graph::Graph;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map as Object, Value, json};

use crate::search::SearchReport;
use crate::{FitContext, Inverse, Map, Result, Views};

/// Parameters of a method: checked, then fitted.
pub trait Method: DeserializeOwned + Serialize {
    /// The most modalities that the method takes; `None` when it takes any number.
    const MOST_MODALITIES: Option<usize> = None;

    /// Checks the parameters and fits.
    ///
    /// # Errors
    /// When a parameter is out of range, the items cannot be fitted, or the caller asked to stop.
    fn fit_views(self, views: &Views<'_>, context: FitContext<'_>) -> Result<Fitted<Self>>;
}

/// One map for each modality into a shared space, and how they were found.
#[derive(Clone, Debug)]
pub struct Fitted<P> {
    /// The maps, in the order of the modalities.
    pub maps: Vec<Map>,
    /// Everything chosen: fitting with these searches nothing and gives the same bits.
    pub parameters: P,
    /// How the choice was made; `None` when nothing was left to choose.
    pub report: Option<SearchReport>,
}

/// A fit as graphs and JSON, as an aligner plugin returns it.
#[derive(Debug)]
pub struct Export {
    /// The map of each modality, `x` to `z`.
    pub maps: Vec<Graph>,
    /// The inverse of each map, `z` to `x`, where it exists.
    pub inverses: Vec<Option<Inverse>>,
    /// Every parameter, also those that were chosen.
    pub parameters: Value,
    /// The width of the shared space, how parameters were chosen, and the sense of each inverse or why there
    /// is none.
    pub notes: Value,
}

impl<P: Serialize> Fitted<P> {
    /// The graphs of a fit with its parameters and notes; `names` are those of the modalities.
    ///
    /// # Errors
    /// When a graph does not verify, which would be a defect of this crate.
    pub fn export(&self, names: &[&str]) -> Result<Export> {
        let mut inverses = Vec::new();
        let mut senses = Object::new();
        for (map, name) in self.maps.iter().zip(names) {
            let (inverse, sense) = match map.inverse()? {
                Ok(inverse) => {
                    let note = inverse.note.clone();
                    (Some(inverse), note)
                }
                Err(reason) => (None, format!("none: {reason}")),
            };
            inverses.push(inverse);
            senses.insert((*name).to_owned(), sense.into());
        }
        let dimensions = self.maps.first().map_or(0, Map::output_dim);
        Ok(Export {
            maps: self.maps.iter().map(Map::graph).collect::<Result<_>>()?,
            inverses,
            parameters: serde_json::to_value(&self.parameters).unwrap_or_default(),
            notes: json!({ "dimensions": dimensions, "search": self.report, "inverses": senses }),
        })
    }
}

/// Implements linfa's two traits and [`Method`] for a method: the check of its parameters and the fit.
macro_rules! estimator {
    ($params:ident, $valid:ident $(, most: $most:expr)?) => {
        impl linfa::ParamGuard for $params {
            type Checked = $valid;
            type Error = $crate::Error;

            fn check_ref(&self) -> $crate::Result<&$valid> {
                self.0.check()?;
                Ok(&self.0)
            }

            fn check(self) -> $crate::Result<$valid> {
                self.0.check()?;
                Ok(self.0)
            }
        }

        impl<S: ndarray::Data<Elem = f32>>
            linfa::traits::Fit<
                ndarray::ArrayBase<S, ndarray::Ix2>,
                ndarray::ArrayBase<S, ndarray::Ix2>,
                $crate::Error,
            > for $valid
        {
            type Object = $crate::Fitted<$params>;

            fn fit(
                &self,
                dataset: &linfa::DatasetBase<
                    ndarray::ArrayBase<S, ndarray::Ix2>,
                    ndarray::ArrayBase<S, ndarray::Ix2>,
                >,
            ) -> $crate::Result<Self::Object> {
                self.fit_with(&$crate::Views::of(dataset)?, $crate::FitContext::default())
            }
        }

        impl $crate::Method for $params {
            $(const MOST_MODALITIES: Option<usize> = Some($most);)?

            fn fit_views(
                self,
                views: &$crate::Views<'_>,
                context: $crate::FitContext<'_>,
            ) -> $crate::Result<$crate::Fitted<Self>> {
                linfa::ParamGuard::check(self)?.fit_with(views, context)
            }
        }

        impl From<$valid> for $params {
            fn from(values: $valid) -> Self {
                Self(values)
            }
        }
    };
}
pub(crate) use estimator;
