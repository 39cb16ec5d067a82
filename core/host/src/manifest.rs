//! The manifest of a plugin, read from its file and checked before any of its code runs.

use chiasm_abi::{VERSION, record};
use serde::{Deserialize, Serialize};

/// The manifest of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The ABI version that it was built against.
    pub abi: String,
    /// The licence of its package.
    pub licence: String,
    /// The panic strategy: `unwind` or `abort`.
    pub panic: String,
    /// The processor it was built for.
    pub arch: String,
    /// The operating system it was built for.
    pub os: String,
    /// The exported name of its root header, or of its table for the C interface.
    pub root: String,
    /// The interface of its functions.
    #[serde(default)]
    pub interface: Interface,
    /// Its adapters, aligners and fusions.
    pub provides: Vec<PluginComponent>,
}

/// The interface of a plugin's functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// The stable types of `chiasm-abi`, as `export_plugin!` makes them.
    #[default]
    Rust,
    /// The C interface of `chiasm_plugin.h`.
    C,
}

/// The manifest entry of an adapter, aligner or fusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginComponent {
    /// `adapter`, `aligner` or `fusion`. Later versions may add kinds.
    pub kind: String,
    /// The id used in recipes and cards.
    pub id: String,
    /// A description in one sentence.
    pub doc: String,
    /// The keys of cards that an adapter reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ListedKey>,
}

/// A key of a card: `preprocessing.size`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedKey {
    /// The table and the key.
    pub name: String,
    /// The values it takes.
    pub takes: String,
    /// What holds without it; "required" if it must be given.
    pub default: String,
    /// What it does.
    pub about: String,
}

impl Manifest {
    /// Parses the bytes of the ELF section. Returns the manifest and its JSON text.
    ///
    /// Each plugin crate that is linked into a library has a record. The library is the plugin whose record
    /// offers all that the others offer.
    pub(crate) fn from_section(section: &[u8]) -> Result<(Self, String), String> {
        let mut records = Vec::new();
        let mut rest = section;
        while records.is_empty() || !rest.is_empty() {
            let (record, after) = first_record(rest)?;
            records.push(record);
            // The linker aligns records with zeros.
            let padding = after.iter().position(|byte| *byte != 0).unwrap_or(after.len());
            rest = &after[padding..];
        }
        let offers_all = |(one, _): &(Self, String)| {
            let mut offered = records.iter().flat_map(|(other, _)| &other.provides);
            offered.all(|component| one.provides.contains(component))
        };
        let whole = records.iter().position(offers_all).ok_or_else(|| {
            let ids: Vec<&str> = records.iter().map(|(one, _)| one.id.as_str()).collect();
            format!(
                "it has more than one record, of the plugin crates {}: list all their adapters, aligners and \
                 fusions in the `export_plugin!` of one crate, or move shared code to a crate without",
                ids.join(", ")
            )
        })?;
        Ok(records.swap_remove(whole))
    }

    /// Returns whether a panic of the plugin is an error. Otherwise it ends the process.
    pub(crate) fn panics_unwind(&self) -> bool {
        self.panic == "unwind"
    }

    /// Returns the reason for refusing a plugin whose panics end the process, if it cannot have its own.
    pub(crate) fn abort_in_process() -> String {
        "it was built with panic = \"abort\", so a panic would end this process; rebuild it with panic = \
         \"unwind\""
            .to_owned()
    }

    /// Checks that this host can run the plugin.
    pub(crate) fn check_compatibility(&self) -> Result<(), String> {
        if major(&self.abi) != major(VERSION) {
            return Err(format!(
                "it has plugin ABI {}, this host {VERSION}: the major versions differ; rebuild it with \
                 this release's chiasm-plugin",
                self.abi
            ));
        }
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        if (self.arch.as_str(), self.os.as_str()) != (arch, os) {
            return Err(format!("it was built for {}-{}, but this host is {arch}-{os}", self.arch, self.os));
        }
        let symbol = self.root.strip_prefix(record::SYMBOL_PREFIX).unwrap_or_default();
        if symbol.is_empty() || !symbol.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!(
                "its root symbol `{}` is not a valid name: expected the prefix `chiasm_root_`",
                self.root
            ));
        }
        let twice = self.provides.iter().enumerate().find(|(i, one)| {
            self.provides[..*i].iter().any(|other| (&other.kind, &other.id) == (&one.kind, &one.id))
        });
        match twice {
            Some((_, one)) => Err(format!("it offers {} `{}` twice", one.kind, one.id)),
            None => Ok(()),
        }
    }
}

