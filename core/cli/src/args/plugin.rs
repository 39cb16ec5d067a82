//! The arguments of `chiasm plugin`, and the options of how plugins run.

use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List all plugins found, including shadowed and refused ones.
    List {
        /// Also load each plugin, in a process of its own, and say whether it can be used and is locked.
        #[arg(long)]
        load: bool,
    },
    /// Show the manifest of a plugin file without running its code.
    Inspect {
        /// Plugin file.
        path: PathBuf,
    },
    /// Explain how an id is resolved: every folder searched, and why each file was used or not.
    Why {
        /// Id of an aligner, fusion or adapter, e.g. cca.
        id: String,
    },
    /// Write the digests of the plugins found into chiasm.lock. From then on only these files may run here,
    /// and they run in this process. Each is loaded once in a process of its own first.
    Lock {
        /// Lock file [default: the nearest chiasm.lock in this folder or above, else ./chiasm.lock].
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Create a key for signing plugins: KEY, which stays secret, and KEY.pub.
    Key {
        /// File of the secret key.
        #[arg(value_name = "KEY")]
        path: PathBuf,
    },
    /// Sign a plugin file. The signature is written beside it, as FILE.minisig.
    Sign {
        /// Plugin file.
        path: PathBuf,
        /// File of the secret key. The password of an encrypted key is read from $CHIASM_KEY_PASSWORD.
        #[arg(long, value_name = "KEY")]
        key: PathBuf,
    },
    /// Trust the signatures of a key, in chiasm.lock.
    Trust {
        /// Public key: its text, or a file.
        #[arg(value_name = "KEY|FILE.pub")]
        key: String,
    },
    /// Check a plugin file against chiasm.lock and its signature. Exits with 1 if neither vouches for it.
    Verify {
        /// Plugin file.
        path: PathBuf,
    },
    /// Release a plugin from quarantine. A plugin that crashed in three commands is refused until then.
    Retry {
        /// Id of the plugin.
        id: String,
    },
    /// Test whether a plugin keeps the rules of the plugin interface. Every test has a process of its own.
    Validate {
        /// Plugin file.
        path: PathBuf,
        /// Run only the tests whose name contains this text (repeatable).
        #[arg(long, value_name = "TEXT")]
        only: Vec<String>,
        /// Leave out the tests whose name contains this text (repeatable).
        #[arg(long, value_name = "TEXT")]
        skip: Vec<String>,
        /// Seed of the test data. A failure names it, so that it can be repeated.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Parameters of an aligner or a fusion, as JSON: ID={...} (repeatable).
        #[arg(long = "set", value_name = "ID=JSON")]
        parameters: Vec<String>,
    },
    /// Create a small plugin that builds and passes `chiasm plugin validate`.
    New {
        /// What it offers.
        #[arg(value_enum)]
        kind: PluginKindArg,
        /// Name: of its folder, its package and its id in recipes.
        name: String,
        /// Folder of the crate chiasm-plugin to build with [default: that of this program's source].
        #[arg(long, value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PluginKindArg {
    Adapter,
    Aligner,
    Fusion,
}

/// Which plugins run in processes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IsolationArg {
    Never,
    Auto,
    Always,
}

/// Which plugins may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    Any,
    Locked,
    Signed,
}
