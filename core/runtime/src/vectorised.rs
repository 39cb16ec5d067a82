//! Running plain loops with the widest vector instructions of the processor.
//!
//! The loops are plain Rust over slices. The same code is compiled for three widths of vector instructions,
//! and one is chosen when a kernel is made, so that one binary runs on every processor.

/// Loops that are compiled for each width of vector instructions.
pub(crate) trait Vectorised {
    /// Runs the loops; `FMA` says whether products and sums are fused. Implementations are inlined.
    fn run<const FMA: bool>(self);
}

/// The vector instructions to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// Those that every processor of this architecture has.
    Base,
    /// 256 bits with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// Returns the widest instructions of this processor.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if wide && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return Self::Avx512;
            }
            if wide {
                return Self::Avx2;
            }
        }
        Self::Base
    }

    /// Runs loops with these instructions.
    pub(crate) fn run(self, loops: impl Vectorised) {
        match self {
            Self::Base => loops.run::<false>(),
            // SAFETY: the instructions were detected on this processor.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "see above")]
            Self::Avx2 => unsafe { avx2(loops) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "see above")]
            Self::Avx512 => unsafe { avx512(loops) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(loops: impl Vectorised) {
    loops.run::<true>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
fn avx512(loops: impl Vectorised) {
    loops.run::<true>();
}
