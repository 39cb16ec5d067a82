//! Reading .npy files of floats and labels. Errors name the file.

use crate::base::error::Error;
use ndarray::{Array2, ArrayD, Ix2, ShapeBuilder};
use npyz::Order;
use std::path::Path;

/// An array of floats, in the precision of its file.
pub(crate) enum FloatArray {
    /// float32
    Single(ArrayD<f32>),
    /// float64
    Double(ArrayD<f64>),
}

/// A matrix of floats, in the precision of its file.
pub(crate) enum FloatMatrix {
    /// float32
    Single(Array2<f32>),
    /// float64
    Double(Array2<f64>),
}

impl FloatMatrix {
    /// Converts to float64.
    pub fn double(self) -> Array2<f64> {
        match self {
            Self::Single(rows) => rows.mapv(f64::from),
            Self::Double(rows) => rows,
        }
    }
}

/// Reads an .npy file of float32 or float64, of any shape.
///
/// # Errors
/// If the file cannot be read, or does not hold floats.
pub fn read_npy(path: &Path) -> Result<ArrayD<f64>, Error> {
    Ok(match floats(path)? {
        FloatArray::Single(array) => array.mapv(f64::from),
        FloatArray::Double(array) => array,
    })
}

/// Reads an .npy file of float32 or float64 with two axes.
///
/// # Errors
/// As [`read_npy`], and if the array is not a matrix.
pub fn read_matrix(path: &Path) -> Result<Array2<f64>, Error> {
    read_rows(path).map(FloatMatrix::double)
}

/// Reads an .npy file with two axes, in the precision of the file.
///
/// # Errors
/// As [`read_matrix`].
pub(crate) fn read_rows(path: &Path) -> Result<FloatMatrix, Error> {
    match floats(path)? {
        FloatArray::Single(array) => matrix(path, array).map(FloatMatrix::Single),
        FloatArray::Double(array) => matrix(path, array).map(FloatMatrix::Double),
    }
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
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
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

fn floats(path: &Path) -> Result<FloatArray, Error> {
    let bad = |what: String| {
        let message = format!("{} is not an array of floats: {what}", path.display());
        let help = "give an .npy file of float32 or float64: numpy.save(path, array)";
        Error::input("chiasm::array", message, help)
    };
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    let shape: Vec<usize> = npy.shape().iter().map(|&size| size as usize).collect();
    let shape = shape.set_f(npy.order() != Order::C);
    match npy.try_data::<f32>() {
        Ok(values) => {
            let values = values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
            ArrayD::from_shape_vec(shape, values).map(FloatArray::Single).map_err(|e| bad(e.to_string()))
        }
        Err(npy) => {
            let values = npy.data::<f64>().map_err(|e| bad(e.to_string()))?;
            let values = values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
            ArrayD::from_shape_vec(shape, values).map(FloatArray::Double).map_err(|e| bad(e.to_string()))
        }
    }
}

fn matrix<T>(path: &Path, array: ArrayD<T>) -> Result<Array2<T>, Error> {
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        let message = format!("{} is not a matrix of floats: its shape is {shape:?}", path.display());
        Error::input("chiasm::array", message, "give rows [n, d]: numpy.save(path, array.reshape(n, d))")
    })
}
