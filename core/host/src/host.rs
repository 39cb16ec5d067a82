//! The plugins found, and the lookup of adapters, aligners and fusions by id.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chiasm_abi::Code;
use serde::Serialize;

use crate::load::{self, LoadedModules};
use crate::search::Candidate;
use crate::{
    AdapterFactory, AlignerHandle, FusionHandle, HostError, Manifest, Phase, PluginComponent, PluginOrigin,
    PluginSearch, PluginTag, Result,
};

/// All plugins found. A plugin is loaded when it is first used.
pub struct Host {
    plugins: Vec<PluginInfo>,
    slots: Vec<PluginSlot>,
    steps: Vec<String>,
}

struct PluginSlot {
    tag: Arc<PluginTag>,
    loaded: OnceLock<Result<LoadedModules>>,
}

/// What is known about a plugin without running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginInfo {
    /// Its id, or the file name if the manifest cannot be read.
    pub id: String,
    /// Its version, or an empty string if the manifest cannot be read.
    pub version: String,
    /// The version of its ABI.
    pub abi: String,
    /// Its licence.
    pub licence: String,
    /// Its file.
    pub path: PathBuf,
    /// How it was found.
    pub origin: PluginOrigin,
    /// Whether the user named this file.
    pub named: bool,
    /// Its adapters, aligners and fusions.
    pub provides: Vec<ListedComponent>,
    /// Whether it can be used.
    pub status: PluginStatus,
}

/// An adapter, aligner or fusion of a plugin, and the plugin that shadows it, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedComponent {
    /// Its kind, id and description.
    #[serde(flatten)]
    pub component: PluginComponent,
    /// The file of an earlier plugin that has the same kind and id.
    pub shadowed_by: Option<PathBuf>,
}

/// Whether a plugin can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginStatus {
    /// It passed every check before loading.
    Ready,
    /// An earlier plugin, in this file, has the same id.
    Shadowed(PathBuf),
    /// It cannot be used, for this reason.
    Refused(String),
}

impl Host {
    /// Searches for plugins. It never fails: an unusable file is listed as refused.
    pub fn discover(search: &PluginSearch) -> Self {
        let (candidates, steps) = search.candidates();
        let mut host = Self { plugins: Vec::new(), slots: Vec::new(), steps };
        for candidate in candidates {
            host.add_candidate(candidate);
        }
        host
    }

    /// Returns every plugin found, in search order.
    pub fn plugins(&self) -> &[PluginInfo] {
        &self.plugins
    }

    /// Checks that every file named by the user can be used.
    ///
    /// # Errors
    /// For the first named file that was refused.
    pub fn check_named(&self) -> Result<()> {
        let refused = self.plugins.iter().zip(&self.slots).find_map(|(plugin, slot)| match &plugin.status {
            PluginStatus::Refused(reason) if plugin.named => Some((reason, slot)),
            _ => None,
        });
        match refused {
            Some((reason, slot)) => Err(HostError::new(Code::INVALID, Phase::Manifest, reason).of(&slot.tag)),
            None => Ok(()),
        }
    }

    /// Returns the manifest of a file without running its code.
    pub fn inspect(path: &Path) -> Result<Manifest> {
        let fail = |reason: String| {
            HostError::new(Code::INVALID, Phase::Manifest, reason).of(&unidentified_tag(path))
        };
        load::read_manifest(path).map_err(fail)?.ok_or_else(|| fail(load::not_a_plugin()))
    }

    /// Explains how an id is looked up: every place searched, every file that has the id or is too damaged to
    /// tell, why it was refused, and which one is used. `id` is the id of a plugin, adapter, aligner or
    /// fusion.
    pub fn why(&self, id: &str) -> Vec<String> {
        let mut steps = self.steps.clone();
        let mut answered = false;
        for plugin in &self.plugins {
            let offers = plugin.provides.iter().filter(|one| one.component.id == id);
            let offers: Vec<&ListedComponent> = offers.collect();
            // A file whose manifest cannot be read may be the one that the user looks for.
            let nameless = plugin.version.is_empty();
            if plugin.id != id && offers.is_empty() && !nameless {
                continue;
            }
            answered |= !nameless;
            let version = if nameless { String::new() } else { format!(" {}", plugin.version) };
            let (path, by) = (plugin.path.display(), plugin.origin.as_str());
            let name = format!("{}{version} ({path}, by {by})", plugin.id);
            steps.push(match &plugin.status {
                PluginStatus::Ready => format!("found {name}"),
                PluginStatus::Shadowed(by) => format!("found {name}, shadowed by {}", by.display()),
                PluginStatus::Refused(reason) => format!("refused {name}: {reason}"),
            });
            if plugin.status == PluginStatus::Ready {
                steps.extend(offers.iter().map(|one| match &one.shadowed_by {
                    None => format!("{} `{id}` is taken from this plugin", one.component.kind),
                    Some(by) => {
                        format!(
                            "{} `{id}` of this plugin is shadowed by {}",
                            one.component.kind,
                            by.display()
                        )
                    }
                }));
            }
        }
        if !answered {
            steps.push(format!("no plugin has the id `{id}` or offers it"));
        }
        steps
    }

    /// Returns the adapter of this id. It loads the plugin.
    pub fn adapter(&self, id: &str) -> Result<AdapterFactory> {
        let (tag, loaded) = self.provider("adapter", id)?;
        AdapterFactory::new(id, tag, loaded)
    }

