//! Verifying the files of a run folder against the digests in its manifest.

use super::files::{FUSION, LEARNED, LOCK, MODEL, RECIPE, RunManifest, head, read_manifest};
use crate::base::{digest::sha256_of, error::Error, relative_path::RelativePath};
use serde::Serialize;
use std::path::Path;

/// A file of a run folder that was compared with its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifiedPart {
    /// Its path in the run folder.
    pub name: String,
    /// What is wrong with it; `None` if nothing is.
    pub damage: Option<String>,
}

/// Compares every file of the run folder `run` with the digest in the manifest.
///
/// # Errors
/// If it is not a run folder, or its manifest is damaged.
pub fn verify_run(run: &Path) -> Result<Vec<VerifiedPart>, Error> {
    Ok(read_manifest(run)?.parts(run).collect())
}

impl RunManifest {
    /// Compares every output file with its recorded digest.
    ///
    /// # Errors
    /// If a file is missing or was changed. The message names the first one.
    pub fn verify(&self, run: &Path) -> Result<(), Error> {
        let found = self.parts(run).find_map(|part| Some((part.name, part.damage?)));
        let Some((name, damage)) = found else { return Ok(()) };
        let message = format!("{} {damage}", run.join(name).display());
        Err(Error::input("chiasm::run::damaged", message, "restore the file, or fit the run again"))
    }

    /// Compares every file with its recorded digest, and reports the files of the model that have none.
    fn parts(&self, run: &Path) -> impl Iterator<Item = VerifiedPart> {
        let listed = self.outputs.iter().map(|(name, expected)| VerifiedPart {
            name: name.to_string(),
            damage: damage(run, name, expected),
        });
        let unlisted = self.needed().into_iter().filter(|name| self.digest(name).is_none());
        listed.chain(unlisted.map(|name| VerifiedPart {
            damage: Some("is a part of the model, and manifest.json has no digest of it".to_owned()),
            name,
        }))
    }

    /// Returns the recorded digest of a file.
    pub(super) fn digest(&self, name: &str) -> Option<&String> {
        self.outputs.iter().find(|(own, _)| own.as_str() == name).map(|(_, digest)| digest)
    }

    /// Returns the files that every run with these modalities is opened from.
    fn needed(&self) -> Vec<String> {
        let heads = self.modalities.iter().map(|modality| head(&modality.name));
        let fixed = [MODEL, LEARNED, RECIPE, LOCK].into_iter().chain(self.fused.as_ref().map(|_| FUSION));
        // A manifest without modalities is that of a draft.
        let fixed = fixed.filter(|_| !self.modalities.is_empty()).map(str::to_owned);
        fixed.chain(heads).collect()
    }
}

/// Returns what is wrong with a file; `None` if it has this digest.
pub(super) fn damage(run: &Path, name: &RelativePath, expected: &str) -> Option<String> {
    match name.beneath(run).and_then(|path| sha256_of(&path)) {
        Ok(digest) if digest == expected => None,
        Ok(digest) => Some(format!("was changed: its sha256 was {expected} and is {digest}")),
        Err(e) => Some(format!("cannot be read: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every single-bit flip of a file is found.
    #[test]
    fn no_flipped_bit_passes() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.bin");
        let content: Vec<u8> = (0..64_u8).map(|i| i.wrapping_mul(37)).collect();
        std::fs::write(&path, &content).unwrap();
        let name = RelativePath::new("a.bin").unwrap();
        let digest = sha256_of(&path).unwrap();
        assert_eq!(damage(here.path(), &name, &digest), None);
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).unwrap();
            assert!(damage(here.path(), &name, &digest).is_some_and(|what| what.contains("was changed")));
        }
    }

    #[test]
    fn links_out_of_the_folder_and_pipes_are_damage() {
        let here = tempfile::tempdir().unwrap();
        let run = here.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::fs::write(here.path().join("secret"), "key").unwrap();
        std::os::unix::fs::symlink("../secret", run.join("a")).unwrap();
        let digest = sha256_of(&here.path().join("secret")).unwrap();
        let what = damage(&run, &RelativePath::new("a").unwrap(), &digest).unwrap();
        assert!(what.contains("link"), "{what}");
    }
}
