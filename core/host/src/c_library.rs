//! Plugins with the C interface of `core/abi/include/chiasm_plugin.h`, whose structures this file mirrors.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use chiasm_abi::stable::{RErr, ROk, ROption, RStr, RString, RVec, TD_Opaque};
use chiasm_abi::{
    AdapterBox, AdapterObject, AdapterObject_TO, Code, DataType, FitJob, Item, NamedBytes, Outcome,
    OwnedTensor, PluginError, Reply, ServicesRef, TensorView,
};
use chiasm_plugin::export::tensor;

use crate::calls::{CallContext, ComponentKind, PluginCalls, Question};

/// The version of the interface.
const INTERFACE: u32 = 1;
/// The largest text or graph that a plugin may give, in bytes.
const MAX_BYTES: u64 = 1 << 32;

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    data: *const u8,
    length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CTensor {
    name: Text,
    data: *const u8,
    bytes: u64,
    code: u8,
    bits: u8,
    lanes: u16,
    rank: u32,
    shape: *const i64,
}

#[repr(C)]
struct CReply {
    host: *mut c_void,
    error: extern "C" fn(*mut c_void, Text),
    text: extern "C" fn(*mut c_void, Text),
    bytes: extern "C" fn(*mut c_void, Text, *const u8, u64),
    tensor: extern "C" fn(*mut c_void, *const CTensor),
}

#[repr(C)]
struct CServices {
    host: *mut c_void,
    log: extern "C" fn(*mut c_void, u8, Text),
    progress: extern "C" fn(*mut c_void, u64, u64) -> i32,
    seed: extern "C" fn(*mut c_void) -> u64,
    threads: extern "C" fn(*mut c_void) -> u64,
}

/// The table of functions that a plugin exports.
#[repr(C)]
pub(crate) struct CPlugin {
    version: u32,
    size: u32,
    kinds: u32,
    unused: u32,
    ask: Option<unsafe extern "C" fn(u32, Text, Text, *const CReply) -> i32>,
    #[expect(clippy::type_complexity, reason = "the header declares it so")]
    fit: Option<
        unsafe extern "C" fn(
            u32,
            Text,
            *const CTensor,
            u64,
            Text,
            Text,
            *const CServices,
            *const CReply,
        ) -> i32,
    >,
    draft: Option<unsafe extern "C" fn(Text, Text, Text, *const CReply) -> i32>,
    open: Option<unsafe extern "C" fn(Text, Text, *const CServices, *mut *mut c_void, *const CReply) -> i32>,
    inputs: Option<unsafe extern "C" fn(*mut c_void, *const CReply) -> i32>,
    prepare: Option<unsafe extern "C" fn(*mut c_void, u32, Text, u64, *const CReply) -> i32>,
    rows: Option<unsafe extern "C" fn(*mut c_void) -> i64>,
    tail: Option<unsafe extern "C" fn(*mut c_void, *const CReply) -> i32>,
    close: Option<unsafe extern "C" fn(*mut c_void)>,
}

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
                "its table has version {} of the C interface, this host has {INTERFACE}; rebuild it with this \
                 release's chiasm_plugin.h",
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

/// What a function gave through its reply.
#[derive(Default)]
struct Given {
    error: Option<String>,
    text: Option<String>,
    bytes: Vec<(String, Vec<u8>)>,
    tensors: Vec<OwnedTensor>,
    /// The first thing that could not be read.
    unreadable: Option<String>,
}

type Shared = Mutex<Given>;

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

/// Calls a function of the table and returns what it gave.
fn call<F>(
    function: Option<F>,
    name: &str,
    run: impl FnOnce(F, *const CReply) -> i32,
) -> Result<Given, PluginError> {
    let function = function.ok_or_else(|| failure(&format!("its table has no function `{name}`")))?;
    let given: Shared = Mutex::default();
    let reply = CReply {
        host: (&raw const given).cast_mut().cast(),
        error: give_error,
        text: give_text,
        bytes: give_bytes,
        tensor: give_tensor,
    };
    let code = run(function, &raw const reply);
    let given = given.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (code, &given.unreadable) {
        (0, None) => Ok(given),
        (0, Some(problem)) => Err(failure(&format!("`{name}` gave {problem}"))),
        (code, _) => {
            let message = given.error.unwrap_or_else(|| format!("`{name}` failed without a message"));
            let code = u32::try_from(code).map_or(Code::OTHER, Code);
            Err(PluginError { code, message: message.into(), detail: RString::new() })
        }
    }
}

fn text_of(given: Result<Given, PluginError>) -> Reply<RString> {
    match given.map(|given| given.text) {
        Ok(Some(text)) => ROk(text.into()),
        Ok(None) => RErr(failure("it gave no text")),
        Err(e) => RErr(e),
    }
}

fn failure(message: &str) -> PluginError {
    PluginError { code: Code::OTHER, message: message.into(), detail: RString::new() }
}

