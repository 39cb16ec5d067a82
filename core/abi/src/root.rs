//! The root module of a plugin. It is fixed within a major version; extensions are looked up in it by name.

use abi_stable::StableAbi;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleError, RootModuleResult};
use abi_stable::marker_type::ErasedPrefix;
use abi_stable::prefix_type::{PrefixRef, PrefixRefTrait, PrefixTypeTrait};
use abi_stable::std_types::{RErr, ROk, ROption, RStr};
use abi_stable::type_layout::TypeLayout;

use crate::compat::{self, LayoutRelation};
use crate::{AdapterModule_Ref, AlignerModule_Ref, FusionModule_Ref};

/// The root module of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = Root_Ref)))]
pub struct Root {
    /// Returns the manifest as JSON: the same bytes as in the ELF section.
    pub describe: extern "C" fn() -> RStr<'static>,
    /// Returns the extension of this id, such as `chiasm.aligner/2`, if the plugin offers it.
    pub query: extern "C" fn(id: RStr<'_>) -> ROption<Extension>,
    /// Refuses further calls, and returns when the active calls have ended.
    #[sabi(last_prefix_field)]
    pub quiesce: extern "C" fn(),
}

impl RootModule for Root_Ref {
    abi_stable::declare_root_module_statics! {Root_Ref}
    const BASE_NAME: &'static str = "chiasm_plugin";
    const NAME: &'static str = "chiasm_plugin";
    const VERSION_STRINGS: abi_stable::sabi_types::VersionStrings = abi_stable::package_version_strings!();
}

/// A module that is looked up by its id.
pub trait ExtensionModule: StableAbi + PrefixRefTrait + Copy {
    /// The name and revision of the module.
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

/// A type-erased module and its layout.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Extension {
    layout: &'static TypeLayout,
    module: PrefixRef<ErasedPrefix>,
}

impl Extension {
    /// Erases the type of a module and keeps its layout.
    pub fn of<M: ExtensionModule>(module: M) -> Self {
        let prefix = module.to_prefix_ref();
        // SAFETY: the type is only erased; `checked` restores it after comparing the layouts.
        Self { layout: M::LAYOUT, module: unsafe { prefix.cast::<ErasedPrefix>() } }
    }

    /// Returns the module as `M` and which layout extends the other.
    ///
    /// # Errors
    /// If the layouts are not compatible.
    pub fn checked<M: ExtensionModule>(self) -> Result<(M, LayoutRelation), compat::LayoutMismatch> {
        let direction = compat::check(M::LAYOUT, self.layout)?;
        // SAFETY: one layout extends the other, and the accessors of a prefix type check at run time which
        // fields exist.
        Ok((unsafe { M::from_prefix_ref(self.module.cast()) }, direction))
    }
}

/// Returns the header that a plugin exports: version, layout and constructor of its root module.
pub const fn root_header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: headers are built here only, and the constructor returns the `root_result` of a `Root`.
    unsafe { LibHeader::from_constructor::<Root_Ref>(constructor, CheckTypeLayout::Yes) }
}

/// Makes a plugin's root module and erases its type. A panic of `make` becomes an error.
pub fn root_result(make: impl FnOnce() -> Root) -> RootModuleResult {
    match catch_unwind(AssertUnwindSafe(make)) {
        // SAFETY: the host restores it as a `Root_Ref`, the type that `root_header` states.
        Ok(root) => ROk(unsafe { root.leak_into_prefix().to_prefix_ref().cast::<ErasedPrefix>() }),
        Err(payload) => {
            core::mem::forget(payload); // its drop might panic too
            RErr(RootModuleError::Unwound)
        }
    }
}
