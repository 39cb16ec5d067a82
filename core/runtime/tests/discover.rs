//! Finding the engine: the order of the places, what is refused, and the error when there is none.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};

use chiasm_runtime::{EngineSearch, Error, FoundEngine, PlaceStatus};
#[cfg(target_os = "linux")]
use chiasm_testing::{Requirement, skip};

/// A folder per place, none of which holds an engine.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn search(&self) -> EngineSearch {
        EngineSearch {
            beside: Some(self.folder("program")),
            cache: Some(self.folder("cache")),
            python_prefixes: vec![("VIRTUAL_ENV", self.folder("venv"))],
            python: Some(self.0.path().join("no-python")),
            system: vec![self.folder("lib")],
            ..EngineSearch::default()
        }
    }

    /// A copy of this machine's own engine under a name of a place.
    fn engine_in(&self, folder: &str) -> PathBuf {
        let from = real_engine().path;
        let to = self.folder(folder).join(from.file_name().unwrap());
        #[cfg(unix)]
        std::os::unix::fs::symlink(from, &to).unwrap();
        #[cfg(not(unix))]
        std::fs::copy(from, &to).unwrap();
        to
    }
}

fn real_engine() -> FoundEngine {
    EngineSearch::from_environment(None).find().unwrap_or_else(|error| panic!("{error}"))
}

const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else if cfg!(windows) {
    "onnxruntime.dll"
} else {
    "libonnxruntime.so"
};

#[test]
fn without_an_engine_the_error_lists_every_place_and_the_install_command() {
    let message = Machine::new().search().find().unwrap_err().to_string();
    for place in [
        "ORT_DYLIB_PATH",
        "beside the program",
        "user cache",
        "VIRTUAL_ENV",
        "where Python says its packages are",
        "system",
    ] {
        assert!(message.contains(place), "{place} is missing in:\n{message}");
    }
    assert!(message.contains("`chiasm doctor` asks it"), "{message}");
    assert!(message.ends_with("run: chiasm engine install"), "{message}");
}

#[test]
fn python_is_not_asked_unless_a_command_says_so() {
    let search = EngineSearch::from_environment(None);
    assert_eq!(search.python, None);
    let asked = search.asking_python().python;
    assert!(asked.is_none_or(|python| python.is_absolute()));
}

#[test]
fn places_are_searched_in_order() {
    let machine = Machine::new();
    let mut search = machine.search();
    let expect = |how: &str, folder: &str, search: &EngineSearch| {
        let path = machine.engine_in(folder);
        let found = search.find().unwrap();
        assert_eq!((found.how, found.path.as_path()), (how, path.as_path()));
    };
    // Filled from the last place to the first: each earlier place takes precedence.
    expect("system", "lib", &search);
    expect("VIRTUAL_ENV", "venv/lib/python3.11/site-packages/onnxruntime/capi", &search);
    expect("user cache", "cache/1.31.1", &search);
    expect("user cache", "cache/1.31.1-cuda", &search);
    expect("user cache", "cache/1.100.0", &search);
    expect("beside the program", "program", &search);
    search.variable = Some(machine.folder("named"));
    expect("ORT_DYLIB_PATH", "named", &search);
    search.flag = Some(machine.folder("flag"));
    expect("--engine", "flag", &search);
}

#[test]
fn an_unusable_library_that_the_user_named_is_an_error() {
    let machine = Machine::new();
    machine.engine_in("lib");
    let bad = machine.folder("bad").join(LIBRARY);
    std::fs::write(&bad, "not a library").unwrap();
    let flag = EngineSearch { flag: Some(bad.clone()), ..machine.search() };
    let variable = EngineSearch { variable: Some(bad.clone()), ..machine.search() };
    let missing = EngineSearch { flag: Some(machine.0.path().join("missing.so")), ..machine.search() };
    for (search, who, why) in [
        (flag, "--engine", "not a shared library"),
        (variable, "ORT_DYLIB_PATH", "not a shared library"),
        (missing, "--engine", "cannot be read"),
    ] {
        let error = search.find().unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::BadEngine { .. }), "{message}");
        assert!(message.contains(who) && message.contains(why), "{message}");
    }
    // The same file in a place that the user did not name is recorded, and the search continues.
    std::fs::copy(&bad, machine.folder("program").join(LIBRARY)).unwrap();
    let search = machine.search();
    assert_eq!(search.find().unwrap().how, "system");
    let refused = search.attempts().into_iter().find(|a| a.place == "beside the program").unwrap();
    assert!(matches!(refused.outcome, PlaceStatus::Refused(_)), "{refused}");
}

#[test]
#[cfg(target_os = "linux")]
fn another_library_is_refused_without_being_loaded() {
    let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
    let Some(libc) = libc.iter().map(Path::new).find(|p| p.exists()) else {
        return skip(Requirement::SystemLibrary, &format!("none of {libc:?} exists"));
    };
    let search = EngineSearch { flag: Some(libc.to_owned()), ..EngineSearch::default() };
    let message = search.find().unwrap_err().to_string();
    assert!(message.contains("does not export OrtGetApiBase"), "{message}");
}

#[test]
fn the_real_engine_states_its_version() {
    let found = real_engine();
    let version = found.version.unwrap_or_default();
    assert!(version.starts_with("1."), "{} says {version:?}", found.path.display());
}
