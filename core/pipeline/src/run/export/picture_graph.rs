//! The preparation of pictures as a graph: resized, cropped and normalised by `ai.onnx` operators.
//!
//! ```text
//! picture u8[batch, height, width, 3] -> columns, then rows resampled -> cropped -> (levels s - m) / d
//! ```
//!
//! A resampling is a product with a matrix of weights, which the graph computes from the lengths by Pillow's
//! formula: the kernel at the distance of two pixel centres, widened with the reduction, and the weights of a
//! pixel scaled to sum to one. Levels are rounded after each pass, as Pillow does. Pillow also rounds weights
//! to 16 bits, so that a level may differ by one.

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};

use crate::run::{
    model_card::{Channels, Filter, ImageTable, Layout, Resize},
    port_form::{GIVEN, MADE},
};

/// Returns the graph that prepares pictures of one size for a model's input of a type.
pub fn picture_graph(table: &ImageTable, dtype: DType) -> Result<Graph, String> {
    let kernel = kernel(table.filter).ok_or_else(|| {
        let filter = format!("{:?}", table.filter).to_lowercase();
        format!("the filter \"{filter}\" cannot be written as operators")
    })?;
    let text = |error: chiasm_graph::Error| error.to_string();
    let mut b = Builder::new("picture");
    let free = [Dim::named("height"), Dim::named("width")];
    let model = table.size.map(|side| Dim::Fixed(side as usize));
    let [height, width] = if table.resize == Resize::None { model.clone() } else { free };
    let picture = b.input(GIVEN, DType::U8, &[Dim::named("batch"), height, width, 3.into()]).map_err(text)?;
    let levels = b.cast(&picture, DType::F32);
    let levels = b.transpose(&levels, &[0, 3, 1, 2]);
    let levels = match table.channels {
        Channels::Gray => luma(&mut b, &levels).map_err(text)?,
        Channels::Rgb | Channels::Bgr => levels,
    };
    let levels = resized(&mut b, table, kernel, &levels);
    let values = normalised(&mut b, table, &levels).map_err(text)?;
    let values = if table.resize == Resize::LongestSidePad { padded(&mut b, table, &values) } else { values };
    let values = if dtype == DType::F32 { values } else { b.cast(&values, dtype) };
    let channels = Dim::Fixed(if table.channels == Channels::Gray { 1 } else { 3 });
    let ([height, width], batch) = (model, Dim::named("batch"));
    let (values, dims) = match table.layout {
        Layout::Nchw => (values, [batch, channels, height, width]),
        Layout::Nhwc => (b.transpose(&values, &[0, 2, 3, 1]), [batch, height, width, channels]),
    };
    b.output(MADE, &values, dtype, &dims);
    b.finish().map_err(text)
}

/// The luma of Pillow's mode "L", in whole numbers, which single precision holds exactly.
fn luma(b: &mut Builder, levels: &Value) -> chiasm_graph::Result<Value> {
    let parts = Tensor::f32(&[1, 3, 1, 1], vec![19_595.0, 38_470.0, 7_471.0])?;
    let parts = b.constant("luma", parts);
    let weighted = b.mul(levels, &parts);
    let sum = b.reduce_sum(&weighted, &[1], true);
    let sum = b.add_scalar(&sum, 32_768.0);
    let luma = b.mul_scalar(&sum, 1.0 / 65_536.0);
    Ok(b.op("Floor", &[&luma], &[]))
}

