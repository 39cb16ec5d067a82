//! The code that [`export_plugin!`](crate::export_plugin) expands to. It is public for the macro and the
//! host; plugin authors do not need it.

mod adapter;
mod entries;
mod fit;
pub mod guard;
mod guarded_adapter;
pub mod manifest;
mod root;
pub mod tensor;
mod thread_pool;
pub mod train;

pub use crate::error::{from_abi, to_abi};
pub use chiasm_abi::root_header;
pub use chiasm_abi::stable::LibHeader;
pub use entries::{AdapterEntry, AlignerEntry, FusionEntry, Plugin};
pub use root::root;

/// Exports the adapters, aligners and fusions of a plugin crate. Each list is optional:
/// `export_plugin! { adapters: [A], aligners: [B, C], fusions: [D] }`.
///
/// Ids are checked at compile time. Name, version and licence come from the crate's `Cargo.toml`.
#[macro_export]
macro_rules! export_plugin {
    (
        $(adapters: [$($adapter:ty),* $(,)?] $(,)?)?
        $(aligners: [$($aligner:ty),* $(,)?] $(,)?)?
        $(fusions: [$($fusion:ty),* $(,)?] $(,)?)?
    ) => {
        const _: () = {
            use $crate::export::manifest::{PackageInfo, ComponentRecord, ManifestRecord};

            const PACKAGE: PackageInfo = PackageInfo {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                licence: env!("CARGO_PKG_LICENSE"),
                panic: if cfg!(panic = "unwind") { "unwind" } else { "abort" },
                root: concat!("chiasm_root_", env!("CARGO_CRATE_NAME")),
            };
            const PROVIDES: &[ComponentRecord] = &[
                $($(ComponentRecord::adapter::<$adapter>(),)*)?
                $($(ComponentRecord::aligner::<$aligner>(),)*)?
                $($(ComponentRecord::fusion::<$fusion>(),)*)?
            ];
            const LENGTH: usize = $crate::export::manifest::length(&PACKAGE, PROVIDES);

            #[used]
            #[unsafe(link_section = ".chiasm")]
            static RECORD: ManifestRecord<LENGTH> = ManifestRecord::new(&PACKAGE, PROVIDES);

            struct ThisPlugin;
            impl $crate::export::Plugin for ThisPlugin {
                const ADAPTERS: &'static [$crate::export::AdapterEntry] =
                    &[$($($crate::export::AdapterEntry::of::<$adapter>(),)*)?];
                const ALIGNERS: &'static [$crate::export::AlignerEntry] =
                    &[$($($crate::export::AlignerEntry::of::<$aligner>(),)*)?];
                const FUSIONS: &'static [$crate::export::FusionEntry] =
                    &[$($($crate::export::FusionEntry::of::<$fusion>(),)*)?];
                fn manifest() -> &'static str {
                    RECORD.json()
                }
            }

            // The name contains the crate, so that two plugins can be linked into one test program.
            #[unsafe(export_name = concat!("chiasm_root_", env!("CARGO_CRATE_NAME")))]
            static ROOT: $crate::export::LibHeader =
                $crate::export::root_header($crate::export::root::<ThisPlugin>);
        };
    };
}
