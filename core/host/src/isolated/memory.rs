//! Memory that two processes share: one writes tensors into it, the other reads them in place.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use memmap2::{Mmap, MmapMut, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags};

/// Memory that this process writes.
pub(super) struct SharedOutput {
    file: File,
    map: MmapMut,
}

impl SharedOutput {
    /// Creates memory of this many bytes. The file behind it can grow but not shrink.
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("chiasm-tensors", flags)?);
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
        file.set_len(bytes as u64)?;
        let map = map_output(&file)?;
        Ok(Self { file, map })
    }

    /// Enlarges the memory to at least this many bytes. Its contents are kept.
    pub(super) fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        if self.map.len() < bytes {
            self.file.set_len(bytes as u64)?;
            self.map = map_output(&self.file)?;
        }
        Ok(())
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Copies bytes to this offset, for which [`SharedOutput::reserve`] made room.
    ///
    /// # Errors
    /// If a thread for a large copy cannot be started.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(place) = self.map.get_mut(offset..offset + bytes.len()) else { return Ok(()) };
        if bytes.len() < SHARED_COPY {
            place.copy_from_slice(bytes);
            return Ok(());
        }
        // One thread does not use the whole bandwidth of the memory.
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
        let length = bytes.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let mut parts = place.chunks_mut(length).zip(bytes.chunks(length));
            let own = parts.next();
            for (place, bytes) in parts {
                std::thread::Builder::new().spawn_scoped(scope, || place.copy_from_slice(bytes))?;
            }
            own.into_iter().for_each(|(place, bytes)| place.copy_from_slice(bytes));
            Ok(())
        })
    }
}

/// The number of bytes from which several threads copy.
const SHARED_COPY: usize = 4 << 20;

fn map_output(file: &File) -> io::Result<MmapMut> {
    #[expect(unsafe_code, reason = "another process can change a mapped file")]
    // SAFETY: this process only writes to the mapping, through one exclusive reference, and the seal keeps
    // the file from shrinking.
    unsafe {
        MmapMut::map_mut(file)
    }
}

/// Memory that the other process writes and this one reads.
pub(super) struct SharedInput {
    file: File,
    map: Arc<Mmap>,
}

impl SharedInput {
    /// Maps the memory behind a descriptor.
    ///
    /// # Errors
    /// If the file may shrink, which would end this process at the next read.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let file = keeps_its_length(descriptor)?;
        let map = map_input(&file)?;
        Ok(Self { file, map })
    }

    /// Returns the memory, which must have at least this many bytes.
    pub(super) fn view(&mut self, bytes: usize) -> io::Result<Arc<Mmap>> {
        if self.map.len() < bytes {
            self.map = map_input(&self.file)?;
        }
        if self.map.len() < bytes {
            let message = format!("expected {bytes} bytes of shared memory, got {} bytes", self.map.len());
            return Err(io::Error::other(message));
        }
        Ok(Arc::clone(&self.map))
    }
}

/// Maps the memory of one tensor, which the other process no longer changes.
///
/// # Errors
/// If the file may shrink, which would end this process at the next read.
pub(super) fn shared_file(descriptor: OwnedFd) -> io::Result<Arc<Mmap>> {
    map_input(&keeps_its_length(descriptor)?)
}

fn keeps_its_length(descriptor: OwnedFd) -> io::Result<File> {
    let seals = rustix::fs::fcntl_get_seals(&descriptor)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(io::Error::other("its shared memory is not sealed against shrinking"));
    }
    Ok(File::from(descriptor))
}

fn map_input(file: &File) -> io::Result<Arc<Mmap>> {
    #[expect(unsafe_code, reason = "another process can change a mapped file")]
    // SAFETY: the mapping is within the file, which is sealed against shrinking. The other process does not
    // write while this one reads, unless a fault in the plugin overwrites the memory of its own process; then
    // the numbers are wrong, and everything but plain numbers is copied before it is checked.
    let map = unsafe { MmapOptions::new().populate().map(file)? };
    Ok(Arc::new(map))
}
