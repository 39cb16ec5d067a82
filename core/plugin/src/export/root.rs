//! The root module of a plugin.

use chiasm_abi::stable::{PrefixTypeTrait, RNone, ROption, RSome, RStr, RootModuleResult};
use chiasm_abi::{
    AdapterModule, AdapterModule_Ref, AlignerModule, AlignerModule_Ref, Extension, ExtensionModule,
    FusionModule, FusionModule_Ref, Root, root_result,
};

use super::{adapter, entries::Plugin, fit, guard};

/// Returns the root module. The host calls it once, when it loads the library.
pub extern "C" fn root<P: Plugin>() -> RootModuleResult {
    root_result(|| {
        guard::install_panic_hook();
        Root { describe: describe::<P>, query: query::<P>, quiesce: guard::quiesce }
    })
}

extern "C" fn describe<P: Plugin>() -> RStr<'static> {
    P::manifest().into()
}

/// Returns an extension. The module is leaked; the host asks for each once.
extern "C" fn query<P: Plugin>(id: RStr<'_>) -> ROption<Extension> {
    let id = id.as_str();
    if id == AdapterModule_Ref::ID && !P::ADAPTERS.is_empty() {
        let module = AdapterModule {
            takes: adapter::takes::<P>,
            draft: adapter::draft::<P>,
            open: adapter::open::<P>,
        };
        RSome(Extension::of(module.leak_into_prefix()))
    } else if id == AlignerModule_Ref::ID && !P::ALIGNERS.is_empty() {
        let module = AlignerModule {
            parameters: fit::aligner_parameters::<P>,
            takes: fit::aligner_takes::<P>,
            fit: fit::aligner::<P>,
        };
        RSome(Extension::of(module.leak_into_prefix()))
    } else if id == FusionModule_Ref::ID && !P::FUSIONS.is_empty() {
        let module = FusionModule {
            parameters: fit::fusion_parameters::<P>,
            fit: fit::fusion::<P>,
            needs: fit::fusion_needs::<P>,
        };
        RSome(Extension::of(module.leak_into_prefix()))
    } else {
        RNone
    }
}
