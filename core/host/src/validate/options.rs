//! What to test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::HostOptions;

/// What to test.
pub struct ValidationOptions {
    /// The file of the plugin.
    pub path: PathBuf,
    /// How its processes are started. They are used whatever the isolation says.
    pub host: HostOptions,
    /// The seed of the data.
    pub seed: u64,
    /// Run only tests whose name contains one of these texts; all if it is empty.
    pub only: Vec<String>,
    /// Leave out tests whose name contains one of these texts.
    pub skip: Vec<String>,
    /// The parameters of an aligner or a fusion, by its id.
    pub parameters: BTreeMap<String, Value>,
}
