//! An ELF library's structure, read as data. dlopen trusts its file: a truncated one is a SIGBUS, a damaged one a SIGSEGV. So whatever
//! the loader would follow is followed here first, and must lie within the file.
//!
//! What it refuses: other formats and machines, tables or segments beyond the file's end, dynamic entries and relocations that point
//! outside. What it cannot see: damage within code and data.

mod dynamic;

use object::LittleEndian as LE;
use object::elf;
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

type Header = elf::FileHeader64<LE>;
type Segment = elf::ProgramHeader64<LE>;

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// No library takes more address space than this.
const LARGEST: u64 = 1 << 34;

/// The bytes of the section of this name, after checking the header and both tables; `None` when a sound library has no such
/// section. Reads no more of the file than it needs.
pub(crate) fn section<'d, R: ReadRef<'d>>(data: R, name: &str) -> Result<Option<&'d [u8]>, String> {
    let header = header(data)?;
    segments(header, data)?;
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
    let Some((_, section)) = sections.section_by_name(LE, name.as_bytes()) else { return Ok(None) };
    section.data(LE, data).map(Some).map_err(|e| format!("its section {name} is damaged: {e}"))
}

/// Everything that dlopen will follow.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let segments = segments(header(bytes)?, bytes)?;
    dynamic::check(bytes, segments)
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

/// The segments, each within the file and of a sane size.
fn segments<'d, R: ReadRef<'d>>(header: &Header, data: R) -> Result<&'d [Segment], String> {
    let segments =
        header.program_headers(LE, data).map_err(|e| format!("its program headers are damaged: {e}"))?;
    let length = data.len().map_err(|()| "its length cannot be read".to_owned())?;
    let mut end_before = 0;
    for segment in segments {
        let (offset, in_file) = segment.file_range(LE);
        if offset.checked_add(in_file).is_none_or(|end| end > length) {
            return Err(format!(
                "it is cut short: a segment ends beyond the file's {length} bytes (at {offset} + {in_file})"
            ));
        }
        if segment.p_type(LE) != elf::PT_LOAD {
            continue;
        }
        let (address, size, align) = (segment.p_vaddr(LE), segment.p_memsz(LE), segment.p_align(LE).max(1));
        let end = address.checked_add(size).filter(|end| *end <= LARGEST);
        let sound = end.is_some() && in_file <= size && align.is_power_of_two() && align <= LARGEST;
        if !sound || address % align != offset % align || address < end_before {
            return Err(format!("a segment at address {address:#x} of {size} bytes makes no sense"));
        }
        end_before = end.unwrap_or(LARGEST);
    }
    if end_before == 0 { Err("it has nothing to load".into()) } else { Ok(segments) }
}
