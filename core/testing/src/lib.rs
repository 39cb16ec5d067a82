//! How a test says that it was skipped.
//!
//! A test that cannot run on a machine calls [`skip`] and returns. The test still counts as passed, but the
//! skip is printed to stderr, and one line about it is appended to the file that `CHIASM_SKIPPED` names.
//! `cargo xtask test` sets that variable and prints the skipped tests; `cargo xtask ci` fails when the
//! machine does have what a skipped test said was missing.
//!
//! ```
//! use chiasm_testing::{Requirement, skip};
//!
//! fn reads_the_process_status() {
//!     let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
//!         return skip(Requirement::ProcessStatus, "/proc/self/status cannot be read");
//!     };
//!     assert!(status.contains("Name:"));
//! }
//! # reads_the_process_status();
//! ```

mod limited;

pub use limited::limited;

use std::fmt;
use std::io::Write;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// The environment variable that names the file to which skipped tests are appended.
pub const SKIPPED_VARIABLE: &str = "CHIASM_SKIPPED";

/// The environment variable that names the folder with the real models and data.
pub const REAL_VARIABLE: &str = "CHIASM_REAL";

/// The environment variable that names a folder `node_modules`.
pub const NODE_MODULES_VARIABLE: &str = "CHIASM_NODE_MODULES";

/// Something that a test needs of the machine, and that a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// ONNX Runtime.
    Engine,
    /// The real models and data; see [`real_data`].
    RealData,
    /// The right to mount a small file system in a namespace of one's own.
    SmallFileSystem,
    /// A machine on which CUDA is not usable: the test checks the error message.
    NoCuda,
    /// `/proc/self/status` with the peak memory of the process.
    ProcessStatus,
    /// A C library at one of the usual paths of Linux.
    SystemLibrary,
    /// An official ONNX Runtime wheel for this system and processor.
    OfficialBuild,
    /// A package of Python or JavaScript that opens an export (see [`peers_with`] and [`node_modules_with`]),
    /// or a browser that opens a page.
    Package,
}

impl Requirement {
    /// Every requirement.
    pub const ALL: [Self; 8] = [
        Self::Engine,
        Self::RealData,
        Self::SmallFileSystem,
        Self::NoCuda,
        Self::ProcessStatus,
        Self::SystemLibrary,
        Self::OfficialBuild,
        Self::Package,
    ];

    /// Returns the name that is written to the file of skipped tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::RealData => "real-data",
            Self::SmallFileSystem => "small-file-system",
            Self::NoCuda => "no-cuda",
            Self::ProcessStatus => "process-status",
            Self::SystemLibrary => "system-library",
            Self::OfficialBuild => "official-build",
            Self::Package => "package",
        }
    }

    /// Returns the requirement with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|requirement| requirement.name() == name)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A test that was skipped: one line of the file that [`SKIPPED_VARIABLE`] names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkippedTest {
    /// What the machine lacks.
    pub requirement: Requirement,
    /// The crate and the test.
    pub test: String,
    /// What exactly is missing, in one line.
    pub detail: String,
}

impl SkippedTest {
    /// Reads one line of the file of skipped tests; `None` when it has another form.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t');
        let requirement = Requirement::from_name(fields.next()?)?;
        Some(Self { requirement, test: fields.next()?.to_owned(), detail: fields.next()?.to_owned() })
    }
}

impl fmt::Display for SkippedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.requirement, self.test, self.detail)
    }
}

/// Records that the current test is skipped because the machine lacks `requirement`.
///
/// Prints the skip to stderr (past the test harness, which would hide it) and appends it to the file that
/// [`SKIPPED_VARIABLE`] names. `detail` says what exactly is missing. Call it on the test's own thread, which
/// bears the name of the test.
///
/// # Panics
/// When that file cannot be written: the skip would be lost.
#[track_caller]
#[expect(clippy::panic, reason = "only tests call this")]
pub fn skip(requirement: Requirement, detail: &str) {
    let thread = std::thread::current();
    // With `--test-threads 1` the tests run on the main thread.
    let test = match thread.name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => Location::caller().to_string(),
    };
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let test = format!("{package} {test}").trim().replace(['\t', '\n'], " ");
    let skipped = SkippedTest { requirement, test, detail: detail.replace(['\t', '\n'], " ") };
    // Not `eprintln!`, which the harness captures.
    let _ = writeln!(std::io::stderr(), "skipped {}: needs {requirement}: {detail}", skipped.test);
    if let Some(path) = std::env::var_os(SKIPPED_VARIABLE)
        && let Err(error) = append(Path::new(&path), &skipped)
    {
        panic!("{SKIPPED_VARIABLE}: cannot append to {}: {error}", Path::new(&path).display());
    }
}

