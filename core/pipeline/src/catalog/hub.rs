//! Models from the Hugging Face hub: `hf:ORG/NAME[@REVISION]/PATH.onnx`, through hf-hub and its usual cache.
//!
//! What is in the cache is taken from there, without a question to the network. The card that is made locks
//! the file by its sha256: a hub that serves other bytes later is noticed. Needs the feature `hub`.

use crate::base::problem::Problem;
use std::path::PathBuf;

/// A model file on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `ORG/NAME`.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The file's path in the repository.
    pub file: String,
}

/// What was brought.
#[derive(Debug)]
pub struct Fetched {
    /// The model.
    pub model: PathBuf,
    /// Files of the repository that adapters look for beside a model.
    pub companions: Vec<PathBuf>,
}

/// Files of a repository, at its root, that tell how raw input is prepared.
#[cfg(feature = "hub")]
const COMPANIONS: [&str; 2] = ["tokenizer.json", "preprocessor_config.json"];

impl Address {
    /// Reads `hf:ORG/NAME[@REVISION]/PATH.onnx`; `None` when `text` is no such address but a path.
    ///
    /// # Errors
    /// When it begins with `hf:` and does not go on as it should.
    pub fn parse(text: &str) -> Result<Option<Self>, Problem> {
        let Some(rest) = text.strip_prefix("hf:") else { return Ok(None) };
        let mut parts = rest.splitn(3, '/');
        let (Some(org), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Problem::new(
                "chiasm::hub::address",
                format!("a hub address is hf:ORG/NAME/PATH.onnx, got {text:?}"),
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

    /// Brings the file and its companions, from the cache when they are there.
    ///
    /// # Errors
    /// When the hub has no such file or cannot be reached.
    #[cfg(feature = "hub")]
    pub fn fetch(&self) -> Result<Fetched, Problem> {
        self.fetch_with(hf_hub::Cache::from_env())
    }

    /// This build has no hub in it.
    ///
    /// # Errors
    /// Always, with what to do.
    #[cfg(not(feature = "hub"))]
    pub fn fetch(&self) -> Result<Fetched, Problem> {
        let message = "this chiasm was built without the hub";
        let help = "build it with `--features hub`, or download the file and give its path";
        Err(Problem::new("chiasm::hub::not_built", message).help(help))
    }

    #[cfg(feature = "hub")]
    fn fetch_with(&self, cache: hf_hub::Cache) -> Result<Fetched, Problem> {
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
        // A repository without one of these is as good: the adapter says what it misses.
        let companions = COMPANIONS.into_iter().filter_map(|name| get(name).ok()).collect();
        Ok(Fetched { model, companions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        let address = Address::parse("hf:org/name@v2/onnx/model.onnx").unwrap().unwrap();
        assert_eq!((address.repository.as_str(), address.revision.as_str()), ("org/name", "v2"));
        assert_eq!(address.file, "onnx/model.onnx");
        assert_eq!(Address::parse("hf:org/name/m.onnx").unwrap().unwrap().revision, "main");
        assert!(Address::parse("models/a.onnx").unwrap().is_none());
        assert!(Address::parse("hf:org/name").unwrap_err().to_string().contains("hf:ORG/NAME/PATH.onnx"));
    }

    /// A cache as hf-hub lays it out, with nothing of the network in it.
    #[cfg(feature = "hub")]
    #[test]
    fn what_is_in_the_cache_needs_no_network() {
        let here = tempfile::tempdir().unwrap();
        let repository = here.path().join("models--org--name");
        let snapshot = repository.join("snapshots/0123abc");
        std::fs::create_dir_all(snapshot.join("onnx")).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), "0123abc").unwrap();
        for name in ["onnx/model.onnx", "tokenizer.json", "preprocessor_config.json"] {
            std::fs::write(snapshot.join(name), name).unwrap();
        }
        let address = Address::parse("hf:org/name/onnx/model.onnx").unwrap().unwrap();
        let fetched = address.fetch_with(hf_hub::Cache::new(here.path().to_path_buf())).unwrap();
        assert_eq!(std::fs::read_to_string(&fetched.model).unwrap(), "onnx/model.onnx");
        let names: Vec<_> = fetched.companions.iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["tokenizer.json", "preprocessor_config.json"]);
    }
}
