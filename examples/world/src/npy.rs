//! Writing .npy files row by row.

use crate::dataset::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A number that an .npy file can hold.
pub(crate) trait NpyNumber: Copy {
    /// The type in the header.
    const DESCR: &'static str;
    /// Returns the bytes, lowest first.
    fn bytes(self) -> impl AsRef<[u8]>;
}

impl NpyNumber for f32 {
    const DESCR: &'static str = "<f4";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl NpyNumber for i64 {
    const DESCR: &'static str = "<i8";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

/// An .npy file (version 1.0) under a temporary name, which [`NpyWriter::finish`] renames.
pub(crate) struct NpyWriter {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl NpyWriter {
    /// Starts a file with an array of this shape.
    pub(crate) fn new<T: NpyNumber>(path: &Path, shape: &[usize]) -> Result<Self, Error> {
        let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
        let shape = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
        let header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", T::DESCR);
        // Magic string, version, length of the header, header and line break take a multiple of 64 bytes.
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        let unfinished = path.with_added_extension("tmp");
        let start = || {
            let mut file = BufWriter::new(File::create(&unfinished)?);
            file.write_all(b"\x93NUMPY\x01\x00")?;
            file.write_all(&(length as u16).to_le_bytes())?;
            writeln!(file, "{header:<width$}", width = length - 1)?;
            Ok(file)
        };
        let file = start().map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), unfinished, file })
    }

    /// Appends values, in the order of the rows.
    pub(crate) fn write<T: NpyNumber>(&mut self, values: &[T]) -> Result<(), Error> {
        let mut write = || values.iter().try_for_each(|value| self.file.write_all(value.bytes().as_ref()));
        write().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// Finishes the file. The caller has written as many values as the shape has.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { path, unfinished, file } = self;
        let finish = || {
            file.into_inner()?.sync_all()?;
            std::fs::rename(&unfinished, &path)
        };
        finish().map_err(|source| Error::Write { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `numpy.save` writes for `np.array([[1, 2], [3, 4]], "<f4")` and `np.array([7], "<i8")`.
    #[test]
    fn files_are_those_of_numpy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut file = NpyWriter::new::<f32>(&path, &[2, 2]).unwrap();
        file.write(&[1.0_f32, 2.0]).unwrap();
        file.write(&[3.0_f32, 4.0]).unwrap();
        file.finish().unwrap();
        let found = std::fs::read(&path).unwrap();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
        assert_eq!(&found[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(&found[10..128], format!("{header:<117}\n").as_bytes());
        assert_eq!(found[128..], [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
        let mut file = NpyWriter::new::<i64>(&path, &[1]).unwrap();
        file.write(&[7_i64]).unwrap();
        file.finish().unwrap();
        let found = std::fs::read(&path).unwrap();
        assert!(found[10..].starts_with(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }"));
        assert_eq!((found.len(), &found[128..]), (136, &7_i64.to_le_bytes()[..]));
    }
}
