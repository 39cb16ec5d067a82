//! Keeps rayon to the host's thread budget. Every plugin links its own rayon, hence has its own pools.

use std::sync::OnceLock;

use rayon::ThreadPoolBuilder;

use crate::Result;

/// The size of this plugin's global pool, set by the first call.
static GLOBAL: OnceLock<usize> = OnceLock::new();

/// Runs `work` where rayon has `threads` threads: in the global pool, which the first budget sizes, or, for another budget, in a pool of
/// its own that ends with the call.
pub(super) fn run_with<T: Send>(threads: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let global = *GLOBAL.get_or_init(|| {
        // An error means that the pool was made before (the plugin's own code): then that size stays.
        let _ = ThreadPoolBuilder::new().num_threads(threads).build_global();
        rayon::current_num_threads()
    });
    if global == threads {
        work()
    } else {
        ThreadPoolBuilder::new().num_threads(threads).build()?.install(work)
    }
}
