//! The training of a network, and its graph for the export, which has no loss.

use chiasm_kit::{LayerBuilder, WeightStore};
use chiasm_plugin::graph::{DType, Dim, Graph, TensorRef, Value};
use chiasm_plugin::ndarray::{ArrayView2, ArrayViewD, CowArray, IxDyn};
use chiasm_plugin::objective::{
    NoiseDistribution, Objective, TrainedWeights, TrainingLength, TrainingOptions, TrainingRows,
};
use chiasm_plugin::{Error, FusionSpec, Inputs, Level, Result, Services};

use crate::attention::weights_by_stream;
use crate::head::TaskHead;
use crate::model::{FusedStreams, FusionNetwork, FusionStream};
use crate::parameters::CrossAttentionParameters;

/// The largest norm of a step's gradient.
const CLIP: f64 = 1.0;
/// The part of the training rows that is held out for early stopping.
const HELD_OUT: f64 = 0.1;
/// The step size rises during the first 1/WARMUP of the steps.
const WARMUP: u64 = 20;
/// The input of a step with the probabilities of the teacher.
pub(crate) const TEACHER: &str = "teacher";

pub(crate) type Arrays<'a> = Vec<(String, ArrayViewD<'a, f32>)>;

/// The model for these modalities, and the arrays that it reads.
pub(crate) fn read<'a>(
    spec: &FusionSpec,
    data: &Inputs<'a>,
    parameters: CrossAttentionParameters,
    head: &TaskHead,
    services: &Services<'_>,
) -> Result<(FusionNetwork, Arrays<'a>)> {
    let port = if parameters.mode.attends() { "tokens" } else { "pooled" };
    let rank = if parameters.mode.attends() { 3 } else { 2 };
    let (mut streams, mut arrays) = (Vec::new(), Vec::new());
    let corrects = parameters.residual
        && head.corrects()
        && spec.modalities.iter().all(|modality| modality.pooled_dim == head.columns());
    for modality in &spec.modalities {
        let names = [port, "mask"].map(|port| format!("{}.{port}", modality.name));
        let [values, mask] = [data.tensor(&names[0])?, data.tensor(&names[1])?];
        let (shape, mask_shape) = (values.shape().to_vec(), mask.shape().to_vec());
        let fits =
            shape.len() == rank && mask_shape.len() == 2 && shape[..rank - 1] == mask_shape[..rank - 1];
        if !fits {
            return Err(Error::invalid(format!(
                "`{}` and `{}`: expected one row, and one mask number, for each item{}, got shapes {shape:?} \
                 and {mask_shape:?}",
                names[0],
                names[1],
                if rank == 3 { " and token" } else { "" }
            )));
        }
        let width = shape[rank - 1];
        let (name, pooled) = (modality.name.clone(), modality.pooled_dim);
        if corrects && rank == 3 {
            let aligned = format!("{name}.pooled");
            arrays.push((aligned.clone(), data.tensor(&aligned)?));
        }
        streams.push(FusionStream { name, width, longest: mask_shape[1], pooled });
        arrays.extend(names.into_iter().zip([values, mask]));
    }
    let network = FusionNetwork::new(streams, parameters, corrects)?;
    check_keys(&network, services)?;
    Ok((network, arrays))
}

/// Fails when no query has more than one key, and warns when some have not.
fn check_keys(model: &FusionNetwork, services: &Services<'_>) -> Result<()> {
    let names = model.with_single_key().join(", ");
    if names.is_empty() {
        return Ok(());
    }
    let message =
        format!("{names} would attend to a single token, and a softmax over one key is 1 for every query");
    if model.has_single_keys_only() {
        let help = "give an encoder with a tokens output, or set `mode` to concat, gated-sum or bilinear";
        return Err(Error::invalid(format!("{message}; {help}")));
    }
    services.log(Level::Warning, &message);
    Ok(())
}

