//! The plugins that there are, which of them answers to which name, and why.

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

/// All plugins found, none of them loaded before it is used.
pub struct Host {
    plugins: Vec<PluginInfo>,
    slots: Vec<PluginSlot>,
    steps: Vec<String>,
}

struct PluginSlot {
    tag: Arc<PluginTag>,
    loaded: OnceLock<Result<LoadedModules>>,
}

/// What is known of a plugin without running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginInfo {
    /// Its id; the file's name where the file cannot say.
    pub id: String,
    /// Its version; empty where the file cannot say.
    pub version: String,
    /// The ABI it speaks.
    pub abi: String,
    /// Its licence.
    pub licence: String,
    /// Its file.
    pub path: PathBuf,
    /// How it was found.
    pub origin: PluginOrigin,
    /// Whether the user named this very file.
    pub named: bool,
    /// What it offers.
    pub provides: Vec<ListedComponent>,
    /// Whether it can be used.
    pub status: PluginStatus,
}

/// One thing that a plugin offers, and who answers in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedComponent {
    /// Kind, id and a sentence.
    #[serde(flatten)]
    pub component: PluginComponent,
    /// The file of the plugin found earlier that offers the same.
    pub shadowed_by: Option<PathBuf>,
}

/// Whether a plugin can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginStatus {
    /// It passed every check that needs no loading.
    Ready,
    /// A plugin of the same id was found earlier, in this file.
    Shadowed(PathBuf),
    /// It cannot be used, for this reason.
    Refused(String),
}

impl Host {
    /// Looks everywhere. A file that is no good is listed as refused, so this never fails.
    pub fn discover(search: &PluginSearch) -> Self {
        let (candidates, steps) = search.candidates();
        let mut host = Self { plugins: Vec::new(), slots: Vec::new(), steps };
        for candidate in candidates {
            host.add_candidate(candidate);
        }
        host
    }

    /// Every plugin found, in the order of the search.
    pub fn plugins(&self) -> &[PluginInfo] {
        &self.plugins
    }

    /// Fails for the first file that the user named and that cannot be used. For commands that should not go on without it.
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

    /// The manifest of a file, without running any of it.
    pub fn inspect(path: &Path) -> Result<Manifest> {
        let fail = |reason: String| {
            HostError::new(Code::INVALID, Phase::Manifest, reason).of(&unidentified_tag(path))
        };
        load::read_manifest(path).map_err(fail)?.ok_or_else(|| fail(load::not_a_plugin()))
    }

    /// How the answer to "who is `id`?" comes about: every place looked at, every file that answers to the id or is too
    /// damaged to say, what it was refused for, and which one is used. `id` is a plugin's, or that of something it offers.
    pub fn why(&self, id: &str) -> Vec<String> {
        let mut steps = self.steps.clone();
        let mut answered = false;
        for plugin in &self.plugins {
            let offers = plugin.provides.iter().filter(|one| one.component.id == id);
            let offers: Vec<&ListedComponent> = offers.collect();
            // A file too damaged to say who it is may be the one that was meant.
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
                    None => format!("{} `{id}` is this one's", one.component.kind),
                    Some(by) => {
                        format!("{} `{id}` of this one is shadowed by {}", one.component.kind, by.display())
                    }
                }));
            }
        }
        if !answered {
            steps.push(format!("nothing answers to `{id}`"));
        }
        steps
    }

    /// The adapter of this id.
    pub fn adapter(&self, id: &str) -> Result<AdapterFactory> {
        let (tag, loaded) = self.provider("adapter", id)?;
        AdapterFactory::new(id, tag, loaded)
    }

    /// The aligner of this id.
    pub fn aligner(&self, id: &str) -> Result<AlignerHandle> {
        let (tag, loaded) = self.provider("aligner", id)?;
        AlignerHandle::new(id, tag, loaded)
    }

    /// The fusion of this id.
    pub fn fusion(&self, id: &str) -> Result<FusionHandle> {
        let (tag, loaded) = self.provider("fusion", id)?;
        FusionHandle::new(id, tag, loaded)
    }

    /// The ids of this kind that are answered, in the order of the search.
    pub fn ids(&self, kind: &str) -> Vec<&str> {
        let ready = self.plugins.iter().filter(|plugin| plugin.status == PluginStatus::Ready);
        let offers = ready.flat_map(|plugin| &plugin.provides);
        offers
            .filter(|one| one.component.kind == kind && one.shadowed_by.is_none())
            .map(|one| one.component.id.as_str())
            .collect()
    }

    /// Brings the loaded plugins to rest: returns when calls under way have ended; later calls are errors.
    pub fn quiesce(&self) {
        let loaded = self.slots.iter().filter_map(|slot| slot.loaded.get());
        loaded.flatten().for_each(LoadedModules::quiesce);
    }

    fn add_candidate(&mut self, candidate: Candidate) {
        let Candidate { path, origin, named } = candidate;
        let manifest = match load::read_manifest(&path) {
            // Folders may hold libraries that are not ours; only a file that the user named must be one.
            Ok(None) if !named => {
                self.steps.push(format!("{}: passed over, no plugin", path.display()));
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

    /// The gates, then first come, first served: for the plugin's id, and for each thing that it offers.
    fn resolve(&self, manifest: Manifest, blank: PluginInfo) -> PluginInfo {
        let ready = || self.plugins.iter().filter(|plugin| plugin.status == PluginStatus::Ready);
        let status = match (manifest.check_compatibility(), ready().find(|plugin| plugin.id == manifest.id)) {
            (Err(reason), _) => PluginStatus::Refused(reason),
            (Ok(()), Some(earlier)) => PluginStatus::Shadowed(earlier.path.clone()),
            (Ok(()), None) => PluginStatus::Ready,
        };
        let provides = manifest.provides.into_iter().map(|what| {
            let same =
                |one: &ListedComponent| (&one.component.kind, &one.component.id) == (&what.kind, &what.id);
            let earlier = ready().find(|plugin| plugin.provides.iter().any(same));
            ListedComponent { shadowed_by: earlier.map(|plugin| plugin.path.clone()), what }
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

    /// Who answers to an id, loaded.
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

    /// Nobody answers: who might have been meant, and who was refused.
    fn not_found(&self, kind: &str, id: &str) -> HostError {
        let known = self.ids(kind);
        let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
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
            "no plugin offers the {kind} `{id}`; there are: {known}{refused} (see `chiasm plugin why {id}`)"
        );
        HostError::new(Code::INVALID, Phase::Find, message)
    }
}

/// The tag of a file that has not said who it is.
fn unidentified_tag(path: &Path) -> Arc<PluginTag> {
    let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Arc::new(PluginTag { id, version: "?".into(), path: path.to_owned() })
}
