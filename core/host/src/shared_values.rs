//! Numbers that a plugin in a process of its own reads in place.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapMut;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

use crate::calls::ArrayFile;

/// Numbers that never change. If there are many, they are in memory that other processes can map, so that a
/// plugin in a process of its own reads them without a copy. A clone shares the memory.
///
/// ```
/// use chiasm_host::SharedValues;
/// let values = SharedValues::filled(3, |all| all.copy_from_slice(&[1.0, 2.0, 3.0]));
/// assert_eq!(values.as_slice(), [1.0, 2.0, 3.0]);
/// ```
#[derive(Clone)]
pub struct SharedValues(Arc<Memory>);

enum Memory {
    Own(Vec<f32>),
    Mapped {
        id: u64,
        /// `None` if the kernel cannot seal it.
        file: Option<File>,
        map: MmapMut,
    },
}

/// The number of bytes from which other processes can map the memory: fewer are copied sooner than mapped.
const MAPPED_FROM: usize = 1 << 20;

impl SharedValues {
    /// Returns this many numbers, which `fill` sets; they are zero before.
    pub fn filled(length: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        let bytes = length.saturating_mul(size_of::<f32>());
        // Without memory to share, the numbers are copied when a plugin's process needs them.
        if bytes >= MAPPED_FROM
            && let Ok((file, mut map)) = writable(bytes)
        {
            fill(bytemuck::cast_slice_mut(&mut map));
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            return Self(Arc::new(Memory::Mapped { id, file: sealed(file), map }));
        }
        let mut values = vec![0.0; length];
        fill(&mut values);
        Self(Arc::new(Memory::Own(values)))
    }

    /// Returns the numbers.
    pub fn as_slice(&self) -> &[f32] {
        match &*self.0 {
            Memory::Own(values) => values,
            Memory::Mapped { map, .. } => bytemuck::cast_slice(map),
        }
    }

    /// Returns the file with the numbers, if they have one. They begin at its first byte.
    pub(crate) fn file(&self) -> Option<ArrayFile<'_>> {
        match &*self.0 {
            Memory::Own(_) => None,
            Memory::Mapped { id, file, .. } => {
                file.as_ref().map(|file| ArrayFile { id: *id, descriptor: file.as_fd() })
            }
        }
    }
}

impl From<Vec<f32>> for SharedValues {
    fn from(values: Vec<f32>) -> Self {
        if size_of_val(values.as_slice()) < MAPPED_FROM {
            return Self(Arc::new(Memory::Own(values)));
        }
        Self::filled(values.len(), |all| all.copy_from_slice(&values))
    }
}

impl PartialEq for SharedValues {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl fmt::Debug for SharedValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// Creates memory of this many bytes, and maps it for writing.
fn writable(bytes: usize) -> io::Result<(File, MmapMut)> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("chiasm-values", flags)?);
    // Memory that cannot be had is an error here, and not a fault at the first write.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes as u64)?;
    #[expect(unsafe_code, reason = "another process can change a mapped file")]
    // SAFETY: no other process has the descriptor before the file is sealed.
    let map = unsafe { MmapMut::map_mut(&file)? };
    Ok((file, map))
}

/// Seals a file: it keeps its length, and no process can write to it through its descriptor or a new mapping.
fn sealed(file: File) -> Option<File> {
    let seals = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).ok().map(|()| file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn large_values_can_be_mapped_by_others_but_not_changed() {
        let length = 3 * MAPPED_FROM / size_of::<f32>() / 2;
        let values =
            SharedValues::filled(length, |all| all.iter_mut().zip(0..).for_each(|(to, at)| *to = at as f32));
        let mut file = File::from(values.file().unwrap().descriptor.try_clone_to_owned().unwrap());
        assert!(file.write(&[1]).is_err());
        assert!(file.set_len(1).is_err());
        #[expect(unsafe_code, reason = "another process can change a mapped file")]
        // SAFETY: if the file can be mapped for writing, the test fails and nothing is written.
        let mapped = unsafe { MmapMut::map_mut(&file) };
        assert!(mapped.is_err());
        assert!(values.as_slice().iter().zip(0..).all(|(value, at)| *value == at as f32));
        let same = SharedValues::from(values.as_slice().to_vec());
        assert_eq!(same, values);
        assert_eq!(values.clone().as_slice().as_ptr(), values.as_slice().as_ptr());
    }

    #[test]
    fn small_values_have_no_file() {
        let values = SharedValues::from(vec![1.0, 2.0]);
        assert!(values.file().is_none());
        assert_eq!(values.as_slice(), [1.0, 2.0]);
        assert!(SharedValues::filled(0, |_| ()).as_slice().is_empty());
    }
}
