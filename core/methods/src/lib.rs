//! The aligners and fusions of the folder `plugins` as one plugin, so that they share one copy of their code.
//!
//! The Python package ships this library instead of twelve: `cargo rustc -p chiasm-methods --crate-type
//! cdylib` builds it. A usual build makes no library of it, because in the folder of the executable it would
//! stand beside the plugins that it holds.

use chiasm_cca::{CcaAligner, TensorCcaAligner};
use chiasm_concat::ConcatFusion;
use chiasm_cross_attention::CrossAttentionFusion;
use chiasm_cycle::CycleAligner;
use chiasm_kcca::KccaAligner;
use chiasm_mean::MeanFusion;
use chiasm_mean_vector::MeanVectorAligner;
use chiasm_mlp::MlpAligner;
use chiasm_ot_map::OtMapAligner;
use chiasm_procrustes::ProcrustesAligner;
use chiasm_ridge::RidgeAligner;
use chiasm_systems::{Geometric, GeometryWarping, Gotma, HybridRiemannian, OtAlignMerge};

chiasm_plugin::export_plugin! {
    aligners: [
        CcaAligner,
        CycleAligner,
        Geometric,
        GeometryWarping,
        Gotma,
        HybridRiemannian,
        KccaAligner,
        MeanVectorAligner,
        MlpAligner,
        OtAlignMerge,
        OtMapAligner,
        ProcrustesAligner,
        RidgeAligner,
        TensorCcaAligner,
    ],
    fusions: [ConcatFusion, CrossAttentionFusion, MeanFusion]
}

#[cfg(test)]
mod tests {
    use chiasm_host::Host;
    use std::fs;
    use std::path::Path;

    /// The records of all plugin crates are linked into this test program too.
    #[test]
    fn the_library_is_one_plugin_that_offers_what_all_plugin_crates_offer() {
        let manifest = Host::inspect(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(manifest.id, "methods");
        let dependencies = include_str!("../Cargo.toml");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
        for plugin in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if plugin.join("Cargo.toml").is_file() {
                let name = plugin.file_name().unwrap().to_string_lossy().into_owned();
                assert!(dependencies.contains(&format!("\nchiasm-{name} = ")), "{name} is not linked in");
            }
        }
    }
}
