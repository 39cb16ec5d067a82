//! Lock files, signatures and the policies that use them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use chiasm_host::{
    Host, HostOptions, Isolation, LockState, LockedPlugin, PluginLock, PluginPolicy, create_key, sign,
    signature_path, target,
};
use support::{host_with, isolated_options, library};

#[test]
fn worker() {
    support::serve_if_worker();
}

/// Copies the correct fixture to a folder, with some bytes added at its end, which no loader reads.
fn plugin(folder: &Path, added: &[u8]) -> PathBuf {
    let path = folder.join("libplain.so");
    let mut bytes = fs::read(library("fixture-plain")).unwrap();
    bytes.extend(added);
    fs::write(&path, bytes).unwrap();
    path
}

fn host(path: &Path, lock: &PluginLock, policy: Option<PluginPolicy>) -> Host {
    let options = HostOptions { lock: Some(lock.clone()), policy, ..isolated_options() };
    host_with(&[path.to_owned()], HostOptions { isolation: Isolation::Auto, ..options })
}

fn locked(folder: &Path, path: &Path) -> PluginLock {
    let mut lock = PluginLock::empty(folder.join("chiasm.lock"));
    let host = host(path, &lock, Some(PluginPolicy::Any));
    let info = &host.plugins()[0];
    let sha256 = host.trust(info).unwrap().sha256;
    lock.insert(LockedPlugin {
        id: info.id.clone(),
        target: target(),
        version: info.version.clone(),
        sha256,
    });
    lock.write().unwrap();
    PluginLock::read(&lock.path).unwrap()
}

#[test]
fn a_locked_plugin_runs_here_and_a_changed_one_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = plugin(folder.path(), b"");
    let lock = locked(folder.path(), &path);
    assert!(
        !host(&path, &lock, None).load("fixture-plain").unwrap().0,
        "a locked plugin needs no own process"
    );

    plugin(folder.path(), b"one more byte");
    let changed = host(&path, &lock, None);
    assert_eq!(changed.trust(&changed.plugins()[0]).unwrap().lock, LockState::Changed);
    let error = changed.load("fixture-plain").unwrap_err();
    for part in ["chiasm.lock", "SHA-256", "chiasm plugin lock", "restore the file"] {
        assert!(error.message.contains(part), "{error}");
    }
    // The user may run it all the same; then it has a process of its own.
    assert!(host(&path, &lock, Some(PluginPolicy::Any)).load("fixture-plain").unwrap().0);

    let empty = PluginLock::empty(folder.path().join("other.lock"));
    let error = host(&path, &empty, None).load("fixture-plain").unwrap_err();
    assert!(error.message.contains("not in") && error.message.contains("other.lock"), "{error}");
}

#[test]
fn the_lock_file_of_a_folder_above_counts_and_a_damaged_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = plugin(folder.path(), b"");
    let lock = locked(folder.path(), &path);
    let below = folder.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    assert_eq!(PluginLock::find(&below).unwrap().unwrap(), lock);
    for (text, words) in [
        ("version = 2\n", "expected version 1, got 2"),
        ("version = 1\nextra = 1\n", "unknown field"),
        ("not toml", "chiasm.lock"),
    ] {
        fs::write(&lock.path, text).unwrap();
        let error = PluginLock::find(&below).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_signature_of_a_trusted_key_admits_only_the_signed_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = plugin(folder.path(), b"");
    let key = folder.path().join("me.key");
    let public = create_key(&key).unwrap();
    assert!(create_key(&key).unwrap_err().contains("exists"), "a key is never overwritten");
    let mut lock = PluginLock::empty(folder.path().join("chiasm.lock"));
    let outcome = |lock: &PluginLock| host(&path, lock, Some(PluginPolicy::Signed)).load("fixture-plain");
    assert!(outcome(&lock).unwrap_err().message.contains("it has no signature"));

    assert_eq!(sign(&path, &key, None).unwrap(), signature_path(&path));
    assert!(outcome(&lock).unwrap_err().message.contains("a key that is not trusted"));
    assert!(lock.trust_key(&public).unwrap());
    assert!(lock.trust_key("RWQ").is_err());
    assert!(!outcome(&lock).unwrap().0, "a signed plugin needs no own process");

    plugin(folder.path(), b"changed after signing");
    assert!(outcome(&lock).unwrap_err().message.contains("does not match the file"));
}

#[test]
fn a_library_that_is_not_locked_is_loaded_in_another_process_first() {
    let mut options = HostOptions { isolation: Isolation::Never, ..isolated_options() };
    options.worker.as_mut().unwrap().variables.push(("CHIASM_FIXTURE_AT_LOAD".into(), "segfault".into()));
    let host = host_with(&[library("fixture-hostile")], options);
    let error = host.load("fixture-hostile").unwrap_err();
    assert!(error.message.contains("segmentation fault"), "{error}");
}
