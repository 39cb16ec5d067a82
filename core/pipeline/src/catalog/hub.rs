//! Models from the Hugging Face hub, `hf:ORG/NAME[@REVISION]/PATH.onnx`, through hf-hub and its usual cache.
//!
//! Cached files are used without a network request. The model card records the SHA-256 of the file, so a
//! changed file on the hub is detected. Needs the feature `hub`.

use crate::base::problem::Problem;
#[cfg(feature = "hub")]
use std::path::Path;
use std::path::PathBuf;

/// A model file on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    /// `ORG/NAME`.
    pub repository: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// The file's path in the repository.
    pub file: String,
}

/// A model downloaded from the hub or found in its cache.
#[derive(Debug)]
pub struct FetchedModel {
    /// The model.
    pub model: PathBuf,
    /// Files of the repository that adapters look for next to a model, by their path in the repository.
    pub companions: Vec<(String, PathBuf)>,
}

/// Files in the root of a repository that describe how raw input is prepared and tokens are pooled.
#[cfg(feature = "hub")]
const COMPANIONS: [&str; 8] = [
    "tokenizer.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

impl HubAddress {
    /// Parses `hf:ORG/NAME[@REVISION]/PATH.onnx`. Returns `None` if `text` does not start with `hf:`.
    ///
    /// # Errors
    /// If `text` starts with `hf:` but is not a valid address.
    pub fn parse(text: &str) -> Result<Option<Self>, Problem> {
        let Some(rest) = text.strip_prefix("hf:") else { return Ok(None) };
        let mut parts = rest.splitn(3, '/');
        let (Some(org), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Problem::new(
                "chiasm::hub::address",
                format!("expected a hub address hf:ORG/NAME/PATH.onnx, got {text:?}"),
            )
            .help("for example hf:sentence-transformers/all-MiniLM-L6-v2/onnx/model.onnx"));
        };
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        Ok(Some(Self {
            repository: format!("{org}/{name}"),
            revision: revision.to_owned(),
            file: file.to_owned(),
        }))
    }

    /// Returns the file and its companions, from the cache or else from the hub.
    ///
    /// # Errors
    /// If the hub has no such file or cannot be reached.
    #[cfg(feature = "hub")]
    pub fn fetch(&self) -> Result<FetchedModel, Problem> {
        self.fetch_with(hf_hub::Cache::from_env())
    }

    /// Returns an error, because this build does not have the feature `hub`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "hub"))]
    pub fn fetch(&self) -> Result<FetchedModel, Problem> {
        let message = "this build of chiasm cannot download from the Hugging Face hub";
        let help = "build it with `--features hub`, or download the file and give its path";
        Err(Problem::new("chiasm::hub::not_built", message).help(help))
    }

    #[cfg(feature = "hub")]
    fn fetch_with(&self, cache: hf_hub::Cache) -> Result<FetchedModel, Problem> {
        use hf_hub::{Repo, RepoType, api::sync::ApiBuilder};
        let repository = Repo::with_revision(self.repository.clone(), RepoType::Model, self.revision.clone());
        let get = |file: &str| -> Result<PathBuf, String> {
            if let Some(path) = cache.repo(repository.clone()).get(file) {
                return Ok(path);
            }
            let api = ApiBuilder::from_cache(cache.clone()).with_progress(false).build();
            api.and_then(|api| api.repo(repository.clone()).get(file)).map_err(|e| e.to_string())
        };
        let model = get(&self.file).map_err(|reason| {
            let message = format!("{} of {} ({}): {reason}", self.file, self.repository, self.revision);
            Problem::new("chiasm::hub::fetch", message)
                .help("check the name and the network, or download the file and give its path")
        })?;
        // Companions are optional here: the adapter reports a file that it needs.
        let fetched = |name: &str| Some((name.to_owned(), get(name).ok()?));
        let mut companions: Vec<(String, PathBuf)> = COMPANIONS.into_iter().filter_map(fetched).collect();
        let modules = companions.iter().find(|(name, _)| name == "modules.json");
        let layers = modules.map(|(_, path)| files_of_layers(path)).unwrap_or_default();
        companions.extend(layers.iter().filter_map(|name| fetched(name)));
        Ok(FetchedModel { model, companions })
    }
}

/// The largest `modules.json`, in bytes.
#[cfg(feature = "hub")]
const MAX_MODULES: u64 = 1 << 20;

/// Returns the files of the dense layers that a `modules.json` names.
#[cfg(feature = "hub")]
fn files_of_layers(modules: &Path) -> Vec<String> {
    let modules = chiasm_host::read_file(modules, MAX_MODULES).unwrap_or_default();
    let modules: Vec<serde_json::Value> = serde_json::from_slice(&modules).unwrap_or_default();
    let dense = modules.iter().filter(|module| module["type"].as_str().is_some_and(|t| t.ends_with("Dense")));
    let paths = dense.filter_map(|module| module["path"].as_str());
    paths.flat_map(|path| ["config.json", "model.safetensors"].map(|file| format!("{path}/{file}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_addresses_are_parsed_and_paths_are_not() {
        let address = HubAddress::parse("hf:org/name@v2/onnx/model.onnx").unwrap().unwrap();
        assert_eq!((address.repository.as_str(), address.revision.as_str()), ("org/name", "v2"));
        assert_eq!(address.file, "onnx/model.onnx");
        assert_eq!(HubAddress::parse("hf:org/name/m.onnx").unwrap().unwrap().revision, "main");
        assert!(HubAddress::parse("models/a.onnx").unwrap().is_none());
        assert!(HubAddress::parse("hf:org/name").unwrap_err().to_string().contains("hf:ORG/NAME/PATH.onnx"));
    }

    /// A cache folder with the layout of hf-hub.
    #[cfg(feature = "hub")]
    #[test]
    fn cached_files_are_used_without_a_network_request() {
        let here = tempfile::tempdir().unwrap();
        let repository = here.path().join("models--org--name");
        let snapshot = repository.join("snapshots/0123abc");
        std::fs::create_dir_all(snapshot.join("onnx")).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), "0123abc").unwrap();
        let layer = r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#;
        let layers = ["2_Dense/config.json", "2_Dense/model.safetensors"];
        let mut files: Vec<(&str, &str)> =
            COMPANIONS.iter().chain(&layers).map(|name| (*name, "{}")).collect();
        files.extend([("onnx/model.onnx", "onnx/model.onnx"), ("modules.json", layer)]);
        for (name, content) in files {
            let path = snapshot.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let address = HubAddress::parse("hf:org/name/onnx/model.onnx").unwrap().unwrap();
        let fetched = address.fetch_with(hf_hub::Cache::new(here.path().to_path_buf())).unwrap();
        assert_eq!(std::fs::read_to_string(&fetched.model).unwrap(), "onnx/model.onnx");
        let names: Vec<&str> = fetched.companions.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [&COMPANIONS[..], &layers].concat());
    }
}
