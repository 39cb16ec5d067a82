//! Named, borrowed arrays: the data of a fit, seen in place.

use chiasm_abi::{Element, NamedTensor, TensorView};
use ndarray::{ArrayView2, ArrayViewD, IxDyn, ShapeBuilder};

use crate::{Error, Result};

/// Named arrays that live in the host's memory for the length of the call. Nothing is copied.
pub struct Inputs<'a> {
    entries: Vec<(&'a str, Entry<'a>)>,
}

enum Entry<'a> {
    F32(ArrayViewD<'a, f32>),
    I64(ArrayViewD<'a, i64>),
}

impl<'a> Inputs<'a> {
    /// Inputs from matrices at hand, for a plugin's own tests.
    pub fn of(matrices: &[(&'a str, ArrayView2<'a, f32>)]) -> Self {
        let entries = matrices.iter().map(|(name, matrix)| (*name, Entry::F32(matrix.into_dyn()))).collect();
        Self { entries }
    }

    /// The names given, in the host's order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(name, _)| *name)
    }

    /// A matrix of `f32`, rows are items; an error names what there is instead.
    pub fn matrix(&self, name: &str) -> Result<ArrayView2<'a, f32>> {
        let array = self.tensor(name)?;
        let shape = array.shape().to_vec();
        array.into_dimensionality().map_err(|_| {
            Error::invalid(format!("input `{name}`: expected a matrix [rows, dims], got shape {shape:?}"))
        })
    }

    /// As [`Inputs::matrix`], but `None` when there is no input of that name.
    pub fn optional_matrix(&self, name: &str) -> Result<Option<ArrayView2<'a, f32>>> {
        if self.find(name).is_none() { Ok(None) } else { self.matrix(name).map(Some) }
    }

    /// An array of `f32` of any rank.
    pub fn tensor(&self, name: &str) -> Result<ArrayViewD<'a, f32>> {
        match self.required(name)? {
            Entry::F32(array) => Ok(array.clone()),
            Entry::I64(_) => Err(Error::invalid(format!("input `{name}`: expected f32, got i64"))),
        }
    }

    /// An array of `i64` of any rank.
    pub fn integers(&self, name: &str) -> Result<ArrayViewD<'a, i64>> {
        match self.required(name)? {
            Entry::I64(array) => Ok(array.clone()),
            Entry::F32(_) => Err(Error::invalid(format!("input `{name}`: expected i64, got f32"))),
        }
    }

    /// Checks and takes what came over the ABI.
    #[doc(hidden)]
    pub fn from_abi(tensors: &[NamedTensor<'a>]) -> Result<Self> {
        let entries = tensors.iter().map(|named| {
            let view = &named.tensor;
            let entry = if view.dtype() == <i64 as Element>::DTYPE {
                array(view).map(Entry::I64)
            } else {
                array(view).map(Entry::F32)
            };
            Ok((named.name.as_str(), entry.map_err(|e| e.context(format!("input `{}`", named.name)))?))
        });
        Ok(Self { entries: entries.collect::<Result<_>>()? })
    }

    fn find(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|(own, _)| *own == name).map(|(_, entry)| entry)
    }

    fn required(&self, name: &str) -> Result<&Entry<'a>> {
        self.find(name).ok_or_else(|| {
            let known = self.names().collect::<Vec<_>>().join(", ");
            Error::invalid(format!("there is no input `{name}`; given are: {known}"))
        })
    }
}

/// A checked view as an array in place.
fn array<'a, T: Element>(view: &TensorView<'a>) -> Result<ArrayViewD<'a, T>> {
    let (data, layout) = view.elements::<T>().map_err(|e| Error::invalid(e.to_string()))?;
    let shape = IxDyn(layout.shape()).strides(IxDyn(layout.strides()));
    // SAFETY: `elements` proved the address aligned and not null, the sizes within `isize`, and every element within memory that
    // is borrowed for 'a.
    Ok(unsafe { ArrayViewD::from_shape_ptr(shape, data) })
}
