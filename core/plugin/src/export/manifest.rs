//! The manifest record. It is built at compile time, and the host reads it from the file without running
//! code.

use crate::{Adapter, Aligner, CardKey, Fusion};

/// The facts of a plugin crate, from Cargo and the compiler.
pub struct PackageInfo {
    /// The name of the crate. Without the prefix `chiasm-` it is the id of the plugin.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its licence.
    pub licence: &'static str,
    /// `unwind` or `abort`.
    pub panic: &'static str,
    /// The exported name of the root header.
    pub root: &'static str,
}

/// The manifest entry of an adapter, aligner or fusion.
pub struct ComponentRecord {
    kind: &'static str,
    id: &'static str,
    doc: &'static str,
    keys: &'static [&'static [CardKey]],
}

impl ComponentRecord {
    /// Returns the entry of an adapter.
    pub const fn adapter<A: Adapter>() -> Self {
        Self::checked("adapter", A::ID, A::DOC, A::KEYS)
    }
    /// Returns the entry of an aligner.
    pub const fn aligner<A: Aligner>() -> Self {
        Self::checked("aligner", A::ID, A::DOC, &[])
    }
    /// Returns the entry of a fusion.
    pub const fn fusion<F: Fusion>() -> Self {
        Self::checked("fusion", F::ID, F::DOC, &[])
    }

    /// Checks an id at compile time, because ids are used in recipes, file names and messages.
    const fn checked(
        kind: &'static str,
        id: &'static str,
        doc: &'static str,
        keys: &'static [&'static [CardKey]],
    ) -> Self {
        let bytes = id.as_bytes();
        assert!(!bytes.is_empty(), "an ID must not be empty");
        let mut i = 0;
        while i < bytes.len() {
            assert!(
                matches!(bytes[i], b'a'..=b'z' | b'0'..=b'9' | b'-'),
                "an ID may contain only lower-case letters, digits and '-'"
            );
            i += 1;
        }
        Self { kind, id, doc, keys }
    }
}

/// The content of the ELF section, in the format of [`chiasm_abi::record`].
#[repr(C)]
pub struct ManifestRecord<const N: usize> {
    magic: [u8; 8],
    length: [u8; 8],
    json: [u8; N],
}

impl<const N: usize> ManifestRecord<N> {
    /// Returns the record. `N` must be the [`length`] for the same arguments.
    pub const fn new(package: &PackageInfo, provides: &[ComponentRecord]) -> Self {
        let writer = render::<N>(package, provides);
        assert!(writer.length == N, "the length of the record must be the length of the JSON");
        Self { magic: chiasm_abi::record::MAGIC, length: (N as u64).to_le_bytes(), json: writer.bytes }
    }

    /// Returns the JSON.
    pub fn json(&self) -> &str {
        // It was made of `str`s, so it is valid UTF-8.
        std::str::from_utf8(&self.json).unwrap_or_default()
    }
}

/// Returns the length of the JSON in bytes.
pub const fn length(package: &PackageInfo, provides: &[ComponentRecord]) -> usize {
    render::<0>(package, provides).length
}

/// Writes the JSON, truncated to `N` bytes, and counts all its bytes.
const fn render<const N: usize>(package: &PackageInfo, provides: &[ComponentRecord]) -> JsonWriter<N> {
    let mut out = JsonWriter { bytes: [0; N], length: 0 };
    out = out.raw("{").field("id", without_prefix(package.name)).raw(",").field("version", package.version);
    out = out.raw(",").field("abi", chiasm_abi::VERSION).raw(",").field("licence", package.licence);
    out = out.raw(",").field("panic", package.panic).raw(",").field("arch", std::env::consts::ARCH);
    out = out.raw(",").field("os", std::env::consts::OS).raw(",").field("root", package.root);
    out = out.raw(",\"provides\":[");
    let mut i = 0;
    while i < provides.len() {
        let one = &provides[i];
        out = out.raw(if i == 0 { "{" } else { ",{" }).field("kind", one.kind);
        out = out.raw(",").field("id", one.id).raw(",").field("doc", one.doc);
        if !one.keys.is_empty() {
            out = keys(out.raw(",\"keys\":["), one.keys).raw("]");
        }
        out = out.raw("}");
        i += 1;
    }
    out.raw("]}")
}

