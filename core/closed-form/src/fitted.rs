//! The result of a fit, and the trait of methods that can be fitted.

use chiasm_graph::Graph;
use chiasm_parameters::Parameters;
use serde_json::{Map as JsonObject, Value, json};

use linfa::DatasetBase;
use linfa::traits::{PredictInplace, Transformer};
use ndarray::{Array2, ArrayBase, Data, Ix2};

use crate::search::SearchReport;
use crate::unpaired_report::UnpairedReport;
use crate::{FitContext, Map, MapInverse, Result, Views};

/// The parameters of a method, which fit it.
pub trait Method: Parameters {
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
    /// The parameters with every choice made: fitting with them searches nothing and gives the same bits.
    pub parameters: P,
    /// How the choice was made; `None` when nothing was left to choose.
    pub report: Option<SearchReport>,
    /// How items without a partner were used; `None` if there were none, or the method uses pairs only.
    pub unpaired: Option<UnpairedReport>,
}

/// A fit as graphs and JSON, as an aligner plugin returns it.
#[derive(Debug)]
pub struct FitExport {
    /// The map of each modality, `x` to `z`.
    pub maps: Vec<Graph>,
    /// The inverse of each map, `z` to `x`, where it exists.
    pub inverses: Vec<Option<MapInverse>>,
    /// Every parameter, including the chosen ones.
    pub parameters: Value,
    /// The width of the shared space, how parameters were chosen, and for each modality the kind of its
    /// inverse or the reason why there is none.
    pub notes: Value,
}

impl<P: Parameters> Fitted<P> {
    /// The parameters of the method with their defaults: `Cca::params().ridge(0.1).fit(&dataset)`.
    pub fn params() -> P {
        P::default()
    }

    /// The graphs of a fit with its parameters and notes; `names` are those of the modalities.
    ///
    /// # Errors
    /// When a graph does not verify, which would be a defect of this crate.
    pub fn export(&self, names: &[&str]) -> Result<FitExport> {
        let mut inverses = Vec::new();
        let mut senses = JsonObject::new();
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
        Ok(FitExport {
            maps: self.maps.iter().map(Map::graph).collect::<Result<_>>()?,
            inverses,
            parameters: self.parameters.to_json(),
            notes: json!({
                "dimensions": dimensions,
                "search": self.report,
                "inverses": senses,
                "unpaired": self.unpaired,
                "warning": self.unpaired.as_ref().and_then(|report| report.warning.clone()),
            }),
        })
    }
}

/// Maps items of two modalities, records and targets, to unit rows of the shared space in single precision.
///
/// # Panics
/// As linfa itself does, when the records or the targets are not as wide as those of the fit.
impl<F: linfa::Float, S: Data<Elem = F>, P: Parameters>
    Transformer<DatasetBase<ArrayBase<S, Ix2>, ArrayBase<S, Ix2>>, DatasetBase<Array2<f32>, Array2<f32>>>
    for Fitted<P>
{
    fn transform(
        &self,
        dataset: DatasetBase<ArrayBase<S, Ix2>, ArrayBase<S, Ix2>>,
    ) -> DatasetBase<Array2<f32>, Array2<f32>> {
        let [records, targets] = [(0, &dataset.records), (1, &dataset.targets)].map(|(modality, rows)| {
            let mut images = Array2::zeros((rows.nrows(), self.maps[modality].output_dim()));
            self.maps[modality].predict_inplace(rows, &mut images);
            images
        });
        DatasetBase::new(records, targets)
    }
}

/// Maps items of one modality: `map.predict(&items)`.
///
/// # Panics
/// As linfa itself does, when the items are not as wide as those of the fit.
impl<F: linfa::Float, S: Data<Elem = F>> PredictInplace<ArrayBase<S, Ix2>, Array2<f32>> for Map {
    fn predict_inplace<'a>(&'a self, items: &'a ArrayBase<S, Ix2>, images: &mut Array2<f32>) {
        let mapped = self.apply(single_precision(items).view());
        assert!(mapped.is_ok(), "the items should be {} wide, as those of the fit", self.input_dim());
        if let Ok(mapped) = mapped {
            images.assign(&mapped);
        }
    }

    fn default_target(&self, items: &ArrayBase<S, Ix2>) -> Array2<f32> {
        Array2::zeros((items.nrows(), self.output_dim()))
    }
}

/// Implements [`Method`] and linfa's `Fit` for the parameters of a method.
macro_rules! estimator {
    ($params:ident $(, most: $most:expr)?) => {
        impl<F: linfa::Float, S: ndarray::Data<Elem = F>>
            linfa::traits::Fit<
                ndarray::ArrayBase<S, ndarray::Ix2>,
                ndarray::ArrayBase<S, ndarray::Ix2>,
                $crate::Error,
            > for $params
        {
            type Object = $crate::Fitted<$params>;

            fn fit(
                &self,
                dataset: &linfa::DatasetBase<
                    ndarray::ArrayBase<S, ndarray::Ix2>,
                    ndarray::ArrayBase<S, ndarray::Ix2>,
                >,
            ) -> $crate::Result<Self::Object> {
                let [first, second] =
                    [&dataset.records, &dataset.targets].map($crate::fitted::single_precision);
                let views = $crate::Views::paired(first.view(), second.view())?;
                $crate::Method::fit_views(self.clone(), &views, $crate::FitContext::default())
            }
        }

        impl $crate::Method for $params {
            $(const MOST_MODALITIES: Option<usize> = Some($most);)?

            fn fit_views(
                self,
                views: &$crate::Views<'_>,
                context: $crate::FitContext<'_>,
            ) -> $crate::Result<$crate::Fitted<Self>> {
                chiasm_parameters::Parameters::check(&self)?;
                self.fit_with(views, context)
            }
        }
    };
}
pub(crate) use estimator;

/// A matrix in single precision, in which maps are stored.
pub(crate) fn single_precision<F: linfa::Float, S: Data<Elem = F>>(rows: &ArrayBase<S, Ix2>) -> Array2<f32> {
    rows.mapv(|value| value.to_f32().unwrap_or(f32::NAN))
}
