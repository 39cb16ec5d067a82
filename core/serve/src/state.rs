//! What every request handler sees.

use crate::{auth::ApiKey, items::ItemFolder, metrics::Metrics, options::ServeOptions, registry::Registry};
use std::{sync::Arc, time::Instant};
use tokio::sync::Semaphore;

/// What every request handler sees.
pub struct ServerState {
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
    pub options: ServeOptions,
    pub items: ItemFolder,
    pub key: Option<ApiKey>,
    /// The memory for bodies that is free, in KiB.
    pub bodies: Arc<Semaphore>,
    pub started: Instant,
}
