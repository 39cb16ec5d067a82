//! The dynamic section: the tables that the loader walks and the places that it writes.

use object::LittleEndian as LE;
use object::elf;
use object::pod;
use object::read::elf::{Dyn, ProgramHeader};

use super::Segment;

/// Addresses of the loaded library, and where in the file they come from.
struct Image<'a> {
    bytes: &'a [u8],
    segments: &'a [Segment],
}

/// Checks every dynamic entry that holds an address, and every relocation.
pub(super) fn check(bytes: &[u8], segments: &[Segment]) -> Result<(), String> {
    let image = Image { bytes, segments };
    let entries = segments.iter().find_map(|segment| segment.dynamic(LE, bytes).transpose());
    let entries = entries
        .ok_or("it has no dynamic section, so it is no shared library")?
        .map_err(|e| format!("its dynamic section is damaged: {e}"))?;
    let value = |tag| entries.iter().find(|entry| entry.tag(LE) == tag).map(|entry| entry.val(LE));
    // The loader stops at the first null entry and reads until it finds one.
    if value(elf::DT_NULL).is_none() {
        return Err("its dynamic section has no end".into());
    }
    for (what, start, size) in TABLES {
        let Some(address) = value(*start) else { continue };
        let size = size.map_or(Ok(1), |tag| {
            value(tag).ok_or_else(|| format!("its dynamic section gives no size for the {what}"))
        })?;
        image.file_bytes(address, size).ok_or_else(|| image.outside(what, address, size))?;
    }
    for tag in [elf::DT_STRTAB, elf::DT_SYMTAB] {
        value(tag).ok_or("its dynamic section names no symbols")?;
    }
    let names = value(elf::DT_STRSZ).unwrap_or_default();
    for entry in entries.iter().take_while(|entry| entry.tag(LE) != elf::DT_NULL) {
        if entry.is_string(LE) && entry.val(LE) >= names {
            return Err("a dynamic entry's name lies outside the strings".into());
        }
    }
    if value(elf::DT_RELA).is_some() && value(elf::DT_RELAENT) != Some(size_of::<elf::Rela64<LE>>() as u64) {
        return Err("its relocations have an unknown size".into());
    }
    for (start, size) in [(elf::DT_RELA, elf::DT_RELASZ), (elf::DT_JMPREL, elf::DT_PLTRELSZ)] {
        if let (Some(address), Some(size)) = (value(start), value(size)) {
            image.check_relocations(address, size)?;
        }
    }
    Ok(())
}

/// Tables in the file: name, where the address stands, where the size stands.
const TABLES: &[(&str, elf::DynamicTag, Option<elf::DynamicTag>)] = &[
    ("strings", elf::DT_STRTAB, Some(elf::DT_STRSZ)),
    ("symbols", elf::DT_SYMTAB, None),
    ("relocations", elf::DT_RELA, Some(elf::DT_RELASZ)),
    ("jump relocations", elf::DT_JMPREL, Some(elf::DT_PLTRELSZ)),
    ("relative relocations", elf::DT_RELR, Some(elf::DT_RELRSZ)),
    ("constructors", elf::DT_INIT_ARRAY, Some(elf::DT_INIT_ARRAYSZ)),
    ("destructors", elf::DT_FINI_ARRAY, Some(elf::DT_FINI_ARRAYSZ)),
    ("first constructor", elf::DT_INIT, None),
    ("last destructor", elf::DT_FINI, None),
    ("hash table", elf::DT_GNU_HASH, None),
    ("old hash table", elf::DT_HASH, None),
    ("symbol versions", elf::DT_VERSYM, None),
    ("versions needed", elf::DT_VERNEED, None),
];

impl Image<'_> {
    fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD)
    }

    /// The bytes of the file that will stand at an address.
    fn file_bytes(&self, address: u64, size: u64) -> Option<&[u8]> {
        let segment = self.loads().find(|segment| covers(segment, address, size, segment.p_filesz(LE)))?;
        let start = segment.p_offset(LE).checked_add(address - segment.p_vaddr(LE))?;
        let (start, size) = (usize::try_from(start).ok()?, usize::try_from(size).ok()?);
        self.bytes.get(start..start.checked_add(size)?)
    }

    fn outside(&self, what: &str, address: u64, size: u64) -> String {
        format!("its {what} ({size} bytes at {address:#x}) lie outside of what is loaded")
    }

    /// Each writes one word into a writable segment.
    fn check_relocations(&self, address: u64, size: u64) -> Result<(), String> {
        let bytes =
            self.file_bytes(address, size).ok_or_else(|| self.outside("relocations", address, size))?;
        let count = bytes.len() / size_of::<elf::Rela64<LE>>();
        let (relocations, _) = pod::slice_from_bytes::<elf::Rela64<LE>>(bytes, count)
            .map_err(|()| "its relocations are misaligned".to_owned())?;
        let word = size_of::<u64>() as u64;
        for relocation in relocations {
            let place = relocation.r_offset.get(LE);
            let writable = |segment: &&Segment| {
                segment.p_flags(LE).0 & elf::PF_W.0 != 0 && covers(segment, place, word, segment.p_memsz(LE))
            };
            if self.loads().find(writable).is_none() {
                return Err(format!("a relocation writes to {place:#x}, which is not writable data"));
            }
        }
        Ok(())
    }
}

/// Whether `size` bytes at `address` lie within the first `length` bytes of a segment.
fn covers(segment: &Segment, address: u64, size: u64, length: u64) -> bool {
    let start = address.checked_sub(segment.p_vaddr(LE));
    start.and_then(|start| start.checked_add(size)).is_some_and(|end| end <= length)
}
