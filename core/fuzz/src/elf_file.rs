//! A small ELF library with one section besides the table of names: enough to be looked at, not to be loaded.

/// The size of the header of a file.
const HEADER: u64 = 64;
/// The size of the header of a segment.
const SEGMENT: u64 = 56;
/// The size of the header of a section.
const SECTION: u64 = 64;

/// The processor: that of this machine.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// Returns the bytes of a library whose section `name` has this content.
pub(crate) fn library(name: &str, content: &[u8]) -> Vec<u8> {
    let names = [b"\0.shstrtab\0", name.as_bytes(), b"\0"].concat();
    let at = HEADER + SEGMENT;
    let names_at = at + content.len() as u64;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01");
    file.resize(16, 0);
    halves(&mut file, &[3, MACHINE]);
    file.extend(1_u32.to_le_bytes());
    words(&mut file, &[0, HEADER, sections_at]);
    file.extend(0_u32.to_le_bytes());
    halves(&mut file, &[HEADER as u16, SEGMENT as u16, 1, SECTION as u16, 3, 2]);
    // One segment, the whole file: its kind and permissions, then its offset, addresses and sizes.
    file.extend([1, 0, 0, 0, 4, 0, 0, 0]);
    words(&mut file, &[0, 0, 0, sections_at, sections_at, 4096]);
    file.extend(content);
    file.extend(&names);
    file.resize(sections_at as usize, 0);
    file.resize(file.len() + SECTION as usize, 0);
    section(&mut file, 11, 1, at, content.len() as u64);
    section(&mut file, 1, 3, names_at, names.len() as u64);
    file
}

/// Appends the header of a section: the place of its name, its kind, its offset and its size.
fn section(file: &mut Vec<u8>, name: u32, kind: u32, offset: u64, size: u64) {
    file.extend(name.to_le_bytes());
    file.extend(kind.to_le_bytes());
    words(file, &[0, 0, offset, size, 0, 1, 0]);
}

fn halves(file: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| file.extend(value.to_le_bytes()));
}

fn words(file: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| file.extend(value.to_le_bytes()));
}
