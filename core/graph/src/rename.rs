//! Names: prefixes for whole graphs, new names for ports and axes.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Dim, Error, Graph, Result, walk};

impl Graph {
    /// The graph with every name (ports, inner values, weights, nodes, free axes, local functions) behind
    /// `prefix/`.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let mut named = self.clone();
        if prefix.is_empty() {
            return named;
        }
        named.rename_values(&|name| Some(format!("{prefix}/{name}")));
        walk::rename_dims(&mut named.graph, &|name| Some(Dim::Named(format!("{prefix}/{name}"))));
        walk::nodes_mut(&mut named.graph.node, &mut |node| {
            if !node.name.is_empty() {
                node.name = format!("{prefix}/{}", node.name);
            }
        });
        named.rename_functions(&|name| Some(format!("{prefix}/{name}")));
        named
    }

    /// The graph with ports renamed `(from, to)`; inner values that hold a new name give way. An error for a
    /// name that is no port and for a new name that another port has.
    pub fn renamed(&self, names: &[(&str, &str)]) -> Result<Self> {
        let ports: HashSet<&str> = self.port_names().collect();
        let mut map = HashMap::new();
        for (from, to) in names {
            if !ports.contains(from) {
                return Err(Error::unknown("port", from, self.port_names()));
            }
            if to.is_empty() || map.insert((*from).to_owned(), (*to).to_owned()).is_some_and(|old| old != *to)
            {
                return Err(Error::Unsound(format!("the port `{from}` gets two names or an empty one")));
            }
        }
        let mut after: HashMap<&str, &str> = HashMap::new();
        for port in &ports {
            let new = map.get(*port).map_or(*port, String::as_str);
            if let Some(other) = after.insert(new, port) {
                return Err(Error::Unsound(format!(
                    "the ports `{other}` and `{port}` would both be `{new}`"
                )));
            }
        }
        let mut taken = self.value_names();
        let inner: Vec<&str> =
            names.iter().map(|(_, to)| *to).filter(|to| taken.contains(*to) && !ports.contains(to)).collect();
        for name in inner {
            let other = free_name(name, &taken);
            taken.insert(other.clone());
            map.insert(name.to_owned(), other);
        }
        let mut named = self.clone();
        named.rename_values(&|name| map.get(name).cloned());
        Ok(named)
    }

    /// The graph with free axes renamed `(from, to)`; giving two the same name states that they are equally
    /// long.
    #[must_use]
    pub fn renamed_dims(&self, names: &[(&str, &str)]) -> Self {
        let mut named = self.clone();
        walk::rename_dims(&mut named.graph, &|name| {
            names.iter().find(|(from, _)| *from == name).map(|(_, to)| Dim::named(*to))
        });
        named
    }

    /// Names of all ports, inputs first.
    pub(crate) fn port_names(&self) -> impl Iterator<Item = &str> {
        self.graph.input.iter().chain(&self.graph.output).map(|port| port.name.as_str())
    }

    /// Names of all values, at every depth.
    pub(crate) fn value_names(&self) -> HashSet<String> {
        let mut names: HashSet<String> = self.weights.keys().cloned().collect();
        walk::value_names(&self.graph, &mut |name| {
            names.insert(name.to_owned());
        });
        names
    }

    /// Renames values and weights wherever they are named; inside functions names are local and stay.
    pub(crate) fn rename_values(&mut self, rename: &dyn Fn(&str) -> Option<String>) {
        walk::rename_values(&mut self.graph, rename);
        let weights = std::mem::take(&mut self.weights);
        self.weights =
            weights.into_iter().map(|(name, tensor)| (rename(&name).unwrap_or(name), tensor)).collect();
    }

    /// Renames local functions and the nodes that call them.
    pub(crate) fn rename_functions(&mut self, rename: &dyn Fn(&str) -> Option<String>) {
        let mut names = BTreeMap::new();
        for function in &mut self.header.functions {
            if let Some(new) = rename(&function.name) {
                names.insert((function.domain.clone(), function.name.clone()), new.clone());
                function.name = new;
            }
        }
        let mut call = |node: &mut onnx_protobuf::NodeProto| {
            if let Some(new) = names.get(&(node.domain.clone(), node.op_type.clone())) {
                node.op_type.clone_from(new);
            }
        };
        walk::nodes_mut(&mut self.graph.node, &mut call);
        self.header.functions.iter_mut().for_each(|function| walk::nodes_mut(&mut function.node, &mut call));
    }
}

/// The name, with the first number behind it that makes it free.
pub(crate) fn free_name(name: &str, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}
