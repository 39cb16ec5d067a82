//! The plugins found, and the lookup of adapters, aligners and fusions by id.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chiasm_abi::Code;

use crate::info::{ListedComponent, PluginInfo, PluginStatus};
use crate::library::{self, SealedLibrary};
use crate::search::Candidate;
use crate::start::{LoadedPlugin, start};
use crate::{
    AdapterFactory, AlignerHandle, FusionHandle, HostError, HostOptions, Manifest, Phase, PluginComponent,
    PluginOrigin, PluginSearch, PluginTag, PluginTrust, Result,
};

/// All plugins found. A plugin is loaded when it is first used.
pub struct Host {
    plugins: Vec<PluginInfo>,
    slots: Vec<PluginSlot>,
    steps: Vec<String>,
    options: HostOptions,
}

/// The current library of a plugin. A reload replaces it.
struct PluginSlot {
    tag: Arc<PluginTag>,
    loaded: Mutex<Option<Result<LoadedPlugin>>>,
}

impl Host {
    /// Searches for plugins, which run in this process. It never fails: an unusable file is listed as
    /// refused.
    pub fn discover(search: &PluginSearch) -> Self {
        Self::with_options(search, HostOptions::default())
    }

    /// Searches for plugins, and runs them as the options say.
    pub fn with_options(search: &PluginSearch, options: HostOptions) -> Self {
        let (candidates, steps) = search.candidates();
        let mut host = Self { plugins: Vec::new(), slots: Vec::new(), steps, options };
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
        library::read_manifest(path).map_err(fail)?.ok_or_else(|| fail(library::not_a_plugin()))
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

    /// Returns a sentence for each shipped plugin, or component of one, that a plugin of one of the user's
    /// folders replaces.
    pub fn replaced(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let shipped = self.plugins.iter().filter(|plugin| plugin.origin == PluginOrigin::Executable);
        for plugin in shipped {
            if let PluginStatus::Shadowed(by) = &plugin.status {
                sentences.extend(self.replacement(&format!("the plugin {}", plugin.id), plugin, by));
                continue;
            }
            for ListedComponent { component, shadowed_by } in &plugin.provides {
                let what = format!("the {} {}", component.kind, component.id);
                sentences.extend(shadowed_by.iter().filter_map(|by| self.replacement(&what, plugin, by)));
            }
        }
        sentences
    }

    /// Says that `what` of a shipped plugin is replaced by the plugin of a file, if that file was found in
    /// one of the user's folders.
    fn replacement(&self, what: &str, shipped: &PluginInfo, by: &Path) -> Option<String> {
        let other = self.plugins.iter().find(|other| other.path == by)?;
        let (PluginInfo { id, version, origin, .. }, by) = (other, by.display());
        let found = matches!(origin, PluginOrigin::Variable | PluginOrigin::UserDir);
        found.then(|| {
            format!(
                "{what} is taken from {id} {version} of {} ({by}) instead of the shipped {} {}",
                origin.as_str(),
                shipped.id,
                shipped.version
            )
        })
    }

    /// Returns the options.
    pub fn options(&self) -> &HostOptions {
        &self.options
    }

    /// Returns what is known about the file of a plugin: its digest, its lock and its signature.
    ///
    /// # Errors
    /// If the file cannot be read or is not a plugin.
    pub fn trust(&self, plugin: &PluginInfo) -> Result<PluginTrust> {
        let tag = Arc::new(plugin.tag());
        let (library, sha256) = SealedLibrary::read(&tag)?;
        library.trust(&tag, &sha256, self.options.lock.as_ref())
    }

    /// Loads a plugin. Returns whether it runs in a process of its own, and what is known about the file that
    /// was loaded.
    ///
    /// # Errors
    /// If it may not run or cannot be loaded.
    pub fn load(&self, plugin_id: &str) -> Result<(bool, PluginTrust)> {
        let slot = self.slot_of_plugin(plugin_id)?;
        self.loaded(slot).map(|plugin| (plugin.isolated, plugin.trust))
    }

    /// Loads the current file of a plugin again. Calls that are active and handles that exist keep the old
    /// library; new handles use the new one. If the new file cannot be used, the old library remains.
    ///
    /// # Errors
    /// If no plugin has this id, or the new file has another id, lacks a component of the old one, may not
    /// run, or cannot be loaded.
    pub fn reload(&self, plugin_id: &str) -> Result<()> {
        let slot = self.slot_of_plugin(plugin_id)?;
        let fail = |message: String| HostError::new(Code::INVALID, Phase::Load, message).of(&slot.tag);
        let manifest = Self::inspect(&slot.tag.path)?;
        let known = self.plugins.iter().find(|plugin| plugin.id == plugin_id && plugin.path == slot.tag.path);
        let lost = known.into_iter().flat_map(|plugin| &plugin.provides).find(|one| {
            let same =
                |new: &&PluginComponent| (&new.kind, &new.id) == (&one.component.kind, &one.component.id);
            !manifest.provides.iter().any(|new| same(&new))
        });
        if manifest.id != plugin_id {
            return Err(fail(format!("the file now holds the plugin {}; the old one is kept", manifest.id)));
        }
        if let Some(lost) = lost {
            let (kind, id) = (&lost.component.kind, &lost.component.id);
            return Err(fail(format!("the new file has no {kind} `{id}`; the old one is kept")));
        }
        let tag = PluginTag { id: manifest.id, version: manifest.version, path: slot.tag.path.clone() };
        let new = start(&Arc::new(tag), &self.options)?;
        *slot.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ok(new));
        Ok(())
    }

