//! Reading .npy files of floats and labels. Errors name the file.

use crate::base::error::Error;
use ndarray::{Array2, ArrayD, Ix2, ShapeBuilder};
use npyz::Order;
use std::path::Path;

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
    if !path.metadata().map_err(|e| Error::io("read", path, e))?.is_file() {
        return Err(bad("it is not a file".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    let shape: Vec<usize> = npy.shape().iter().map(|&size| size as usize).collect();
    let shape = shape.set_f(npy.order() != Order::C);
    let values: Vec<f64> = match npy.try_data::<f32>() {
        Ok(values) => values.map(|value| value.map(f64::from)).collect::<Result<_, _>>(),
        Err(npy) => npy.data::<f64>().map_err(|e| bad(e.to_string()))?.collect(),
    }
    .map_err(|e| bad(e.to_string()))?;
    ArrayD::from_shape_vec(shape, values).map_err(|e| bad(e.to_string()))
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
