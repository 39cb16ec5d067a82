//! Renaming: prefixes for whole graphs, new names for ports and axes.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Dim, Error, Graph, Result, walk};

impl Graph {
    /// Returns the graph with `prefix/` in front of every name: ports, inner values, weights, nodes, free
    /// axes and local functions.
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

    /// Returns the graph with ports renamed, given as `(from, to)`. Inner values that have a new name are
    /// renamed too.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no port, [`Error::Unsound`] for a new name that is empty or not
    /// unique.
    pub fn renamed(&self, names: &[(&str, &str)]) -> Result<Self> {
        let ports: HashSet<&str> = self.port_names().collect();
        let mut map = HashMap::new();
        for (from, to) in names {
            if !ports.contains(from) {
                return Err(Error::unknown("port", from, self.port_names()));
            }
            if to.is_empty() || map.insert((*from).to_owned(), (*to).to_owned()).is_some_and(|old| old != *to)
            {
                return Err(Error::Unsound(format!(
                    "the port `{from}` is given two new names or an empty one"
                )));
            }
        }
        let mut after: HashMap<&str, &str> = HashMap::new();
        for port in &ports {
            let new = map.get(*port).map_or(*port, String::as_str);
            if let Some(other) = after.insert(new, port) {
                return Err(Error::Unsound(format!(
                    "the ports `{other}` and `{port}` would both be named `{new}`"
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

    /// Returns the graph with free axes renamed, given as `(from, to)`. Two axes that get the same name must
    /// have the same length in every run.
    #[must_use]
    pub fn renamed_dims(&self, names: &[(&str, &str)]) -> Self {
        let mut named = self.clone();
        walk::rename_dims(&mut named.graph, &|name| {
            names.iter().find(|(from, _)| *from == name).map(|(_, to)| Dim::named(*to))
        });
        named
    }

    /// The names of all ports, inputs first.
    pub(crate) fn port_names(&self) -> impl Iterator<Item = &str> {
        self.graph.input.iter().chain(&self.graph.output).map(|port| port.name.as_str())
    }

    /// The names of all values, including those of subgraphs.
    pub(crate) fn value_names(&self) -> HashSet<String> {
        let mut names: HashSet<String> = self.weights.keys().cloned().collect();
        walk::value_names(&self.graph, &mut |name| {
            names.insert(name.to_owned());
        });
        names
    }

    /// Renames values and weights, except in local functions, whose names are local.
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

/// The name, with a number appended if it is taken.
pub(crate) fn free_name(name: &str, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}
