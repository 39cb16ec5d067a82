//! Checks the segments, which the loader maps, against the sections.

use object::LittleEndian as LE;
use object::elf;
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use super::library::{ElfLibrary, Header, Section, Segment};

/// The largest address of a library.
const MAX_ADDRESS: u64 = 1 << 34;

/// Returns the segments, after checking that each lies within the file, has a plausible size and is in
/// ascending order.
pub(super) fn read<'d, R: ReadRef<'d>>(header: &Header, data: R) -> Result<&'d [Segment], String> {
    let segments =
        header.program_headers(LE, data).map_err(|e| format!("its program headers are damaged: {e}"))?;
    let length = data.len().map_err(|()| "its length cannot be read".to_owned())?;
    let mut end_before = 0;
    for segment in segments {
        let (offset, in_file) = segment.file_range(LE);
        if offset.checked_add(in_file).is_none_or(|end| end > length) {
            return Err(format!(
                "it is truncated: a segment at {offset} of {in_file} bytes ends beyond its {length} bytes"
            ));
        }
        if segment.p_type(LE) != elf::PT_LOAD {
            continue;
        }
        let (address, size, align) = (segment.p_vaddr(LE), segment.p_memsz(LE), segment.p_align(LE).max(1));
        let end = address.checked_add(size).filter(|end| *end <= MAX_ADDRESS);
        let sound = in_file <= size && align.is_power_of_two() && align <= MAX_ADDRESS;
        match end {
            Some(end) if sound && address % align == offset % align && address >= end_before => {
                end_before = end;
            }
            _ => return Err(format!("its segment at address {address:#x} of {size} bytes is invalid")),
        }
    }
    if end_before == 0 { Err("it has no segment to load".into()) } else { Ok(segments) }
}

/// Checks that every section in memory lies in a segment with its permissions and file offset, and that every
/// other segment matches its sections.
pub(super) fn check_consistency(header: &Header, library: &ElfLibrary<'_>) -> Result<(), String> {
    let contradiction = |what: String| format!("its segments contradict its sections: {what}");
    for section in library.loaded_sections() {
        if !needs_no_mapping(section) && !is_mapped(section, library) {
            return Err(contradiction(format!(
                "`{}` is not mapped where the section table says",
                library.name(section)
            )));
        }
    }
    for segment in library.segments {
        let kind = segment.p_type(LE);
        let fits = match kind {
            elf::PT_LOAD | elf::PT_GNU_STACK => true,
            elf::PT_NOTE | elf::PT_GNU_PROPERTY | elf::PT_GNU_SFRAME => {
                is_inside_load_segment(segment, library)
            }
            elf::PT_PHDR => {
                is_inside_load_segment(segment, library) && segment.p_offset(LE) == header.e_phoff(LE)
            }
            elf::PT_GNU_RELRO => {
                is_inside_load_segment(segment, library) && excludes_writable_data(segment, library)
            }
            elf::PT_GNU_EH_FRAME => {
                is_inside_load_segment(segment, library) && matches_section(segment, ".eh_frame_hdr", library)
            }
            elf::PT_DYNAMIC => {
                is_inside_load_segment(segment, library) && matches_section(segment, ".dynamic", library)
            }
            elf::PT_TLS => is_thread_local_span(segment, library),
            _ => false,
        };
        if !fits {
            return Err(contradiction(format!("the segment of type {:#x} is in the wrong place", kind.0)));
        }
    }
    let has = |kind| library.segments.iter().any(|segment| segment.p_type(LE) == kind);
    let threads = library.loaded_sections().any(is_thread_local);
    if !has(elf::PT_DYNAMIC) || threads != has(elf::PT_TLS) {
        return Err(contradiction(
            "the dynamic or thread-local segment is missing, or has no section".into(),
        ));
    }
    Ok(())
}

/// Returns the segments that the loader maps.
pub(super) fn loads<'a>(library: &ElfLibrary<'a>) -> impl Iterator<Item = &'a Segment> {
    library.segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD)
}

