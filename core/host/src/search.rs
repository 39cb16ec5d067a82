//! The search for plugins. The current directory is never searched, so that no stray file is run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The places to search, in this order.
#[derive(Clone, Debug, Default)]
pub struct PluginSearch {
    /// `--plugin`: libraries, or folders of them.
    pub plugin_paths: Vec<PathBuf>,
    /// `$CHIASM_PLUGIN_PATH`: folders, separated by `:`.
    pub variable: Option<OsString>,
    /// The user's plugin folder.
    pub user_dir: Option<PathBuf>,
    /// The folder of the executable.
    pub executable_dir: Option<PathBuf>,
}

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginOrigin {
    /// Named with `--plugin`.
    Flag,
    /// In a folder of `$CHIASM_PLUGIN_PATH`.
    Variable,
    /// In the user's folder.
    UserDir,
    /// Beside the executable.
    Executable,
}

impl PluginOrigin {
    /// Returns a description of the origin.
    pub fn as_str(self) -> &'static str {
        match self {
            PluginOrigin::Flag => "--plugin",
            PluginOrigin::Variable => "$CHIASM_PLUGIN_PATH",
            PluginOrigin::UserDir => "the user's plugin folder",
            PluginOrigin::Executable => "the executable's folder",
        }
    }
}

impl PluginSearch {
    /// Returns the default places: the environment variable, `$XDG_DATA_HOME/chiasm/plugins` (or
    /// `~/.local/share/chiasm/plugins`), and the folder of the executable.
    pub fn from_environment(plugin_paths: Vec<PathBuf>) -> Self {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let data =
            absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        let executable = std::env::current_exe().ok();
        Self {
            plugin_paths,
            variable: std::env::var_os("CHIASM_PLUGIN_PATH"),
            user_dir: data.map(|data| data.join("chiasm/plugins")),
            executable_dir: executable.and_then(|path| path.parent().map(Path::to_owned)),
        }
    }

    /// Returns every candidate in search order, and a log of the places searched.
    pub(crate) fn candidates(&self) -> (Vec<Candidate>, Vec<String>) {
        let owner = std::env::current_exe().and_then(fs::metadata).map(|program| program.uid());
        let mut found = CandidateList { owner_of_program: owner.ok(), ..CandidateList::default() };
        for path in &self.plugin_paths {
            if path.is_dir() {
                found.folder(path, PluginOrigin::Flag);
            } else {
                found.file(path.clone(), PluginOrigin::Flag, true);
            }
        }
        match &self.variable {
            None => found.steps.push("$CHIASM_PLUGIN_PATH is not set".into()),
            Some(value) => {
                for folder in std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()) {
                    if folder.is_absolute() {
                        found.folder(&folder, PluginOrigin::Variable);
                    } else {
                        let text = folder.display();
                        found
                            .steps
                            .push(format!("$CHIASM_PLUGIN_PATH: skipped `{text}`, which is not absolute"));
                    }
                }
            }
        }
        let last =
            [(&self.user_dir, PluginOrigin::UserDir), (&self.executable_dir, PluginOrigin::Executable)];
        for (folder, origin) in last {
            match folder {
                Some(folder) => found.folder(folder, origin),
                None => found.steps.push(format!("{}: unknown", origin.as_str())),
            }
        }
        (found.candidates, found.steps)
    }
}

/// A file that may be a plugin.
pub(crate) struct Candidate {
    pub path: PathBuf,
    pub origin: PluginOrigin,
    /// Whether the user named this file, so that it must be a plugin.
    pub named: bool,
}

#[derive(Default)]
struct CandidateList {
    candidates: Vec<Candidate>,
    steps: Vec<String>,
    owner_of_program: Option<u32>,
}

impl CandidateList {
    fn file(&mut self, path: PathBuf, origin: PluginOrigin, named: bool) {
        let same = |one: &Candidate| one.path == path || same_file(&one.path, &path);
        if !self.candidates.iter().any(same) {
            self.candidates.push(Candidate { path, origin, named });
        }
    }

    /// Adds the libraries of a folder, sorted by name so that the order does not depend on the file system.
    fn folder(&mut self, folder: &Path, origin: PluginOrigin) {
        let place = format!("{}: {}", origin.as_str(), folder.display());
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) => return self.steps.push(format!("{place}: {e}")),
        };
        if let Err(reason) = private(folder, origin, self.owner_of_program) {
            return self.steps.push(format!("{place}: skipped, {reason}"));
        }
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "so") && path.is_file());
        files.sort();
        self.steps.push(format!("{place}: {} libraries", files.len()));
        for path in files {
            self.file(path, origin, false);
        }
    }
}

/// Checks that only the user, the system or the owner of this program can put files into a folder. A folder
/// that the user names with `--plugin` is not checked.
fn private(folder: &Path, origin: PluginOrigin, owner_of_program: Option<u32>) -> Result<(), String> {
    if origin == PluginOrigin::Flag {
        return Ok(());
    }
    let metadata = fs::metadata(folder).map_err(|e| e.to_string())?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != 0 && owner != user && Some(owner) != owner_of_program {
        return Err(format!("it belongs to another user ({owner}); name it with --plugin to use it"));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(
            "everyone may write to it; `chmod o-w` makes it private, --plugin uses it as it is".to_owned()
        );
    }
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
