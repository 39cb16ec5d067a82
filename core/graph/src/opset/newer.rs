//! What compatible changes of operators added. A node that uses it cannot be written in an older operator
//! set; one that states a default needs not state it.

use onnx_protobuf::NodeProto;

use crate::{shapes::Facts, walk};

/// Something that a version of an operator added.
enum Added {
    /// An integer attribute, and its default.
    Number(&'static str, i64),
    /// An attribute with text, and its default.
    Text(&'static str, &'static str),
    /// An attribute without a default.
    Attribute(&'static str),
    /// Values of an attribute with text: all but these.
    Words(&'static str, &'static [&'static str]),
    /// An optional input.
    Input(usize),
    /// That an input may be left out.
    Omission(usize),
    /// That an input may have more than one element.
    Vector(usize),
}

use Added::{Attribute, Input, Number, Omission, Text, Vector, Words};

#[rustfmt::skip]
const ADDED: &[(&str, i64, &[Added])] = &[
    ("ArgMax", 12, &[Number("select_last_index", 0)]),
    ("ArgMin", 12, &[Number("select_last_index", 0)]),
    ("AveragePool", 19, &[Attribute("dilations")]),
    ("BatchNormalization", 14, &[Number("training_mode", 0)]),
    ("Cast", 19, &[Number("saturate", 1)]),
    ("Cast", 24, &[Text("round_mode", "up")]),
    ("CastLike", 19, &[Number("saturate", 1)]),
    ("CastLike", 24, &[Text("round_mode", "up")]),
    ("Constant", 12, &[Attribute("value_float"), Attribute("value_floats"), Attribute("value_int"),
        Attribute("value_ints"), Attribute("value_string"), Attribute("value_strings")]),
    ("DequantizeLinear", 13, &[Vector(1), Number("axis", 1)]),
    ("DequantizeLinear", 21, &[Number("block_size", 0)]),
    ("DequantizeLinear", 23, &[Number("output_dtype", 0)]),
    ("GRU", 14, &[Number("layout", 0)]),
    ("GatherND", 12, &[Number("batch_dims", 0)]),
    ("LSTM", 14, &[Number("layout", 0)]),
    ("Pad", 18, &[Input(3)]),
    ("Pad", 19, &[Words("mode", &["constant", "reflect", "edge"])]),
    ("QuantizeLinear", 13, &[Vector(1), Number("axis", 1)]),
    ("QuantizeLinear", 19, &[Number("saturate", 1)]),
    ("QuantizeLinear", 21, &[Number("block_size", 0), Number("output_dtype", 0)]),
    ("RNN", 14, &[Number("layout", 0)]),
    ("Reshape", 14, &[Number("allowzero", 0)]),
    ("Resize", 13, &[Omission(1), Omission(2)]),
    ("ScatterElements", 16, &[Text("reduction", "none")]),
    ("ScatterElements", 18, &[Words("reduction", &["none", "add", "mul"])]),
    ("ScatterND", 16, &[Text("reduction", "none")]),
    ("ScatterND", 18, &[Words("reduction", &["none", "add", "mul"])]),
    ("Shape", 15, &[Number("start", 0), Attribute("end")]),
];

/// Removes from a node the defaults that its operator has since this version, or returns what it uses that
/// is newer than the version before.
pub(super) fn dropped(node: &mut NodeProto, version: i64, facts: &Facts) -> Result<(), String> {
    let added = ADDED.iter().find(|(name, since, _)| *name == node.op_type && *since == version);
    for added in added.into_iter().flat_map(|(_, _, added)| *added) {
        let text = |name: &str| walk::attribute(node, name).map(|value| value.s.clone());
        let given = |input: usize| node.input.get(input).is_some_and(|name| !name.is_empty());
        let (fits, what, dropped) = match added {
            Number(name, default) => {
                let value = walk::attribute(node, name).map_or(*default, |value| value.i);
                (value == *default, format!("its `{name}` is {value}"), Some(*name))
            }
            Text(name, default) => {
                let fits = text(name).is_none_or(|text| text == default.as_bytes());
                (fits, format!("it has another `{name}` than {default}"), Some(*name))
            }
            Words(name, words) => {
                let fits = text(name).is_none_or(|text| words.iter().any(|word| text == word.as_bytes()));
                (fits, format!("its `{name}` is none of {}", words.join(", ")), None)
            }
            Attribute(name) => (walk::attribute(node, name).is_none(), format!("it has `{name}`"), None),
            Input(at) => (!given(*at), format!("it has an input {at}, counted from 0"), None),
            Omission(at) => (given(*at), format!("it has no input {at}, counted from 0"), None),
            Vector(at) => {
                let scalar = facts.input_dims(node, *at).is_some_and(|dims| dims.is_empty());
                (scalar, format!("its input {at}, counted from 0, is not known to be one number"), None)
            }
        };
        if !fits {
            return Err(format!("{what}, which is possible since opset {version}"));
        }
        node.attribute.retain(|attribute| Some(attribute.name.as_str()) != dropped);
    }
    Ok(())
}
