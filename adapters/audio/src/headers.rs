//! What the headers of a recording state, checked before a library believes it.

use std::io::{ErrorKind, Read, Result, Seek, SeekFrom};

/// Checks that the chunks of a WAV file, apart from the samples, are not longer than the file. (Streams state
/// no length of their samples, and a truncated file has fewer; both are found when they are decoded.) Inside,
/// the error says which chunk is too long.
pub(crate) fn check_chunks(file: &mut (impl Read + Seek)) -> Result<std::result::Result<(), String>> {
    let size = file.seek(SeekFrom::End(0))?;
    let Some(start) = at::<12>(file, 0)? else { return Ok(Ok(())) };
    if !(start.starts_with(b"RIFF") && start.ends_with(b"WAVE")) {
        return Ok(Ok(()));
    }
    let mut place = 12;
    while let Some(chunk) = at::<8>(file, place)? {
        let [a, b, c, d, length @ ..] = chunk;
        let length = u64::from(u32::from_le_bytes(length));
        let end = place + 8 + length;
        if [a, b, c, d] != *b"data" && end > size {
            let name = String::from_utf8_lossy(&[a, b, c, d]).into_owned();
            return Ok(Err(format!("its chunk {name:?} states {length} bytes, and the file has {size}")));
        }
        if [a, b, c, d] == *b"LIST"
            && let Some(name) = long_entry(file, place + 12, end)?
        {
            return Ok(Err(format!("an entry {name:?} of its chunk \"LIST\" is longer than the chunk")));
        }
        // Chunks begin at even places.
        place = end + length % 2;
    }
    Ok(Ok(()))
}

/// Returns the name of the first entry of a list that is longer than the list.
fn long_entry(file: &mut (impl Read + Seek), start: u64, end: u64) -> Result<Option<String>> {
    let mut place = start;
    while place + 8 <= end
        && let Some(entry) = at::<8>(file, place)?
    {
        let [a, b, c, d, length @ ..] = entry;
        let length = u64::from(u32::from_le_bytes(length));
        if place + 8 + length > end {
            return Ok(Some(String::from_utf8_lossy(&[a, b, c, d]).into_owned()));
        }
        place += 8 + length + length % 2;
    }
    Ok(None)
}

/// Checks that an OGG file ends with a whole page that says it is the last one (RFC 3533, section 6). Inside,
/// the error says how the file ends.
pub(crate) fn check_last_page(file: &mut (impl Read + Seek)) -> Result<std::result::Result<(), String>> {
    /// A page has a header of 27 bytes, 255 lengths, and 255 segments of at most 255 bytes.
    const LONGEST_PAGE: u64 = 27 + 255 + 255 * 255;
    let size = file.seek(SeekFrom::End(0))?;
    if at::<4>(file, 0)? != Some(*b"OggS") {
        return Ok(Ok(()));
    }
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(size.saturating_sub(2 * LONGEST_PAGE)))?;
    file.by_ref().take(2 * LONGEST_PAGE).read_to_end(&mut tail)?;
    let starts = (0..tail.len()).rev().filter(|start| tail[*start..].starts_with(b"OggS\0"));
    let mut ended = "it ends within a page";
    for start in starts {
        let page = &tail[start..];
        let count = page.get(26).map_or(0, |count| usize::from(*count));
        let lengths = page.get(27..27 + count).unwrap_or_default();
        let length = 27 + count + lengths.iter().map(|length| usize::from(*length)).sum::<usize>();
        match (length <= page.len(), page.get(5).is_some_and(|flags| flags & 4 != 0)) {
            (true, true) => return Ok(Ok(())),
            (true, false) => {
                ended = "its last page does not say that it is the last";
                break;
            }
            (false, _) => {}
        }
    }
    Ok(Err(ended.into()))
}

/// Returns whether the first frame of an MP3 file states the number of frames (a header "Xing" or "Info", or
/// "VBRI").
pub(crate) fn counts_frames(file: &mut (impl Read + Seek)) -> Result<bool> {
    /// The frame's header, its side information, and the tag.
    const START: u64 = 64;
    // ID3v2: a name, a version, flags, and a length in four times seven bits.
    let start = match at::<10>(file, 0)? {
        Some([b'I', b'D', b'3', _, _, _, length @ ..]) => {
            10 + length.iter().fold(0_u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
        }
        _ => 0,
    };
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.by_ref().take(START).read_to_end(&mut head)?;
    Ok(head.first() == Some(&0xff)
        && [b"Xing", b"Info", b"VBRI"].iter().any(|tag| head.windows(4).any(|place| place == *tag)))
}

/// Reads bytes at a place; `None` if the file ends before.
fn at<const N: usize>(file: &mut (impl Read + Seek), place: u64) -> Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(place))?;
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