/// The training of the network, with modality dropout and dropout.
/// With a teacher, its probabilities are a second target.
pub(crate) fn objective(
    model: &FusionNetwork,
    head: &TaskHead,
    weights: &mut WeightStore,
    has_teacher: bool,
) -> Result<Objective> {
    let parameters = &model.parameters;
    let mut random = Vec::new();
    let mut layers = LayerBuilder::new("cross-attention", weights);
    let mut hide = |layers: &mut LayerBuilder<'_>, name: &str, mask: Value| -> Result<Value> {
        if parameters.modality_dropout == 0.0 {
            return Ok(mask);
        }
        let port = format!("keep/{name}");
        let drawn = layers.b.input(&port, DType::F32, &[Dim::named("batch"), 1.into()])?;
        random.push((port, NoiseDistribution::Mask { keep: 1.0 - parameters.modality_dropout }));
        // 0 or 1, without the scale of dropout
        let kept = layers.b.sign(&drawn);
        Ok(layers.b.mul(&mask, &kept))
    };
    let FusedStreams { row: mut fused, width, sum, .. } = model.fused(&mut layers, &mut hide)?;
    if parameters.dropout > 0.0 {
        let drawn = layers.b.input("keep", DType::F32, &[Dim::named("batch"), width.into()])?;
        random.push(("keep".to_owned(), NoiseDistribution::Mask { keep: 1.0 - parameters.dropout }));
        fused = layers.b.mul(&fused, &drawn);
    }
    let answer = head.answer(&mut layers, parameters, &fused, width, sum.as_ref());
    let target = layers.b.input("target", DType::F32, &[Dim::named("batch"), head.columns().into()])?;
    let mut loss = head.loss(&mut layers, parameters, &answer, &target);
    if has_teacher {
        let probabilities =
            layers.b.input(TEACHER, DType::F32, &[Dim::named("batch"), head.columns().into()])?;
        loss = head.distilled(&mut layers, parameters, &loss, [&answer, &probabilities]);
    }
    layers.b.output("loss", &loss, DType::F32, &[]);
    let graph = layers.finish()?;
    let names: Vec<&str> = weights.iter().map(|(name, _)| name).collect();
    let mut objective = Objective::new(graph, &names)?;
    for (port, draw) in random {
        objective = objective.with_random(&port, draw);
    }
    Ok(objective)
}

/// Trains the network on the arrays that it reads and on its targets.
pub(crate) fn train(
    model: &FusionNetwork,
    objective: &Objective,
    arrays: &Arrays<'_>,
    targets: &[(&str, ArrayView2<'_, f32>)],
    services: &Services<'_>,
) -> Result<TrainedWeights> {
    let parameters = &model.parameters;
    let targets: Vec<(&str, ArrayViewD<'_, f32>)> =
        targets.iter().map(|(name, target)| (*name, target.view().into_dyn())).collect();
    let dense: Vec<(&str, CowArray<'_, f32, IxDyn>)> = (arrays.iter())
        .map(|(name, array)| (name.as_str(), array.as_standard_layout()))
        .chain(targets.iter().map(|(name, target)| (*name, target.as_standard_layout())))
        .collect();
    let examples = dense.first().map_or(0, |(_, array)| array.shape()[0]);
    let rows: Vec<(&str, TensorRef<'_>)> = dense
        .iter()
        .map(|(name, array)| {
            let values = array.as_slice().ok_or_else(|| Error::other("an array in order has a slice"))?;
            Ok((*name, TensorRef::f32(array.shape(), values)?))
        })
        .collect::<Result<_>>()?;
    let options = TrainingOptions {
        learning_rate: parameters.learning_rate,
        weight_decay: parameters.weight_decay,
        length: TrainingLength::Epochs(parameters.epochs),
        batch: parameters.batch,
        clip: Some(CLIP),
        validation: HELD_OUT,
        patience: Some(parameters.patience),
        seed: services.seed(),
        ..TrainingOptions::default()
    };
    let options = TrainingOptions { warmup: options.steps(examples) / WARMUP, ..options };
    services.train(objective, &TrainingRows { training: &rows, validation: &[] }, &options)
}

/// The exported graph: the network without dropout, and its attention weights.
pub(crate) fn exported(
    model: &FusionNetwork,
    head: &TaskHead,
    logits: bool,
    weights: &mut WeightStore,
) -> Result<Graph> {
    let mut layers = LayerBuilder::new("cross-attention", weights);
    let FusedStreams { row, width, records, sequences, sum } =
        model.fused(&mut layers, &mut |_, _, mask| Ok(mask))?;
    let answer = head.answer(&mut layers, &model.parameters, &row, width, sum.as_ref());
    let columns = Dim::Fixed(head.columns());
    let mut outputs = match logits {
        true => vec![("fused".to_owned(), row, width.into()), ("logits".to_owned(), answer, columns)],
        false => vec![("fused".to_owned(), answer, columns)],
    };
    for (at, attention) in weights_by_stream(&mut layers, &records, &sequences) {
        let name = &model.streams[at].name;
        outputs.push((format!("attention.{name}"), attention, Dim::named(format!("{name}_length"))));
    }
    for (name, value, last) in outputs {
        layers.b.output(&name, &value, DType::F32, &[Dim::named("batch"), last]);
    }
    layers.finish()
}
