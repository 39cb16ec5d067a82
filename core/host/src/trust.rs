//! Which plugins may run: the lock file with their digests, and signatures.
//!
//! The lock file `chiasm.lock` belongs to a project. It names each plugin with the SHA-256 digest of its
//! file, once for every target, and the keys whose signatures are trusted. `chiasm plugin lock` writes it. A
//! signature is a minisign file beside the plugin (`libx.so.minisig`).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use minisign::{PublicKey, SignatureBox};
use serde::{Deserialize, Serialize};

use crate::PluginTag;

/// The name of the lock file.
pub const LOCK_FILE: &str = "chiasm.lock";
/// The version of the format of the lock file.
const LOCK_VERSION: u32 = 1;
/// The largest lock file or signature, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// Which plugins may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginPolicy {
    /// Every plugin.
    Any,
    /// Only plugins that are in the lock file with the digest of their file.
    Locked,
    /// Only plugins with a valid signature of a trusted key.
    Signed,
}

/// What is known about the file of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginTrust {
    /// The SHA-256 digest of the file, in hexadecimal.
    pub sha256: String,
    /// Its place in the lock file.
    pub lock: LockState,
    /// The trusted key that signed the file, in minisign's text form.
    pub signed_by: Option<String>,
    /// Why a signature beside the file is not accepted.
    pub signature_problem: Option<String>,
}

/// The place of a plugin in the lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockState {
    /// There is no lock file, or it does not name the plugin.
    Absent,
    /// The lock file has the digest of the file.
    Locked,
    /// The lock file has another digest.
    Changed,
}

impl fmt::Display for LockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockState::Absent => "not locked",
            LockState::Locked => "locked",
            LockState::Changed => "changed since it was locked",
        })
    }
}

/// A lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginLock {
    /// Its path.
    pub path: PathBuf,
    text: LockText,
}

/// The contents of a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockText {
    version: u32,
    /// Public keys in minisign's text form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trusted_keys: Vec<String>,
    #[serde(default, rename = "plugin")]
    plugins: Vec<LockedPlugin>,
}

/// A plugin in a lock file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// Its id.
    pub id: String,
    /// The processor and the system it was built for, such as `x86_64-linux`.
    pub target: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 digest of its file, in hexadecimal.
    pub sha256: String,
}

impl PluginLock {
    /// Returns an empty lock file, which is not written yet.
    pub fn empty(path: PathBuf) -> Self {
        Self { path, text: LockText { version: LOCK_VERSION, ..LockText::default() } }
    }

    /// Finds the lock file of a folder: in it, or in the nearest folder above.
    ///
    /// # Errors
    /// If a lock file is found but cannot be read.
    pub fn find(folder: &Path) -> Result<Option<Self>, String> {
        let found = folder.ancestors().map(|folder| folder.join(LOCK_FILE)).find(|path| path.exists());
        found.map(|path| Self::read(&path)).transpose()
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// If it cannot be read, is not valid TOML, or has a later version.
    pub fn read(path: &Path) -> Result<Self, String> {
        let fail = |e: &dyn fmt::Display| format!("the plugin lock file {}: {e}", path.display());
        let text = read_text(path).map_err(|e| fail(&e))?;
        let text: LockText = toml::from_str(&text).map_err(|e| fail(&e))?;
        if text.version != LOCK_VERSION {
            return Err(fail(&format!(
                "expected version {LOCK_VERSION}, got {}; write it again with `chiasm plugin lock`",
                text.version
            )));
        }
        Ok(Self { path: path.to_owned(), text })
    }

    /// Writes the lock file. The new file replaces the old one as a whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self) -> Result<(), String> {
        let fail = |e: &dyn fmt::Display| format!("cannot write {}: {e}", self.path.display());
        let text = toml::to_string(&self.text).map_err(|e| fail(&e))?;
        let text = format!("# Written by `chiasm plugin lock`: the plugins that may run here.\n{text}");
        let unfinished = self.path.with_extension("lock.part");
        fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &self.path)).map_err(|e| fail(&e))
    }

    /// Returns the plugins in the lock file.
    pub fn plugins(&self) -> &[LockedPlugin] {
        &self.text.plugins
    }

    /// Returns the trusted keys.
    pub fn trusted_keys(&self) -> &[String] {
        &self.text.trusted_keys
    }

    /// Adds a plugin, or replaces its entry for the same target. Returns the digest it had before.
    pub fn insert(&mut self, plugin: LockedPlugin) -> Option<String> {
        let same = |one: &LockedPlugin| (&one.id, &one.target) == (&plugin.id, &plugin.target);
        let before = self.text.plugins.iter().position(same).map(|index| self.text.plugins.remove(index));
        self.text.plugins.push(plugin);
        self.text.plugins.sort();
        before.map(|plugin| plugin.sha256)
    }

    /// Trusts the signatures of a key. Returns whether it is new.
    ///
    /// # Errors
    /// If it is not a public key of minisign.
    pub fn trust_key(&mut self, key: &str) -> Result<bool, String> {
        let key = public_key(key)?.to_base64();
        let new = !self.text.trusted_keys.contains(&key);
        if new {
            self.text.trusted_keys.push(key);
        }
        Ok(new)
    }

    fn state(&self, id: &str, sha256: &str) -> LockState {
        let target = target();
        match self.text.plugins.iter().find(|one| one.id == id && one.target == target) {
            None => LockState::Absent,
            Some(one) if one.sha256 == sha256 => LockState::Locked,
            Some(_) => LockState::Changed,
        }
    }
}

