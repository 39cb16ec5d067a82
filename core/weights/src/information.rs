//! The Fisher information of a model's weights, from items without labels.

use std::collections::BTreeMap;

use chiasm_geometry::random::Random;
use chiasm_graph::{DType, Graph, Tensor};

use crate::{Error, Result, WeightValues};

/// Runs a graph on named inputs and returns its named outputs.
pub type RunGraph<'a> =
    &'a dyn Fn(&Graph, &[(&str, &Tensor)]) -> std::result::Result<Vec<(String, Tensor)>, String>;

/// Estimates the diagonal of the Fisher matrix of every weight of 32-bit floats.
///
/// A model without labels is taken as the mean of a normal distribution with unit covariance around its
/// output f, whose Fisher information of a weight is `E[sum_k (d f_k / d w)²]` (Pascanu and Bengio 2014,
/// arXiv 1301.3584, section 4). It is estimated without bias as the mean of `(d (v · f) / d w)²` over the
/// items, with one vector v of random signs for each (Hutchinson 1990). `items` are the inputs of one item
/// each, with a leading axis of length 1; `run` evaluates the derivative, a graph.
///
/// # Errors
/// When there is no item, the graph cannot be differentiated, or `run` fails.
pub fn fisher_information(
    model: &Graph,
    output: &str,
    items: &[Vec<(String, Tensor)>],
    run: RunGraph<'_>,
) -> Result<WeightValues> {
    if items.is_empty() {
        return Err(Error::argument("items", "one or more", 0));
    }
    let is_float = |name: &&str| model.weight(name).is_ok_and(|weight| weight.dtype() == DType::F32);
    let names: Vec<&str> = model.weight_names().filter(is_float).collect();
    let weights: Vec<(&str, Tensor)> =
        names.iter().map(|name| Ok((*name, model.weight(name)?))).collect::<Result<_>>()?;
    let cotangent = format!("cotangent/{output}");
    let gradient = model.lifted(&names)?.vjp(&[output], &names)?;
    let outputs: Vec<String> = names.iter().map(|name| format!("gradient/{name}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let gradient = gradient.extract(&outputs)?;
    let run = |graph: &Graph, inputs: &[(&str, &Tensor)]| {
        run(graph, inputs).map(BTreeMap::from_iter).map_err(Error::Run)
    };
    let mut information: WeightValues =
        weights.iter().map(|(name, weight)| ((*name).to_owned(), vec![0.0; weight.len()])).collect();
    let mut random = Random::new(1);
    let mut sign = || if random.uniform() < 0.5 { 1.0 } else { -1.0 };
    for item in items {
        let own: Vec<(&str, &Tensor)> = item.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let found: BTreeMap<String, Tensor> = run(model, &own)?;
        let shape = found.get(output).map(|value| value.shape().to_vec()).unwrap_or_default();
        let count = shape.iter().product();
        let direction = Tensor::f32(&shape, (0..count).map(|_| sign()).collect())?;
        let mut inputs = own;
        inputs.extend(weights.iter().map(|(name, weight)| (*name, weight)));
        inputs.push((&cotangent, &direction));
        for (name, derivative) in run(&gradient, &inputs)? {
            let Some(sum) = name.strip_prefix("gradient/").and_then(|name| information.get_mut(name)) else {
                continue;
            };
            for (sum, derivative) in sum.iter_mut().zip(derivative.as_f32().unwrap_or_default()) {
                *sum += derivative * derivative / items.len() as f32;
            }
        }
    }
    Ok(information)
}
