//! A browser for the tests of pages.

use chiasm_testing::{Requirement, skip};
use std::path::PathBuf;

/// Returns the first Chromium or Chrome of the search path.
pub fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        skip(Requirement::Package, "none of chromium, chromium-browser and google-chrome is in PATH");
    }
    found
}
