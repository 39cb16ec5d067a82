//! Reading .npy files of floats and labels. Errors name the file.

use crate::base::error::Error;
use ndarray::{Array2, ArrayD, Ix2, ShapeBuilder};
use npyz::{NpyFile, NpyHeader, Order};
use std::{io::ErrorKind, path::Path};

/// Reads an .npy file, as [`split_array`].
///
/// # Errors
/// Why it cannot be read.
fn read_array(path: &Path) -> std::io::Result<(NpyHeader, Vec<u8>)> {
    split_array(chiasm_host::read_file(path, u64::MAX)?)
}

/// Returns the header of an .npy file in memory, and the bytes of its numbers, at least as many as the header
/// states.
///
/// # Errors
/// Why it is no such file.
pub(super) fn split_array(mut bytes: Vec<u8>) -> std::io::Result<(NpyHeader, Vec<u8>)> {
    let header = chiasm_host::npy_header(bytes.as_slice())?;
    bytes.drain(..header.len());
    let header = NpyHeader::from_reader(header.as_slice())?;
    let size = header.dtype().num_bytes().unwrap_or(0) as u64;
    let stated = header.shape().iter().try_fold(size, |bytes, axis| bytes.checked_mul(*axis));
    if stated.is_none_or(|stated| stated > bytes.len() as u64) {
        let (shape, got) = (header.shape(), bytes.len());
        return Err(std::io::Error::other(format!(
            "its header states the shape {shape:?}, and {got} bytes follow: it is truncated or damaged"
        )));
    }
    Ok((header, bytes))
}

/// Reads an .npy file of float32 or float64, of any shape.
///
/// # Errors
/// If the file cannot be read, or does not hold floats.
pub fn read_npy(path: &Path) -> Result<ArrayD<f64>, Error> {
    let bad = |what: String| {
        let message = format!("{} is not an array of floats: {what}", path.display());
        let help = "give an .npy file of float32 or float64: numpy.save(path, array)";
        Error::input("chiasm::array", message, help)
    };
    let (header, bytes) = read_array(path).map_err(|e| unread(path, e, bad))?;
    let npy = NpyFile::with_header(header, bytes.as_slice());
    let shape: Vec<usize> = npy.shape().iter().map(|&size| size as usize).collect();
    let shape = shape.set_f(npy.order() != Order::C);
    let values: Vec<f64> = match npy.try_data::<f32>() {
        Ok(values) => values.map(|value| value.map(f64::from)).collect::<Result<_, _>>(),
        Err(npy) => npy.data::<f64>().map_err(|e| bad(e.to_string()))?.collect(),
    }
    .map_err(|e| bad(e.to_string()))?;
    ArrayD::from_shape_vec(shape, values).map_err(|e| bad(e.to_string()))
}

/// Returns the error of a file that was not read: a missing file is no damaged one.
fn unread(path: &Path, error: std::io::Error, damaged: impl FnOnce(String) -> Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Error::io("read", path, error),
        _ => damaged(error.to_string()),
    }
}

/// Reads an .npy file of float32 or float64 with two axes.
///
/// # Errors
/// As [`read_npy`], and if the array is not a matrix.
pub fn read_matrix(path: &Path) -> Result<Array2<f64>, Error> {
    let array = read_npy(path)?;
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        let message = format!("{} is not a matrix of floats: its shape is {shape:?}", path.display());
        Error::input("chiasm::array", message, "give rows [n, d]: numpy.save(path, array.reshape(n, d))")
    })
}

/// Reads an .npy file of labels: int64 or int32, of shape `[n]`.
///
/// # Errors
/// If the file cannot be read, is not a vector of integers, or holds a negative number.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<usize>, Error> {
    let bad = |what: String| {
        let help = "give an .npy file of non-negative int64 [n]: numpy.save(path, labels.astype(\"int64\"))";
        Error::input("chiasm::labels", format!("{} holds no labels: {what}", path.display()), help)
    };
    let (header, bytes) = read_array(path).map_err(|e| unread(path, e, bad))?;
    let npy = NpyFile::with_header(header, bytes.as_slice());
    if npy.shape().len() != 1 {
        return Err(bad(format!("expected one axis, got the shape {:?}", npy.shape())));
    }
    let values: Vec<i64> = match npy.try_data::<i64>() {
        Ok(values) => values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?,
        Err(npy) => {
            let narrow = npy.data::<i32>().map_err(|e| bad(e.to_string()))?;
            narrow.map(|v| v.map(i64::from)).collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?
        }
    };
    values.iter().map(|&v| usize::try_from(v).map_err(|_| bad(format!("label {v} is below 0")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of version 1 with this shape and these bytes of numbers.
    fn npy(shape: &str, kind: &str, numbers: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), numbers].concat()
    }

    #[test]
    fn arrays_that_state_more_than_they_have_are_refused_before_memory_is_reserved() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.npy");
        std::fs::write(&path, npy("(2,)", "<f4", &[0, 0, 128, 63, 0, 0, 0, 192])).unwrap();
        assert_eq!(read_npy(&path).unwrap().into_raw_vec_and_offset().0, [1.0, -2.0]);
        for shape in
            ["(3,)", "(1152921504606846976,)", "(4294967296, 4294967296)", "(0, 18446744073709551615, 3)"]
        {
            std::fs::write(&path, npy(shape, "<f4", &[0; 8])).unwrap();
            let refused = read_npy(&path).map(|array| array.len());
            let message = refused.as_ref().map_err(ToString::to_string);
            assert!(message.as_ref().is_err_and(|m| m.contains("a.npy")), "{shape}: {message:?}");
            std::fs::write(&path, npy(shape, "<i8", &[0; 8])).unwrap();
            assert!(read_labels(&path).is_err(), "{shape}");
        }
        std::fs::write(&path, npy(&"(".repeat(5_000), "<f4", &[])).unwrap();
        assert!(read_npy(&path).unwrap_err().to_string().contains("nested deeper"));
    }
}
