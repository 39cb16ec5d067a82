//! Opening the files that models, items and cards name.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file for reading. It must be a regular file of at most `most` bytes.
///
/// A pipe, a device, a socket or a folder is refused at once: reading a pipe waits for a writer, and a device
/// such as `/dev/zero` never ends. The call does not wait, even if the file becomes a pipe while it is
/// opened.
///
/// ```
/// let error = chiasm_graph::open_file("/dev/zero".as_ref(), 1 << 20).unwrap_err();
/// assert_eq!(error.to_string(), "it is a device, expected a regular file");
/// ```
///
/// # Errors
/// The system's error, or [`ErrorKind::InvalidInput`] with the kind or the size of the file.
pub fn open_file(path: &Path, most: u64) -> Result<File> {
    // Opening some devices has effects of its own, so the kind is checked before and after.
    admitted(&std::fs::metadata(path)?, most)?;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    admitted(&file.metadata()?, most)?;
    Ok(file)
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open_file`], and if the file holds more bytes than its size.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open_file(path, most)?;
    let stated = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(stated).unwrap_or(0));
    // Files of /proc state a size of zero.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        length if length > most => Err(too_large(length, most)),
        _ => Ok(bytes),
    }
}

fn admitted(metadata: &Metadata, most: u64) -> Result<()> {
    if !metadata.is_file() {
        let kind = kind(metadata.file_type());
        return Err(Error::new(ErrorKind::InvalidInput, format!("it is {kind}, expected a regular file")));
    }
    match metadata.len() {
        length if length > most => Err(too_large(length, most)),
        _ => Ok(()),
    }
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        kind if kind.is_socket() => "a socket",
        _ => "a special file",
    }
}

fn too_large(length: u64, most: u64) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("it has {length} bytes, at most {most} are read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn only_regular_files_within_the_limit_are_read_and_the_others_are_refused_at_once() {
        let folder = std::env::temp_dir().join(format!("chiasm-regular-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), "12345").unwrap();
        let pipe = folder.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let socket = folder.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink("pipe", folder.join("link")).unwrap();
        let start = Instant::now();
        let refused = |path: &Path, most| read_file(path, most).unwrap_err().to_string();
        assert_eq!(read_file(&folder.join("file"), 5).unwrap(), b"12345");
        assert_eq!(refused(&folder.join("file"), 4), "it has 5 bytes, at most 4 are read");
        assert_eq!(refused(&folder, 9), "it is a folder, expected a regular file");
        assert_eq!(refused(&pipe, 9), "it is a pipe, expected a regular file");
        assert_eq!(refused(&folder.join("link"), 9), "it is a pipe, expected a regular file");
        assert_eq!(refused(&socket, 9), "it is a socket, expected a regular file");
        assert_eq!(refused("/dev/zero".as_ref(), 9), "it is a device, expected a regular file");
        assert!(refused(&folder.join("none"), 9).contains("No such file"));
        // A file that states no size is read up to the limit.
        assert!(refused("/proc/self/maps".as_ref(), 9).contains("at most 9"));
        assert!(start.elapsed() < Duration::from_secs(5), "reading waited");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
