//! Finds the package folders of Python, and programs on `PATH`, by reading the file system.
//!
//! No search starts Python: `python3` may be a script, and Python imports modules from the working folder and
//! from what `PYTHONPATH` names. Only [`ask`] starts it, isolated from both, for commands that say so.
//! Relative entries of `PATH` are not followed, because they depend on the working folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The name of Python's program.
pub(crate) const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// The name of the places of the Python programs on `PATH`.
pub(crate) const ON_PATH: &str = "python3 on PATH";

/// A working folder without files of others. Python, uv and npm read settings from the working folder.
pub(crate) const NEUTRAL_FOLDER: &str = "/";

/// Returns the value of a variable that holds an absolute path; a relative one depends on the working folder.
pub(crate) fn absolute_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Returns the absolute folders of a list such as `PATH`.
pub(crate) fn absolute_folders(variable: &str) -> Vec<PathBuf> {
    let list = std::env::var_os(variable).unwrap_or_default();
    std::env::split_paths(&list).filter(|folder| folder.is_absolute()).collect()
}

/// Returns the program of this name in the first of some folders that has it.
pub(crate) fn program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let names = if cfg!(windows) { vec![format!("{name}.exe"), name.to_owned()] } else { vec![name.into()] };
    folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).find(|path| path.is_file())
}

/// Returns a command that runs `program`, which is found on `PATH`, in a folder. Programs that it starts are
/// found in the absolute folders of `PATH` only. `None` if there is no such program.
pub(crate) fn command(name: &str, folder: &Path) -> Option<Command> {
    let folders = absolute_folders("PATH");
    let mut command = Command::new(program(name, &folders)?);
    command.current_dir(folder).env("PATH", std::env::join_paths(folders).ok()?);
    Some(command)
}

/// Returns the Python environments of this machine with the name of each place: the active ones, those of the
/// programs on `PATH`, and the user's own packages.
pub(crate) fn environments() -> Vec<(&'static str, PathBuf)> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"];
    let mut found: Vec<_> =
        active.into_iter().filter_map(|name| Some((name, absolute_variable(name)?))).collect();
    found.extend(prefixes(&absolute_folders("PATH")).into_iter().map(|prefix| (ON_PATH, prefix)));
    let user = absolute_variable("PYTHONUSERBASE")
        .or_else(|| absolute_variable("HOME").map(|home| home.join(".local")));
    found.extend(user.map(|base| ("the user's Python packages", base)));
    found
}

/// Returns the environments of the Python programs in some folders: `/usr` for `/usr/bin/python3`, and the
/// one that it is a link into. The programs of pyenv are scripts; the file `version` names its environment.
pub(crate) fn prefixes(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let Some(python) = program(PYTHON, std::slice::from_ref(folder)) else { continue };
        let root = folder.parent().unwrap_or(folder);
        if folder.ends_with("shims") {
            let chosen = chiasm_graph::read_file(&root.join("version"), 1 << 20).unwrap_or_default();
            let chosen = String::from_utf8_lossy(&chosen);
            found.extend(chosen.lines().next().map(|name| root.join("versions").join(name.trim())));
            continue;
        }
        found.push(root.to_owned());
        let linked = python.canonicalize().ok();
        found.extend(linked.and_then(|python| Some(python.parent()?.parent()?.to_owned())));
    }
    let mut seen = std::collections::BTreeSet::new();
    // `/bin` is often a link to `/usr/bin`.
    found.retain(|prefix| {
        let packages = prefix.join("lib");
        seen.insert(packages.canonicalize().unwrap_or(packages))
    });
    found
}

/// Returns the package folders of a Python environment, by its layout on disk.
pub(crate) fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = vec![prefix.join("Lib").join("site-packages")];
    for library in ["lib", "lib64", "local/lib"] {
        let Ok(entries) = std::fs::read_dir(prefix.join(library)) else { continue };
        let mut pythons: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        pythons.retain(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python")));
        pythons.sort();
        // Debian keeps packages in `dist-packages`.
        found
            .extend(pythons.iter().flat_map(|p| ["site-packages", "dist-packages"].map(|site| p.join(site))));
    }
    found.retain(|p| p.is_dir());
    found
}

/// Asks a Python program for its package folders, with a time limit of five seconds. It runs isolated from
/// the working folder and from Python's variables.
///
/// # Errors
/// One sentence that says why there is no answer.
pub(crate) fn ask(python: &Path) -> Result<Vec<PathBuf>, String> {
    const ASK: &str = "import site, sysconfig\nfor p in dict.fromkeys([sysconfig.get_path('purelib'), \
                       sysconfig.get_path('platlib'), site.getusersitepackages()]): print(p)";
    let mut child = Command::new(python)
        .args(["-I", "-c", ASK])
        .current_dir(NEUTRAL_FOLDER)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("cannot be started: {e}"))?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err("did not answer within five seconds".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn environments_are_found_by_their_files() {
        let here = tempfile::tempdir().unwrap();
        let root = here.path().canonicalize().unwrap();
        touch(root.join("usr/bin/python3"));
        touch(root.join("usr/lib/python3/dist-packages/x"));
        touch(root.join("usr/local/lib/python3.11/dist-packages/x"));
        touch(root.join("usr/lib/other/site-packages/x"));
        std::fs::create_dir_all(root.join("venv/bin")).unwrap();
        std::os::unix::fs::symlink(root.join("usr/bin/python3"), root.join("venv/bin/python3")).unwrap();
        touch(root.join("pyenv/shims/python3"));
        std::fs::write(root.join("pyenv/version"), "3.12.1\n").unwrap();
        let folders = ["venv/bin", "usr/bin", "none", "pyenv/shims"].map(|folder| root.join(folder));
        let expected = ["venv", "usr", "pyenv/versions/3.12.1"].map(|prefix| root.join(prefix));
        assert_eq!(prefixes(&folders), expected);
        let expected = ["usr/lib/python3", "usr/local/lib/python3.11"];
        assert_eq!(site_packages(&root.join("usr")), expected.map(|p| root.join(p).join("dist-packages")));
        assert_eq!(program("python3", &folders), Some(root.join("venv/bin/python3")));
    }

    #[test]
    fn python_is_asked_without_its_variables_and_the_working_folder() {
        let here = tempfile::tempdir().unwrap();
        let python = here.path().join("python3");
        std::fs::write(&python, "#!/bin/sh\necho \"$1\"; pwd\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&python, mode).unwrap();
        assert_eq!(ask(&python).unwrap(), [Path::new("-I"), Path::new("/")]);
    }
}
