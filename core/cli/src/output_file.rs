//! Where `-o` may write. It replaces an earlier file only, never what the output is computed from.

use crate::command_result::CommandResult;
use chiasm_pipeline::Error;
use std::path::{Path, PathBuf};

/// Returns an error if `-o` cannot be written to `path`: something else than a file is there, a symbolic
/// link, or one of the inputs, or the folder does not exist.
pub fn check<'p>(path: &Path, mut inputs: impl Iterator<Item = &'p PathBuf>) -> CommandResult {
    let refuse = |what: &str| {
        let message = format!("-o {}: {what}", path.display());
        Err(Error::input("chiasm::output", message, "give the path of a new file"))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return refuse("its folder does not exist");
    }
    let Ok(there) = path.symlink_metadata() else { return Ok(()) };
    if there.is_symlink() {
        return refuse("a symbolic link is there, and its target would be replaced");
    }
    if !there.is_file() {
        return refuse("something is there that is not a file");
    }
    let place = |path: &Path| path.canonicalize().ok();
    if inputs.any(|input| place(input) == place(path)) {
        return refuse("this file is an input of the command");
    }
    Ok(())
}
