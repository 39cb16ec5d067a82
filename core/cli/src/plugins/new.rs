//! `plugin new`: a small plugin to start from.

use crate::{
    args::{GlobalOptions, PluginKindArg},
    command_result::{CommandResult, json},
    print,
};
use chiasm_pipeline::Error;
use std::path::{Path, PathBuf};

const CARGO_TOML: &str = include_str!("templates/Cargo.toml.in");
const ADAPTER: &str = include_str!("templates/adapter.rs.in");
const ALIGNER: &str = include_str!("templates/aligner.rs.in");
const FUSION: &str = include_str!("templates/fusion.rs.in");

/// The folder of the crate for plugin authors in the source that this program was built from.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin");

/// Creates the folder `name` with a plugin of this kind.
pub fn new(kind: PluginKindArg, name: &str, sdk: Option<&Path>, global: &GlobalOptions) -> CommandResult {
    let refuse = |message: String, help: &str| Error::input("chiasm::plugin_new", message, help);
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(lower) || name.ends_with('-')
    {
        let message = format!("expected a name of lower-case letters, digits and `-`, got `{name}`");
        return Err(refuse(message, "the name becomes the id in recipes, for example `my-aligner`"));
    }
    let sdk = sdk.map_or_else(|| PathBuf::from(SDK), Path::to_path_buf);
    let sdk = match sdk.join("Cargo.toml").is_file() {
        true => sdk.canonicalize().map_err(|e| Error::io("find", &sdk, e))?,
        false => {
            let message = format!("the crate chiasm-plugin is not at {}", sdk.display());
            return Err(refuse(message, "name its folder in a copy of the source: --sdk chiasm/core/plugin"));
        }
    };
    let folder = Path::new(name);
    if folder.exists() {
        return Err(refuse(format!("{name} exists already"), "choose another name, or remove it"));
    }
    let source = match kind {
        PluginKindArg::Adapter => ADAPTER,
        PluginKindArg::Aligner => ALIGNER,
        PluginKindArg::Fusion => FUSION,
    };
    let sdk = sdk.to_string_lossy();
    let fill = |text: &str| text.replace("@NAME@", name).replace("@SDK@", &toml_string(&sdk));
    write(&folder.join("Cargo.toml"), &fill(CARGO_TOML))?;
    write(&folder.join("src/lib.rs"), &fill(source))?;
    let library = format!("{name}/target/debug/lib{}.so", name.replace('-', "_"));
    if json(global) {
        print::json(&library);
        return Ok(());
    }
    print::line(&format!("created {name}/Cargo.toml and {name}/src/lib.rs"));
    print::line(&format!("build it:  cargo build --manifest-path {name}/Cargo.toml"));
    print::line(&format!("test it:   chiasm plugin validate {library}"));
    print::line(&format!("use it:    chiasm --plugin {library} plugin list"));
    Ok(())
}

fn write(path: &Path, text: &str) -> CommandResult {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    }
    std::fs::write(path, text).map_err(|e| Error::io("write", path, e))
}

/// Returns a text with the characters escaped that end a string in TOML.
fn toml_string(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
