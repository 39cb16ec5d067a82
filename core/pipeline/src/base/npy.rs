//! Arrays that a user brings as .npy files: read in the precision they have, refused by name.

use crate::base::error::Error;
use ndarray::{Array2, ArrayD, Ix2, ShapeBuilder};
use npyz::Order;
use std::path::Path;

/// The floats of a file in the precision it has.
pub(crate) enum Floats {
    /// float32
    Single(ArrayD<f32>),
    /// float64
    Double(ArrayD<f64>),
}

/// Rows of floats in the precision they have.
pub(crate) enum Rows {
    /// float32
    Single(Array2<f32>),
    /// float64
    Double(Array2<f64>),
}

impl Rows {
    /// As float64.
    pub fn double(self) -> Array2<f64> {
        match self {
            Self::Single(rows) => rows.mapv(f64::from),
            Self::Double(rows) => rows,
        }
    }
}

/// The array in an .npy file of f32 or f64, whatever its shape.
///
/// # Errors
/// When it cannot be read, or holds something other than floats.
pub fn read_npy(path: &Path) -> Result<ArrayD<f64>, Error> {
    Ok(match floats(path)? {
        Floats::Single(array) => array.mapv(f64::from),
        Floats::Double(array) => array,
    })
}

/// The rows of an .npy file of f32 or f64.
///
/// # Errors
/// As [`read_npy`], and when it is no matrix.
pub fn read_matrix(path: &Path) -> Result<Array2<f64>, Error> {
    read_rows(path).map(Rows::double)
}

/// The rows of an .npy file, in the precision they have.
///
/// # Errors
/// As [`read_matrix`].
pub(crate) fn read_rows(path: &Path) -> Result<Rows, Error> {
    match floats(path)? {
        Floats::Single(array) => matrix(path, array).map(Rows::Single),
        Floats::Double(array) => matrix(path, array).map(Rows::Double),
    }
}

/// The whole numbers of an .npy file: one label a row.
///
/// # Errors
/// When it cannot be read, or holds something other than one row of int64 or int32, none below zero.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<usize>, Error> {
    let bad = |what: String| {
        let help = "give an .npy file of int64 [n], none below 0: numpy.save(path, labels.astype(\"int64\"))";
        Error::input("chiasm::labels", format!("{} holds no labels: {what}", path.display()), help)
    };
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let npy = npyz::NpyFile::new(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    if npy.shape().len() != 1 {
        return Err(bad(format!("its shape is {:?}", npy.shape())));
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

fn floats(path: &Path) -> Result<Floats, Error> {
    let bad = |what: String| {
        let message = format!("{} is no array of floats: {what}", path.display());
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
            ArrayD::from_shape_vec(shape, values).map(Floats::Single).map_err(|e| bad(e.to_string()))
        }
        Err(npy) => {
            let values = npy.data::<f64>().map_err(|e| bad(e.to_string()))?;
            let values = values.collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
            ArrayD::from_shape_vec(shape, values).map(Floats::Double).map_err(|e| bad(e.to_string()))
        }
    }
}

fn matrix<T>(path: &Path, array: ArrayD<T>) -> Result<Array2<T>, Error> {
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        let message = format!("{} is no matrix of floats: its shape is {shape:?}", path.display());
        Error::input("chiasm::array", message, "give rows [n, d]: numpy.save(path, array.reshape(n, d))")
    })
}
