//! The recipe that a command reads.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// Recipe file (TOML).
    pub recipe: PathBuf,
    /// Set a key of the recipe: encoders.image.model=squeezenet11 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}
