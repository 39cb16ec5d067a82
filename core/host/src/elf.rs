//! Checks the structure of an ELF library before it is loaded.
//!
//! `dlopen` trusts its file: a truncated file leads to a SIGBUS and a damaged one to a SIGSEGV. So everything
//! that the loader would follow is checked first. Linkers read the section table; the loader reads segments
//! and dynamic entries. They hold mostly the same facts, so comparing them detects a flipped bit in either.
//!
//! Refused are other formats and machines, offsets beyond the end of the file, segments or dynamic entries
//! that contradict the sections, and relocations outside the library. Damage within code and data is not
//! detected.

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

/// Checks the header and both tables, and returns the bytes of a section, or `None` if there is no such
/// section. Only the necessary parts of the file are read.
pub(crate) fn section<'d, R: ReadRef<'d>>(data: R, name: &str) -> Result<Option<&'d [u8]>, String> {
    let header = header(data)?;
    segments::read(header, data)?;
    let sections = sections(header, data)?;
    let Some((_, section)) = sections.section_by_name(LE, name.as_bytes()) else { return Ok(None) };
    section.data(LE, data).map(Some).map_err(|e| format!("its section {name} is damaged: {e}"))
}

/// Checks everything that dlopen follows.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let header = header(bytes)?;
    let library =
        ElfLibrary { bytes, segments: segments::read(header, bytes)?, sections: sections(header, bytes)? };
    segments::check_consistency(header, &library)?;
    dynamic::check_consistency(&library)
}

/// Returns the file header of a 64-bit little-endian library for this machine.
fn header<'d, R: ReadRef<'d>>(data: R) -> Result<&'d Header, String> {
    let header = Header::parse(data).map_err(|_| "it is not a 64-bit ELF library".to_owned())?;
    if !header.is_little_endian() || header.e_machine(LE) != MACHINE {
        return Err(format!(
            "it is an ELF file for machine {}, but this host is {} ({})",
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

/// Returns the section table, after checking that each section lies within the file.
fn sections<'d, R: ReadRef<'d>>(header: &Header, data: R) -> Result<SectionTable<'d, Header, R>, String> {
    let sections = header.sections(LE, data).map_err(|e| format!("its section table is damaged: {e}"))?;
    let length = data.len().map_err(|()| "its length cannot be read".to_owned())?;
    for section in sections.iter() {
        if let Some((offset, size)) = section.file_range(LE)
            && offset.checked_add(size).is_none_or(|end| end > length)
        {
            return Err(format!(
                "it is truncated: a section at {offset} of {size} bytes ends beyond its {length} bytes"
            ));
        }
    }
    Ok(sections)
}
