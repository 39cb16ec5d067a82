//! The scores of one fit, and where they are kept, so that a comparison that was stopped goes on with the
//! next fit, and a larger one fits only what is missing.

use crate::{
    base::{
        cache::Cache,
        digest::{KeyHasher, hex},
        error::Error,
        whole_file::write_file,
    },
    run::{
        evaluate::{RetrievalSummary, TaskRows},
        query_scores::QueryScores,
        task_score::TaskMetrics,
    },
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::PathBuf};

/// The test scores of one fit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FitScores {
    /// Retrieval without and with the hubness bank.
    pub retrieval: [RetrievalSummary; 2],
    /// The same for every query; empty for a fold.
    pub queries: [QueryScores; 2],
    /// The scores of the fusion, if it was fitted for a task.
    pub task: Option<TaskMetrics>,
    /// What each row contributes to that score; empty for a fold.
    pub task_rows: TaskRows,
    /// What identifies each scored row, whichever run or recipe it is in; empty for a fold.
    pub rows: BTreeMap<usize, String>,
    /// The number of training rows with two or more modalities.
    pub pairs: usize,
    /// The duration of the fit and its scoring.
    pub seconds: f64,
}

/// The folder of finished fits in the cache.
pub struct ScoreStore(PathBuf);

/// The largest stored file, in bytes.
const MAX_SCORES: u64 = 1 << 30;

impl ScoreStore {
    /// Returns the folder.
    ///
    /// # Errors
    /// As [`Cache::embeddings`].
    pub fn of(cache: &Cache) -> Result<Self, Error> {
        cache.scores().map(Self)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.join(format!("{key}.json"))
    }

    /// Returns the scores stored under a key; `None` if there are none, or if they are damaged.
    pub fn load(&self, key: &str) -> Option<FitScores> {
        let bytes = chiasm_host::read_file(&self.path(key), MAX_SCORES).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (digest, body) = text.split_once('\n')?;
        (digest == seal(key, body)).then(|| serde_json::from_str(body).ok())?
    }

    /// Stores scores, and returns them as a later [`ScoreStore::load`] does.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store(&self, key: &str, scores: &FitScores) -> Result<FitScores, Error> {
        let internal = |e: serde_json::Error| Error::Internal(format!("the scores of a fit: {e}"));
        let body = serde_json::to_string(scores).map_err(internal)?;
        write_file(&self.path(key), format!("{}\n{body}", seal(key, &body)).as_bytes())?;
        serde_json::from_str(&body).map_err(internal)
    }
}

/// Returns the digest by which a damaged file, or one under another name, is found.
fn seal(key: &str, body: &str) -> String {
    hex(&Sha256::digest(format!("{key}\n{body}")))
}

/// Returns the key of a fit: `run` is that of the whole run, `rows` names the rows that are fitted.
pub fn score_key(run: &str, rows: &str) -> String {
    let mut key = KeyHasher::default();
    key.add("scores of a comparison, 2").add(run).add(rows);
    key.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_kept_and_damaged_ones_are_not_used() {
        let here = tempfile::tempdir().unwrap();
        let store = ScoreStore::of(&Cache::at(here.path())).unwrap();
        let summary = RetrievalSummary { retrieval: BTreeMap::new(), rsum: 0.1 + 0.2 };
        let scores = FitScores {
            retrieval: [summary.clone(), summary],
            queries: Default::default(),
            task: None,
            task_rows: vec![(3, [1.0, 0.0, 0.1 + 0.2])],
            rows: [(3, "row".to_owned())].into(),
            pairs: 7,
            seconds: 0.25,
        };
        let stored = store.store("ab", &scores).unwrap();
        let loaded = store.load("ab").unwrap();
        assert_eq!(loaded.retrieval[0].rsum.to_bits(), stored.retrieval[0].rsum.to_bits());
        assert_eq!((loaded.pairs, loaded.rows), (7, stored.rows));
        assert_eq!(loaded.task_rows, scores.task_rows);
        assert!(store.load("ac").is_none());
        std::fs::copy(store.path("ab"), store.path("ac")).unwrap();
        assert!(store.load("ac").is_none(), "a file under the name of another one");
        let bytes = std::fs::read(store.path("ab")).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(store.path("ab"), &flipped).unwrap();
            assert!(store.load("ab").is_none(), "bit {bit}");
        }
        std::fs::write(store.path("ab"), &bytes[..bytes.len() - 3]).unwrap();
        assert!(store.load("ab").is_none());
    }
}