    /// Returns the aligner of this id. It loads the plugin.
    pub fn aligner(&self, id: &str) -> Result<AlignerHandle> {
        let (tag, loaded) = self.provider("aligner", id)?;
        AlignerHandle::new(id, tag, loaded)
    }

    /// Returns the fusion of this id. It loads the plugin.
    pub fn fusion(&self, id: &str) -> Result<FusionHandle> {
        let (tag, loaded) = self.provider("fusion", id)?;
        FusionHandle::new(id, tag, loaded)
    }

    /// Returns the available ids of this kind, in search order.
    pub fn ids(&self, kind: &str) -> Vec<&str> {
        let ready = self.plugins.iter().filter(|plugin| plugin.status == PluginStatus::Ready);
        let offers = ready.flat_map(|plugin| &plugin.provides);
        offers
            .filter(|one| one.component.kind == kind && one.shadowed_by.is_none())
            .map(|one| one.component.id.as_str())
            .collect()
    }

    /// Shuts down the loaded plugins: returns when active calls have ended; later calls are errors.
    pub fn quiesce(&self) {
        let loaded = self.slots.iter().filter_map(|slot| slot.loaded.get());
        loaded.flatten().for_each(LoadedModules::quiesce);
    }

    fn add_candidate(&mut self, candidate: Candidate) {
        let Candidate { path, origin, named } = candidate;
        let manifest = match load::read_manifest(&path) {
            // A folder may hold other libraries; only a file that the user named must be a plugin.
            Ok(None) if !named => {
                self.steps.push(format!("{}: skipped, not a plugin", path.display()));
                return;
            }
            Ok(None) => Err(load::not_a_plugin()),
            Ok(Some(manifest)) => Ok(manifest),
            Err(reason) => Err(reason),
        };
        let blank = PluginInfo {
            id: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            version: String::new(),
            abi: String::new(),
            licence: String::new(),
            path,
            origin,
            named,
            provides: Vec::new(),
            status: PluginStatus::Ready,
        };
        let info = match manifest {
            Err(reason) => PluginInfo { status: PluginStatus::Refused(reason), ..blank },
            Ok(manifest) => self.resolve(manifest, blank),
        };
        let tag = PluginTag { id: info.id.clone(), version: info.version.clone(), path: info.path.clone() };
        self.slots.push(PluginSlot { tag: Arc::new(tag), loaded: OnceLock::new() });
        self.plugins.push(info);
    }

    /// Checks the manifest, then resolves duplicate ids: the first plugin found wins.
    fn resolve(&self, manifest: Manifest, blank: PluginInfo) -> PluginInfo {
        let ready = || self.plugins.iter().filter(|plugin| plugin.status == PluginStatus::Ready);
        let status = match (manifest.check_compatibility(), ready().find(|plugin| plugin.id == manifest.id)) {
            (Err(reason), _) => PluginStatus::Refused(reason),
            (Ok(()), Some(earlier)) => PluginStatus::Shadowed(earlier.path.clone()),
            (Ok(()), None) => PluginStatus::Ready,
        };
        let provides = manifest.provides.into_iter().map(|component| {
            let same = |one: &ListedComponent| {
                (&one.component.kind, &one.component.id) == (&component.kind, &component.id)
            };
            let earlier = ready().find(|plugin| plugin.provides.iter().any(same));
            ListedComponent { shadowed_by: earlier.map(|plugin| plugin.path.clone()), component }
        });
        PluginInfo {
            provides: provides.collect(),
            id: manifest.id,
            version: manifest.version,
            abi: manifest.abi,
            licence: manifest.licence,
            status,
            ..blank
        }
    }

    /// Returns the plugin that provides this id, loaded.
    fn provider(&self, kind: &str, id: &str) -> Result<(Arc<PluginTag>, LoadedModules)> {
        let offers = |plugin: &PluginInfo| {
            let mut own = plugin.provides.iter();
            own.any(|one| one.component.kind == kind && one.component.id == id && one.shadowed_by.is_none())
        };
        let found =
            self.plugins.iter().position(|plugin| plugin.status == PluginStatus::Ready && offers(plugin));
        let slot = found.and_then(|index| self.slots.get(index)).ok_or_else(|| self.not_found(kind, id))?;
        let loaded = slot.loaded.get_or_init(|| load::load(&slot.tag)).clone()?;
        Ok((slot.tag.clone(), loaded))
    }

    /// Returns the error for an unknown id. It lists the known ids and a refused plugin that has the id.
    fn not_found(&self, kind: &str, id: &str) -> HostError {
        let known = self.ids(kind);
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let refused = self.plugins.iter().find_map(|plugin| match &plugin.status {
            PluginStatus::Refused(reason)
                if plugin.id == id || plugin.provides.iter().any(|one| one.component.id == id) =>
            {
                Some(format!("; {} was refused: {reason}", plugin.path.display()))
            }
            _ => None,
        });
        let refused = refused.unwrap_or_default();
        let message = format!(
            "no plugin offers the {kind} `{id}`; available: {known}{refused} (see `chiasm plugin why {id}`)"
        );
        HostError::new(Code::INVALID, Phase::Find, message)
    }
}

/// Returns the tag of a file whose manifest has not been read.
fn unidentified_tag(path: &Path) -> Arc<PluginTag> {
    let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Arc::new(PluginTag { id, version: "?".into(), path: path.to_owned() })
}
