//! The elements of small integer tensors, where an operator moves or selects them: exporters compute shapes
//! and paddings with such tensors inside the graph.

use onnx_protobuf::NodeProto;

use super::row::int;
use crate::{
    shapes::{Facts, Length, MAX_ELEMENTS, resolve_axis},
    walk::attribute,
    weight,
};

/// The elements of the first input, in the same order.
pub(super) fn same_elements(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    facts.input_elements(node, 0)
}

/// The elements of all inputs, joined along an axis.
pub(super) fn concatenated(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let parts = (0..node.input.len())
        .map(|input| Some((facts.input_elements(node, input)?, dims(facts, node, input)?)));
    let parts: Vec<(Vec<Length>, Vec<usize>)> = parts.collect::<Option<_>>()?;
    let (first, shape) = parts.first()?;
    let axis = resolve_axis(attribute(node, "axis")?.i, shape.len())?;
    let outer: usize = shape[..axis].iter().product();
    let mut joined = Vec::with_capacity(first.len());
    for row in 0..outer {
        for (elements, _) in &parts {
            let length = elements.len() / outer;
            joined.extend(elements.get(row * length..(row + 1) * length)?);
        }
    }
    Some(joined)
}

/// The elements at the indices of the second input along an axis.
pub(super) fn gathered(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let dims = dims(facts, node, 0)?;
    let axis = resolve_axis(int(node, "axis", 0), dims.len())?;
    let indices = facts.known_elements(node.input.get(1)?)?;
    let mut taken = everything(&dims);
    taken[axis].1 = indices.iter().map(|at| resolve_axis(*at, dims[axis])).collect::<Option<_>>()?;
    at(&facts.input_elements(node, 0)?, &taken)
}

/// The elements of a slice.
pub(super) fn sliced(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let dims = dims(facts, node, 0)?;
    let mut taken = everything(&dims);
    for (axis, range) in slices(facts, node, dims.len())? {
        let (start, count, step) = range?.within(i64::try_from(dims[axis]).ok()?);
        let index = |place: i64| usize::try_from(start + place * step).ok();
        taken[axis].1 = (0..count).map(index).collect::<Option<_>>()?;
    }
    at(&facts.input_elements(node, 0)?, &taken)
}

/// The elements in the order of other axes.
pub(super) fn transposed(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let mut axes = everything(&dims(facts, node, 0)?);
    match attribute(node, "perm") {
        None => axes.reverse(),
        Some(perm) => {
            let moved = perm.ints.iter().map(|at| axes.get(usize::try_from(*at).ok()?).cloned());
            axes = moved.collect::<Option<_>>()?;
        }
    }
    at(&facts.input_elements(node, 0)?, &axes)
}

/// The one integer of the node's `value`, as often as the input says.
pub(super) fn filled(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let shape = facts.known_elements(node.input.first()?)?;
    let count = shape.iter().try_fold(1_i64, |all, length| all.checked_mul(*length))?;
    let count = usize::try_from(count).ok().filter(|count| *count <= MAX_ELEMENTS)?;
    // Without the attribute the tensor is of floats.
    let value = *weight::small_ints(&attribute(node, "value")?.t, 1)?.first()?;
    Some(vec![Length::Fixed(value); count])
}

/// The bounds of a slice along one axis.
#[derive(Clone, Copy)]
pub(super) struct Range {
    start: i64,
    end: i64,
    step: i64,
}

impl Range {
    /// The first index, the number of indices and the step, for an axis of this length.
    pub(super) fn within(self, length: i64) -> (i64, i64, i64) {
        let from_front = |value: i64| if value < 0 { value.saturating_add(length) } else { value };
        let (start, end) = (from_front(self.start), from_front(self.end));
        let (start, end) = match self.step > 0 {
            true => (start.clamp(0, length), end.clamp(0, length)),
            false => (start.clamp(-1, length - 1), end.clamp(-1, length - 1)),
        };
        let distance = if self.step > 0 { end - start } else { start - end };
        let step = self.step.saturating_abs();
        (start, distance.max(0) / step + i64::from(distance.max(0) % step != 0), self.step)
    }

    /// The start, the end and the step.
    pub(super) fn bounds(self) -> [i64; 3] {
        [self.start, self.end, self.step]
    }
}