    /// Shuts down the loaded plugins: returns when active calls have ended; later calls are errors.
    pub fn quiesce(&self) {
        for slot in &self.slots {
            let loaded = slot.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(Ok(plugin)) = loaded {
                plugin.calls.quiesce();
            }
        }
    }

    fn slot_of_plugin(&self, id: &str) -> Result<&PluginSlot> {
        let ready = |plugin: &PluginInfo| plugin.id == id && plugin.status == PluginStatus::Ready;
        let found = self.plugins.iter().position(ready).and_then(|index| self.slots.get(index));
        found.ok_or_else(|| {
            HostError::new(Code::INVALID, Phase::Find, format!("no usable plugin has the id `{id}`"))
        })
    }

    /// Returns the plugin of a slot, which is loaded at the first call.
    fn loaded(&self, slot: &PluginSlot) -> Result<LoadedPlugin> {
        let mut loaded = slot.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get_or_insert_with(|| start(&slot.tag, &self.options)).clone()
    }

    fn add_candidate(&mut self, candidate: Candidate) {
        let Candidate { path, origin, named } = candidate;
        let manifest = match library::read_manifest(&path) {
            // A folder may hold other libraries; only a file that the user named must be a plugin.
            Ok(None) if !named => {
                self.steps.push(format!("{}: skipped, not a plugin", path.display()));
                return;
            }
            Ok(None) => Err(library::not_a_plugin()),
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
        self.slots.push(PluginSlot { tag: Arc::new(info.tag()), loaded: Mutex::default() });
        self.plugins.push(info);
    }

    /// Checks the manifest, then resolves duplicate ids: the first plugin found wins.
    fn resolve(&self, manifest: Manifest, blank: PluginInfo) -> PluginInfo {
        let ready = || self.plugins.iter().filter(|plugin| plugin.status == PluginStatus::Ready);
        let compatible = manifest.check_compatibility().and_then(|()| {
            match manifest.panics_unwind() || self.options.worker.is_some() {
                true => Ok(()),
                false => Err(Manifest::abort_in_process()),
            }
        });
        let status = match (compatible, ready().find(|plugin| plugin.id == manifest.id)) {
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
    fn provider(&self, kind: &str, id: &str) -> Result<(Arc<PluginTag>, LoadedPlugin)> {
        let offers = |plugin: &PluginInfo| {
            let mut own = plugin.provides.iter();
            own.any(|one| one.component.kind == kind && one.component.id == id && one.shadowed_by.is_none())
        };
        let found =
            self.plugins.iter().position(|plugin| plugin.status == PluginStatus::Ready && offers(plugin));
        let slot = found.and_then(|index| self.slots.get(index)).ok_or_else(|| self.not_found(kind, id))?;
        let loaded = self.loaded(slot)?;
        Ok((Arc::clone(&loaded.tag), loaded))
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
