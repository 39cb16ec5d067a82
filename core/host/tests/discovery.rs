//! Discovery of plugins and lookup of ids.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chiasm_host::{Host, PluginOrigin, PluginSearch, PluginStatus};
use support::{RecordingServices, host_of, library};

/// Copies a library and replaces every occurrence of a text by another of the same length.
fn patched(name: &str, folder: &Path, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(library(name)).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "`{from}` is not in {name}");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    let path = folder.join(format!("lib{name}.so"));
    fs::write(&path, bytes).unwrap();
    path
}

fn reason(host: &Host) -> &str {
    match &host.plugins()[0].status {
        PluginStatus::Refused(reason) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn listing_reads_the_manifest_without_loading() {
    let host = host_of(&[library("fixture-plain")]);
    let plugin = &host.plugins()[0];
    assert_eq!((plugin.id.as_str(), &plugin.status), ("fixture-plain", &PluginStatus::Ready));
    assert_eq!((plugin.abi.as_str(), plugin.licence.as_str()), (chiasm_abi::VERSION, "Apache-2.0"));
    let kinds: Vec<&str> = plugin.provides.iter().map(|one| one.component.kind.as_str()).collect();
    assert_eq!(kinds, ["adapter", "aligner", "fusion", "fusion"]);
    assert_eq!(plugin.provides[1].component.doc, "Keeps the first k coordinates \"as they are\".");
    assert_eq!(Host::inspect(&library("fixture-plain")).unwrap().panic, "unwind");
    assert_eq!(host.ids("aligner"), ["first-columns"]);
    // The memory map of this process shows whether the library was loaded.
    let map = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!map.contains("libfixture_plain.so"), "listing must not load");
}

#[test]
fn the_first_plugin_of_an_id_wins_in_the_order_flag_variable_user_executable() {
    let folder = tempfile::tempdir().unwrap();
    let places: Vec<PathBuf> =
        ["variable", "user", "executable"].iter().map(|name| folder.path().join(name)).collect();
    for place in &places {
        fs::create_dir(place).unwrap();
        fs::copy(library("fixture-plain"), place.join("libplain.so")).unwrap();
    }
    let mut search = PluginSearch {
        plugin_paths: vec![library("fixture-plain")],
        variable: Some(format!("not/absolute::{}", places[0].display()).into()),
        user_dir: Some(places[1].clone()),
        executable_dir: Some(places[2].clone()),
    };
    let host = Host::discover(&search);
    let origins: Vec<PluginOrigin> = host.plugins().iter().map(|plugin| plugin.origin).collect();
    assert_eq!(
        origins,
        [PluginOrigin::Flag, PluginOrigin::Variable, PluginOrigin::UserDir, PluginOrigin::Executable]
    );
    let shadowed = PluginStatus::Shadowed(library("fixture-plain"));
    assert!(host.plugins()[1..].iter().all(|plugin| plugin.status == shadowed));
    let why = host.why("first-columns").join("\n");
    for part in [
        "not/absolute",
        "is not absolute",
        "shadowed by",
        "aligner `first-columns` is taken from this plugin",
    ] {
        assert!(why.contains(part), "`{part}` is missing:\n{why}");
    }
    search.plugin_paths.clear();
    assert_eq!(
        Host::discover(&search).aligner("first-columns").unwrap().plugin().path,
        places[0].join("libplain.so")
    );
    search.variable = None;
    assert_eq!(
        Host::discover(&search).aligner("first-columns").unwrap().plugin().path,
        places[1].join("libplain.so")
    );
}

#[test]
fn an_aligner_of_a_later_plugin_is_shadowed() {
    let folder = tempfile::tempdir().unwrap();
    let other =
        patched("fixture-plain", folder.path(), "\"id\":\"fixture-plain\"", "\"id\":\"fixture-other\"");
    let host = host_of(&[library("fixture-plain"), other]);
    assert_eq!(host.plugins()[1].status, PluginStatus::Ready);
    assert_eq!(host.plugins()[1].provides[1].shadowed_by, Some(library("fixture-plain")));
    assert!(host.why("first-columns").join("\n").contains("of this plugin is shadowed by"));
}

#[test]
fn one_file_found_twice_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.so");
    std::os::unix::fs::symlink(library("fixture-plain"), &link).unwrap();
    assert_eq!(host_of(&[library("fixture-plain"), link]).plugins().len(), 1);
}

#[test]
fn incompatible_damaged_and_unrelated_libraries_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let own = format!("\"abi\":\"{}\"", chiasm_abi::VERSION);
    let next = chiasm_abi::VERSION.replacen('2', "3", 1);
    let major = patched("fixture-plain", folder.path(), &own, &format!("\"abi\":\"{next}\""));
    let host = host_of(std::slice::from_ref(&major));
    assert!(
        reason(&host).contains(&format!("ABI {next}")) && reason(&host).contains("major versions differ"),
        "{}",
        reason(&host)
    );
    let error = host.aligner("first-columns").err().unwrap().to_string();
    assert!(error.contains("major versions differ") && error.contains("plugin why first-columns"), "{error}");
    let named = host.check_named().unwrap_err().to_string();
    assert!(named.contains(major.to_str().unwrap()) && named.contains("major versions differ"), "{named}");

    // Its manifest cannot be read, so it may be the plugin that was asked for.
    let damaged = folder.path().join("damaged.so");
    fs::write(&damaged, "not a library at all").unwrap();
    let why = host_of(std::slice::from_ref(&damaged)).why("first-columns").join("\n");
    assert!(
        why.contains("refused damaged.so") && why.contains("no plugin has the id `first-columns`"),
        "{why}"
    );

    let abort = patched("fixture-plain", folder.path(), "\"panic\":\"unwind\"", "\"panic\": \"abort\"");
    assert!(reason(&host_of(&[abort])).contains("abort"));

    let unrelated = folder.path().join("unrelated.so");
    fs::copy(libc(), &unrelated).unwrap();
    assert!(reason(&host_of(std::slice::from_ref(&unrelated))).contains("not a Chiasm plugin"));
    assert!(Host::inspect(&unrelated).unwrap_err().message.contains(".chiasm"));
    // In a folder it is not an error; only `why` mentions it.
    let host = host_of(&[folder.path().to_owned()]);
    assert!(host.plugins().iter().all(|plugin| plugin.path != unrelated));
    assert!(host.why("x").join("\n").contains("unrelated.so: skipped, not a plugin"));
}

