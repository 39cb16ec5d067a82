//! The structures of the C interface, as `core/abi/include/chiasm_plugin.h` declares them, and the functions
//! through which a plugin gives results and uses services.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use chiasm_abi::stable::{RErr, ROk, RString};
use chiasm_abi::{Code, DataType, MAX_RANK, OwnedTensor, PluginError, Reply, ServicesRef, TensorView};
use chiasm_plugin::export::tensor;

/// The version of the interface.
pub(crate) const INTERFACE: u32 = 1;
/// The largest text or graph that a plugin may give, in bytes.
const MAX_BYTES: u64 = 1 << 32;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub data: *const u8,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CTensor {
    pub name: Text,
    pub data: *const u8,
    pub bytes: u64,
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
    pub rank: u32,
    pub shape: *const i64,
}

#[repr(C)]
pub(crate) struct CReply {
    pub host: *mut c_void,
    pub error: extern "C" fn(*mut c_void, Text),
    pub text: extern "C" fn(*mut c_void, Text),
    pub bytes: extern "C" fn(*mut c_void, Text, *const u8, u64),
    pub tensor: extern "C" fn(*mut c_void, *const CTensor),
}

#[repr(C)]
pub(crate) struct CServices {
    pub host: *mut c_void,
    pub log: extern "C" fn(*mut c_void, u8, Text),
    pub progress: extern "C" fn(*mut c_void, u64, u64) -> i32,
    pub seed: extern "C" fn(*mut c_void) -> u64,
    pub threads: extern "C" fn(*mut c_void) -> u64,
}

/// The table of functions that a plugin exports.
#[repr(C)]
pub(crate) struct CPlugin {
    pub version: u32,
    pub size: u32,
    pub kinds: u32,
    pub unused: u32,
    pub ask: Option<unsafe extern "C" fn(u32, Text, Text, *const CReply) -> i32>,
    pub fit: Option<
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
    pub draft: Option<unsafe extern "C" fn(Text, Text, Text, *const CReply) -> i32>,
    pub open:
        Option<unsafe extern "C" fn(Text, Text, *const CServices, *mut *mut c_void, *const CReply) -> i32>,
    pub inputs: Option<unsafe extern "C" fn(*mut c_void, *const CReply) -> i32>,
    pub prepare: Option<unsafe extern "C" fn(*mut c_void, u32, Text, u64, *const CReply) -> i32>,
    pub rows: Option<unsafe extern "C" fn(*mut c_void) -> i64>,
    pub tail: Option<unsafe extern "C" fn(*mut c_void, *const CReply) -> i32>,
    pub close: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// What a function gave through its reply.
#[derive(Default)]
pub(crate) struct Given {
    error: Option<String>,
    pub text: Option<String>,
    pub bytes: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<OwnedTensor>,
    /// The first thing that could not be read.
    unreadable: Option<String>,
}

pub(crate) type Shared = Mutex<Given>;

/// Calls a function of the table and returns what it gave.
pub(crate) fn call<F>(
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

pub(crate) fn text_of(given: Result<Given, PluginError>) -> Reply<RString> {
    match given.map(|given| given.text) {
        Ok(Some(text)) => ROk(text.into()),
        Ok(None) => RErr(failure("it gave no text")),
        Err(e) => RErr(e),
    }
}

pub(crate) fn failure(message: &str) -> PluginError {
    PluginError { code: Code::OTHER, message: message.into(), detail: RString::new() }
}

pub(crate) fn text(text: &str) -> Text {
    bytes(text.as_bytes())
}

pub(crate) fn bytes(bytes: &[u8]) -> Text {
    Text { data: bytes.as_ptr(), length: bytes.len() as u64 }
}

pub(crate) fn c_tensor(name: &str, data: &[u8], dtype: DataType, shape: &[i64]) -> CTensor {
    let DataType { code, bits, lanes } = dtype;
    let rank = u32::try_from(shape.len()).unwrap_or(u32::MAX);
    let (data, bytes) = (data.as_ptr(), data.len() as u64);
    CTensor { name: text(name), data, bytes, code, bits, lanes, rank, shape: shape.as_ptr() }
}

/// Returns the services in the form of the C interface.
pub(crate) fn services(services: &ServicesRef<'_>) -> CServices {
    CServices {
        host: (services as *const ServicesRef<'_>).cast_mut().cast(),
        log: service_log,
        progress: service_progress,
        seed: service_seed,
        threads: service_threads,
    }
}

/// Returns the services of a call.
pub(crate) fn borrowed<'a>(host: *mut c_void) -> &'a ServicesRef<'a> {
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
pub(crate) fn give<T>(host: *mut c_void, read: Result<T, String>, record: impl FnOnce(&mut Given, T)) {
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

pub(crate) fn read_bytes(text: Text) -> Result<Vec<u8>, String> {
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

pub(crate) fn read_text(text: Text) -> Result<String, String> {
    String::from_utf8(read_bytes(text)?).map_err(|e| format!("a text that is not UTF-8: {e}"))
}

pub(crate) fn read_tensor(tensor: *const CTensor) -> Result<OwnedTensor, String> {
    if tensor.is_null() {
        return Err("a null tensor".into());
    }
    #[expect(unsafe_code, reason = "memory of the plugin is read")]
    // SAFETY: the plugin says that the tensor may be read until the function returns.
    let CTensor { data, bytes, code, bits, lanes, rank, shape, .. } = unsafe { *tensor };
    if rank as usize > MAX_RANK || (shape.is_null() && rank > 0) {
        return Err(format!("a tensor of rank {rank}; the largest rank is {}", MAX_RANK));
    }
    let mut lengths = [0; MAX_RANK];
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
