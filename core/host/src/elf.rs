//! Finds a section of an ELF library without loading it.
//!
//! Only the header and the tables are checked: that the file is a library for this machine, and that its
//! segments and sections lie within it. Other damage is met by the system's loader, which may crash; so a
//! library that is not trusted is loaded in a process of its own.

use object::LittleEndian as LE;
use object::elf;
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, SectionTable};

type Header = elf::FileHeader64<LE>;

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// Checks the header and both tables, and returns the bytes of a section, or `None` if there is no such
/// section. Only the necessary parts of the file are read.
pub(crate) fn section<'d, R: ReadRef<'d>>(data: R, name: &str) -> Result<Option<&'d [u8]>, String> {
    let header = header(data)?;
    check_segments(header, data)?;
    let sections = sections(header, data)?;
    let Some((_, section)) = sections.section_by_name(LE, name.as_bytes()) else { return Ok(None) };
    section.data(LE, data).map(Some).map_err(|e| format!("its section {name} is damaged: {e}"))
}

/// Checks that the library names no other library by a path relative to the working folder, from which the
/// system's loader would take it.
pub(crate) fn check_dependencies(bytes: &[u8]) -> Result<(), String> {
    let damaged = |e| format!("its dynamic section is damaged: {e}");
    let sections = sections(header(bytes)?, bytes)?;
    let Some((entries, strings)) = sections.dynamic(LE, bytes).map_err(damaged)? else { return Ok(()) };
    let strings = sections.strings(LE, bytes, strings).map_err(damaged)?;
    for entry in entries {
        let tag = entry.tag(LE);
        let paths = tag == elf::DT_RPATH || tag == elf::DT_RUNPATH;
        if !paths && tag != elf::DT_NEEDED {
            continue;
        }
        let text = String::from_utf8_lossy(entry.string(LE, strings).map_err(damaged)?);
        let fixed = |path: &str| ["/", "$ORIGIN", "${ORIGIN}"].iter().any(|start| path.starts_with(start));
        let relative = match paths {
            true => text.split(':').find(|path| !fixed(path)),
            false => Some(&*text).filter(|name| name.contains('/') && !fixed(name)),
        };
        if let Some(path) = relative {
            return Err(format!(
                "it would load libraries from the working folder: it names the path `{}`; link it without \
                 relative paths",
                path.escape_debug()
            ));
        }
    }
    Ok(())
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

/// Checks that each segment lies within the file.
fn check_segments<'d, R: ReadRef<'d>>(header: &Header, data: R) -> Result<(), String> {
    let segments =
        header.program_headers(LE, data).map_err(|e| format!("its program headers are damaged: {e}"))?;
    let length = data.len().map_err(|()| "its length cannot be read".to_owned())?;
    for segment in segments {
        let (offset, in_file) = segment.file_range(LE);
        if offset.checked_add(in_file).is_none_or(|end| end > length) {
            return Err(format!(
                "it is truncated: a segment at {offset} of {in_file} bytes ends beyond its {length} bytes"
            ));
        }
    }
    Ok(())
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
