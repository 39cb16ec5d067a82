//! An ELF library's structure, read as data. dlopen trusts its file: a truncated one is a SIGBUS, a damaged one a SIGSEGV. So whatever
//! the loader would follow is followed here first.
//!
//! An ELF library says most things twice: once in the section table, which linkers read, and once in segments and dynamic entries,
//! which the loader reads. Both must agree, so that a flipped bit in either shows.
//!
//! What it refuses: other formats and machines, anything beyond the file's end, segments or dynamic entries that contradict the sections,
//! relocations that point outside. What it cannot see: damage within code and data.

mod dynamic;
mod library;
mod segments;

use object::LittleEndian as LE;
use object::elf;
use object::read::ReadRef;
use object::read::elf::{FileHeader, SectionHeader, SectionTable};

use library::{ElfLibrary, Header};

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// The bytes of the section of this name, after checking the header and both tables; `None` when a sound library has no such
/// section. Reads no more of the file than it needs.
pub(crate) fn section<'d, R: ReadRef<'d>>(data: R, name: &str) -> Result<Option<&'d [u8]>, String> {
    let header = header(data)?;
    segments::read(header, data)?;
    let sections = sections(header, data)?;
    let Some((_, section)) = sections.section_by_name(LE, name.as_bytes()) else { return Ok(None) };
    section.data(LE, data).map(Some).map_err(|e| format!("its section {name} is damaged: {e}"))
}

/// Everything that dlopen will follow.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let header = header(bytes)?;
    let library =
        ElfLibrary { bytes, segments: segments::read(header, bytes)?, sections: sections(header, bytes)? };
    segments::check_consistency(header, &library)?;
    dynamic::check_consistency(&library)
}

/// The file header, of a 64-bit little-endian library for this machine.
fn header<'d, R: ReadRef<'d>>(data: R) -> Result<&'d Header, String> {
    let header = Header::parse(data).map_err(|_| "it is no 64-bit ELF library".to_owned())?;
    if !header.is_little_endian() || header.e_machine(LE) != MACHINE {
        return Err(format!(
            "it is an ELF file for machine {}, this host runs {} ({})",
            header.e_machine(LE).0,
            MACHINE.0,
            std::env::consts::ARCH
        ));
    }
    if header.e_type(LE) != elf::ET_DYN {
        return Err(format!("it is an ELF file of type {}, not a shared library (3)", header.e_type(LE).0));
    }
    Ok(header)
}

/// The section table, each section within the file.
fn sections<'d, R: ReadRef<'d>>(header: &Header, data: R) -> Result<SectionTable<'d, Header, R>, String> {
    let sections = header.sections(LE, data).map_err(|e| format!("its section table is damaged: {e}"))?;
    let length = data.len().map_err(|()| "its length cannot be read".to_owned())?;
    for section in sections.iter() {
        if let Some((offset, size)) = section.file_range(LE)
            && offset.checked_add(size).is_none_or(|end| end > length)
        {
            return Err(format!(
                "it is cut short: a section ends beyond the file's {length} bytes (at {offset} + {size})"
            ));
        }
    }
    Ok(sections)
}
