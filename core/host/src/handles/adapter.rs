//! Adapters of plugins, before and after they are opened for an encoder.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use chiasm_abi::stable::{ROption, RSlice};
use chiasm_abi::{AdapterBox, Code, Item as RawItem, ItemKind, OwnedTensor};
use chiasm_graph::{DType, Graph, Port, Tensor};
use chiasm_plugin::export::tensor;

use super::{ReplyReader, aligner::with_services, require};
use crate::calls::{ComponentKind, PluginCalls, Question};
use crate::start::LoadedPlugin;
use crate::{
    Draft, EncoderSpec, HostError, HostServices, Item, LEFT_OUT, ModelInput, Phase, PluginTag, PortSpec,
    Result, Signature, Takes, verify,
};

/// An adapter of a plugin: it drafts cards and is opened for encoders.
#[derive(Clone)]
pub struct AdapterFactory {
    id: String,
    tag: Arc<PluginTag>,
    plugin: Arc<dyn PluginCalls>,
    sha256: [u8; 32],
}

impl AdapterFactory {
    pub(crate) fn new(id: &str, tag: Arc<PluginTag>, loaded: LoadedPlugin) -> Result<Self> {
        require(&loaded, ComponentKind::Adapter, id, &tag)?;
        Ok(Self { id: id.to_owned(), tag, plugin: loaded.calls, sha256: loaded.sha256 })
    }

    /// Returns the plugin that it belongs to.
    pub fn plugin(&self) -> &PluginTag {
        &self.tag
    }

    /// Returns the SHA-256 digest of the plugin's file as it was loaded.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns the kind of item that it takes.
    pub fn takes(&self) -> Result<Takes> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Describe };
        let text =
            reader.take(self.plugin.ask(Question::AdapterTakes, self.id.as_str().into(), "".into()))?;
        reader.json(&text, "kinds of item")
    }

    /// Returns a draft card for a model in a directory, or `None` if the adapter does not recognise the
    /// model.
    pub fn draft(&self, signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Draft };
        let signature = reader.check(serde_json::to_string(signature).map_err(|e| e.to_string()))?;
        let directory = directory.as_os_str().as_bytes();
        let draft =
            reader.take(self.plugin.draft(self.id.as_str().into(), signature.as_str().into(), directory))?;
        reader.json(&draft, "drafts")
    }

    /// Opens the adapter for an encoder.
    ///
    /// # Errors
    /// If the card or the plugin is faulty, or the adapter's tensors do not match the model's inputs.
    pub fn open(&self, spec: &EncoderSpec, services: &dyn HostServices) -> Result<AdapterInstance> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Open };
        let fail = |message: String| HostError::new(Code::INVALID, Phase::Open, message).of(&self.tag);
        verify::utf8(&spec.directory).map_err(fail)?;
        let json = serde_json::to_string(spec).map_err(|e| fail(e.to_string()))?;
        let object = with_services(&reader, services, |context| {
            self.plugin.open(self.id.as_str().into(), json.as_str().into(), context)
        })?;
        let inputs: Vec<ModelInput> = reader.json(&reader.take(object.inputs())?, "inputs")?;
        let head = match reader.take(object.head())? {
            ROption::RSome(bytes) => Some(reader.check(verify::head(&bytes, spec))?),
            ROption::RNone => None,
        };
        let adapter = AdapterInstance { tag: self.tag.clone(), object, spec: spec.clone(), inputs, head };
        reader.check(adapter.check_inputs())?;
        Ok(adapter)
    }
}

/// An adapter opened for one encoder. It may be used from several threads at once.
pub struct AdapterInstance {
    tag: Arc<PluginTag>,
    object: AdapterBox,
    spec: EncoderSpec,
    inputs: Vec<ModelInput>,
    head: Option<Graph>,
}

impl AdapterInstance {
    /// Returns the tensors that `prepare` makes, in the same order.
    pub fn inputs(&self) -> &[ModelInput] {
        &self.inputs
    }

