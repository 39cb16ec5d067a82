//! The manifest record: written by the compiler, read from the file by a host that runs none of its code.

use crate::{Adapter, Aligner, Fusion};

/// Facts from Cargo's environment and the compiler.
pub struct PackageInfo {
    /// The crate; the plugin's id is this without a leading `chiasm-`.
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

/// One thing that a plugin offers.
pub struct ComponentRecord {
    kind: &'static str,
    id: &'static str,
    doc: &'static str,
}

impl ComponentRecord {
    /// An adapter.
    pub const fn adapter<A: Adapter>() -> Self {
        Self::checked("adapter", A::ID, A::DOC)
    }
    /// An aligner.
    pub const fn aligner<A: Aligner>() -> Self {
        Self::checked("aligner", A::ID, A::DOC)
    }
    /// A fusion.
    pub const fn fusion<F: Fusion>() -> Self {
        Self::checked("fusion", F::ID, F::DOC)
    }

    /// Ids end up in recipes, file names and messages, so only plain ones compile.
    const fn checked(kind: &'static str, id: &'static str, doc: &'static str) -> Self {
        let bytes = id.as_bytes();
        assert!(!bytes.is_empty(), "an ID must not be empty");
        let mut i = 0;
        while i < bytes.len() {
            assert!(
                matches!(bytes[i], b'a'..=b'z' | b'0'..=b'9' | b'-'),
                "an ID is made of lower-case letters, digits and '-'"
            );
            i += 1;
        }
        Self { kind, id, doc }
    }
}

/// What stands in the ELF section: [`chiasm_abi::record`] tells its form.
#[repr(C)]
pub struct ManifestRecord<const N: usize> {
    magic: [u8; 8],
    length: [u8; 8],
    json: [u8; N],
}

impl<const N: usize> ManifestRecord<N> {
    /// The record; `N` is [`length`] of the same facts.
    pub const fn new(package: &PackageInfo, provides: &[ComponentRecord]) -> Self {
        let writer = render::<N>(package, provides);
        assert!(writer.length == N, "the record's length is the JSON's");
        Self { magic: chiasm_abi::record::MAGIC, length: (N as u64).to_le_bytes(), json: writer.bytes }
    }

    /// The JSON.
    pub fn json(&self) -> &str {
        // The compiler wrote it out of `str`s; the empty text would only fail the host's comparison.
        std::str::from_utf8(&self.json).unwrap_or_default()
    }
}

/// How many bytes the JSON takes.
pub const fn length(package: &PackageInfo, provides: &[ComponentRecord]) -> usize {
    render::<0>(package, provides).length
}

/// Writes what fits into `N` bytes and counts all.
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
        out = out.raw(",").field("id", one.id).raw(",").field("doc", one.doc).raw("}");
        i += 1;
    }
    out.raw("]}")
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

    /// `"name":"value"`, the value escaped.
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
        ComponentRecord::checked("aligner", "first", "Says \"hi\"\\ to\nα."),
        ComponentRecord::checked("fusion", "second-2", ""),
    ];

    #[test]
    fn the_compiler_writes_json_that_a_parser_reads_back() {
        static RECORD: ManifestRecord<{ length(&PACKAGE, PROVIDES) }> =
            ManifestRecord::new(&PACKAGE, PROVIDES);
        let json: serde_json::Value = serde_json::from_str(RECORD.json()).unwrap();
        assert_eq!(json["id"], "odd");
        assert_eq!(json["abi"], chiasm_abi::VERSION);
        assert_eq!(json["provides"][0]["doc"], "Says \"hi\"\\ to\nα.");
        assert_eq!(json["provides"][1], serde_json::json!({"kind": "fusion", "id": "second-2", "doc": ""}));
    }

    #[test]
    fn only_a_leading_prefix_is_taken_off_the_name() {
        assert_eq!(without_prefix("chiasm-cca"), "cca");
        assert_eq!(without_prefix("chiasm-"), "chiasm-");
        assert_eq!(without_prefix("my-chiasm-cca"), "my-chiasm-cca");
    }
}