/// The axes that a `Slice` cuts, with their bounds where these are known.
pub(super) fn slices(facts: &Facts, node: &NodeProto, rank: usize) -> Option<Vec<(usize, Option<Range>)>> {
    let starts = facts.input_or_attribute(node, 1, "starts");
    let ends = facts.input_or_attribute(node, 2, "ends");
    let count = starts.as_ref().map(Vec::len).or_else(|| facts.input_rank(node, 1))?;
    let given = |input: usize| node.input.get(input).filter(|name| !name.is_empty());
    let axes = match (given(3), attribute(node, "axes")) {
        (None, None) => (0..).take(count).collect(),
        _ => facts.input_or_attribute(node, 3, "axes")?,
    };
    let steps = given(4).map_or_else(|| Some(vec![1; axes.len()]), |name| facts.known_elements(name));
    let cut = axes.iter().enumerate().map(|(place, axis)| {
        let of = |values: &Option<Vec<i64>>| values.as_ref()?.get(place).copied();
        let range = || {
            let step = of(&steps).filter(|step| *step != 0)?;
            Some(Range { start: of(&starts)?, end: of(&ends)?, step })
        };
        Some((resolve_axis(*axis, rank)?, range()))
    });
    cut.collect()
}

/// The known lengths of an input's axes.
fn dims(facts: &Facts, node: &NodeProto, input: usize) -> Option<Vec<usize>> {
    let dims = facts.input_dims(node, input)?;
    dims.into_iter().map(|length| usize::try_from(length.fixed()?).ok()).collect()
}

/// All indices of each axis, with the distance of two neighbours in the list of elements.
fn everything(dims: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let stride = |axis: usize| dims[axis + 1..].iter().product();
    (0..dims.len()).map(|axis| (stride(axis), (0..dims[axis].min(MAX_ELEMENTS)).collect())).collect()
}

/// The elements at these indices, of which those of the last axis change fastest.
fn at(elements: &[Length], axes: &[(usize, Vec<usize>)]) -> Option<Vec<Length>> {
    let mut places = vec![0_usize];
    for (stride, indices) in axes {
        let next = places.iter().flat_map(|place| indices.iter().map(move |index| place + index * stride));
        places = next.take(MAX_ELEMENTS + 1).collect();
    }
    places.into_iter().map(|place| elements.get(place).copied()).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Attr, Builder, DType, Dim, Tensor, Value, shapes};

    /// The known elements of what `build` makes, from `x`, the numbers 0 to 7 as `[4, 2]`.
    fn elements(build: impl Fn(&mut Builder, &Value) -> Value) -> Option<Vec<i64>> {
        let mut b = Builder::new("numbers");
        let x = b.constant("x", Tensor::i64(&[4, 2], (0..8).collect()).unwrap());
        let y = build(&mut b, &x);
        b.output("y", &y, DType::I64, &[Dim::Unknown]);
        shapes::infer(&b.finish().unwrap()).known_elements("y")
    }

    #[test]
    fn elements_of_matrices_are_those_that_numpy_selects() {
        let cut = |start: i64, end: i64, axis: i64, step: i64| {
            elements(|b, x| {
                let bounds = [start, end, axis, step].map(|value| b.ints("bound", &[value]));
                b.op("Slice", &[x, &bounds[0], &bounds[1], &bounds[2], &bounds[3]], &[])
            })
        };
        // x[::-1], x[1:3], x[:, 1:], x[::-2], x[5:]
        assert_eq!(cut(-1, -i64::MAX, 0, -1).unwrap(), [6, 7, 4, 5, 2, 3, 0, 1]);
        assert_eq!(cut(1, 3, 0, 1).unwrap(), [2, 3, 4, 5]);
        assert_eq!(cut(1, i64::MAX, 1, 1).unwrap(), [1, 3, 5, 7]);
        assert_eq!(cut(i64::MAX, i64::MIN, 0, -2).unwrap(), [6, 7, 2, 3]);
        assert_eq!(cut(5, 9, 0, 1).unwrap(), [0_i64; 0]);
        assert_eq!(cut(0, 1, 0, 0), None);

        let gathered = elements(|b, x| {
            let indices = b.ints("indices", &[-1, 0]);
            b.op("Gather", &[x, &indices], &[("axis", Attr::Int(0))])
        });
        assert_eq!(gathered.unwrap(), [6, 7, 0, 1]);
        let column = elements(|b, x| {
            let indices = b.ints("indices", &[1]);
            b.op("Gather", &[x, &indices], &[("axis", Attr::Int(1))])
        });
        assert_eq!(column.unwrap(), [1, 3, 5, 7]);
        assert_eq!(elements(|b, x| b.transpose(x, &[1, 0])).unwrap(), [0, 2, 4, 6, 1, 3, 5, 7]);
        let wide = elements(|b, x| b.concat(&[x, x], 1));
        assert_eq!(wide.unwrap(), [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7]);
        let zeros = elements(|b, _| {
            let shape = b.ints("shape", &[2, 2]);
            let value = Tensor::i64(&[1], vec![5]).unwrap();
            b.op("ConstantOfShape", &[&shape], &[("value", Attr::Tensor(value))])
        });
        assert_eq!(zeros.unwrap(), [5; 4]);
    }
}
