//! The arguments of `chiasm model`.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Create a model card for an .onnx file from the ports of its graph and the files beside it.
    Add {
        /// ONNX file or folder of a model: a path, or `hf:ORG/NAME@REVISION/PATH.onnx` (needs the feature
        /// `hub`).
        path: PathBuf,
        /// Name of the card [default: the name of the file or folder].
        #[arg(long)]
        name: Option<String>,
        /// Id of the adapter [default: the one that recognises the ports].
        #[arg(long)]
        adapter: Option<String>,
        /// Models folder to write the card into [default: the user's models folder].
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Licence of the model.
        #[arg(long, default_value = "")]
        licence: String,
        /// Set a key of the card: preprocessing.mean=[0.5,0.5,0.5] (repeatable).
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// List all model cards found.
    List,
    /// Show a card and the ports of its model.
    Inspect {
        /// Name of the card.
        name: String,
    },
    /// Set keys of a card. The card is checked, and left as it was if it would not be valid.
    Set {
        /// Name of the card.
        name: String,
        /// Keys (`chiasm explain card`) and values, such as preprocessing.max_length=64.
        #[arg(required = true, value_name = "KEY=VALUE")]
        assignments: Vec<String>,
    },
    /// Open a card in the editor that VISUAL or EDITOR names, and check it afterwards.
    Edit {
        /// Name of the card.
        name: String,
    },
    /// Remove a card, and the files in its folder that it names. Files elsewhere stay.
    Remove {
        /// Name of the card.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
