//! Reading .npy files of numbers and labels. Errors name the file.

use crate::base::error::Error;
use ndarray::{Array2, ArrayD, Ix2, ShapeBuilder};
use npyz::{DType, Deserialize, Endianness, NpyFile, NpyHeader, Order, TypeChar};
use std::{fmt::Display, io::ErrorKind, path::Path};

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

/// Reads an .npy file of any shape: float16, float32, float64, or integers that double precision holds.
///
/// # Errors
/// If the file cannot be read, does not hold numbers, or holds an integer that double precision would round.
pub fn read_npy(path: &Path) -> Result<ArrayD<f64>, Error> {
    let bad = |what: String| {
        let message = format!("{} is not an array of numbers: {what}", path.display());
        let help = "give an .npy file of floats: numpy.save(path, array.astype(\"float32\"))";
        Error::input("chiasm::array", message, help)
    };
    let (header, bytes) = read_array(path).map_err(|e| unread(path, e, bad))?;
    let shape: Vec<usize> = header.shape().iter().map(|&size| size as usize).collect();
    let shape = shape.set_f(header.order() != Order::C);
    let values = numbers(header, &bytes).map_err(bad)?;
    ArrayD::from_shape_vec(shape, values).map_err(|e| bad(e.to_string()))
}

/// Returns the numbers of an array in double precision, without rounding, or why that is not possible.
fn numbers(header: NpyHeader, bytes: &[u8]) -> Result<Vec<f64>, String> {
    let kind = header.dtype();
    let DType::Plain(plain) = &kind else {
        return Err("it has several fields for each entry".to_owned());
    };
    let (letter, size, big) = (plain.type_char(), plain.size_field(), plain.endianness() == Endianness::Big);
    let shape = header.shape().to_vec();
    let npy = NpyFile::with_header(header, bytes);
    match (letter, size) {
        (TypeChar::Float, 2) => Ok(halves(bytes, shape.iter().product::<u64>() as usize, big)),
        (TypeChar::Float, 4) => all::<f32>(npy, |value| Some(value.into())),
        (TypeChar::Float, 8) => all::<f64>(npy, Some),
        (TypeChar::Int, 1) => all::<i8>(npy, |value| Some(value.into())),
        (TypeChar::Int, 2) => all::<i16>(npy, |value| Some(value.into())),
        (TypeChar::Int, 4) => all::<i32>(npy, |value| Some(value.into())),
        (TypeChar::Uint, 1) => all::<u8>(npy, |value| Some(value.into())),
        (TypeChar::Uint, 2) => all::<u16>(npy, |value| Some(value.into())),
        (TypeChar::Uint, 4) => all::<u32>(npy, |value| Some(value.into())),
        (TypeChar::Int, 8) => {
            all::<i64>(npy, |value| (value.unsigned_abs() <= EXACT).then_some(value as f64))
        }
        (TypeChar::Uint, 8) => all::<u64>(npy, |value| (value <= EXACT).then_some(value as f64)),
        (TypeChar::Bool, _) => Err("it holds truth values (bool)".to_owned()),
        (TypeChar::Complex, _) => Err("it holds complex numbers".to_owned()),
        _ => Err(format!("it holds values of the type {}", kind.descr())),
    }
}

/// The largest integer up to which double precision holds all of them.
const EXACT: u64 = 1 << 53;

/// Reads numbers of 16 bits.
fn halves(bytes: &[u8], count: usize, big: bool) -> Vec<f64> {
    let pairs = bytes.chunks_exact(2).take(count);
    pairs
        .map(|pair| {
            let bits = if big {
                u16::from_be_bytes([pair[0], pair[1]])
            } else {
                u16::from_le_bytes([pair[0], pair[1]])
            };
            half::f16::from_bits(bits).to_f64()
        })
        .collect()
}

/// Reads numbers of one type; `exact` returns None for one that double precision would round.
fn all<T: Deserialize + Copy + Display>(
    npy: NpyFile<&[u8]>,
    exact: impl Fn(T) -> Option<f64>,
) -> Result<Vec<f64>, String> {
    let values = npy.data::<T>().map_err(|e| e.to_string())?;
    let converted = values.map(|value| {
        let value = value.map_err(|e| e.to_string())?;
        exact(value).ok_or_else(|| format!("double precision would round {value}, an integer above 2^53"))
    });
    converted.collect()
}

/// Returns the error of a file that was not read: a missing file is no damaged one.
fn unread(path: &Path, error: std::io::Error, damaged: impl FnOnce(String) -> Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Error::io("read", path, error),
        _ => damaged(error.to_string()),
    }
}

/// Reads an .npy file of numbers with two axes, as [`read_npy`].
///
/// # Errors
/// As [`read_npy`], and if the array is not a matrix.
pub fn read_matrix(path: &Path) -> Result<Array2<f64>, Error> {
    let array = read_npy(path)?;
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        let message = format!("{} is not a matrix of numbers: its shape is {shape:?}", path.display());
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

    /// float16 1.5 and -2 are 3e00 and c000 in IEEE 754; |b1 and c8 are bools and complex numbers.
    #[test]
    fn numbers_are_converted_if_nothing_is_lost_and_refused_otherwise() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.npy");
        let read = |kind: &str, bytes: &[u8]| {
            std::fs::write(&path, npy("(2,)", kind, bytes)).unwrap();
            read_npy(&path).map(|array| array.into_raw_vec_and_offset().0).map_err(|e| e.to_string())
        };
        assert_eq!(read("<f2", &[0x00, 0x3e, 0x00, 0xc0]).unwrap(), [1.5, -2.0]);
        assert_eq!(read(">f2", &[0x3e, 0x00, 0xc0, 0x00]).unwrap(), [1.5, -2.0]);
        assert_eq!(read("|i1", &[7, 0xff]).unwrap(), [7.0, -1.0]);
        assert_eq!(read("|u1", &[7, 0xff]).unwrap(), [7.0, 255.0]);
        let wide = |a: i64, b: i64| [a.to_le_bytes(), b.to_le_bytes()].concat();
        let limit = 1_i64 << 53;
        assert_eq!(read("<i8", &wide(3, -limit)).unwrap(), [3.0, -(limit as f64)]);
        let rounded = read("<i8", &wide(3, limit + 1)).unwrap_err();
        assert!(rounded.contains("would round 9007199254740993"), "{rounded}");
        for (kind, bytes, word) in [("|b1", 2, "bool"), ("<c8", 16, "complex"), ("<U1", 8, "type")] {
            let refused = read(kind, &vec![0; bytes]).unwrap_err();
            assert!(refused.contains("a.npy") && refused.contains(word), "{refused}");
        }
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
