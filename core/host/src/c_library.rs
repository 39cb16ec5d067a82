//! Plugins with the C interface.

use std::ffi::c_void;

use chiasm_abi::stable::{RErr, ROk, ROption, RStr, RString, RVec, TD_Opaque};
use chiasm_abi::{
    AdapterBox, AdapterObject, AdapterObject_TO, FitJob, Item, NamedBytes, Outcome, OwnedTensor, Reply,
};

use crate::c_interface::{CPlugin, INTERFACE, bytes, c_tensor, call, failure, services, text, text_of};
use crate::calls::{CallContext, ComponentKind, PluginCalls, Question};

/// A loaded library with the C interface. It is never unloaded.
pub(crate) struct CLibrary {
    table: &'static CPlugin,
}

impl CLibrary {
    /// Takes the table that a library exports.
    ///
    /// # Errors
    /// If the table is of another version or smaller than this version's.
    pub(crate) fn new(table: &'static CPlugin) -> Result<Self, String> {
        if table.version != INTERFACE {
            return Err(format!(
                "its table has version {} of the C interface, this host has {INTERFACE}; rebuild it with \
                 this release's chiasm_plugin.h",
                table.version
            ));
        }
        if (table.size as usize) < size_of::<CPlugin>() {
            let expected = size_of::<CPlugin>();
            return Err(format!("its table should have {expected} bytes, but has {}", table.size));
        }
        Ok(Self { table })
    }
}

impl PluginCalls for CLibrary {
    fn offers(&self, kind: ComponentKind) -> bool {
        let bit = match kind {
            ComponentKind::Adapter => 1,
            ComponentKind::Aligner => 2,
            ComponentKind::Fusion => 4,
        };
        self.table.kinds & bit != 0
    }

    fn ask(&self, question: Question, id: RStr<'_>, argument: RStr<'_>) -> Reply<RString> {
        let number = match question {
            Question::AdapterTakes => 1,
            Question::AlignerParameters => 2,
            Question::FusionParameters => 3,
            Question::AlignerTakes => 4,
            Question::FusionNeeds => 5,
        };
        text_of(call(self.table.ask, "ask", |ask, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: the function has the declared type, and the arguments live until it returns.
            unsafe {
                ask(number, text(id.as_str()), text(argument.as_str()), reply)
            }
        }))
    }

    fn draft(&self, id: RStr<'_>, signature: RStr<'_>, directory: &[u8]) -> Reply<RString> {
        text_of(call(self.table.draft, "draft", |draft, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `ask`.
            unsafe {
                draft(text(id.as_str()), text(signature.as_str()), bytes(directory), reply)
            }
        }))
    }

    fn open(&self, id: RStr<'_>, spec: RStr<'_>, context: CallContext<'_, '_>) -> Reply<AdapterBox> {
        let mut handle = std::ptr::null_mut();
        let services = services(context.services);
        let opened = call(self.table.open, "open", |open, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `ask`; `handle` is a place for one pointer.
            unsafe {
                open(text(id.as_str()), text(spec.as_str()), &raw const services, &raw mut handle, reply)
            }
        });
        match opened {
            Err(e) => RErr(e),
            Ok(_) if handle.is_null() => RErr(failure("`open` gave a null adapter")),
            Ok(_) => {
                let adapter = CAdapter { table: self.table, handle };
                ROk(AdapterObject_TO::from_value(adapter, TD_Opaque))
            }
        }
    }

    fn fit(&self, kind: ComponentKind, job: FitJob<'_>, context: CallContext<'_, '_>) -> Reply<Outcome> {
        let mut shapes = Vec::with_capacity(job.data.len());
        for one in job.data.iter() {
            match one.tensor.layout() {
                Ok(layout) => shapes.push(
                    layout.shape().iter().map(|n| i64::try_from(*n).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
                ),
                Err(e) => return RErr(failure(&format!("the array `{}`: {e}", one.name))),
            }
        }
        let mut tensors = Vec::with_capacity(job.data.len());
        for (one, shape) in job.data.iter().zip(&shapes) {
            match one.tensor.bytes() {
                Ok((bytes, _)) => tensors.push(c_tensor(one.name.as_str(), bytes, one.tensor.dtype(), shape)),
                Err(e) => return RErr(failure(&format!("the array `{}`: {e}", one.name))),
            }
        }
        let services = services(context.services);
        let bit = if kind == ComponentKind::Fusion { 4 } else { 2 };
        let fitted = call(self.table.fit, "fit", |fit, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `ask`; the tensors point to live data.
            unsafe {
                fit(
                    bit,
                    text(job.id.as_str()),
                    tensors.as_ptr(),
                    tensors.len() as u64,
                    text(job.parameters.as_str()),
                    text(job.context.as_str()),
                    &raw const services,
                    reply,
                )
            }
        });
        match fitted {
            Err(e) => RErr(e),
            Ok(given) => {
                let graph =
                    |(name, bytes): (String, Vec<u8>)| NamedBytes { name: name.into(), bytes: bytes.into() };
                let graphs: Vec<NamedBytes> = given.bytes.into_iter().map(graph).collect();
                let report = given.text.unwrap_or_else(|| "{\"parameters\":{}}".to_owned());
                ROk(Outcome { graphs: graphs.into(), report: report.into() })
            }
        }
    }

    /// The C interface has no way to refuse calls; the host makes none after this.
    fn quiesce(&self) {}
}

