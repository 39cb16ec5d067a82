//! Inputs that an exported model takes in another form than the run's model, under another name.

use super::picture_graph::{PICTURE, PIXELS};
use crate::base::error::Error;
use chiasm_graph::{Builder, DType, Dim, Graph, Port};

/// An input in another form.
#[derive(Debug, Clone)]
pub struct PortForm {
    /// The port of the run's model.
    pub port: Port,
    /// Its name in the exported model.
    pub name: String,
    /// Its type there.
    pub dtype: DType,
    /// Whether the channels, axis 1 of 4, have the opposite order there.
    pub reversed: bool,
    /// Whether the channels are axis 1 there and the last axis in the run's model.
    pub channels_first: bool,
    /// What makes the input from another one, of the names in [`picture_graph`](super::picture_graph).
    pub head: Option<Graph>,
}

impl PortForm {
    /// The same input with another name and type.
    pub fn named(port: &Port, name: &str, dtype: DType) -> Self {
        let (port, name) = (port.clone(), name.to_owned());
        Self { port, name, dtype, reversed: false, channels_first: false, head: None }
    }

    fn is_same(&self) -> bool {
        let kept = !self.reversed && !self.channels_first && self.head.is_none();
        kept && self.dtype == self.port.dtype
    }

    /// The name of the port that the changed input is joined to.
    fn link(&self) -> String {
        if self.is_same() { self.name.clone() } else { format!("{}/changed", self.port.name) }
    }
}

/// Returns the model with inputs in other forms. An input that would have the name of one of them gets
/// another name.
///
/// # Errors
/// If a form does not fit its port.
pub fn with_forms(model: &Graph, forms: &[PortForm]) -> Result<Graph, Error> {
    changed(model, forms).map_err(Error::graph("changing the inputs of the model".to_owned()))
}

fn changed(model: &Graph, forms: &[PortForm]) -> Result<Graph, chiasm_graph::Error> {
    let mut names: Vec<(String, String)> =
        forms.iter().map(|form| (form.port.name.clone(), form.link())).collect();
    for port in model.inputs().iter().filter(|port| forms.iter().all(|form| form.port.name != port.name)) {
        if forms.iter().any(|form| form.name == port.name) {
            names.push((port.name.clone(), format!("other/{}", port.name)));
        }
    }
    let pairs: Vec<(&str, &str)> = names.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let mut named = model.renamed(&pairs)?;
    for (form, head) in forms.iter().filter_map(|form| Some((form, form.head.as_ref()?))) {
        let link = form.link();
        let head = head.renamed(&[(PICTURE, &form.name), (PIXELS, &link)])?;
        named = head.join(&named, &[(&link, &link)])?;
    }
    let others: Vec<&PortForm> = forms.iter().filter(|form| !form.is_same() && form.head.is_none()).collect();
    if others.is_empty() {
        return Ok(named);
    }
    let mut b = Builder::new("forms");
    for form in &others {
        let inner = form.port.dims.clone().unwrap_or_default();
        let outer = match (&inner[..], form.channels_first) {
            ([batch, height, width, channels], true) => {
                [batch, channels, height, width].map(Dim::clone).to_vec()
            }
            _ => inner.clone(),
        };
        let mut x = b.input(&form.name, form.dtype, &outer)?;
        if form.reversed {
            let order = b.ints("order", &[2, 1, 0]);
            x = b.gather(&x, &order, 1);
        }
        if form.channels_first {
            x = b.transpose(&x, &[0, 2, 3, 1]);
        }
        if form.dtype != form.port.dtype {
            x = b.cast(&x, form.port.dtype);
        }
        b.output(&form.link(), &x, form.port.dtype, &inner);
    }
    let links: Vec<String> = others.iter().map(|form| form.link()).collect();
    let links: Vec<(&str, &str)> = links.iter().map(|link| (link.as_str(), link.as_str())).collect();
    b.finish()?.join(&named, &links)
}
