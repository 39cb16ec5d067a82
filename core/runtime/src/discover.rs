//! Finds ONNX Runtime on this machine and records every place searched.
//!
//! The order is: the `--engine` flag, `ORT_DYLIB_PATH`, the executable's folder, the user cache, the active
//! Python environment, those of the Python programs on `PATH`, the system. The user names the first two, so
//! an unusable library there is an error; anywhere else it is recorded and the search continues. The search
//! reads the file system and starts no program, and looks only into absolute folders: what it finds does not
//! depend on the working folder. [`EngineSearch`] is plain data: a test can set every place to a folder of
//! its own.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::library::{candidates, inspect, parse_version};
use crate::python::{self, absolute_folders, absolute_variable, ask, site_packages};
use crate::searched_place::{PlaceStatus, SearchedPlace};
use crate::{Error, Result};

/// The places to search for ONNX Runtime, in order.
///
/// ```
/// use chiasm_runtime::EngineSearch;
///
/// let nowhere = EngineSearch::default();
/// assert!(nowhere.find().is_err());
/// for place in EngineSearch::from_environment(None).attempts() {
///     println!("{place}");
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct EngineSearch {
    /// A library, or a folder with one, named on the command line.
    pub flag: Option<PathBuf>,
    /// The value of `ORT_DYLIB_PATH`: a library or a folder with one.
    pub variable: Option<PathBuf>,
    /// The folder of the running program.
    pub beside: Option<PathBuf>,
    /// The user cache of engines (one sub-folder per version); see [`cache_folder`].
    pub cache: Option<PathBuf>,
    /// Python environments with the place of each, for example `("VIRTUAL_ENV", "~/venv")`.
    pub python_prefixes: Vec<(&'static str, PathBuf)>,
    /// A Python program to ask for its package folders, after all other places; see
    /// [`EngineSearch::asking_python`].
    pub python: Option<PathBuf>,
    /// System library folders.
    pub system: Vec<PathBuf>,
}

/// The engine that the search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundEngine {
    /// The library.
    pub path: PathBuf,
    /// Its version where the file states it.
    pub version: Option<String>,
    /// The place where it was found.
    pub how: &'static str,
}

impl EngineSearch {
    /// Reads the places of this machine from the environment; `flag` is the library named on the command
    /// line.
    pub fn from_environment(flag: Option<PathBuf>) -> Self {
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()).map(PathBuf::from);
        Self {
            flag,
            variable,
            beside,
            cache: cache_folder(),
            python_prefixes: python::environments(),
            python: None,
            system: system_folders(),
        }
    }

    /// Adds the question to the first Python program on `PATH` where its packages are. That starts a program,
    /// so only commands about the engine itself do it.
    pub fn asking_python(self) -> Self {
        let python = python::program(python::PYTHON, &absolute_folders("PATH"));
        Self { python, ..self }
    }

    /// Searches every place, also after a usable library; this is what `chiasm doctor` prints.
    pub fn attempts(&self) -> Vec<SearchedPlace> {
        self.walk(&mut |_| false)
    }

    /// Returns the first usable engine.
    ///
    /// # Errors
    /// [`Error::BadEngine`] when the user named an unusable library; [`Error::NoEngine`], with every place
    /// searched, when no place has a usable one.
    pub fn find(&self) -> Result<FoundEngine> {
        let mut stop = |a: &SearchedPlace| match a.outcome {
            PlaceStatus::Usable(_) => true,
            _ => a.place == FLAG || (a.place == VARIABLE && a.path.is_some()),
        };
        let attempts = self.walk(&mut stop);
        match attempts.last() {
            Some(SearchedPlace { place, path: Some(path), outcome: PlaceStatus::Usable(version) }) => {
                Ok(FoundEngine { path: path.clone(), version: version.clone(), how: place })
            }
            Some(SearchedPlace { place, path: Some(path), outcome }) if [FLAG, VARIABLE].contains(place) => {
                Err(Error::BadEngine { place, path: path.clone(), reason: outcome.to_string() })
            }
            _ => Err(Error::NoEngine { attempts }),
        }
    }

    /// Visits the places in order until `stop` returns true.
    fn walk(&self, stop: &mut dyn FnMut(&SearchedPlace) -> bool) -> Vec<SearchedPlace> {
        let mut done: Vec<SearchedPlace> = Vec::new();
        let mut look = |found: Vec<SearchedPlace>| {
            found.into_iter().any(|attempt| {
                done.push(attempt);
                done.last().is_some_and(&mut *stop)
            })
        };
        let _stopped = self.flag.as_deref().is_some_and(|path| look(named(FLAG, Some(path))))
            || look(named(VARIABLE, self.variable.as_deref()))
            || look(folder("beside the program", self.beside.as_deref()))
            || look(cached(self.cache.as_deref()))
            || self.python_prefixes.iter().any(|(name, prefix)| look(prefix_packages(name, prefix)))
            || look(system(&self.system))
            || self.python.as_deref().is_some_and(|python| look(asked_packages(python)));
        done
    }
}

const FLAG: &str = "--engine";
const VARIABLE: &str = "ORT_DYLIB_PATH";
const CACHE: &str = "user cache";
/// The name of the place of [`EngineSearch::python`].
pub const ASKED_PYTHON: &str = "where Python says its packages are";
const SYSTEM: &str = "system";

