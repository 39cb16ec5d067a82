//! What every task needs: the workspace's root, other commands, and words to the user.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// What a task returns: nothing, or a message for the person who ran it.
pub type Outcome<T = ()> = Result<T, String>;

/// One message on stderr.
#[expect(clippy::print_stderr, reason = "a command's own words to its user")]
pub fn say(message: &str) {
    eprintln!("{message}");
}

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

/// Cargo, as the one that runs us, in the root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end; a failure says which command and how it ended.
pub fn must(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.status().map_err(|e| format!("cannot start `{shown}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

/// One result on stdout. A reader that has left, as `head` does, is no error.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