const fn keys<const N: usize>(mut out: JsonWriter<N>, tables: &[&[CardKey]]) -> JsonWriter<N> {
    let (mut table, mut first) = (0, true);
    while table < tables.len() {
        let mut i = 0;
        while i < tables[table].len() {
            let key = &tables[table][i];
            out = out.raw(if first { "{" } else { ",{" }).field("name", key.name);
            out = out.raw(",").field("takes", key.takes).raw(",").field("default", key.default);
            out = out.raw(",").field("about", key.about).raw("}");
            first = false;
            i += 1;
        }
        table += 1;
    }
    out
}

const fn without_prefix(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'c', b'h', b'i', b'a', b's', b'm', b'-', rest @ ..] if !rest.is_empty() => {
            name.split_at(name.len() - rest.len()).1
        }
        _ => name,
    }
}

struct JsonWriter<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> JsonWriter<N> {
    const fn byte(mut self, byte: u8) -> Self {
        if self.length < N {
            self.bytes[self.length] = byte;
        }
        self.length += 1;
        self
    }

    const fn raw(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self = self.byte(bytes[i]);
            i += 1;
        }
        self
    }

    /// Writes `"name":"value"` with the value escaped.
    const fn field(self, name: &str, value: &str) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = self.raw("\"").raw(name).raw("\":\"");
        let bytes = value.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            let byte = bytes[i];
            out = match byte {
                b'"' | b'\\' => out.byte(b'\\').byte(byte),
                0..0x20 => out.raw("\\u00").byte(HEX[(byte >> 4) as usize]).byte(HEX[(byte & 15) as usize]),
                _ => out.byte(byte),
            };
            i += 1;
        }
        out.raw("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: PackageInfo = PackageInfo {
        name: "chiasm-odd",
        version: "1.2.3",
        licence: "MIT",
        panic: "unwind",
        root: "chiasm_root_odd",
    };
    const PROVIDES: &[ComponentRecord] = &[
        ComponentRecord::checked("adapter", "first", "Says \"hi\"\\ to\nα.", &[&[SIZE], &[], &[SIZE]]),
        ComponentRecord::checked("fusion", "second-2", "", &[]),
    ];
    const SIZE: CardKey = CardKey::new("preprocessing.size", "\"a\" or b", "required", "What it does.");

    #[test]
    fn the_record_is_valid_json() {
        static RECORD: ManifestRecord<{ length(&PACKAGE, PROVIDES) }> =
            ManifestRecord::new(&PACKAGE, PROVIDES);
        let json: serde_json::Value = serde_json::from_str(RECORD.json()).unwrap();
        assert_eq!(json["id"], "odd");
        assert_eq!(json["abi"], chiasm_abi::VERSION);
        assert_eq!(json["provides"][0]["doc"], "Says \"hi\"\\ to\nα.");
        let key = serde_json::json!({
            "name": "preprocessing.size",
            "takes": "\"a\" or b",
            "default": "required",
            "about": "What it does.",
        });
        assert_eq!(json["provides"][0]["keys"], serde_json::json!([key, key]));
        assert_eq!(json["provides"][1], serde_json::json!({"kind": "fusion", "id": "second-2", "doc": ""}));
    }

    #[test]
    fn only_a_leading_prefix_is_removed_from_the_name() {
        assert_eq!(without_prefix("chiasm-cca"), "cca");
        assert_eq!(without_prefix("chiasm-"), "chiasm-");
        assert_eq!(without_prefix("my-chiasm-cca"), "my-chiasm-cca");
    }
}