/// Returns whether `size` bytes at `address` lie within the first `length` bytes of a segment.
pub(super) fn covers(segment: &Segment, address: u64, size: u64, length: u64) -> bool {
    let start = address.checked_sub(segment.p_vaddr(LE));
    start.and_then(|start| start.checked_add(size)).is_some_and(|end| end <= length)
}

fn is_mapped(section: &Section, library: &ElfLibrary<'_>) -> bool {
    let (address, size) = (section.sh_addr(LE), section.sh_size(LE));
    let flags = section.sh_flags(LE).0;
    let in_file = section.sh_type(LE) != elf::SHT_NOBITS;
    loads(library).any(|segment| {
        let rights = segment.p_flags(LE).0;
        let length = if in_file { segment.p_filesz(LE) } else { segment.p_memsz(LE) };
        covers(segment, address, size, length)
            && (!in_file || same_place(segment, address, section.sh_offset(LE)))
            && rights & elf::PF_R.0 != 0
            && (flags & elf::SHF_WRITE.0 == 0 || rights & elf::PF_W.0 != 0)
            && (flags & elf::SHF_EXECINSTR.0 == 0 || rights & elf::PF_X.0 != 0)
    })
}

/// Returns whether a segment lies within a mapped one, both in memory and in the file.
fn is_inside_load_segment(segment: &Segment, library: &ElfLibrary<'_>) -> bool {
    let (address, size) = (segment.p_vaddr(LE), segment.p_memsz(LE));
    loads(library).any(|load| {
        covers(load, address, size, load.p_memsz(LE)) && same_place(load, address, segment.p_offset(LE))
    })
}

fn same_place(load: &Segment, address: u64, offset: u64) -> bool {
    address.wrapping_sub(load.p_vaddr(LE)) == offset.wrapping_sub(load.p_offset(LE))
}

fn matches_section(segment: &Segment, name: &str, library: &ElfLibrary<'_>) -> bool {
    let section = library.sections.section_by_name(LE, name.as_bytes());
    section.is_some_and(|(_, section)| {
        (section.sh_addr(LE), section.sh_size(LE)) == (segment.p_vaddr(LE), segment.p_memsz(LE))
    })
}

/// Returns whether a segment that becomes read-only after relocation excludes data that are written later.
fn excludes_writable_data(segment: &Segment, library: &ElfLibrary<'_>) -> bool {
    let end = segment.p_vaddr(LE).saturating_add(segment.p_memsz(LE));
    [".data", ".bss"].iter().all(|name| {
        let section = library.sections.section_by_name(LE, name.as_bytes());
        section.is_none_or(|(_, section)| {
            section.sh_addr(LE) >= end || section.sh_addr(LE) < segment.p_vaddr(LE)
        })
    })
}

/// Returns whether a segment spans the thread-local sections, from the first to the last.
fn is_thread_local_span(segment: &Segment, library: &ElfLibrary<'_>) -> bool {
    let (mut start, mut end, mut in_file, mut align) = (u64::MAX, 0, 0, 1);
    for section in library.loaded_sections().filter(|section| is_thread_local(section)) {
        let section_end = section.sh_addr(LE).saturating_add(section.sh_size(LE));
        start = start.min(section.sh_addr(LE));
        end = end.max(section_end);
        align = align.max(section.sh_addralign(LE));
        if section.sh_type(LE) != elf::SHT_NOBITS {
            in_file = in_file.max(section_end);
        }
    }
    let in_file = in_file.saturating_sub(start);
    segment.p_vaddr(LE) == start
        && segment.p_memsz(LE) == end.saturating_sub(start)
        && segment.p_filesz(LE) == in_file
        && segment.p_align(LE) == align
        && loads(library).any(|load| {
            covers(load, start, in_file, load.p_filesz(LE)) && same_place(load, start, segment.p_offset(LE))
        })
}

fn is_thread_local(section: &Section) -> bool {
    section.sh_flags(LE).0 & elf::SHF_TLS.0 != 0
}

/// Returns whether a section occupies no mapped memory: empty sections and thread-local zeros.
fn needs_no_mapping(section: &Section) -> bool {
    section.sh_size(LE) == 0 || is_thread_local(section) && section.sh_type(LE) == elf::SHT_NOBITS
}
