//! The parsed tables of an ELF library.

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{SectionHeader, SectionTable};

pub(super) type Header = elf::FileHeader64<LE>;
pub(super) type Segment = elf::ProgramHeader64<LE>;
pub(super) type Section = elf::SectionHeader64<LE>;

/// The segments and sections of an ELF library.
pub(super) struct ElfLibrary<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) segments: &'a [Segment],
    pub(super) sections: SectionTable<'a, Header>,
}

impl<'a> ElfLibrary<'a> {
    /// Returns the sections that are in memory once the library is loaded.
    pub(super) fn loaded_sections(&self) -> impl Iterator<Item = &'a Section> {
        self.sections.iter().filter(|section| section.sh_flags(LE).0 & elf::SHF_ALLOC.0 != 0)
    }

    pub(super) fn name(&self, section: &Section) -> String {
        let name = self.sections.section_name(LE, section).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}
