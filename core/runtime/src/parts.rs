//! Slices that several threads write.

/// A slice in consecutive parts, each of which one thread writes.
pub(crate) struct Parts {
    data: *mut f32,
    length: usize,
    count: usize,
}

// SAFETY: each thread writes a part of its own.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Sync for Parts {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Send for Parts {}

impl Parts {
    /// Splits a slice into a number of parts of nearly equal length.
    pub(crate) fn new(values: &mut [f32], count: usize) -> Self {
        Self { data: values.as_mut_ptr(), length: values.len(), count }
    }

    /// Returns the first index of a part and the one after its last.
    pub(crate) fn bounds(&self, part: usize) -> (usize, usize) {
        (self.length * part / self.count, self.length * (part + 1) / self.count)
    }

    /// Returns a part.
    ///
    /// # Safety
    /// The slice is alive, and no other reference to this part exists.
    #[expect(unsafe_code, clippy::mut_from_ref, reason = "the caller guarantees it")]
    pub(crate) unsafe fn part(&self, part: usize) -> &mut [f32] {
        let (from, to) = self.bounds(part);
        // SAFETY: the bounds lie within the slice, and those of different parts do not overlap.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(from), to - from) }
    }
}
