//! The lengths of each operator's outputs, one arm an operator, and the integers that are made out of shapes.

use onnx_protobuf::NodeProto;

use super::{Length, SMALL, Shapes, place_of};
use crate::{walk::attribute, weight};

impl Shapes {
    #[rustfmt::skip]
    pub(super) fn dims(&mut self, node: &NodeProto, place: usize) -> Option<Vec<Length>> {
        if !node.domain.is_empty() {
            return None;
        }
        match node.op_type.as_str() {
            "Identity" | "Cast" | "Neg" | "Sqrt" | "Exp" | "Log" | "Abs" | "Sign" | "Erf" | "Tanh"
            | "Sigmoid" | "Relu" | "LeakyRelu" | "Elu" | "Gelu" | "Softplus" | "Clip" | "Softmax"
            | "LogSoftmax" | "Not" | "Sin" | "Cos" | "Floor" | "Ceil" | "Round" | "Reciprocal" | "CumSum"
            | "ScatterND" | "ScatterElements" | "Trilu" | "IsNaN" | "IsInf" => {
                self.dims_of(node, 0)
            }
            "LayerNormalization" => (place == 0).then(|| self.dims_of(node, 0))?,
            "GatherElements" => self.dims_of(node, 1),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" | "Mean" | "Mod" | "Where" | "Equal"
            | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" | "PRelu" => {
                (0..node.input.len()).try_fold(Vec::new(), |all, input| {
                    let dims = self.dims_of(node, input)?;
                    Some(self.broadcast(&all, &dims))
                })
            }
            "MatMul" => self.matmul(node),
            "Gemm" => {
                let side = |input, flag: &str| {
                    let swapped = attribute(node, flag).is_some_and(|attribute| attribute.i != 0);
                    Some((self.dims_of(node, input)?, usize::from(swapped)))
                };
                let ((a, swap_a), (b, swap_b)) = (side(0, "transA")?, side(1, "transB")?);
                Some(vec![*a.get(swap_a)?, *b.get(1 - swap_b)?])
            }
            "Einsum" => self.einsum(node),
            "Transpose" => {
                let dims = self.dims_of(node, 0)?;
                match attribute(node, "perm") {
                    Some(perm) => {
                        perm.ints.iter().map(|at| dims.get(usize::try_from(*at).ok()?).copied()).collect()
                    }
                    None => Some(dims.into_iter().rev().collect()),
                }
            }
            "Reshape" => self.reshape(node),
            "Flatten" => Some(vec![self.fresh(), self.fresh()]),
            "Squeeze" => {
                let dims = self.dims_of(node, 0)?;
                let axes = match node.input.get(1).is_some() || attribute(node, "axes").is_some() {
                    true => places(&self.list(node, 1, "axes")?, dims.len())?,
                    false => (0..dims.len()).filter(|at| dims[*at] == Length::Fixed(1)).collect(),
                };
                Some(without(&dims, &axes))
            }
            "Unsqueeze" => {
                let dims = self.dims_of(node, 0)?;
                let axes = self.list(node, 1, "axes")?;
                let axes = places(&axes, dims.len() + axes.len())?;
                let mut old = dims.iter();
                (0..dims.len() + axes.len())
                    .map(|at| if axes.contains(&at) { Some(Length::Fixed(1)) } else { old.next().copied() })
                    .collect()
            }
            "Expand" => {
                let dims = self.dims_of(node, 0)?;
                match self.facts.get(node.input.get(1)?)?.ints.clone() {
                    Some(shape) => Some(self.broadcast(&dims, &shape)),
                    None => {
                        let Length::Fixed(rank) = *self.dims_of(node, 1)?.first()? else { return None };
                        Some((0..dims.len().max(usize::try_from(rank).ok()?)).map(|_| self.fresh()).collect())
                    }
                }
            }
            "Concat" => {
                let mut dims = self.dims_of(node, 0)?;
                let axis = place_of(attribute(node, "axis")?.i, dims.len())?;
                let length = |input| self.dims_of(node, input)?.get(axis)?.fixed();
                let add = |sum: i64, input| sum.checked_add(length(input)?);
                let total = (0..node.input.len()).try_fold(0, add);
                dims[axis] = total.map_or_else(|| self.fresh(), Length::Fixed);
                Some(dims)
            }
            "Split" => {
                let mut dims = self.dims_of(node, 0)?;
                let axis = place_of(attribute(node, "axis").map_or(0, |axis| axis.i), dims.len())?;
                dims[axis] = match (self.list(node, 1, "split"), dims[axis].fixed()) {
                    (Some(sizes), _) => Length::Fixed(*sizes.get(place)?),
                    (None, Some(length)) if length % i64::try_from(node.output.len()).ok()? == 0 => {
                        Length::Fixed(length / i64::try_from(node.output.len()).ok()?)
                    }
                    _ => self.fresh(),
                };
                Some(dims)
            }
            "Slice" => self.slice(node),
            "Gather" => {
                let (dims, indices) = (self.dims_of(node, 0)?, self.dims_of(node, 1)?);
                let axis = place_of(attribute(node, "axis").map_or(0, |axis| axis.i), dims.len())?;
                Some([&dims[..axis], &indices, &dims[axis + 1..]].concat())
            }
            "TopK" => {
                let mut dims = self.dims_of(node, 0)?;
                let axis = place_of(attribute(node, "axis").map_or(-1, |axis| axis.i), dims.len())?;
                let k = self.known_ints(node.input.get(1)?).and_then(|k| k.first().copied());
                dims[axis] = k.map_or_else(|| self.fresh(), Length::Fixed);
                Some(dims)
            }
            "ArgMax" | "ArgMin" => {
                let mut dims = self.dims_of(node, 0)?;
                let axis = place_of(attribute(node, "axis").map_or(0, |axis| axis.i), dims.len())?;
                if attribute(node, "keepdims").is_some_and(|keep| keep.i == 0) {
                    dims.remove(axis);
                } else {
                    dims[axis] = Length::Fixed(1);
                }
                Some(dims)
            }
            "Shape" => Some(vec![Length::Fixed(i64::try_from(self.dims_of(node, 0)?.len()).ok()?)]),
            "Size" => Some(Vec::new()),
            "Range" => Some(vec![self.fresh()]),
            "NonZero" => {
                let rank = i64::try_from(self.dims_of(node, 0)?.len()).ok()?;
                Some(vec![Length::Fixed(rank), self.fresh()])
            }
            "ConstantOfShape" => self.facts.get(node.input.first()?)?.ints.clone(),
            "Constant" => {
                let value = node.attribute.first()?;
                match value.name.as_str() {
                    "value" => Some(value.t.dims.iter().copied().map(Length::Fixed).collect()),
                    "value_ints" => Some(vec![Length::Fixed(i64::try_from(value.ints.len()).ok()?)]),
                    "value_floats" => Some(vec![Length::Fixed(i64::try_from(value.floats.len()).ok()?)]),
                    _ => Some(Vec::new()),
                }
            }
            name if name.starts_with("Reduce") => self.reduced(node),
            _ => None,
        }
    }

    fn broadcast(&mut self, a: &[Length], b: &[Length]) -> Vec<Length> {
        let rank = a.len().max(b.len());
        let at = |dims: &[Length], place: usize| {
            (place + dims.len()).checked_sub(rank).map_or(Length::Fixed(1), |place| dims[place])
        };
        let one = |place| match (at(a, place), at(b, place)) {
            (x, y) if x == y => x,
            (Length::Fixed(1), other) | (other, Length::Fixed(1)) => other,
            (Length::Fixed(length), _) | (_, Length::Fixed(length)) => Length::Fixed(length),
            (Length::Symbol(_), Length::Symbol(_)) => self.fresh(),
        };
        (0..rank).map(one).collect()
    }

    fn matmul(&mut self, node: &NodeProto) -> Option<Vec<Length>> {
        let (a, b) = (self.dims_of(node, 0)?, self.dims_of(node, 1)?);
        let (batch_a, rows) = a.split_at(a.len().saturating_sub(2));
        let (batch_b, columns) = b.split_at(b.len().saturating_sub(2));
        let mut dims = self.broadcast(batch_a, batch_b);
        dims.extend((rows.len() == 2).then(|| rows[0]));
        dims.extend((columns.len() == 2).then(|| columns[1]));
        Some(dims)
    }

    fn einsum(&self, node: &NodeProto) -> Option<Vec<Length>> {
        let equation = String::from_utf8_lossy(&attribute(node, "equation")?.s).replace(' ', "");
        let (inputs, output) = equation.split_once("->")?;
        let find = |letter: char| {
            inputs.split(',').enumerate().find_map(|(input, letters)| {
                let at = letters.chars().position(|other| other == letter)?;
                self.dims_of(node, input)?.get(at).copied()
            })
        };
        output.chars().map(find).collect()
    }

    fn reshape(&mut self, node: &NodeProto) -> Option<Vec<Length>> {
        let old = self.dims_of(node, 0);
        let Some(shape) = self.facts.get(node.input.get(1)?)?.ints.clone() else {
            let Length::Fixed(rank) = *self.dims_of(node, 1)?.first()? else { return None };
            return Some((0..rank).map(|_| self.fresh()).collect());
        };
        let copy = |at: usize| old.as_ref().and_then(|old| old.get(at).copied());
        let mut dims = Vec::with_capacity(shape.len());
        for (at, length) in shape.iter().enumerate() {
            dims.push(match length {
                Length::Fixed(0) => copy(at).unwrap_or_else(|| self.fresh()),
                other => *other,
            });
        }
        if let Some(open) = dims.iter().position(|length| *length == Length::Fixed(-1)) {
            // The open axis takes what is left: a number when all others are, one free axis when the others
            // cancel.
            let mut left = old.unwrap_or_default();
            let mut fits = !left.is_empty();
            for (_, length) in dims.iter().enumerate().filter(|(at, _)| *at != open) {
                match left.iter().position(|other| other == length) {
                    Some(found) => drop(left.remove(found)),
                    None => fits &= *length == Length::Fixed(1),
                }
            }
            left.retain(|length| *length != Length::Fixed(1));
            dims[open] = match left[..] {
                [] if fits => Length::Fixed(1),
                [one] if fits => one,
                _ => self.rest(node, &dims, open),
            };
        }
        Some(dims)
    }

    /// The open axis of a reshape by division, when every other length is a number.
    fn rest(&mut self, node: &NodeProto, dims: &[Length], open: usize) -> Length {
        let product =
            |dims: &[Length]| dims.iter().try_fold(1_i64, |all, length| all.checked_mul(length.fixed()?));
        let others = [&dims[..open], &dims[open + 1..]].concat();
        match (self.dims_of(node, 0).and_then(|old| product(&old)), product(&others)) {
            (Some(total), Some(taken)) if taken > 0 && total % taken == 0 => Length::Fixed(total / taken),
            _ => self.fresh(),
        }
    }

    fn slice(&mut self, node: &NodeProto) -> Option<Vec<Length>> {
        let mut dims = self.dims_of(node, 0)?;
        let starts = self.list(node, 1, "starts");
        let ends = self.list(node, 2, "ends");
        let count = self.dims_of(node, 1)?.first()?.fixed()?;
        let axes = if node.input.get(3).is_some_and(|name| !name.is_empty()) {
            self.known_ints(&node.input[3])?
        } else {
            (0..count).collect()
        };
        let steps = match node.input.get(4) {
            Some(name) => self.known_ints(name),
            None => Some(vec![1; axes.len()]),
        };
        for (at, axis) in axes.iter().enumerate() {
            let place = place_of(*axis, dims.len())?;
            let known = dims[place].fixed().zip(starts.as_ref()).zip(ends.as_ref()).zip(steps.as_ref());
            dims[place] = match known {
                Some((((length, starts), ends), steps)) if steps[at] > 0 => {
                    let bound =
                        |value: i64| (if value < 0 { value + length } else { value }).clamp(0, length);
                    let (start, end) = (bound(starts[at]), bound(ends[at]));
                    Length::Fixed(
                        (end - start).max(0).div_euclid(steps[at])
                            + i64::from((end - start).max(0) % steps[at] != 0),
                    )
                }
                _ => self.fresh(),
            };
        }
        Some(dims)
    }

    fn reduced(&self, node: &NodeProto) -> Option<Vec<Length>> {
        let dims = self.dims_of(node, 0)?;
        let axes = self.reduced_axes(node, dims.len())?;
        if attribute(node, "keepdims").is_some_and(|keep| keep.i == 0) {
            return Some(without(&dims, &axes));
        }
        let keep =
            |(at, length): (usize, &Length)| if axes.contains(&at) { Length::Fixed(1) } else { *length };
        Some(dims.iter().enumerate().map(keep).collect())
    }

    /// The axes that a reduction over a value of this rank removes; `None` when they are computed.
    pub(crate) fn reduced_axes(&self, node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let noop = attribute(node, "noop_with_empty_axes").is_some_and(|noop| noop.i != 0);
        let given =
            node.input.get(1).is_some_and(|name| !name.is_empty()) || attribute(node, "axes").is_some();
        let axes = if given { self.list(node, 1, "axes")? } else { Vec::new() };
        match (axes.is_empty(), noop) {
            (true, true) => Some(Vec::new()),
            (true, false) => Some((0..rank).collect()),
            (false, _) => places(&axes, rank),
        }
    }

    /// The integers that a node makes out of shapes.
    pub(super) fn ints(&self, node: &NodeProto) -> Option<Vec<Length>> {
        let of = |input: usize| self.facts.get(node.input.get(input)?)?.ints.clone();
        match node.op_type.as_str() {
            "Shape" => self.dims_of(node, 0),
            "Identity" | "Cast" | "Squeeze" | "Unsqueeze" | "Reshape" => of(0),
            "Concat" => (0..node.input.len()).map(of).collect::<Option<Vec<_>>>().map(|parts| parts.concat()),
            "Gather" => {
                let (from, indices) = (of(0)?, self.known_ints(node.input.get(1)?)?);
                indices.iter().map(|at| from.get(place_of(*at, from.len())?).copied()).collect()
            }
            "Slice" => {
                let from = of(0)?;
                let (start, end) =
                    (*self.list(node, 1, "starts")?.first()?, *self.list(node, 2, "ends")?.first()?);
                if node.input.get(4).is_some_and(|steps| self.known_ints(steps) != Some(vec![1])) {
                    return None;
                }
                let length = i64::try_from(from.len()).ok()?;
                let bound = |value: i64| (if value < 0 { value + length } else { value }).clamp(0, length);
                Some(
                    from.get(usize::try_from(bound(start)).ok()?..usize::try_from(bound(end)).ok()?)?
                        .to_vec(),
                )
            }
            "Constant" => {
                let value = node.attribute.first()?;
                let ints = match value.name.as_str() {
                    "value" => weight::small_ints(&value.t, SMALL)?,
                    "value_int" => vec![value.i],
                    "value_ints" => value.ints.clone(),
                    _ => return None,
                };
                Some(ints.into_iter().map(Length::Fixed).collect())
            }
            _ => None,
        }
    }
}

