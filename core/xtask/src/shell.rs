//! What every command of xtask needs: the root folder, other programs, and messages to the user.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// The result of a command; an error is a message for the user.
pub type CommandResult<T = ()> = Result<T, String>;

/// Prints a message on stderr.
#[expect(clippy::print_stderr, reason = "messages of a command line program")]
pub fn print_stderr(message: &str) {
    eprintln!("{message}");
}

/// Returns the root folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

/// Returns the cargo that runs xtask, to be started in the root folder.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end. The error names the command and its exit status.
pub fn run_command(command: &mut Command) -> CommandResult {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.status().map_err(|e| format!("cannot start `{shown}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

/// Prints a result on stdout. A closed pipe, e.g. of `head`, is not an error.
pub fn print_stdout(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