#[test]
fn discovery_continues_after_unusable_files() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    fs::write(&text, "not a library").unwrap();
    let missing = folder.path().join("missing.so");
    let host = host_of(&[missing, text, library("fixture-plain")]);
    let statuses: Vec<&PluginStatus> = host.plugins().iter().map(|plugin| &plugin.status).collect();
    assert!(matches!(statuses[0], PluginStatus::Refused(reason) if reason.contains("No such file")));
    assert!(matches!(statuses[1], PluginStatus::Refused(reason) if reason.contains("ELF")));
    assert_eq!(statuses[2], &PluginStatus::Ready);
    let error = host.aligner("unknown").err().unwrap();
    assert!(error.message.contains("`unknown`; available: first-columns"), "{error}");
}

#[test]
fn a_file_that_changed_after_listing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libplain.so");
    fs::copy(library("fixture-plain"), &path).unwrap();
    let host = host_of(std::slice::from_ref(&path));
    fs::copy(library("fixture-hostile"), &path).unwrap();
    let error = host.aligner("first-columns").err().unwrap();
    assert!(error.message.contains("changed after it was found"), "{error}");
}

#[test]
fn truncating_the_file_after_loading_has_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libplain.so");
    fs::copy(library("fixture-plain"), &path).unwrap();
    let host = host_of(std::slice::from_ref(&path));
    let aligner = host.aligner("first-columns").unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    let data = || chiasm_host::BorrowedArray::f32(&[1, 2], &[1.0, 2.0]);
    let row = || chiasm_host::BorrowedArray::i64(&[1], &[0]);
    let modality = |name: &str| chiasm_host::AlignModality { name: name.into(), dim: 2, blocks: vec![2] };
    let spec = chiasm_host::AlignSpec { modalities: vec![modality("a"), modality("b")], anchor: None };
    let pair = [("a.pooled", data()), ("a.row", row()), ("b.pooled", data()), ("b.row", row())];
    aligner.fit(&spec, &pair, &chiasm_plugin::json!({}), &RecordingServices::default()).unwrap();
}

/// Returns the C library of this process.
fn libc() -> PathBuf {
    let map = fs::read_to_string("/proc/self/maps").unwrap();
    let line = map.lines().find(|line| line.contains("/libc.so") || line.contains("/libc-")).unwrap();
    line.split_whitespace().last().unwrap().into()
}

#[test]
fn a_folder_that_everyone_may_write_to_is_skipped_unless_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(library("fixture-plain"), folder.path().join("libplain.so")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let search = PluginSearch { user_dir: Some(folder.path().to_owned()), ..PluginSearch::default() };
    let host = Host::discover(&search);
    assert!(host.plugins().is_empty());
    assert!(
        host.why("fixture-plain").iter().any(|step| step.contains("everyone may write")),
        "{:?}",
        host.why("x")
    );
    let named = PluginSearch { plugin_paths: vec![folder.path().to_owned()], ..PluginSearch::default() };
    assert_eq!(Host::discover(&named).plugins().len(), 1);
}

#[test]
fn a_shipped_plugin_is_not_replaced_silently() {
    let folder = tempfile::tempdir().unwrap();
    let places = ["user", "shipped"].map(|name| folder.path().join(name));
    for place in &places {
        fs::create_dir(place).unwrap();
        fs::copy(library("fixture-plain"), place.join("libplain.so")).unwrap();
    }
    let [user, shipped] = places;
    let search = PluginSearch {
        user_dir: Some(user.clone()),
        executable_dir: Some(shipped.clone()),
        ..PluginSearch::default()
    };
    let sentences = Host::discover(&search).replaced();
    assert_eq!(sentences.len(), 1);
    assert!(
        sentences[0].contains("instead of the shipped") && sentences[0].contains("/user/"),
        "{sentences:?}"
    );
    // a plugin of another id that offers the same
    patched("fixture-plain", &user, "\"id\":\"fixture-plain\"", "\"id\":\"fixture-other\"");
    fs::remove_file(user.join("libplain.so")).unwrap();
    let sentences = Host::discover(&search).replaced();
    assert_eq!(sentences.len(), 4, "one for each component: {sentences:?}");
    assert!(
        sentences[1].starts_with("the aligner first-columns is taken from fixture-other"),
        "{sentences:?}"
    );
    let search =
        PluginSearch { executable_dir: Some(shipped), plugin_paths: vec![user], ..PluginSearch::default() };
    assert!(Host::discover(&search).replaced().is_empty(), "the user named it");
}

#[test]
fn a_library_that_would_load_others_from_the_working_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // The name of a library that the fixture needs becomes a relative path.
    let path = patched("fixture-plain", folder.path(), "libgcc_s.so.1", "./bgcc_s.so.1");
    let host = host_of(&[path]);
    let error = host.adapter("rows").err().unwrap();
    assert!(error.message.contains("working folder"), "{error}");
}
