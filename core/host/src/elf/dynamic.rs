//! Checks the dynamic entries: the tables that the loader reads and the addresses that it writes.

use object::LittleEndian as LE;
use object::elf;
use object::pod;
use object::read::elf::{Dyn, ProgramHeader, SectionHeader};

use super::library::{ElfLibrary, Section};
use super::segments;

/// Entries that hold the address of a table, the type of its sections, and the entry that holds its size.
const TABLES: [(elf::DynamicTag, elf::SectionType, Option<elf::DynamicTag>); 15] = [
    (elf::DT_STRTAB, elf::SHT_STRTAB, Some(elf::DT_STRSZ)),
    (elf::DT_SYMTAB, elf::SHT_DYNSYM, None),
    (elf::DT_RELA, elf::SHT_RELA, Some(elf::DT_RELASZ)),
    (elf::DT_JMPREL, elf::SHT_RELA, Some(elf::DT_PLTRELSZ)),
    (elf::DT_RELR, elf::SHT_RELR, Some(elf::DT_RELRSZ)),
    (elf::DT_INIT_ARRAY, elf::SHT_INIT_ARRAY, Some(elf::DT_INIT_ARRAYSZ)),
    (elf::DT_FINI_ARRAY, elf::SHT_FINI_ARRAY, Some(elf::DT_FINI_ARRAYSZ)),
    (elf::DT_INIT, elf::SHT_PROGBITS, None),
    (elf::DT_FINI, elf::SHT_PROGBITS, None),
    (elf::DT_PLTGOT, elf::SHT_PROGBITS, None),
    (elf::DT_HASH, elf::SHT_HASH, None),
    (elf::DT_GNU_HASH, elf::SHT_GNU_HASH, None),
    (elf::DT_VERSYM, elf::SHT_GNU_VERSYM, None),
    (elf::DT_VERNEED, elf::SHT_GNU_VERNEED, None),
    (elf::DT_VERDEF, elf::SHT_GNU_VERDEF, None),
];

/// Entries with a fixed value on a 64-bit machine.
const FIXED: [(elf::DynamicTag, u64); 4] = [
    (elf::DT_RELAENT, size_of::<elf::Rela64<LE>>() as u64),
    (elf::DT_SYMENT, size_of::<elf::Sym64<LE>>() as u64),
    (elf::DT_RELRENT, 8),
    (elf::DT_PLTREL, elf::DT_RELA.0 as u64),
];

/// Entries that are checked elsewhere or are harmless.
const OTHERS: [elf::DynamicTag; 8] = [
    elf::DT_NEEDED,
    elf::DT_SONAME,
    elf::DT_RUNPATH,
    elf::DT_FLAGS,
    elf::DT_FLAGS_1,
    elf::DT_RELACOUNT,
    elf::DT_VERNEEDNUM,
    elf::DT_VERDEFNUM,
];

type Entries<'a> = &'a [elf::Dyn64<LE>];

/// Checks that the dynamic entries match the sections, and that every relocation writes to writable memory.
pub(super) fn check_consistency(library: &ElfLibrary<'_>) -> Result<(), String> {
    let entries = library.segments.iter().find_map(|one| one.dynamic(LE, library.bytes).transpose());
    let entries = entries.ok_or("it has no dynamic section, so it is not a shared library")?;
    let entries = entries.map_err(|e| format!("its dynamic section is damaged: {e}"))?;
    // The loader stops at the first null entry, not at the end of the section.
    let end = entries.iter().position(|entry| entry.tag(LE) == elf::DT_NULL);
    let entries = &entries[..end.ok_or("its dynamic section has no terminating null entry")?];
    check_values(entries)?;
    check_tables(entries, library)?;
    for (tag, _, _) in TABLES.iter().filter(|(_, kind, _)| *kind == elf::SHT_RELA) {
        let named = |section: &&Section| Some(section.sh_addr(LE)) == value(entries, *tag);
        if let Some(section) = library.loaded_sections().find(named) {
            let relative = if *tag == elf::DT_RELA { value(entries, elf::DT_RELACOUNT) } else { None };
            check_relocations(section, relative.unwrap_or(0), library)?;
        }
    }
    Ok(())
}

fn value(entries: Entries<'_>, tag: elf::DynamicTag) -> Option<u64> {
    entries.iter().find(|entry| entry.tag(LE) == tag).map(|entry| entry.val(LE))
}

