//! Subnormal numbers as zero, for as long as the engine runs an encoder on this thread.
//!
//! Numbers below 1.2e-38 cost an x86 processor more than a hundred cycles each, and the engine's softmax
//! makes one of every masked token: it takes the `exp` of an argument that it bounds at -88. In batches of
//! short texts of different lengths that was an eighth of the time.

/// While it lives, this thread takes subnormal inputs and results of floating-point operations as zero.
pub(crate) struct SubnormalsAsZero {
    before: Control,
}

impl SubnormalsAsZero {
    pub(crate) fn begin() -> Self {
        let before = read();
        write(before | AS_ZERO);
        Self { before }
    }
}

impl Drop for SubnormalsAsZero {
    fn drop(&mut self) {
        write(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
use x86::{AS_ZERO, Control, read, write};

#[cfg(target_arch = "aarch64")]
use arm::{AS_ZERO, Control, read, write};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use other::{AS_ZERO, Control, read, write};

/// The register MXCSR.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "no safe function reads or writes the register")]
mod x86 {
    use std::arch::asm;

    pub(super) type Control = u32;
    /// Results (bit 15, FTZ) and inputs (bit 6, DAZ).
    pub(super) const AS_ZERO: Control = (1 << 15) | (1 << 6);

    pub(super) fn read() -> Control {
        let mut control: Control = 0;
        // SAFETY: the instruction writes 4 bytes to the address, which is that of a variable of 4 bytes.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: the instruction reads 4 bytes from the address of a variable of 4 bytes. The value is one
        // that was read before, with two bits that only change how subnormal numbers are taken. Between
        // `begin` and `drop` this thread calls the engine and computes nothing itself.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags)) };
    }
}

/// The register FPCR.
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "no safe function reads or writes the register")]
mod arm {
    use std::arch::asm;

    pub(super) type Control = u64;
    /// Results and inputs (bit 24, FZ).
    pub(super) const AS_ZERO: Control = 1 << 24;

    pub(super) fn read() -> Control {
        let control: Control;
        // SAFETY: reading the register changes nothing.
        unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
        control
    }

    pub(super) fn write(control: Control) {
        // SAFETY: the value is one that was read before, with a bit that only changes how subnormal numbers
        // are taken. Between `begin` and `drop` this thread calls the engine and computes nothing itself.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags)) };
    }
}

/// Other processors are left as they are.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod other {
    pub(super) type Control = u8;
    pub(super) const AS_ZERO: Control = 0;

    pub(super) fn read() -> Control {
        0
    }

    pub(super) fn write(_: Control) {}
}
