//! The lock file and signatures: `plugin lock`, `key`, `sign`, `trust` and `verify`.

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    plugin_host::host_with,
    print,
};
use chiasm_host::{
    Host, Isolation, LOCK_FILE, LockState, LockedPlugin, PluginLock, PluginPolicy, PluginStatus, PluginTrust,
    create_key, target,
};
use chiasm_pipeline::Error;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The outcome of locking one plugin.
#[derive(Serialize)]
struct LockOutcome<'a> {
    id: &'a str,
    path: &'a Path,
    outcome: &'static str,
    sha256: Option<String>,
    problem: Option<String>,
}

/// A plugin that was loaded, or why it cannot be.
#[derive(Serialize)]
struct LoadedPlugin<'a> {
    id: &'a str,
    version: &'a str,
    path: &'a Path,
    lock: Option<LockState>,
    signed_by: Option<String>,
    problem: Option<String>,
}

/// Loads every usable plugin in a process of its own, and lists the outcomes.
pub fn list_loaded(global: &GlobalOptions) -> CommandResult {
    let host = host_with(global, global.plugins.clone(), |options| options.isolation = Isolation::Always)?;
    let usable = host.plugins().iter().filter(|plugin| plugin.status == PluginStatus::Ready);
    let loaded: Vec<LoadedPlugin<'_>> = usable
        .map(|plugin| {
            let loaded = host.load(&plugin.id);
            let problem = loaded.as_ref().err().cloned();
            // A plugin that does not load has a digest all the same.
            let trust = loaded.map(|(_, trust)| trust).or_else(|_| host.trust(plugin)).ok();
            LoadedPlugin {
                id: &plugin.id,
                version: &plugin.version,
                path: &plugin.path,
                lock: trust.as_ref().map(|trust| trust.lock),
                signed_by: trust.and_then(|trust| trust.signed_by),
                problem: problem.map(|e| e.message),
            }
        })
        .collect();
    if json(global) {
        print::json(&loaded);
    } else {
        let row = |one: &LoadedPlugin<'_>| {
            let lock = one.lock.map(|lock| lock.to_string()).unwrap_or_default();
            let signed = if one.signed_by.is_some() { "signed" } else { "" };
            let outcome = one.problem.clone().unwrap_or_else(|| "loads".to_owned());
            vec![one.id.to_owned(), one.version.to_owned(), lock, signed.to_owned(), outcome]
        };
        print::table(
            &["plugin", "version", "lock", "signature", "outcome"],
            loaded.iter().map(row).collect(),
            5,
        );
    }
    match loaded.iter().filter(|one| one.problem.is_some()).count() {
        0 => Ok(()),
        failed => Err(Error::Gate(format!("{failed} of {} plugins cannot be used", loaded.len()))),
    }
}

/// Writes the digests of all usable plugins into the lock file.
pub fn lock(output: Option<&Path>, global: &GlobalOptions) -> CommandResult {
    let mut lock = current_lock(output)?;
    // A plugin that changed since the last lock may be loaded here, in a process of its own.
    let host = host_with(global, global.plugins.clone(), |options| {
        options.isolation = Isolation::Always;
        options.policy = Some(PluginPolicy::Any);
    })?;
    let usable = host.plugins().iter().filter(|plugin| plugin.status == PluginStatus::Ready);
    let mut outcomes = Vec::new();
    for plugin in usable {
        let (sha256, problem, outcome) = match host.load(&plugin.id) {
            Err(e) => (None, Some(e.to_string()), "not locked"),
            Ok((_, PluginTrust { sha256, .. })) => {
                let before = lock.insert(LockedPlugin {
                    id: plugin.id.clone(),
                    target: target(),
                    version: plugin.version.clone(),
                    sha256: sha256.clone(),
                });
                let outcome = match before {
                    None => "new",
                    Some(before) if before == sha256 => "unchanged",
                    Some(_) => "changed",
                };
                (Some(sha256), None, outcome)
            }
        };
        outcomes.push(LockOutcome { id: &plugin.id, path: &plugin.path, outcome, sha256, problem });
    }
    write(&lock)?;
    if json(global) {
        print::json(&outcomes);
    } else {
        let row = |one: &LockOutcome<'_>| {
            let detail = one.problem.clone().or(one.sha256.as_ref().map(|digest| digest[..16].to_owned()));
            vec![one.id.to_owned(), one.outcome.to_owned(), detail.unwrap_or_default()]
        };
        print::table(&["plugin", "outcome", "SHA-256"], outcomes.iter().map(row).collect(), 3);
        print::line(&format!("wrote {}: only these files may run here now", lock.path.display()));
    }
    match outcomes.iter().find(|one| one.problem.is_some()) {
        Some(one) => Err(Error::Gate(format!("{} could not be loaded and was not locked", one.id))),
        None => Ok(()),
    }
}

