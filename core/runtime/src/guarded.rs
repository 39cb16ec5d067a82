//! Keeping panics inside our operators: the engine calls them from C++, where a panic ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use ort::operator::ComputeContext;

/// Runs part of an operator; a panic becomes an error of the run.
pub(crate) fn guarded<T>(operator: &str, run: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(panicked(operator)))
}

/// Runs pieces of work on the engine's threads; a panic in one of them becomes an error of the run.
pub(crate) fn guarded_pieces(
    operator: &str,
    context: &ComputeContext,
    pieces: usize,
    piece: impl Fn(usize) + Sync + Send,
) -> ort::Result<()> {
    let failed = AtomicBool::new(false);
    context.par_for(pieces, 0, |number| {
        if catch_unwind(AssertUnwindSafe(|| piece(number))).is_err() {
            failed.store(true, Ordering::Relaxed);
        }
    })?;
    if failed.into_inner() { Err(panicked(operator)) } else { Ok(()) }
}

fn panicked(operator: &str) -> ort::Error {
    ort::Error::new(format!("{operator} panicked; please report this with the model and its inputs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_the_name_of_the_operator() {
        if crate::Engine::open(&crate::EngineSearch::from_environment(None)).is_err() {
            return chiasm_testing::skip(chiasm_testing::Requirement::Engine, "no engine was found");
        }
        let empty: Vec<usize> = Vec::new();
        let error = guarded("chiasm.Test", || Ok(empty[std::hint::black_box(3)])).unwrap_err();
        assert!(error.to_string().contains("chiasm.Test panicked"), "{error}");
        assert_eq!(guarded("chiasm.Test", || Ok(3)).unwrap(), 3);
    }
}
