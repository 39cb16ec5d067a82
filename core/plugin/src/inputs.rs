//! The data of a fit, as named and borrowed arrays.

use chiasm_abi::{Element, NamedTensor, TensorView};
use ndarray::{ArrayView2, ArrayViewD, IxDyn, ShapeBuilder};

use crate::{Error, Result};

/// Named arrays borrowed from the host's memory for the length of the call. Nothing is copied.
pub struct Inputs<'a> {
    entries: Vec<(&'a str, InputArray<'a>)>,
}

enum InputArray<'a> {
    F32(ArrayViewD<'a, f32>),
    I64(ArrayViewD<'a, i64>),
}

impl<'a> Inputs<'a> {
    /// Returns inputs made of these matrices, for tests of a plugin.
    pub fn of(matrices: &[(&'a str, ArrayView2<'a, f32>)]) -> Self {
        let entries =
            matrices.iter().map(|(name, matrix)| (*name, InputArray::F32(matrix.into_dyn()))).collect();
        Self { entries }
    }

    /// Adds arrays of `f32` of any rank.
    #[must_use]
    pub fn and(mut self, arrays: &[(&'a str, ArrayViewD<'a, f32>)]) -> Self {
        self.entries.extend(arrays.iter().map(|(name, array)| (*name, InputArray::F32(array.clone()))));
        self
    }

    /// Adds arrays of `i64` of any rank.
    #[must_use]
    pub fn and_integers(mut self, arrays: &[(&'a str, ArrayViewD<'a, i64>)]) -> Self {
        self.entries.extend(arrays.iter().map(|(name, array)| (*name, InputArray::I64(array.clone()))));
        self
    }

    /// Returns the names of the arrays, in the host's order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(name, _)| *name)
    }

    /// Returns a matrix of `f32` with one item per row.
    ///
    /// # Errors
    /// If there is no such input, or it is not a matrix of `f32`.
    pub fn matrix(&self, name: &str) -> Result<ArrayView2<'a, f32>> {
        let array = self.tensor(name)?;
        let shape = array.shape().to_vec();
        array.into_dimensionality().map_err(|_| {
            Error::invalid(format!("input `{name}`: expected a matrix [rows, dims], got shape {shape:?}"))
        })
    }

    /// Returns a matrix as [`Inputs::matrix`] does, or `None` if there is no input of that name.
    ///
    /// # Errors
    /// If the input is not a matrix of `f32`.
    pub fn optional_matrix(&self, name: &str) -> Result<Option<ArrayView2<'a, f32>>> {
        if self.find(name).is_none() { Ok(None) } else { self.matrix(name).map(Some) }
    }

    /// Returns an array of `f32` of any rank.
    ///
    /// # Errors
    /// If there is no such input, or its elements are not `f32`.
    pub fn tensor(&self, name: &str) -> Result<ArrayViewD<'a, f32>> {
        match self.required(name)? {
            InputArray::F32(array) => Ok(array.clone()),
            InputArray::I64(_) => Err(Error::invalid(format!("input `{name}`: expected f32, got i64"))),
        }
    }

    /// Returns an array of `i64` of any rank.
    ///
    /// # Errors
    /// If there is no such input, or its elements are not `i64`.
    pub fn integers(&self, name: &str) -> Result<ArrayViewD<'a, i64>> {
        match self.required(name)? {
            InputArray::I64(array) => Ok(array.clone()),
            InputArray::F32(_) => Err(Error::invalid(format!("input `{name}`: expected i64, got f32"))),
        }
    }

    /// Checks the tensors that came over the ABI.
    #[doc(hidden)]
    pub fn from_abi(tensors: &[NamedTensor<'a>]) -> Result<Self> {
        let entries = tensors.iter().map(|named| {
            let view = &named.tensor;
            let entry = if view.dtype() == <i64 as Element>::DTYPE {
                array(view).map(InputArray::I64)
            } else {
                array(view).map(InputArray::F32)
            };
            Ok((named.name.as_str(), entry.map_err(|e| e.context(format!("input `{}`", named.name)))?))
        });
        Ok(Self { entries: entries.collect::<Result<_>>()? })
    }

    fn find(&self, name: &str) -> Option<&InputArray<'a>> {
        self.entries.iter().find(|(own, _)| *own == name).map(|(_, entry)| entry)
    }

    fn required(&self, name: &str) -> Result<&InputArray<'a>> {
        self.find(name).ok_or_else(|| {
            let known = self.names().collect::<Vec<_>>().join(", ");
            Error::invalid(format!("there is no input `{name}`; the inputs are: {known}"))
        })
    }
}

/// Checks a view and returns it as an array, without a copy.
fn array<'a, T: Element>(view: &TensorView<'a>) -> Result<ArrayViewD<'a, T>> {
    let (data, layout) = view.elements::<T>().map_err(|e| Error::invalid(e.to_string()))?;
    let shape = IxDyn(layout.shape()).strides(IxDyn(layout.strides()));
    // SAFETY: `elements` checked that the address is aligned and not null, that the sizes fit `isize`, and
    // that every element lies in memory borrowed for 'a.
    Ok(unsafe { ArrayViewD::from_shape_ptr(shape, data) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn strided_views_become_arrays_without_a_copy() {
        let data = [1.0_f32, 2., 3., 4., 5., 6.];
        let transposed = TensorView::strided(&data, &[3, 2], &[1, 3]);
        let inputs = Inputs::from_abi(&[NamedTensor { name: "t".into(), tensor: transposed }]).unwrap();
        let matrix = inputs.matrix("t").unwrap();
        assert_eq!(matrix, array![[1., 4.], [2., 5.], [3., 6.]]);
        assert_eq!(matrix.as_ptr(), data.as_ptr());
    }

    #[test]
    fn errors_name_a_missing_input_and_a_wrong_type_or_rank() {
        let (floats, integers) = ([1.0_f32, 2.0], [1_i64, 2]);
        let tensors = [
            NamedTensor { name: "vector".into(), tensor: TensorView::dense(&floats, &[2]) },
            NamedTensor { name: "labels".into(), tensor: TensorView::dense(&integers, &[2]) },
        ];
        let inputs = Inputs::from_abi(&tensors).unwrap();
        assert_eq!(inputs.integers("labels").unwrap()[1], 2);
        assert!(inputs.optional_matrix("absent").unwrap().is_none());
        let errors = [
            (inputs.matrix("absent").unwrap_err(), "vector, labels"),
            (inputs.matrix("vector").unwrap_err(), "got shape [2]"),
            (inputs.tensor("labels").unwrap_err(), "got i64"),
            (inputs.integers("vector").unwrap_err(), "got f32"),
        ];
        for (error, words) in errors {
            assert!(error.message().contains(words), "{error}");
        }
        let double = [1.0_f64];
        let odd = [NamedTensor { name: "d".into(), tensor: TensorView::dense(&double, &[1]) }];
        let error = Inputs::from_abi(&odd).err().unwrap();
        assert!(error.message().contains("`d`") && error.message().contains("f64"), "{error}");
    }
}