/// Creates a key for signing.
pub fn key(path: &Path, global: &GlobalOptions) -> CommandResult {
    let public = create_key(path).map_err(refuse)?;
    if json(global) {
        print::json(&public);
        return Ok(());
    }
    print::line(&format!("wrote {} (secret) and {}", path.display(), path.with_extension("pub").display()));
    print::line(&format!("others trust its signatures with: chiasm plugin trust {public}"));
    Ok(())
}

/// Signs a plugin.
pub fn sign(path: &Path, key: &Path, global: &GlobalOptions) -> CommandResult {
    Host::inspect(path)?;
    let password = std::env::var("CHIASM_KEY_PASSWORD").ok();
    let signature = chiasm_host::sign(path, key, password).map_err(refuse)?;
    if json(global) {
        print::json(&signature);
    } else {
        print::line(&format!("wrote {}", signature.display()));
    }
    Ok(())
}

/// Adds a key to the lock file.
pub fn trust(key: &str, global: &GlobalOptions) -> CommandResult {
    let mut lock = current_lock(None)?;
    let text = match Path::new(key) {
        path if path.is_file() => {
            let bytes = chiasm_host::read_file(path, 1 << 16).map_err(|e| Error::io("read", path, e))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => key.to_owned(),
    };
    let new = lock.trust_key(&text).map_err(refuse)?;
    write(&lock)?;
    if json(global) {
        print::json(&lock.trusted_keys());
    } else {
        let what = if new { "added the key to" } else { "the key is already in" };
        print::line(&format!("{what} {}", lock.path.display()));
    }
    Ok(())
}

/// Checks one file against the lock file and its signature.
pub fn verify(path: &Path, global: &GlobalOptions) -> CommandResult {
    let manifest = Host::inspect(path)?;
    let host = host_with(global, vec![path.to_owned()], |_| ())?;
    let plugin = host.plugins().iter().find(|plugin| plugin.named);
    let plugin = plugin.ok_or_else(|| refuse(format!("{} was not found", path.display())))?;
    let trust = host.trust(plugin)?;
    if json(global) {
        print::json(&trust);
    } else {
        print::line(&format!("{} {}, SHA-256 {}", manifest.id, manifest.version, trust.sha256));
        print::line(&format!("lock file: {}", trust.lock));
        let signature = match (&trust.signed_by, &trust.signature_problem) {
            (Some(key), _) => format!("valid, by the trusted key {key}"),
            (None, Some(problem)) => problem.clone(),
            (None, None) => "none".to_owned(),
        };
        print::line(&format!("signature: {signature}"));
    }
    let locked = trust.lock == LockState::Locked;
    if trust.lock == LockState::Changed
        || trust.signature_problem.is_some()
        || !locked && trust.signed_by.is_none()
    {
        return Err(Error::Gate(format!("{} is vouched for by neither lock nor signature", path.display())));
    }
    Ok(())
}

/// Returns the lock file to write: the named one, the nearest one, or a new one in the working folder.
fn current_lock(output: Option<&Path>) -> CommandResult<PluginLock> {
    let fail = |message: String| Error::input("chiasm::plugin_lock", message, "mend the file, or remove it");
    let found = match output {
        Some(path) if path.exists() => Some(PluginLock::read(path).map_err(fail)?),
        Some(path) => Some(PluginLock::empty(path.to_owned())),
        None => {
            let folder = std::env::current_dir().map_err(|e| Error::io("find", Path::new("."), e))?;
            PluginLock::find(&folder).map_err(fail)?
        }
    };
    Ok(found.unwrap_or_else(|| PluginLock::empty(PathBuf::from(LOCK_FILE))))
}

fn write(lock: &PluginLock) -> CommandResult {
    lock.write().map_err(refuse)
}

fn refuse(message: String) -> Error {
    Error::input("chiasm::plugin", message, "see `chiasm plugin --help`")
}
