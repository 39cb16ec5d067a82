//! How loops over matrices are split into tasks.

/// Loops over at most this many numbers run on the calling thread: they take less time than it takes to wake
/// another one, and much less on a machine whose processors are busy.
pub(crate) const ONE_TASK: usize = 1 << 15;

/// Returns the number of tasks into which a loop over this many numbers is split.
pub(crate) fn tasks(numbers: usize) -> usize {
    if numbers <= ONE_TASK { 1 } else { rayon::current_num_threads() }
}