/// Levels `[batch, channels, height, width]` in the size of the model.
fn resized(b: &mut Builder, table: &ImageTable, kernel: Kernel, levels: &Value) -> Value {
    if table.resize == Resize::None {
        return levels.clone();
    }
    let shape = b.op("Shape", &[levels], &[]);
    let length = |b: &mut Builder, axis: i64| {
        let axis = b.ints("axis", &[axis]);
        b.gather(&shape, &axis, 0)
    };
    let from = [length(b, 2), length(b, 3)];
    let side = b.ints("side", &[i64::from(table.shortest())]);
    let to = match table.resize {
        Resize::ShortestSideCrop => {
            let shorter = b.op("Min", &[&from[0], &from[1]], &[]);
            from.each_ref().map(|length| {
                let scaled = b.mul(&side, length);
                b.div(&scaled, &shorter)
            })
        }
        Resize::LongestSidePad => {
            let longer = b.op("Max", &[&from[0], &from[1]], &[]);
            let (two, one) = (b.ints("two", &[2]), b.ints("one", &[1]));
            let side = b.ints("side", &[2 * i64::from(table.size[1])]);
            from.each_ref().map(|length| {
                // Rounded to the nearest whole number: (2 side length + longer) / (2 longer).
                let scaled = b.mul(&side, length);
                let scaled = b.add(&scaled, &longer);
                let doubled = b.mul(&longer, &two);
                let rounded = b.div(&scaled, &doubled);
                b.op("Max", &[&rounded, &one], &[])
            })
        }
        Resize::StretchCrop => [side.clone(), side],
        Resize::Stretch | Resize::None => table.size.map(|side| b.ints("side", &[i64::from(side)])),
    };
    let columns = weights(b, kernel, &from[1], &to[1]);
    let columns = b.transpose(&columns, &[1, 0]);
    let across = b.matmul(levels, &columns);
    let across = rounded(b, &across);
    let rows = weights(b, kernel, &from[0], &to[0]);
    let down = b.matmul(&rows, &across);
    let levels = rounded(b, &down);
    if !matches!(table.resize, Resize::ShortestSideCrop | Resize::StretchCrop) {
        return levels;
    }
    // The centre, of which the first row and column are rounded down.
    let (two, axes) = (b.ints("two", &[2]), b.ints("axes", &[2, 3]));
    let mut bounds = |axis: usize| {
        let kept = b.ints("kept", &[i64::from(table.size[axis])]);
        let rest = b.sub(&to[axis], &kept);
        let start = b.div(&rest, &two);
        let end = b.add(&start, &kept);
        (start, end)
    };
    let ((top, bottom), (left, right)) = (bounds(0), bounds(1));
    let (starts, ends) = (b.concat(&[&top, &left], 0), b.concat(&[&bottom, &right], 0));
    b.op("Slice", &[&levels, &starts, &ends, &axes], &[])
}

/// The weights `[to, from]` of a resampling between two lengths, `i64[1]` each.
fn weights(b: &mut Builder, kernel: Kernel, from: &Value, to: &Value) -> Value {
    let places = |b: &mut Builder, length: &Value| {
        let length = b.squeeze(length, &[0]);
        let length = b.cast(&length, DType::F32);
        let (zero, one) = (b.scalar(0.0), b.scalar(1.0));
        b.op("Range", &[&zero, &length, &one], &[])
    };
    let (old, new) = (places(b, from), places(b, to));
    let [from, to] = [from, to].map(|length| b.cast(length, DType::F32));
    let scale = b.div(&from, &to);
    let centres = b.add_scalar(&new, 0.5);
    let centres = b.mul(&centres, &scale);
    let centres = b.add_scalar(&centres, -0.5);
    let centres = b.unsqueeze(&centres, &[1]);
    let distances = b.sub(&old, &centres);
    let distances = b.op("Abs", &[&distances], &[]);
    let widened = b.max_scalar(&scale, 1.0);
    let distances = b.div(&distances, &widened);
    let weights = kernel(b, &distances);
    let sums = b.reduce_sum(&weights, &[1], true);
    b.div(&weights, &sums)
}

/// Levels rounded to whole numbers from 0 to 255.
fn rounded(b: &mut Builder, levels: &Value) -> Value {
    let (half, least, most) = (b.add_scalar(levels, 0.5), b.scalar(0.0), b.scalar(255.0));
    let whole = b.op("Floor", &[&half], &[]);
    b.op("Clip", &[&whole, &least, &most], &[])
}