/// An adapter of a plugin with the C interface.
struct CAdapter {
    table: &'static CPlugin,
    handle: *mut c_void,
}

#[expect(unsafe_code, reason = "a pointer of the plugin is passed between threads")]
// SAFETY: the header says that functions may be called from several threads at once.
unsafe impl Send for CAdapter {}
#[expect(unsafe_code, reason = "a pointer of the plugin is passed between threads")]
// SAFETY: as above.
unsafe impl Sync for CAdapter {}

impl AdapterObject for CAdapter {
    fn inputs(&self) -> Reply<RString> {
        text_of(call(self.table.inputs, "inputs", |inputs, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `ask`; `open` gave the handle.
            unsafe {
                inputs(self.handle, reply)
            }
        }))
    }

    fn prepare(&self, item: Item<'_>) -> Reply<RVec<OwnedTensor>> {
        let given = call(self.table.prepare, "prepare", |prepare, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `inputs`.
            unsafe {
                prepare(self.handle, item.kind.0, bytes(item.bytes.as_slice()), item.row, reply)
            }
        });
        match given {
            Ok(given) => ROk(given.tensors.into()),
            Err(e) => RErr(e),
        }
    }

    fn rows(&self) -> Reply<ROption<u64>> {
        let Some(rows) = self.table.rows else { return ROk(ROption::RNone) };
        #[expect(unsafe_code, reason = "a call of a function of a plugin")]
        // SAFETY: as for `inputs`.
        let rows = unsafe { rows(self.handle) };
        ROk(u64::try_from(rows).ok().into())
    }

    fn tail(&self) -> Reply<RVec<u8>> {
        let given = call(self.table.tail, "tail", |tail, reply| {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `inputs`.
            unsafe {
                tail(self.handle, reply)
            }
        });
        match given.map(|given| given.bytes.into_iter().next()) {
            Ok(Some((_, bytes))) => ROk(bytes.into()),
            Ok(None) => RErr(failure("`tail` gave no graph")),
            Err(e) => RErr(e),
        }
    }
}

impl Drop for CAdapter {
    fn drop(&mut self) {
        if let Some(close) = self.table.close {
            #[expect(unsafe_code, reason = "a call of a function of a plugin")]
            // SAFETY: as for `inputs`; nothing uses the handle afterwards.
            unsafe {
                close(self.handle);
            }
        }
    }
}
