//! Inputs that an exported model takes in another form than the run's model, under another name.

use crate::base::error::Error;
use chiasm_graph::{Builder, DType, Graph, Port};

/// The input and the output of a graph that changes one input into another.
pub const GIVEN: &str = "given";
pub const MADE: &str = "made";

/// An input in another form.
#[derive(Debug, Clone)]
pub struct PortForm {
    /// The port of the run's model.
    pub port: Port,
    /// Its name in the exported model.
    pub name: String,
    /// Whether its channels are elsewhere, or in another order.
    pub rearranged: bool,
    /// What makes the port of what is given, from [`GIVEN`] to [`MADE`]; `None` for another name only.
    head: Option<Graph>,
}

/// Pixels in another form.
#[derive(Debug, Clone, Copy)]
pub struct PixelForm {
    pub dtype: DType,
    /// Whether the channels, axis 1 of 4, have the opposite order.
    pub reversed: bool,
    /// Whether the channels are axis 1, and the last axis in the run's model.
    pub channels_first: bool,
}

impl PortForm {
    /// The same input with another name and type.
    ///
    /// # Errors
    /// If the cast cannot be written.
    pub fn named(port: &Port, name: &str, dtype: DType) -> Result<Self, chiasm_graph::Error> {
        Self::pixels(port, name, PixelForm { dtype, reversed: false, channels_first: false })
    }

    /// The same pixels in another form.
    ///
    /// # Errors
    /// If the changes do not fit the port.
    pub fn pixels(port: &Port, name: &str, form: PixelForm) -> Result<Self, chiasm_graph::Error> {
        let PixelForm { dtype, reversed, channels_first } = form;
        if dtype == port.dtype && !reversed && !channels_first {
            let (port, name) = (port.clone(), name.to_owned());
            return Ok(Self { port, name, rearranged: false, head: None });
        }
        let inner = port.dims.clone().unwrap_or_default();
        let outer = match &inner[..] {
            [batch, height, width, channels] if channels_first => {
                [batch, channels, height, width].map(Clone::clone).to_vec()
            }
            _ => inner.clone(),
        };
        let mut b = Builder::new("form");
        let mut x = b.input(GIVEN, dtype, &outer)?;
        if reversed {
            let order = b.ints("order", &[2, 1, 0]);
            x = b.gather(&x, &order, 1);
        }
        if channels_first {
            x = b.transpose(&x, &[0, 2, 3, 1]);
        }
        if dtype != port.dtype {
            x = b.cast(&x, port.dtype);
        }
        b.output(MADE, &x, port.dtype, &inner);
        let rearranged = reversed || channels_first;
        Ok(Self { rearranged, ..Self::made(port, name, b.finish()?) })
    }

    /// An input that a graph makes, from [`GIVEN`] to [`MADE`].
    pub fn made(port: &Port, name: &str, head: Graph) -> Self {
        Self { port: port.clone(), name: name.to_owned(), rearranged: false, head: Some(head) }
    }

    /// The name of the port while the model is changed.
    fn link(&self) -> String {
        if self.head.is_none() { self.name.clone() } else { format!("{}/changed", self.port.name) }
    }
}

/// Returns the model with inputs in other forms. An input that would have the name of one of them gets
/// another name; forms of one name share their input.
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
    let mut changed = model.renamed(&pairs)?;
    for (form, head) in forms.iter().filter_map(|form| Some((form, form.head.as_ref()?))) {
        let link = form.link();
        let head = head.renamed(&[(GIVEN, &form.name), (MADE, &link)])?;
        changed = head.join(&changed, &[(&link, &link)])?;
    }
    Ok(changed)
}