fn places(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    axes.iter().map(|axis| place_of(*axis, rank)).collect()
}

fn without(dims: &[Length], axes: &[usize]) -> Vec<Length> {
    dims.iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, length)| *length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, DType, Dim};

    /// The length of a `Concat` of vectors with these lengths.
    fn concatenated(lengths: impl Iterator<Item = Dim>) -> Length {
        let mut b = Builder::new("concat");
        let parts: Vec<_> = lengths
            .enumerate()
            .map(|(at, length)| b.input(&format!("x{at}"), DType::F32, &[length]).unwrap())
            .collect();
        let y = b.concat(&parts.iter().collect::<Vec<_>>(), 0);
        b.output("y", &y, DType::F32, &[Dim::named("all")]);
        let graph = b.finish().unwrap();
        let node = &graph.graph.node[0];
        Shapes::of(&graph).dims(node, 0).unwrap()[0]
    }

    #[test]
    fn a_concat_with_an_unknown_length_is_of_unknown_length_however_many_there_are() {
        assert_eq!(concatenated([2, 3, 4].into_iter().map(Dim::Fixed)), Length::Fixed(9));
        for count in [1, 2, 64, 65, 1000] {
            let free = (0..count).map(|at| Dim::named(format!("n{at}")));
            let length = concatenated([Dim::Fixed(1)].into_iter().chain(free));
            assert!(matches!(length, Length::Symbol(_)), "{count} unknown lengths: {length:?}");
        }
        let huge = [i64::MAX, i64::MAX].map(|length| Dim::Fixed(length.try_into().unwrap()));
        assert!(matches!(concatenated(huge.into_iter()), Length::Symbol(_)));
    }
}