/// `(levels scale - mean) / std`, in the channel order of the model.
fn normalised(b: &mut Builder, table: &ImageTable, levels: &Value) -> chiasm_graph::Result<Value> {
    let levels = match table.channels {
        Channels::Bgr => {
            let turned = b.ints("channels", &[2, 1, 0]);
            b.gather(levels, &turned, 1)
        }
        Channels::Rgb | Channels::Gray => levels.clone(),
    };
    let mut of = |name: &str, values: Vec<f64>| -> chiasm_graph::Result<Value> {
        #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        Ok(b.constant(name, Tensor::f32(&[1, values.len(), 1, 1], values)?))
    };
    // (levels scale - mean) / std = levels factor + offset
    let (mean, std) = (table.mean.each(), table.std.each());
    let count = if table.channels == Channels::Gray { 1 } else { 3 };
    let pairs = || mean.iter().cycle().zip(std.iter().cycle()).take(count);
    let factor = of("factor", pairs().map(|(_, std)| table.scale / std).collect())?;
    let offset = of("offset", pairs().map(|(mean, std)| -mean / std).collect())?;
    let scaled = b.mul(&levels, &factor);
    Ok(b.add(&scaled, &offset))
}

/// Values with zeros below and to the right, in the size of the model.
fn padded(b: &mut Builder, table: &ImageTable, values: &Value) -> Value {
    let shape = b.op("Shape", &[values], &[]);
    let (axes, none) = (b.ints("axes", &[2, 3]), b.ints("none", &[0; 6]));
    let lengths = b.gather(&shape, &axes, 0);
    let whole = b.ints("size", &table.size.map(i64::from));
    let rest = b.sub(&whole, &lengths);
    let pads = b.concat(&[&none, &rest], 0);
    b.op("Pad", &[values, &pads], &[])
}

/// A kernel at distances `|x|`.
type Kernel = fn(&mut Builder, &Value) -> Value;

/// The kernels that are smooth enough to be written as operators.
fn kernel(filter: Filter) -> Option<Kernel> {
    match filter {
        Filter::Bilinear => Some(bilinear),
        Filter::Bicubic => Some(bicubic),
        Filter::Lanczos => Some(lanczos),
        Filter::Hamming => Some(hamming),
        Filter::Box | Filter::Nearest => None,
    }
}

fn bilinear(b: &mut Builder, x: &Value) -> Value {
    let rest = b.neg(x);
    let rest = b.add_scalar(&rest, 1.0);
    b.max_scalar(&rest, 0.0)
}

/// Keys' cubic with a = -1/2, of radius 2.
fn bicubic(b: &mut Builder, x: &Value) -> Value {
    // Horner's rule, the highest coefficient first.
    let mut polynomial = |coefficients: [f32; 4]| {
        let [first, rest @ ..] = coefficients;
        let mut value = b.scalar(first);
        for coefficient in rest {
            value = b.mul(&value, x);
            value = b.add_scalar(&value, coefficient);
        }
        value
    };
    let (near, far) = (polynomial([1.5, -2.5, 0.0, 1.0]), polynomial([-0.5, 2.5, -4.0, 2.0]));
    let zero = b.scalar(0.0);
    let far = within(b, x, 2.0, &far, &zero);
    within(b, x, 1.0, &near, &far)
}

fn lanczos(b: &mut Builder, x: &Value) -> Value {
    let slow = b.mul_scalar(x, 1.0 / 3.0);
    let (first, second) = (sinc(b, x), sinc(b, &slow));
    let (value, zero) = (b.mul(&first, &second), b.scalar(0.0));
    within(b, x, 3.0, &value, &zero)
}

fn hamming(b: &mut Builder, x: &Value) -> Value {
    let angle = b.mul_scalar(x, std::f32::consts::PI);
    let window = b.op("Cos", &[&angle], &[]);
    let window = b.mul_scalar(&window, 0.46);
    let window = b.add_scalar(&window, 0.54);
    let wave = sinc(b, x);
    let (value, zero) = (b.mul(&wave, &window), b.scalar(0.0));
    within(b, x, 1.0, &value, &zero)
}

/// `sin(πx) / (πx)`. Below 1e-4 it is 1 in single precision.
fn sinc(b: &mut Builder, x: &Value) -> Value {
    let x = b.max_scalar(x, 1e-4);
    let angle = b.mul_scalar(&x, std::f32::consts::PI);
    let sine = b.op("Sin", &[&angle], &[]);
    b.div(&sine, &angle)
}

/// `inside` where x is below a limit, `outside` elsewhere.
fn within(b: &mut Builder, x: &Value, limit: f32, inside: &Value, outside: &Value) -> Value {
    let limit = b.scalar(limit);
    let below = b.op("Less", &[x, &limit], &[]);
    b.where_(&below, inside, outside)
}
