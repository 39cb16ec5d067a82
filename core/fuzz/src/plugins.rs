//! Libraries of plugins and the manifests in them. No library is loaded.

use crate::{elf_file, scratch, seeds::Seeds};
use chiasm_abi::record;
use chiasm_host::{Host, Manifest, PluginSearch};

/// Looks at a file as a plugin, as `chiasm plugin list` does.
pub(crate) fn run(bytes: &[u8]) {
    scratch::with_file("plugins/libx.so", bytes, |path| {
        let found = Host::inspect(path);
        let search = PluginSearch { plugin_paths: vec![path.to_owned()], ..PluginSearch::default() };
        let host = Host::discover(&search);
        let listed = host.plugins().len();
        assert!(listed == 1, "a file that was named is listed {listed} times");
        let _ = (host.check_named().is_ok(), host.why("x"));
        if let Ok(manifest) = found {
            assert_eq!(host.plugins()[0].id, manifest.id);
        }
    });
}

/// Looks at a library whose section has these bytes: without the first one, or as the text of a record.
pub(crate) fn manifest(bytes: &[u8]) {
    match bytes {
        [0, section @ ..] => run(&elf_file::library(record::SECTION, section)),
        json => {
            run(&elf_file::library(record::SECTION, &section(json)));
            let _ = serde_json::from_slice::<Manifest>(json).map(|manifest| format!("{manifest:?}"));
        }
    }
}

/// The bytes of a record with this text.
fn section(json: &[u8]) -> Vec<u8> {
    [&record::MAGIC[..], &(json.len() as u64).to_le_bytes(), json].concat()
}

const MANIFEST: &str = concat!(
    r#"{"id":"x","version":"1.0.0","abi":"2.1.0","licence":"MIT","panic":"unwind","arch":"x86_64","#,
    r#""os":"linux","root":"chiasm_root_x","provides":[{"kind":"aligner","id":"x","doc":"An \u0061ligner."}]}"#
);

pub(crate) fn seeds() -> Seeds {
    Ok(vec![
        elf_file::library(record::SECTION, &section(MANIFEST.as_bytes())),
        elf_file::library(record::SECTION, b""),
        elf_file::library(".other", b"text"),
    ])
}

pub(crate) fn manifest_seeds() -> Seeds {
    let aborts = MANIFEST.replace("unwind", "abort").replace("aligner", "fusion");
    let mut padded = section(MANIFEST.as_bytes());
    padded.extend([0; 16]);
    let whole = [padded, section(b"{}")].map(|section| [&[0], &section[..]].concat());
    Ok(whole.into_iter().chain([MANIFEST.into(), aborts.into()]).collect())
}
