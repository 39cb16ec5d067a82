//! The root module: frozen for the major. Everything that may change hangs below it, in extensions found by name.

use abi_stable::StableAbi;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleError, RootModuleResult};
use abi_stable::marker_type::ErasedPrefix;
use abi_stable::prefix_type::{PrefixRef, PrefixRefTrait, PrefixTypeTrait};
use abi_stable::std_types::{RErr, ROk, ROption, RStr};
use abi_stable::type_layout::TypeLayout;

use crate::compat::{self, LayoutRelation};
use crate::{AdapterModule_Ref, AlignerModule_Ref, FusionModule_Ref};

/// What a plugin shows first.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = Root_Ref)))]
pub struct Root {
    /// The manifest's JSON: the same bytes as in the ELF section.
    pub describe: extern "C" fn() -> RStr<'static>,
    /// The extension of this id (`chiasm.aligner/2`), if the plugin offers it.
    pub query: extern "C" fn(id: RStr<'_>) -> ROption<Extension>,
    /// Takes no more calls from now on, and returns when those under way have ended.
    #[sabi(last_prefix_field)]
    pub quiesce: extern "C" fn(),
}

impl RootModule for Root_Ref {
    abi_stable::declare_root_module_statics! {Root_Ref}
    const BASE_NAME: &'static str = "chiasm_plugin";
    const NAME: &'static str = "chiasm_plugin";
    const VERSION_STRINGS: abi_stable::sabi_types::VersionStrings = abi_stable::package_version_strings!();
}

/// A module that can be found by name.
pub trait ExtensionModule: StableAbi + PrefixRefTrait + Copy {
    /// Its name and revision.
    const ID: &'static str;
}

impl ExtensionModule for AdapterModule_Ref {
    const ID: &'static str = "chiasm.adapter/1";
}
impl ExtensionModule for AlignerModule_Ref {
    const ID: &'static str = "chiasm.aligner/2";
}
impl ExtensionModule for FusionModule_Ref {
    const ID: &'static str = "chiasm.fusion/2";
}

/// A module of a type that only its layout tells.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Extension {
    layout: &'static TypeLayout,
    module: PrefixRef<ErasedPrefix>,
}

impl Extension {
    /// Forgets the module's type, keeps its layout.
    pub fn of<M: ExtensionModule>(module: M) -> Self {
        let prefix = module.to_prefix_ref();
        // SAFETY: the type is only erased; `checked` brings it back after comparing layouts.
        Self { layout: M::LAYOUT, module: unsafe { prefix.cast::<ErasedPrefix>() } }
    }

    /// The module as `M`, after the two-way layout check; and which way it held.
    pub fn checked<M: ExtensionModule>(self) -> Result<(M, LayoutRelation), compat::LayoutMismatch> {
        let direction = compat::check(M::LAYOUT, self.layout)?;
        // SAFETY: one layout extends the other, and a prefix type's accessors ask at run time which fields are there.
        Ok((unsafe { M::from_prefix_ref(self.module.cast()) }, direction))
    }
}

/// The header that a plugin exports for the host to find: version, layout and constructor of its root module.
pub const fn root_header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: both sides of the ABI build the header here and nowhere else; the constructor is `root_result` of a `Root_Ref`.
    unsafe { LibHeader::from_constructor::<Root_Ref>(constructor, CheckTypeLayout::Yes) }
}

/// The body of a plugin's root constructor: makes the module, erases it, and lets no panic out.
pub fn root_result(make: impl FnOnce() -> Root) -> RootModuleResult {
    match catch_unwind(AssertUnwindSafe(make)) {
        // SAFETY: the host takes it back as the `Root_Ref` that `root_header` promises.
        Ok(root) => ROk(unsafe { root.leak_into_prefix().to_prefix_ref().cast::<ErasedPrefix>() }),
        Err(payload) => {
            core::mem::forget(payload); // its drop might panic too
            RErr(RootModuleError::Unwound)
        }
    }
}