/// Returns the folder of installed engines: `chiasm/engine` in the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let var = absolute_variable;
    let base = var("XDG_CACHE_HOME").or_else(|| match std::env::consts::OS {
        "windows" => var("LOCALAPPDATA"),
        "macos" => var("HOME").map(|home| home.join("Library/Caches")),
        _ => var("HOME").map(|home| home.join(".cache")),
    })?;
    Some(base.join("chiasm").join("engine"))
}

fn named(place: &'static str, path: Option<&Path>) -> Vec<SearchedPlace> {
    match path {
        None => vec![absent(place, None, "not set")],
        Some(path) if path.is_dir() => folder(place, Some(path)),
        Some(path) => vec![check(place, path)],
    }
}

/// Checks the engines of one folder; reports one absent place when it has none.
fn folder(place: &'static str, path: Option<&Path>) -> Vec<SearchedPlace> {
    let Some(path) = path else { return vec![absent(place, None, "not known")] };
    let found = candidates(path);
    if found.is_empty() {
        return vec![absent(place, Some(path), "no ONNX Runtime library in this folder")];
    }
    found.iter().map(|file| check(place, file)).collect()
}

/// Checks the cached versions, the newest first. Of one version the CUDA build comes first, since it can also
/// run on the CPU.
fn cached(path: Option<&Path>) -> Vec<SearchedPlace> {
    let Some(path) = path else { return vec![absent(CACHE, None, "no home folder is set")] };
    let Ok(entries) = std::fs::read_dir(path) else {
        return vec![absent(CACHE, Some(path), "nothing was installed there")];
    };
    let mut versions: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    // A name that begins with a dot is an install in progress.
    versions.retain(|name| !name.starts_with('.'));
    versions.sort_by_key(|name| {
        let number = name.split('-').next().unwrap_or_default();
        std::cmp::Reverse((parse_version(number), name.clone()))
    });
    let found: Vec<SearchedPlace> =
        versions.iter().flat_map(|v| folder(CACHE, Some(&path.join(v)))).collect();
    if found.is_empty() { vec![absent(CACHE, Some(path), "nothing was installed there")] } else { found }
}

fn prefix_packages(name: &'static str, prefix: &Path) -> Vec<SearchedPlace> {
    let found: Vec<SearchedPlace> = site_packages(prefix)
        .iter()
        .flat_map(|site| candidates(&site.join(CAPI)))
        .map(|f| check(name, &f))
        .collect();
    if found.is_empty() { vec![absent(name, Some(prefix), "no onnxruntime package in it")] } else { found }
}

/// The folder of the library inside the package folder.
const CAPI: &str = "onnxruntime/capi";

fn asked_packages(python: &Path) -> Vec<SearchedPlace> {
    match ask(python) {
        Err(reason) => vec![absent(ASKED_PYTHON, Some(python), &reason)],
        Ok(folders) => {
            let found: Vec<SearchedPlace> = folders
                .iter()
                .flat_map(|site| candidates(&site.join(CAPI)))
                .map(|file| check(ASKED_PYTHON, &file))
                .collect();
            let first = folders.first().map(PathBuf::as_path);
            if found.is_empty() {
                vec![absent(ASKED_PYTHON, first, "no onnxruntime package in it")]
            } else {
                found
            }
        }
    }
}

fn system(folders: &[PathBuf]) -> Vec<SearchedPlace> {
    let found: Vec<SearchedPlace> =
        folders.iter().flat_map(|f| candidates(f)).map(|file| check(SYSTEM, &file)).collect();
    if found.is_empty() {
        let reason = format!("no ONNX Runtime library in the {} library folders", folders.len());
        return vec![absent(SYSTEM, None, &reason)];
    }
    found
}

/// Reads a settings file of at most 1 MiB, such as a list of folders; `None` if it is anything else.
fn short_text(path: &Path) -> Option<String> {
    String::from_utf8(chiasm_graph::read_file(path, 1 << 20).ok()?).ok()
}

/// Returns the folders that the system's loader searches.
pub(crate) fn system_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        folders.extend(absolute_folders(name));
    }
    if let Ok(entries) = std::fs::read_dir("/etc/ld.so.conf.d") {
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        files.sort();
        for text in files.iter().filter_map(|f| short_text(f)) {
            folders.extend(text.lines().filter(|l| l.starts_with('/')).map(|l| PathBuf::from(l.trim())));
        }
    }
    folders.extend(
        ["/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib64", "/lib", "/opt/homebrew/lib"]
            .map(PathBuf::from),
    );
    let mut seen = std::collections::BTreeSet::new();
    // One folder may have two names: /lib is often a link to /usr/lib.
    folders.retain(|f| f.is_dir() && seen.insert(f.canonicalize().unwrap_or_else(|_| f.clone())));
    folders
}

fn check(place: &'static str, path: &Path) -> SearchedPlace {
    let outcome = match inspect(path) {
        Ok(version) => PlaceStatus::Usable(version),
        Err(reason) => PlaceStatus::Refused(reason),
    };
    SearchedPlace {
        place,
        path: Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
        outcome,
    }
}

fn absent(place: &'static str, path: Option<&Path>, reason: &str) -> SearchedPlace {
    SearchedPlace { place, path: path.map(Path::to_owned), outcome: PlaceStatus::Absent(reason.to_owned()) }
}