/// Appends one line in one call, so that lines of tests that run at once do not mix.
fn append(path: &Path, skipped: &SkippedTest) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{skipped}\n").as_bytes())
}

/// Returns the folder of the real models and data: `CHIASM_REAL`, else `../shared/real` beside the project.
/// It need not exist.
pub fn real_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real");
    std::env::var_os(REAL_VARIABLE).map_or_else(beside, PathBuf::from)
}

/// Returns the Python interpreter with the packages that results are compared with: `CHIASM_PEERS`, else that
/// of `cargo xtask provision`, in the folder that cargo builds in.
///
/// # Panics
/// If it is not there.
pub fn peers() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().unwrap_or_default(); // target/debug/deps/TEST
        test.ancestors().nth(3).unwrap_or(Path::new("target")).join("peers/bin/python")
    };
    let python = std::env::var_os("CHIASM_PEERS").map_or_else(beside, PathBuf::from);
    assert!(python.is_file(), "no Python peers at {}: run `cargo xtask provision` first", python.display());
    python
}

/// Returns the Python interpreter of [`peers`] if it can import these modules; records a skip and returns
/// `None` if it cannot.
#[track_caller]
pub fn peers_with(modules: &[&str]) -> Option<PathBuf> {
    let python = peers();
    let program = format!("import {}", modules.join(", "));
    let tried = std::process::Command::new(&python).args(["-c", &program]).output();
    let error = match tried {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let last = error.lines().last().unwrap_or_default();
    skip(Requirement::Package, &format!("{} cannot `{program}`: {last}", python.display()));
    None
}

/// Returns the folder `node_modules` that [`NODE_MODULES_VARIABLE`] names if it holds a package; records a
/// skip and returns `None` if it does not.
#[track_caller]
pub fn node_modules_with(package: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(NODE_MODULES_VARIABLE).map(PathBuf::from);
    if let Some(folder) = folder.filter(|folder| folder.join(package).is_dir()) {
        return Some(folder);
    }
    let detail = format!("no {package} for Node.js ({NODE_MODULES_VARIABLE} names the folder node_modules)");
    skip(Requirement::Package, &detail);
    None
}

/// Returns the path of a file or folder of the real data; records a skip and returns `None` when it is
/// missing.
#[track_caller]
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = real_folder().join(name);
    if path.exists() {
        return Some(path);
    }
    let detail = format!("{} does not exist ({REAL_VARIABLE} names the folder to look in)", path.display());
    skip(Requirement::RealData, &detail);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_skip_is_read_back() {
        for requirement in Requirement::ALL {
            let skipped = SkippedTest {
                requirement,
                test: "chiasm-x some::test".to_owned(),
                detail: "not there: a\\b".to_owned(),
            };
            assert_eq!(SkippedTest::parse(&skipped.to_string()), Some(skipped));
        }
        assert_eq!(SkippedTest::parse("something\tsome::test\tdetail"), None);
        assert_eq!(SkippedTest::parse("engine"), None);
    }

    #[test]
    fn lines_are_appended() {
        let path = std::env::temp_dir().join(format!("chiasm-testing-{}", std::process::id()));
        let skipped = |test: &str| SkippedTest {
            requirement: Requirement::Engine,
            test: test.to_owned(),
            detail: "none".to_owned(),
        };
        append(&path, &skipped("one")).unwrap();
        append(&path, &skipped("two")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let read: Vec<SkippedTest> = text.lines().filter_map(SkippedTest::parse).collect();
        assert_eq!(read, [skipped("one"), skipped("two")]);
    }
}
