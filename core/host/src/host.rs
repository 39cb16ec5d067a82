//! The plugins that there are, which of them answers to which name, and why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chiasm_abi::Code;
use serde::Serialize;

use crate::load::{self, Loaded};
use crate::search::Candidate;
use crate::{
    AdapterFactory, Aligner, Fusion, HostError, Manifest, Origin, Phase, PluginTag, Provided, Result, Search,
};

/// All plugins found, none of them loaded before it is used.
pub struct Host {
    plugins: Vec<PluginInfo>,
    slots: Vec<Slot>,
    steps: Vec<String>,
}

struct Slot {
    tag: Arc<PluginTag>,
    loaded: OnceLock<Result<Loaded>>,
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
    pub origin: Origin,
    /// Whether the user named this very file.
    pub named: bool,
    /// What it offers.
    pub provides: Vec<Provides>,
    /// Whether it can be used.
    pub status: Status,
}

/// One thing that a plugin offers, and who answers in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provides {
    /// Kind, id and a sentence.
    #[serde(flatten)]
    pub what: Provided,
    /// The file of the plugin found earlier that offers the same.
    pub shadowed_by: Option<PathBuf>,
}

/// Whether a plugin can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It passed every check that needs no loading.
    Ready,
    /// A plugin of the same id was found earlier, in this file.
    Shadowed(PathBuf),
    /// It cannot be used, for this reason.
    Refused(String),
}

impl Host {
    /// Looks everywhere. A file that is no good is listed as refused, so this never fails.
    pub fn discover(search: &Search) -> Self {
        let (candidates, steps) = search.candidates();
        let mut host = Self { plugins: Vec::new(), slots: Vec::new(), steps };
        for candidate in candidates {
            host.consider(candidate);
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
            Status::Refused(reason) if plugin.named => Some((reason, slot)),
            _ => None,
        });
        match refused {
            Some((reason, slot)) => Err(HostError::new(Code::INVALID, Phase::Manifest, reason).of(&slot.tag)),
            None => Ok(()),
        }
    }

    /// The manifest of a file, without running any of it.
    pub fn inspect(path: &Path) -> Result<Manifest> {
        let fail =
            |reason: String| HostError::new(Code::INVALID, Phase::Manifest, reason).of(&nameless(path));
        load::peek(path).map_err(fail)?.ok_or_else(|| fail(load::stranger()))
    }

    /// How the answer to "who is `id`?" comes about: every place looked at, every file that answers to the id or is too
    /// damaged to say, what it was refused for, and which one is used. `id` is a plugin's, or that of something it offers.
    pub fn why(&self, id: &str) -> Vec<String> {
        let mut steps = self.steps.clone();
        let mut answered = false;
        for plugin in &self.plugins {
            let offers = plugin.provides.iter().filter(|one| one.what.id == id);
            let offers: Vec<&Provides> = offers.collect();
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
                Status::Ready => format!("found {name}"),
                Status::Shadowed(by) => format!("found {name}, shadowed by {}", by.display()),
                Status::Refused(reason) => format!("refused {name}: {reason}"),
            });
            if plugin.status == Status::Ready {
                steps.extend(offers.iter().map(|one| match &one.shadowed_by {
                    None => format!("{} `{id}` is this one's", one.what.kind),
                    Some(by) => {
                        format!("{} `{id}` of this one is shadowed by {}", one.what.kind, by.display())
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
    pub fn aligner(&self, id: &str) -> Result<Aligner> {
        let (tag, loaded) = self.provider("aligner", id)?;
        Aligner::new(id, tag, loaded)
    }

    /// The fusion of this id.
    pub fn fusion(&self, id: &str) -> Result<Fusion> {
        let (tag, loaded) = self.provider("fusion", id)?;
        Fusion::new(id, tag, loaded)
    }

    /// The ids of this kind that are answered, in the order of the search.
    pub fn ids(&self, kind: &str) -> Vec<&str> {
        let ready = self.plugins.iter().filter(|plugin| plugin.status == Status::Ready);
        let offers = ready.flat_map(|plugin| &plugin.provides);
        offers
            .filter(|one| one.what.kind == kind && one.shadowed_by.is_none())
            .map(|one| one.what.id.as_str())
            .collect()
    }

    /// Brings the loaded plugins to rest: returns when calls under way have ended; later calls are errors.
    pub fn quiesce(&self) {
        let loaded = self.slots.iter().filter_map(|slot| slot.loaded.get());
        loaded.flatten().for_each(Loaded::quiesce);
    }

    fn consider(&mut self, candidate: Candidate) {
        let Candidate { path, origin, named } = candidate;
        let peeked = match load::peek(&path) {
            // Folders may hold libraries that are not ours; only a file that the user named must be one.
            Ok(None) if !named => {
                self.steps.push(format!("{}: passed over, no plugin", path.display()));
                return;
            }
            Ok(None) => Err(load::stranger()),
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
            status: Status::Ready,
        };
        let info = match peeked {
            Err(reason) => PluginInfo { status: Status::Refused(reason), ..blank },
            Ok(manifest) => self.judge(manifest, blank),
        };
        let tag = PluginTag { id: info.id.clone(), version: info.version.clone(), path: info.path.clone() };
        self.slots.push(Slot { tag: Arc::new(tag), loaded: OnceLock::new() });
        self.plugins.push(info);
    }

    /// The gates, then first come, first served: for the plugin's id, and for each thing that it offers.
    fn judge(&self, manifest: Manifest, blank: PluginInfo) -> PluginInfo {
        let ready = || self.plugins.iter().filter(|plugin| plugin.status == Status::Ready);
        let status = match (manifest.gates(), ready().find(|plugin| plugin.id == manifest.id)) {
            (Err(reason), _) => Status::Refused(reason),
            (Ok(()), Some(earlier)) => Status::Shadowed(earlier.path.clone()),
            (Ok(()), None) => Status::Ready,
        };
        let provides = manifest.provides.into_iter().map(|what| {
            let same = |one: &Provides| (&one.what.kind, &one.what.id) == (&what.kind, &what.id);
            let earlier = ready().find(|plugin| plugin.provides.iter().any(same));
            Provides { shadowed_by: earlier.map(|plugin| plugin.path.clone()), what }
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
    fn provider(&self, kind: &str, id: &str) -> Result<(Arc<PluginTag>, Loaded)> {
        let offers = |plugin: &PluginInfo| {
            let mut own = plugin.provides.iter();
            own.any(|one| one.what.kind == kind && one.what.id == id && one.shadowed_by.is_none())
        };
        let found = self.plugins.iter().position(|plugin| plugin.status == Status::Ready && offers(plugin));
        let slot = found.and_then(|index| self.slots.get(index)).ok_or_else(|| self.nobody(kind, id))?;
        let loaded = slot.loaded.get_or_init(|| load::load(&slot.tag)).clone()?;
        Ok((slot.tag.clone(), loaded))
    }

    /// Nobody answers: who might have been meant, and who was refused.
    fn nobody(&self, kind: &str, id: &str) -> HostError {
        let known = self.ids(kind);
        let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
        let refused = self.plugins.iter().find_map(|plugin| match &plugin.status {
            Status::Refused(reason)
                if plugin.id == id || plugin.provides.iter().any(|one| one.what.id == id) =>
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
fn nameless(path: &Path) -> Arc<PluginTag> {
    let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Arc::new(PluginTag { id, version: "?".into(), path: path.to_owned() })
}