/// Returns the first record of a section, with its JSON text, and the bytes after it.
fn first_record(section: &[u8]) -> Result<((Manifest, String), &[u8]), String> {
    let rest =
        section.strip_prefix(&record::MAGIC).ok_or("its record does not begin with the magic bytes")?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or("its record ends within the header")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|e| e.to_string())?;
    let (json, after) = rest
        .split_at_checked(length)
        .ok_or_else(|| format!("its record should have {length} bytes, but has {}", rest.len()))?;
    let json = std::str::from_utf8(json).map_err(|e| format!("its text is not UTF-8: {e}"))?;
    let manifest = serde_json::from_str(json).map_err(|e| format!("its JSON is invalid: {e}"))?;
    Ok(((manifest, json.to_owned()), after))
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"id":"x","version":"1","abi":"2.0.0","licence":"","panic":"unwind",
        "arch":"a","os":"o","root":"chiasm_root_x","provides":[]}"#;

    fn section(json: &str, length: u64, tail: &[u8]) -> Vec<u8> {
        [&record::MAGIC[..], &length.to_le_bytes(), json.as_bytes(), tail].concat()
    }

    /// A record of the plugin `id` with aligners of these ids.
    fn record(id: &str, aligners: &[&str]) -> Vec<u8> {
        let one = |id: &&str| format!(r#"{{"kind":"aligner","id":"{id}","doc":""}}"#);
        let provides: Vec<String> = aligners.iter().map(one).collect();
        let json = JSON.replace(r#""id":"x""#, &format!(r#""id":"{id}""#));
        let json = json.replace(r#""provides":[]"#, &format!(r#""provides":[{}]"#, provides.join(",")));
        section(&json, json.len() as u64, &[])
    }

    #[test]
    fn of_several_records_the_one_that_offers_everything_counts() {
        let padded = section(JSON, JSON.len() as u64, &[0; 7]);
        assert_eq!(Manifest::from_section(&padded).unwrap().0.id, "x");
        let parts = [record("a", &["a"]), vec![0; 5], record("all", &["b", "a"]), record("b", &["b"])];
        let (manifest, json) = Manifest::from_section(&parts.concat()).unwrap();
        assert_eq!(manifest.id, "all");
        assert!(json.contains(r#""id":"all""#));
        let error = Manifest::from_section(&[record("a", &["a"]), record("b", &["b"])].concat()).unwrap_err();
        assert!(error.contains("more than one record, of the plugin crates a, b"), "{error}");
        let error = Manifest::from_section(&[record("a", &["a"]), vec![7; 9]].concat()).unwrap_err();
        assert!(error.contains("magic"), "{error}");
    }

    #[test]
    fn each_damage_of_a_record_has_its_own_error() {
        let cases = [
            (b"CHIASM".to_vec(), "magic"),
            (record::MAGIC.to_vec(), "within the header"),
            (section(JSON, JSON.len() as u64 + 1, &[]), "should have"),
            (section(JSON, u64::MAX, &[]), "should have"),
            (section("{}", 2, &[]), "JSON"),
            (section("\u{7f}", 1, &[]), "JSON"),
        ];
        for (bytes, word) in cases {
            let error = Manifest::from_section(&bytes).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_compatibility_check_names_the_reason() {
        let good = Manifest {
            arch: std::env::consts::ARCH.into(),
            os: std::env::consts::OS.into(),
            ..serde_json::from_str(JSON).unwrap()
        };
        assert_eq!(good.check_compatibility(), Ok(()));
        let one =
            PluginComponent { kind: "aligner".into(), id: "a".into(), doc: String::new(), keys: Vec::new() };
        let cases = [
            (Manifest { abi: "1.0.0".into(), ..good.clone() }, "major versions differ"),
            (Manifest { abi: "20.0.0".into(), ..good.clone() }, "major versions differ"),
            (Manifest { arch: "riscv64".into(), ..good.clone() }, "riscv64"),
            (Manifest { root: "system".into(), ..good.clone() }, "system"),
            (Manifest { provides: vec![one.clone(), one], ..good.clone() }, "twice"),
        ];
        for (manifest, word) in cases {
            let error = manifest.check_compatibility().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(
            Manifest { abi: "2.7.3".into(), ..good }.check_compatibility(),
            Ok(()),
            "a newer minor version is accepted"
        );
    }
}
