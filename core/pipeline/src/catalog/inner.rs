//! Inner tensors of a model that a card names.

use chiasm_graph::Graph;
use chiasm_host::PortSpec;

/// Returns the inner tensors of a model that a card's `[ports]` names, with their types.
///
/// Names that are neither ports nor tensors are left to the adapter: they may be poolings, or mistakes that
/// it reports.
pub(super) fn tensors(model: &Graph, ports: &toml::Table) -> Vec<PortSpec> {
    let mut names = Vec::new();
    ports.values().for_each(|value| collect(value, &mut names));
    let known: Vec<String> =
        model.inputs().into_iter().chain(model.outputs()).map(|port| port.name).collect();
    names.dedup();
    names
        .into_iter()
        .filter(|name| known.iter().all(|port| port != name))
        .filter_map(|name| model.expose(name).ok()?.output(name).ok())
        .map(|port| PortSpec::from(&port))
        .collect()
}

fn collect<'a>(value: &'a toml::Value, names: &mut Vec<&'a str>) {
    match value {
        toml::Value::String(name) => names.push(name),
        toml::Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_graph::{Builder, DType, Dim};

    #[test]
    fn inner_tensors_of_the_ports_table_are_found_with_their_axes() {
        let mut b = Builder::new("model");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), 3.into(), 2.into(), 2.into()]).unwrap();
        let pooled = b.op("GlobalAveragePool", &[&x], &[]);
        let flat = b.reshape(&pooled, &[0, -1]);
        let name = flat.name().to_owned();
        let y = b.softmax(&flat, 1);
        b.output("y", &y, DType::F32, &[Dim::named("batch"), 3.into()]);
        let model = b.finish().unwrap();
        let mut ports = toml::Table::new();
        ports.insert("tokens".into(), "x".into());
        assert!(tensors(&model, &ports).is_empty(), "a port is no inner tensor");
        ports.insert(
            "pooled".into(),
            toml::Value::Array(vec![name.clone().into(), "mean".into(), "y".into()]),
        );
        let found = tensors(&model, &ports);
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].name, found[0].dims.as_ref().map(Vec::len)), (&name, Some(2)));
    }
}
