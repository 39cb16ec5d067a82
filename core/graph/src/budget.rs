//! Limits of what a file may make the process decode.
//!
//! A small file can state, or expand to, any amount of data. So each decoder of this project spends a
//! [`Budget`] before it allocates memory, and stops with an error when the budget is used up. The limits:
//!
//! - The bytes decoded from a compressed or encoded file (Parquet, `.npz`): 256 MiB, or 64 times the file's
//!   size if that is more ([`Budget::of_file`]).
//! - The bytes of the messages of a model, such as its nodes and names: 256 MiB and 4 times the file's size
//!   ([`Budget::of_messages`]).
//! - The bytes of the weights in a file beside a model: twice the size of that file.
//! - The nodes of a model, after its functions are expanded: [`MAX_NODES`].
//! - The elements that the nodes of a model compute from its weights alone: [`MAX_CONSTANT_ELEMENTS`], or 8
//!   times those of the weights if that is more.
//! - The bytes of a decoded picture and of the copies that decoding makes: [`PICTURE_BYTES`].
//!
//! No budget of bytes is larger than the memory that is available, where the system says how much that is.

use std::fmt;

/// The largest number of nodes of a model, after its functions are expanded.
pub const MAX_NODES: u64 = 1 << 20;

/// The least limit of the elements that the nodes of a model compute from its weights alone.
pub const MAX_CONSTANT_ELEMENTS: u64 = 1 << 27;

/// The largest number of bytes that decoding one picture takes.
pub const PICTURE_BYTES: u64 = 512 << 20;

/// The least limit of the bytes that are decoded from one file.
const LEAST_BYTES: u64 = 256 << 20;
/// The limit of the bytes that are decoded from one file, relative to its size.
const RATIO: u64 = 64;

const BYTES: &str = "bytes";

/// An amount that may still be decoded.
///
/// ```
/// use chiasm_graph::Budget;
///
/// let mut budget = Budget::of_file(1000);
/// budget.spend(200 << 20)?;
/// let error = budget.spend(200 << 20).unwrap_err();
/// assert!(error.to_string().contains("more than 256 MiB"));
/// # Ok::<(), chiasm_graph::budget::OverBudget>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    unit: &'static str,
    limit: u64,
    left: u64,
}

/// More was to be decoded than the budget allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OverBudget {
    unit: &'static str,
    limit: u64,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, unit) = match (self.unit, self.limit >> 20) {
            (BYTES, mebibytes) if mebibytes > 0 => (mebibytes, "MiB"),
            _ => (self.limit, self.unit),
        };
        write!(f, "it takes more than {limit} {unit}, the most that is allowed")
    }
}

impl Budget {
    /// Returns a budget of `limit` of this unit, such as "nodes".
    pub fn new(unit: &'static str, limit: u64) -> Self {
        Self { unit, limit, left: limit }
    }

    /// Returns a budget of bytes, which is not larger than the available memory.
    pub fn of_bytes(limit: u64) -> Self {
        Self::new(BYTES, limit.min(available_memory().unwrap_or(u64::MAX)))
    }

    /// Returns the budget for the content of a compressed or encoded file of `size` bytes.
    pub fn of_file(size: u64) -> Self {
        Self::of_bytes(LEAST_BYTES.max(size.saturating_mul(RATIO)))
    }

    /// Returns the budget for the messages of a model of `size` bytes.
    pub fn of_messages(size: u64) -> Self {
        Self::of_bytes(LEAST_BYTES.saturating_add(size.saturating_mul(4)))
    }

    /// Takes an amount from the budget.
    ///
    /// # Errors
    /// [`OverBudget`] if less is left; the budget is then unchanged.
    pub fn spend(&mut self, amount: u64) -> Result<(), OverBudget> {
        self.check(amount)?;
        self.left -= amount;
        Ok(())
    }

    /// Checks that an amount is left, without taking it.
    ///
    /// # Errors
    /// [`OverBudget`] if less is left.
    pub fn check(&self, amount: u64) -> Result<(), OverBudget> {
        match amount <= self.left {
            true => Ok(()),
            false => Err(OverBudget { unit: self.unit, limit: self.limit }),
        }
    }
}

/// Returns the available memory in bytes, if the system reports it.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_that_does_not_fit_is_refused_and_leaves_the_budget_as_it_was() {
        let mut budget = Budget::new("nodes", 10);
        budget.spend(4).unwrap();
        let error = budget.spend(7).unwrap_err();
        assert_eq!(error.to_string(), "it takes more than 10 nodes, the most that is allowed");
        budget.spend(6).unwrap();
        assert!(budget.spend(1).is_err() && budget.spend(u64::MAX).is_err());
        budget.spend(0).unwrap();
    }
}