/// Checks that each entry is known, occurs once, and has a valid value.
fn check_values(entries: Entries<'_>) -> Result<(), String> {
    let strings = value(entries, elf::DT_STRSZ).unwrap_or_default();
    for (i, entry) in entries.iter().enumerate() {
        let (tag, value) = (entry.tag(LE), entry.val(LE));
        let known = OTHERS.contains(&tag)
            || FIXED.iter().any(|(fixed, _)| *fixed == tag)
            || TABLES.iter().any(|(table, _, size)| *table == tag || *size == Some(tag));
        let again = tag != elf::DT_NEEDED && entries[..i].iter().any(|other| other.tag(LE) == tag);
        let wrong = FIXED.iter().any(|(fixed, right)| *fixed == tag && *right != value);
        if !known || again || wrong || entry.is_string(LE) && value >= strings {
            return Err(format!(
                "its dynamic entry {:#x} is unknown, repeated or invalid (value {value:#x})",
                tag.0
            ));
        }
    }
    Ok(())
}

/// Checks that each table is a section of its type, and that every such section is listed as a table.
fn check_tables(entries: Entries<'_>, library: &ElfLibrary<'_>) -> Result<(), String> {
    for (tag, kind, size) in TABLES {
        let Some(address) = value(entries, tag) else { continue };
        let size = size.map(|size| value(entries, size).unwrap_or_default());
        let fits = |section: &Section| {
            section.sh_type(LE) == kind
                && section.sh_addr(LE) == address
                && size.is_none_or(|size| size == section.sh_size(LE))
        };
        if !library.loaded_sections().any(fits) {
            return Err(format!("its dynamic entry {:#x} contradicts its sections", tag.0));
        }
    }
    for section in library.loaded_sections().filter(|section| section.sh_size(LE) > 0) {
        let kind = section.sh_type(LE);
        let mut tags =
            TABLES.iter().filter(|(_, own, _)| *own == kind && kind != elf::SHT_PROGBITS).peekable();
        let listed = tags.peek().is_none()
            || tags.any(|(tag, _, _)| value(entries, *tag) == Some(section.sh_addr(LE)));
        let count = match kind {
            elf::SHT_GNU_VERNEED => value(entries, elf::DT_VERNEEDNUM),
            elf::SHT_GNU_VERDEF => value(entries, elf::DT_VERDEFNUM),
            _ => Some(u64::from(section.sh_info(LE))),
        };
        if !listed || count != Some(u64::from(section.sh_info(LE))) {
            return Err(format!("its dynamic entries contradict the section `{}`", library.name(section)));
        }
    }
    Ok(())
}

/// Checks that each relocation writes one word of writable memory and refers to an existing symbol. The first
/// `relative` ones must be of the relative type, because the loader does not read their type.
fn check_relocations(section: &Section, relative: u64, library: &ElfLibrary<'_>) -> Result<(), String> {
    let symbols = library.loaded_sections().find(|one| one.sh_type(LE) == elf::SHT_DYNSYM);
    let symbols = symbols.map_or(0, |one| one.sh_size(LE) / size_of::<elf::Sym64<LE>>() as u64);
    let bytes = section.data(LE, library.bytes).map_err(|e| e.to_string())?;
    let count = bytes.len() / size_of::<elf::Rela64<LE>>();
    let (relocations, _) = pod::slice_from_bytes::<elf::Rela64<LE>>(bytes, count)
        .map_err(|()| "its relocations are misaligned".to_owned())?;
    for (i, relocation) in relocations.iter().enumerate() {
        let (place, info) = (relocation.r_offset.get(LE), relocation.r_info.get(LE));
        let (symbol, kind) = (info >> 32, info & 0xffff_ffff);
        let writable = segments::loads(library).any(|segment| {
            segment.p_flags(LE).0 & elf::PF_W.0 != 0
                && segments::covers(segment, place, 8, segment.p_memsz(LE))
        });
        let early = (i as u64) < relative;
        if !writable || symbol >= symbols.max(1) || !KINDS.contains(&kind) || early && kind != RELATIVE {
            return Err(format!("its relocation {i} (type {kind}, at {place:#x}) is invalid"));
        }
    }
    Ok(())
}

/// `R_*_RELATIVE`, and every relocation type that the loader processes.
#[cfg(target_arch = "x86_64")]
const RELATIVE: u64 = 8;
#[cfg(target_arch = "x86_64")]
const KINDS: &[u64] = &[1, 6, 7, RELATIVE, 16, 17, 18, 36, 37];
#[cfg(target_arch = "aarch64")]
const RELATIVE: u64 = 1027;
#[cfg(target_arch = "aarch64")]
const KINDS: &[u64] = &[257, 1025, 1026, RELATIVE, 1028, 1029, 1030, 1031, 1032];
