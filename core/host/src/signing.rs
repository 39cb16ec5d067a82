//! Signing plugins with minisign keys.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, SecretKeyBox};

use crate::trust::signature_path;

/// The largest plugin to sign and the largest key file, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Creates a key pair: the secret key in a new file that only the user can read, and the public key beside it
/// with the extension `pub`. Returns the public key in minisign's text form.
///
/// The secret key is not encrypted. `minisign -G` creates an encrypted one, which [`sign`] accepts too.
///
/// # Errors
/// If a file exists already or cannot be written.
pub fn create_key(path: &Path) -> Result<String, String> {
    let keys = KeyPair::generate_unencrypted_keypair().map_err(|e| e.to_string())?;
    let public = keys.pk.to_box().map_err(|e| e.to_string())?.into_string();
    let secret = keys.sk.to_box(None).map_err(|e| e.to_string())?.into_string();
    let public_path = path.with_extension("pub");
    if public_path == path {
        return Err(format!("expected a name without the extension `pub`, got {}", path.display()));
    }
    write_new(path, &secret, 0o600)?;
    write_new(&public_path, &public, 0o644)?;
    Ok(keys.pk.to_base64())
}

/// Signs a plugin. The signature is written beside it, with the extension `minisig` added.
///
/// # Errors
/// If a file cannot be read or written, or the password of an encrypted key is wrong.
pub fn sign(plugin: &Path, key: &Path, password: Option<String>) -> Result<PathBuf, String> {
    let fail = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = chiasm_plugin::read_file(key, MAX_FILE).map_err(|e| fail(key, &e))?;
    let text = String::from_utf8(text).map_err(|e| fail(key, &e))?;
    let secret = SecretKeyBox::from_string(&text).map_err(|e| fail(key, &e))?;
    let secret = match password {
        Some(password) => secret.into_secret_key(Some(password)),
        None => secret.into_unencrypted_secret_key(),
    };
    let secret = secret.map_err(|e| fail(key, &e))?;
    let file = chiasm_plugin::open_file(plugin, MAX_FILE).map_err(|e| fail(plugin, &e))?;
    let name = plugin.file_name().unwrap_or_default().to_string_lossy();
    let comment = format!("file:{name}");
    let signature = minisign::sign(None, &secret, file, Some(&comment), Some("signature of a Chiasm plugin"))
        .map_err(|e| fail(plugin, &e))?;
    let path = signature_path(plugin);
    std::fs::write(&path, signature.into_string()).map_err(|e| fail(&path, &e))?;
    Ok(path)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let opened = File::options().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| format!("cannot write the key {}: {e}", path.display()))
}
