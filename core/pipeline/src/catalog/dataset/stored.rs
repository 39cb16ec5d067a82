//! The stored columns of a Parquet file, by the names that recipes use.

use parquet::{
    basic::{ConvertedType, LogicalType, Repetition},
    schema::types::{SchemaDescriptor, Type},
};

/// How the cells of a stored column are made of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellShape {
    /// One value.
    Single,
    /// A list of values.
    List,
    /// Something that is not read, in words.
    Other(&'static str),
}

/// Returns the name and the shape of each stored column, in their order. The field of a struct column is
/// `column.field`.
pub(super) fn stored_columns(schema: &SchemaDescriptor) -> Vec<(String, CellShape)> {
    let mut found = Vec::new();
    for field in schema.root_schema().get_fields() {
        add(field, field.name().to_owned(), CellShape::Single, &mut found);
    }
    found
}

fn add(node: &Type, name: String, shape: CellShape, found: &mut Vec<(String, CellShape)>) {
    let repeated = repeats(node);
    let shape = match shape {
        CellShape::Single if repeated && node.is_group() => CellShape::Other("a list of structures"),
        CellShape::Single if repeated => CellShape::List,
        CellShape::List if repeated => CellShape::Other("lists of lists"),
        other => other,
    };
    if node.is_primitive() {
        found.push((name, shape));
        return;
    }
    let kind = (node.get_basic_info().converted_type(), node.get_basic_info().logical_type_ref());
    match (kind, node.get_fields()) {
        ((ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE, _) | (_, Some(LogicalType::Map)), fields) => {
            fields.iter().for_each(|field| add(field, name.clone(), CellShape::Other("a map"), found));
        }
        ((ConvertedType::LIST, _) | (_, Some(LogicalType::List)), [entries]) => {
            let shape = match shape {
                CellShape::Single => CellShape::List,
                CellShape::List => CellShape::Other("lists of lists"),
                other => other,
            };
            entry(entries, name, shape, found);
        }
        (_, fields) => {
            // A struct within a list has no fields that a recipe could name.
            let (shape, inside) = match shape {
                CellShape::Single => (shape, true),
                CellShape::List => (CellShape::Other("a list of structures"), false),
                CellShape::Other(_) => (shape, false),
            };
            for field in fields {
                let name = if inside { format!("{name}.{}", field.name()) } else { name.clone() };
                add(field, name, shape, found);
            }
        }
    }
}

/// Adds the entries of a list. Between the list and its entries there is a group that repeats, in files of
/// old programs nothing.
fn entry(entries: &Type, name: String, shape: CellShape, found: &mut Vec<(String, CellShape)>) {
    match entries {
        Type::GroupType { fields, .. } if fields.len() == 1 && repeats(entries) => {
            add(&fields[0], name, shape, found);
        }
        Type::GroupType { fields, .. } => {
            let shape = CellShape::Other("a list of structures");
            fields.iter().for_each(|field| add(field, name.clone(), shape, found));
        }
        Type::PrimitiveType { .. } => found.push((name, shape)),
    }
}

fn repeats(node: &Type) -> bool {
    let info = node.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}