/// Returns the processor and the system of this program, such as `x86_64-linux`.
pub fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Returns the path of the signature of a plugin.
pub fn signature_path(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

/// Examines the bytes of a plugin's file.
pub(crate) fn examine(
    lock: Option<&PluginLock>,
    tag: &PluginTag,
    sha256: &[u8; 32],
    bytes: impl std::io::Read + std::io::Seek,
) -> PluginTrust {
    let sha256 = hex(sha256);
    let state = lock.map_or(LockState::Absent, |lock| lock.state(&tag.id, &sha256));
    let keys = lock.map(PluginLock::trusted_keys).unwrap_or_default();
    let (signed_by, signature_problem) = match signer(&tag.path, keys, bytes) {
        Ok(signer) => (signer, None),
        Err(problem) => (None, Some(problem)),
    };
    PluginTrust { sha256, lock: state, signed_by, signature_problem }
}

/// Applies the policy to a plugin.
///
/// # Errors
/// The reason why the plugin may not run, and what to do.
pub(crate) fn admit(
    policy: PluginPolicy,
    trust: &PluginTrust,
    lock: Option<&PluginLock>,
) -> Result<(), String> {
    let place = lock.map_or_else(|| LOCK_FILE.to_owned(), |lock| lock.path.display().to_string());
    match (policy, trust.lock) {
        (PluginPolicy::Locked, LockState::Absent) => Err(format!(
            "it is not in {place}, and only locked plugins may run; `chiasm plugin lock` adds it, \
             `--plugin-policy any` runs it without"
        )),
        (PluginPolicy::Locked, LockState::Changed) => Err(format!(
            "its file is not the one in {place}: its SHA-256 digest is now {}; if you changed it, run \
             `chiasm plugin lock`; if not, restore the file",
            trust.sha256
        )),
        (PluginPolicy::Signed, _) if trust.signed_by.is_none() => {
            let problem = trust.signature_problem.as_deref().unwrap_or("it has no signature");
            Err(format!(
                "only plugins that are signed by a key of {place} may run, and {problem}; `chiasm plugin \
                 sign` signs a plugin, `chiasm plugin trust` adds a key"
            ))
        }
        _ => Ok(()),
    }
}

/// Returns the trusted key that signed a file; `None` if there is no signature.
fn signer(
    path: &Path,
    keys: &[String],
    mut bytes: impl std::io::Read + std::io::Seek,
) -> Result<Option<String>, String> {
    let path = signature_path(path);
    if !path.exists() {
        return Ok(None);
    }
    let fail = |e: &dyn fmt::Display| format!("its signature {} cannot be read: {e}", path.display());
    let text = read_text(&path).map_err(|e| fail(&e))?;
    let signature = SignatureBox::from_string(&text).map_err(|e| fail(&e))?;
    for key in keys {
        let Ok(public) = public_key(key) else { continue };
        if public.keynum() == signature.keynum() {
            bytes.rewind().map_err(|e| fail(&e))?;
            return match minisign::verify(&public, &signature, &mut bytes, true, false, false) {
                Ok(()) => Ok(Some(key.clone())),
                Err(_) => Err(format!("its signature {} does not match the file", path.display())),
            };
        }
    }
    Err(format!("its signature {} is of a key that is not trusted", path.display()))
}

/// Returns a public key from minisign's text form, with or without the comment line.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    PublicKey::from_base64(line).map_err(|e| format!("expected a public key of minisign, got `{line}`: {e}"))
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let bytes = chiasm_plugin::read_file(path, MAX_TEXT)?;
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

pub(crate) fn hex(digest: &[u8]) -> String {
    use fmt::Write;
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes every text
        text
    })
}
