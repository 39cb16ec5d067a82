//! Limits rayon to the host's number of threads. Every plugin links its own rayon and has its own thread
//! pools.

use std::sync::OnceLock;

use rayon::ThreadPoolBuilder;

use crate::Result;

/// The size of the plugin's global thread pool, set by the first call.
static GLOBAL: OnceLock<usize> = OnceLock::new();

/// Runs `work` in a rayon thread pool of `threads` threads.
///
/// The first call sets the size of the global pool. A call with another number of threads uses a temporary
/// pool.
pub(super) fn run_with<T: Send>(threads: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let global = *GLOBAL.get_or_init(|| {
        // An error means that the plugin's own code has made the global pool; its size is kept.
        let _ = ThreadPoolBuilder::new().num_threads(threads).build_global();
        rayon::current_num_threads()
    });
    if global == threads {
        work()
    } else {
        ThreadPoolBuilder::new().num_threads(threads).build()?.install(work)
    }
}