    /// Returns the number of rows, for an adapter that takes rows.
    pub fn rows(&self) -> Result<Option<u64>> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Open };
        reader.take(self.object.rows()).map(Into::into)
    }

    /// Prepares one raw item: one tensor per input, without a batch axis, copied to the host's memory.
    pub fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let borrowed = self.prepare_borrowed(item)?;
        let mut tensors = Vec::with_capacity(borrowed.len());
        for tensor in &borrowed {
            tensors.push(self.prepared().check(tensor.to_tensor())?);
        }
        Ok(tensors)
    }

    /// Prepares one raw item as [`AdapterInstance::prepare`] does, but in the plugin's memory, without a
    /// copy.
    pub fn prepare_borrowed(&self, item: Item<'_>) -> Result<Vec<PluginTensor>> {
        let reader = self.prepared();
        let raw = match item {
            Item::Path(path) => raw(ItemKind::PATH, path.as_os_str().as_bytes(), 0),
            Item::Text(text) => raw(ItemKind::TEXT, text.as_bytes(), 0),
            Item::Row(row) => raw(ItemKind::ROW, &[], row as u64),
        };
        let tensors = reader.take(self.object.prepare(raw))?;
        if tensors.len() != self.inputs.len() {
            let message = format!("expected {} tensors, got {}", self.inputs.len(), tensors.len());
            return reader.check(Err(message));
        }
        // Not `collect`: through `Result` it does not know the capacity, and this runs once per item.
        let mut borrowed = Vec::with_capacity(tensors.len());
        for (tensor, input) in tensors.into_iter().zip(&self.inputs) {
            borrowed.push(reader.check(PluginTensor::new(tensor, input))?);
        }
        Ok(borrowed)
    }

    /// Returns the graph that precedes the encoder, if the adapter has one. Its inputs are tensors of this
    /// adapter; its outputs are the inputs of the model.
    pub fn head(&self) -> Option<&Graph> {
        self.head.as_ref()
    }

    /// Returns the graph that follows the encoder. Its inputs are ports of the model or tensors of this
    /// adapter; its outputs are `tokens`, `mask` and `pooled`.
    ///
    /// # Errors
    /// If the plugin fails or the graph is invalid.
    pub fn tail(&self) -> Result<Graph> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Tail };
        let bytes = reader.take(self.object.tail())?;
        let graph = reader.check(verify::graph(&bytes, "tail"))?;
        let own: Vec<Port> = self
            .inputs
            .iter()
            .map(|input| Port { name: input.name.clone(), dtype: input.dtype, dims: None })
            .collect();
        reader.check(verify::tail(&graph, &self.spec, &own))?;
        Ok(graph)
    }

    /// Checks that the model, or the head before it, has the inputs that the adapter makes, with their type
    /// and rank. The tail may read further tensors, and [`LEFT_OUT`] is for the host. A model without ports
    /// (precomputed vectors) takes any.
    fn check_inputs(&self) -> std::result::Result<(), String> {
        let name = &self.spec.name;
        let (ports, what): (Vec<PortSpec>, _) = match &self.head {
            Some(head) => {
                let made = head.outputs();
                let own = self.spec.inputs.iter().filter(|input| made.iter().all(|m| m.name != input.name));
                let mut ports: Vec<PortSpec> = own.cloned().collect();
                let of_head = head.inputs();
                let further = of_head.iter().filter(|port| ports.iter().all(|own| own.name != port.name));
                let further: Vec<PortSpec> = further.map(PortSpec::from).collect();
                ports.extend(further);
                (ports, "its head with the model")
            }
            None if self.spec.inputs.is_empty() => return Ok(()),
            None => (self.spec.inputs.clone(), "the model"),
        };
        for input in self.inputs.iter().filter(|input| input.name != LEFT_OUT) {
            let Some(port) = ports.iter().find(|port| port.name == input.name) else {
                let read = self.tail().is_ok_and(|tail| tail.input(&input.name).is_ok());
                if read {
                    continue;
                }
                let names = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "it makes `{}`, which is not an input of {what} `{name}`; the inputs are: {names}",
                    input.name
                ));
            };
            let rank = port.dims.as_ref().map(Vec::len);
            if port.dtype != input.dtype || rank.is_some_and(|rank| rank != input.dims.len() + 1) {
                return Err(format!(
                    "it makes `{}` as {} of rank {} and a batch axis, {what} takes {} of rank {}",
                    input.name,
                    input.dtype,
                    input.dims.len(),
                    port.dtype,
                    rank.map_or_else(|| "any".into(), |rank| rank.to_string()),
                ));
            }
        }
        match ports.iter().find(|port| !self.inputs.iter().any(|input| input.name == port.name)) {
            Some(port) => {
                Err(format!("{what} `{name}` has the input `{}`, which it does not make", port.name))
            }
            None => Ok(()),
        }
    }

    fn prepared(&self) -> ReplyReader<'_> {
        ReplyReader { tag: &self.tag, phase: Phase::Prepare }
    }
}

/// A checked tensor in the plugin's memory. The plugin frees it when it is dropped.
pub struct PluginTensor {
    tensor: OwnedTensor,
    dtype: DType,
}

impl PluginTensor {
    fn new(tensor: OwnedTensor, input: &ModelInput) -> Result<Self, String> {
        let fail = |e: &dyn std::fmt::Display| format!("its tensor for `{}`: {e}", input.name);
        let view = tensor.view();
        let layout = view.layout().map_err(|e| fail(&e))?;
        let dtype = tensor::dtype(view.dtype()).map_err(|e| fail(&e))?;
        let shape = layout.shape();
        let long = shape.len() == input.dims.len()
            && shape
                .iter()
                .zip(&input.dims)
                .all(|(got, expected)| expected.is_none_or(|length| length == *got));
        if dtype != input.dtype || !long {
            return Err(format!(
                "its tensor for `{}`: expected {} {:?}, got {dtype} {shape:?}",
                input.name, input.dtype, input.dims
            ));
        }
        Ok(Self { tensor, dtype })
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> Vec<usize> {
        self.tensor.view().layout().map_or_else(|_| Vec::new(), |layout| layout.shape().to_vec())
    }

    /// Returns the elements in row-major order, or `None` if they are not `f32`.
    pub fn as_f32(&self) -> Option<&[f32]> {
        self.tensor.view().slice::<f32>().ok().map(|(values, _)| values)
    }

    /// Returns the elements in row-major order, or `None` if they are not `i64`.
    pub fn as_i64(&self) -> Option<&[i64]> {
        self.tensor.view().slice::<i64>().ok().map(|(values, _)| values)
    }

    /// Copies the tensor to the host's memory.
    fn to_tensor(&self) -> Result<Tensor, String> {
        tensor::from_abi(&self.tensor.view()).map_err(|e| e.to_string())
    }
}

fn raw(kind: ItemKind, bytes: &[u8], row: u64) -> RawItem<'_> {
    RawItem { kind, bytes: RSlice::from_slice(bytes), row }
}