fn text(text: &str) -> Text {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> Text {
    Text { data: bytes.as_ptr(), length: bytes.len() as u64 }
}

fn c_tensor(name: &str, data: &[u8], dtype: DataType, shape: &[i64]) -> CTensor {
    let DataType { code, bits, lanes } = dtype;
    let rank = u32::try_from(shape.len()).unwrap_or(u32::MAX);
    let (data, bytes) = (data.as_ptr(), data.len() as u64);
    CTensor { name: text(name), data, bytes, code, bits, lanes, rank, shape: shape.as_ptr() }
}

/// Returns the services in the form of the C interface.
fn services(services: &ServicesRef<'_>) -> CServices {
    CServices {
        host: (services as *const ServicesRef<'_>).cast_mut().cast(),
        log: service_log,
        progress: service_progress,
        seed: service_seed,
        threads: service_threads,
    }
}

/// Returns the services of a call.
fn borrowed<'a>(host: *mut c_void) -> &'a ServicesRef<'a> {
    #[expect(unsafe_code, reason = "the plugin returns the pointer that it got")]
    // SAFETY: `services` made the pointer, and the plugin may use it only during the call.
    unsafe {
        &*host.cast::<ServicesRef<'a>>()
    }
}

extern "C" fn service_log(host: *mut c_void, level: u8, message: Text) {
    if let Ok(message) = read_text(message) {
        borrowed(host).log(level, message.as_str().into());
    }
}

extern "C" fn service_progress(host: *mut c_void, done: u64, total: u64) -> i32 {
    i32::from(matches!(borrowed(host).progress(done, total), ROk(true)))
}

extern "C" fn service_seed(host: *mut c_void) -> u64 {
    borrowed(host).seed()
}

extern "C" fn service_threads(host: *mut c_void) -> u64 {
    borrowed(host).threads()
}

extern "C" fn give_error(host: *mut c_void, message: Text) {
    give(host, read_text(message), |given, message| given.error = Some(message));
}

extern "C" fn give_text(host: *mut c_void, text: Text) {
    give(host, read_text(text), |given, text| given.text = Some(text));
}

extern "C" fn give_bytes(host: *mut c_void, name: Text, data: *const u8, length: u64) {
    let read = read_text(name).and_then(|name| Ok((name, read_bytes(Text { data, length })?)));
    give(host, read, |given, named| given.bytes.push(named));
}

extern "C" fn give_tensor(host: *mut c_void, tensor: *const CTensor) {
    give(host, read_tensor(tensor), |given, tensor| given.tensors.push(tensor));
}

/// Records what a plugin gave, or why it cannot be read.
fn give<T>(host: *mut c_void, read: Result<T, String>, record: impl FnOnce(&mut Given, T)) {
    #[expect(unsafe_code, reason = "the plugin returns the pointer that it got")]
    // SAFETY: `call` made the pointer, and the plugin may use it only during the call.
    let given = unsafe { &*host.cast_const().cast::<Shared>() };
    let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
    match read {
        Ok(value) => record(&mut given, value),
        Err(problem) => {
            given.unreadable.get_or_insert(problem);
        }
    }
}

fn read_bytes(text: Text) -> Result<Vec<u8>, String> {
    if text.length == 0 {
        return Ok(Vec::new());
    }
    let length = usize::try_from(text.length.min(MAX_BYTES)).unwrap_or(usize::MAX);
    if text.data.is_null() || text.length > MAX_BYTES {
        return Err(format!("{} bytes at the address {:p}", text.length, text.data));
    }
    #[expect(unsafe_code, reason = "memory of the plugin is read")]
    // SAFETY: the plugin says that this many bytes may be read until the function returns.
    Ok(unsafe { std::slice::from_raw_parts(text.data, length) }.to_vec())
}

fn read_text(text: Text) -> Result<String, String> {
    String::from_utf8(read_bytes(text)?).map_err(|e| format!("a text that is not UTF-8: {e}"))
}

fn read_tensor(tensor: *const CTensor) -> Result<OwnedTensor, String> {
    if tensor.is_null() {
        return Err("a null tensor".into());
    }
    #[expect(unsafe_code, reason = "memory of the plugin is read")]
    // SAFETY: the plugin says that the tensor may be read until the function returns.
    let CTensor { data, bytes, code, bits, lanes, rank, shape, .. } = unsafe { *tensor };
    if rank as usize > chiasm_abi::MAX_RANK || (shape.is_null() && rank > 0) {
        return Err(format!("a tensor of rank {rank}; the largest rank is {}", chiasm_abi::MAX_RANK));
    }
    let mut lengths = [0; chiasm_abi::MAX_RANK];
    let lengths = &mut lengths[..rank as usize];
    if rank > 0 {
        #[expect(unsafe_code, reason = "memory of the plugin is read")]
        // SAFETY: as above.
        lengths.copy_from_slice(unsafe { std::slice::from_raw_parts(shape, rank as usize) });
    }
    // A copy is aligned for every type.
    let own = read_bytes(Text { data, length: bytes })?;
    let mut words = vec![0_u64; own.len().div_ceil(8)];
    bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..own.len()].copy_from_slice(&own);
    let aligned = &bytemuck::cast_slice::<u64, u8>(&words)[..own.len()];
    let view = TensorView::of_bytes(aligned, DataType { code, bits, lanes }, lengths);
    let copy = tensor::from_abi(&view).and_then(tensor::to_abi);
    copy.map_err(|e| format!("an invalid tensor: {e}"))
}
