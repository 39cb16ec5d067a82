//! The runs that are served, by name, and their reload.

use crate::{
    api_error::ApiError,
    job::{Outputs, Work},
    metrics::Metrics,
    model::{Model, Service, Submitted},
    options::{ServedRun, TENSORS},
};
use axum::http::StatusCode;
use chiasm_pipeline::Error;
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::Scope,
    time::Duration,
};

/// How often a stop is looked for.
const TICK: Duration = Duration::from_millis(50);

/// The runs that are served, by name.
#[derive(Default)]
pub struct Registry {
    models: RwLock<BTreeMap<String, Arc<Model>>>,
    /// Every run is loaded again.
    pub reload: AtomicBool,
    /// The server stops: what it has accepted is answered.
    pub stopping: AtomicBool,
    /// Nothing is run any more.
    closed: AtomicBool,
}

impl Registry {
    /// Returns the run of this name as it is now.
    pub fn model(&self, name: &str) -> Result<Arc<Model>, ApiError> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = models.keys().map(String::as_str).collect();
            ApiError::missing(format!("there is no model {name:?}; there is {}", names.join(", ")))
        })
    }

    /// Returns the run of the model of this name, and whether the model takes the tensors of `model.onnx`.
    pub fn model_or_tensors(&self, name: &str) -> Result<(Arc<Model>, bool), ApiError> {
        match name.strip_suffix(TENSORS) {
            Some(run) => Ok((self.model(run)?, true)),
            None => Ok((self.model(name)?, false)),
        }
    }

    /// Returns all runs, by name.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Runs work on the run of this name: on the newer one, if it is replaced before the work is accepted.
    pub async fn run(&self, name: &str, mut work: Work) -> Result<Outputs, ApiError> {
        loop {
            if self.is_closed() {
                return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server stops"));
            }
            match self.model(name)?.submit(work).await {
                Submitted::Answer(answer) => return answer,
                Submitted::Replaced(returned) => work = returned,
            }
        }
    }

    /// Returns the metrics as text.
    pub fn metrics(&self, metrics: &Metrics) -> String {
        let waiting =
            self.models().iter().map(|model| (model.name.clone(), model.waiting())).collect::<Vec<_>>();
        metrics.text(&waiting)
    }

    /// Loads every run.
    ///
    /// # Errors
    /// Why a run cannot be loaded.
    pub fn load_all<'scope, 'e: 'scope>(
        &self,
        service: Service<'e>,
        scope: &'scope Scope<'scope, 'e>,
    ) -> Result<Vec<Watched>, Error> {
        let load = |served: &ServedRun| {
            let watched = Watched { served: served.clone(), stamp: Stamp::of(&served.folder) };
            self.replace(&watched.served, service, scope)?;
            Ok(watched)
        };
        service.options.runs.iter().map(load).collect()
    }

    /// Loads runs again that have changed, or all when asked to, until the server stops. A run that cannot be
    /// loaded stays as it was.
    pub fn watch<'scope, 'e: 'scope>(
        &self,
        mut runs: Vec<Watched>,
        service: Service<'e>,
        scope: &'scope Scope<'scope, 'e>,
    ) {
        let mut waited = Duration::ZERO;
        while !self.stopping.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            waited += TICK;
            let asked = self.reload.swap(false, Ordering::Relaxed);
            if waited < service.options.watch && !asked {
                continue;
            }
            waited = Duration::ZERO;
            for watched in &mut runs {
                let stamp = Stamp::of(&watched.served.folder);
                // While a folder is exchanged there is no manifest for a moment.
                if stamp.is_none() || (stamp == watched.stamp && !asked) {
                    continue;
                }
                watched.stamp = stamp;
                let name = &watched.served.name;
                let note = match self.replace(&watched.served, service, scope) {
                    Ok(()) => format!("{name}: loaded again"),
                    Err(error) => format!("{name}: cannot be loaded again, the older run stays: {error}"),
                };
                service.env.reporter.note(&note);
            }
        }
    }

    /// Returns whether nothing is run any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends the workers of all runs when they have answered what waits.
    pub fn close(&self) {
        let models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Relaxed);
        models.values().for_each(|model| model.close());
    }

    /// Loads a run in the place of the older one, which answers what it has accepted.
    fn replace<'scope, 'e: 'scope>(
        &self,
        served: &ServedRun,
        service: Service<'e>,
        scope: &'scope Scope<'scope, 'e>,
    ) -> Result<(), Error> {
        let loaded = Model::load(served, service, scope);
        service.metrics.load(&served.name, loaded.is_ok());
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded?;
        if self.closed.load(Ordering::Relaxed) {
            loaded.close();
        }
        let older = models.insert(served.name.clone(), loaded);
        drop(models);
        older.iter().for_each(|older| older.close());
        Ok(())
    }
}

/// A run folder, and its manifest when it was loaded.
pub struct Watched {
    served: ServedRun,
    stamp: Option<Stamp>,
}

/// What changes when a manifest is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(folder: &Path) -> Option<Self> {
        let of = |data: std::fs::Metadata| Self {
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
        };
        std::fs::metadata(folder.join("manifest.json")).ok().map(of)
    }
}
