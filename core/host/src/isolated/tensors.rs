//! Tensors of messages, and copies of them.

use std::io;
use std::sync::Arc;

use chiasm_abi::stable::RStr;
use chiasm_abi::{Code, DataType, NamedTensor, OwnedTensor, PluginError, TensorLayout, TensorView};
use chiasm_plugin::export::tensor;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::message::failure;
use crate::calls::ArrayFile;

/// Tensors of at most this many bytes together are sent through the socket.
pub(super) const MAX_INLINE: usize = 64 << 10;
/// The largest number of tensors of a message that come as files.
pub(super) const MAX_FILES: usize = 64;
/// The alignment of tensors: that of a cache line.
const ALIGNMENT: usize = 64;

/// The tensors of a message, and the file behind each; files that are left out at the end are `None`.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub views: &'a [NamedTensor<'a>],
    pub files: &'a [Option<ArrayFile<'a>>],
}

impl<'a> From<&'a [NamedTensor<'a>]> for Tensors<'a> {
    fn from(views: &'a [NamedTensor<'a>]) -> Self {
        Self { views, files: &[] }
    }
}

impl<'a, const N: usize> From<&'a [NamedTensor<'a>; N]> for Tensors<'a> {
    fn from(views: &'a [NamedTensor<'a>; N]) -> Self {
        views.as_slice().into()
    }
}

/// The description of a tensor and where its bytes are.
#[derive(Serialize, Deserialize)]
pub(super) struct TensorPlace {
    name: String,
    /// Code, bits and lanes of the element type.
    dtype: (u8, u8, u16),
    shape: Vec<i64>,
    /// The number of the tensor's file; without one its bytes are in the memory of the message.
    file: Option<u64>,
    offset: usize,
    length: usize,
}

/// The tensors of a message.
pub(super) struct Body {
    pub tensors: Vec<TensorPlace>,
    pub bytes: TensorBytes,
    pub files: Vec<(u64, Arc<Mmap>)>,
}

/// The bytes of the tensors of a message.
pub(super) enum TensorBytes {
    /// Words rather than bytes, so that every element type is aligned.
    Inline(Vec<u64>),
    Shared(Arc<Mmap>),
}

impl Body {
    /// Returns views of the tensors. Their shapes are checked when they are read.
    ///
    /// # Errors
    /// If a tensor lies outside the message.
    pub(super) fn tensors(&self) -> io::Result<Vec<NamedTensor<'_>>> {
        let all: &[u8] = match &self.bytes {
            TensorBytes::Inline(words) => bytemuck::cast_slice(words),
            TensorBytes::Shared(map) => map,
        };
        let view = |place: &TensorPlace| {
            let end = place.offset.checked_add(place.length)?;
            let bytes = match place.file {
                None => all,
                Some(file) => find(&self.files, file)?,
            };
            bytes.get(place.offset..end)
        };
        self.tensors
            .iter()
            .map(|place| {
                let bytes = view(place).ok_or_else(|| {
                    io::Error::other(format!("the tensor `{}` lies outside its message", place.name))
                })?;
                let (code, bits, lanes) = place.dtype;
                let tensor = TensorView::of_bytes(bytes, DataType { code, bits, lanes }, &place.shape);
                Ok(NamedTensor { name: RStr::from_str(&place.name), tensor })
            })
            .collect()
    }
}

pub(super) fn find(files: &[(u64, Arc<Mmap>)], id: u64) -> Option<&Arc<Mmap>> {
    files.iter().find(|(own, _)| *own == id).map(|(_, map)| map)
}

/// Where the tensors of a message go.
pub(super) struct Placed<'a> {
    pub places: Vec<TensorPlace>,
    /// The bytes that are copied, and where to.
    pub copied: Vec<(usize, &'a [u8])>,
    pub files: Vec<ArrayFile<'a>>,
    /// The end of the copied bytes.
    pub end: usize,
    /// Whether the copied bytes are sent through the socket.
    pub inline: bool,
}

impl<'a> Placed<'a> {
    pub fn new(tensors: Tensors<'a>, keep: usize) -> io::Result<Self> {
        let dense: Vec<(&[u8], TensorLayout)> = tensors
            .views
            .iter()
            .map(|one| one.tensor.bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut files: Vec<ArrayFile<'a>> = Vec::new();
        let of_tensor: Vec<Option<u64>> = (0..dense.len())
            .map(|at| {
                let file = tensors.files.get(at).copied().flatten()?;
                if files.iter().all(|other| other.id != file.id) {
                    (files.len() < MAX_FILES).then(|| files.push(file))?;
                }
                Some(file.id)
            })
            .collect();
        let in_message = || dense.iter().zip(&of_tensor).filter(|(_, file)| file.is_none());
        let padded: usize = in_message().map(|((bytes, _), _)| bytes.len().next_multiple_of(ALIGNMENT)).sum();
        let inline = padded <= MAX_INLINE;
        let mut end = if inline { 0 } else { keep.next_multiple_of(ALIGNMENT) };
        let (mut places, mut copied) = (Vec::with_capacity(dense.len()), Vec::new());
        for ((one, (bytes, layout)), file) in tensors.views.iter().zip(&dense).zip(of_tensor) {
            let dtype = one.tensor.dtype();
            places.push(TensorPlace {
                name: one.name.to_string(),
                dtype: (dtype.code, dtype.bits, dtype.lanes),
                shape: layout.shape().iter().map(|n| i64::try_from(*n).unwrap_or(i64::MAX)).collect(),
                file,
                offset: if file.is_some() { 0 } else { end },
                length: bytes.len(),
            });
            if file.is_none() {
                copied.push((end, *bytes));
                end = (end + bytes.len()).next_multiple_of(ALIGNMENT);
            }
        }
        Ok(Self { places, copied, files, end, inline })
    }
}

/// Copies the bytes of a tensor to this process's own memory.
pub(super) fn copied(tensor: &NamedTensor<'_>) -> io::Result<Vec<u8>> {
    tensor.tensor.bytes().map(|(bytes, _)| bytes.to_vec()).map_err(io::Error::other)
}

/// Returns named bytes as a tensor; `shape` holds their number.
pub(super) fn bytes_tensor<'a>(name: &'a str, bytes: &'a [u8], shape: &'a mut [i64; 1]) -> NamedTensor<'a> {
    // No slice has more than `i64::MAX` bytes.
    *shape = [i64::try_from(bytes.len()).unwrap_or(i64::MAX)];
    NamedTensor { name: name.into(), tensor: TensorView::of_bytes(bytes, DataType::of(1, 8), shape) }
}

/// Copies a tensor to this process's own memory.
pub(super) fn owned(tensor: &NamedTensor<'_>) -> Result<OwnedTensor, PluginError> {
    let copy = tensor::from_abi(&tensor.tensor).and_then(tensor::to_abi);
    copy.map_err(|e| failure(Code::OTHER, e.to_string()))
}
