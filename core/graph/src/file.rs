//! Reading and writing models as files, with weights in a second file above protobuf's limit of 2 GiB.
//!
//! A weight in another file (`external_data`) is read only from the model's own folder: absolute paths, `..`
//! and links that leave it are errors. The folder of a model that is itself a link is the one where the link
//! stands, or the one where it leads. Only regular files are read. Every file is written under a temporary
//! name and renamed, so that a killed process leaves no incomplete file. Before a `.data` file is written, an
//! existing model of the same name is removed, so that no model is ever beside the weights of another.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use onnx_protobuf::{StringStringEntryProto, TensorProto, tensor_proto::DataLocation};

use crate::{Error, Graph, Result, external::ExternalFiles, read_file, weight::WeightMap, wire};

/// The files that [`Graph::save`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFiles {
    /// The model.
    pub model: PathBuf,
    /// The file of the weights, if they did not fit into the model's file.
    pub data: Option<PathBuf>,
}

/// Weights of fewer bytes are stored in the model's file.
const SMALL: u64 = 1024;

/// Weights start at multiples of this many bytes, so that an engine can map them into memory.
const ALIGNMENT: u64 = 4096;

impl Graph {
    /// Reads a model and the weights in files beside it.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`], with the name of the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with_files(path).map(|(graph, _)| graph)
    }

    /// Reads a model and the weights in files beside it. Returns the paths of those files as well, sorted.
    ///
    /// # Errors
    /// As [`Graph::load`].
    pub fn load_with_files(path: impl AsRef<Path>) -> Result<(Self, Vec<PathBuf>)> {
        let path = path.as_ref();
        let bytes = read_file(path, wire::LIMIT).map_err(|error| Error::io("read", path, error))?;
        let mut files = ExternalFiles::beside(path);
        let graph = Self::parse(&bytes, &mut |tensor, step| files.fetch(tensor, step))
            .map_err(|error| error.in_file(path))?;
        Ok((graph, files.into_paths()))
    }

    /// Writes the model; above 2 GiB its weights are written to `<name>.data` beside it.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`], with the name of the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<SavedFiles> {
        self.save_split(path, wire::LIMIT)
    }

    /// Writes the model; if it has more than `limit` bytes, its weights are written to `<name>.data` beside
    /// it.
    ///
    /// # Errors
    /// As [`Graph::save`].
    pub fn save_split(&self, path: impl AsRef<Path>, limit: u64) -> Result<SavedFiles> {
        let path = path.as_ref();
        if wire::size(self) <= limit.min(wire::LIMIT) {
            write_renamed(path, |out| wire::write(self, &self.weights, out))?;
            return Ok(SavedFiles { model: path.to_owned(), data: None });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".data");
        let Some(location) = name.to_str().map(str::to_owned) else {
            return Err(Error::Unsupported(format!(
                "the file name of `{}` must be valid Unicode, because the model stores the data file's name",
                path.display()
            )));
        };
        let data = path.with_file_name(name);
        let (stubs, spans) = layout(&self.weights, &location);
        if let Err(error) = fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::io("replace", path, error));
        }
        write_renamed(&data, |out| {
            write_data(out, &spans).map_err(|error| Error::io("write", &data, error))
        })?;
        write_renamed(path, |out| wire::write(self, &stubs, out))?;
        Ok(SavedFiles { model: path.to_owned(), data: Some(data) })
    }
}

/// Weights that refer to a data file instead of holding bytes, and the bytes with their offsets in that file.
fn layout<'a>(weights: &'a WeightMap, location: &str) -> (WeightMap, Vec<(u64, &'a [u8])>) {
    let mut stubs = weights.clone();
    let mut spans = Vec::new();
    let mut end = 0_u64;
    for (name, tensor) in weights {
        let length = tensor.raw_data.len() as u64;
        if length < SMALL {
            continue;
        }
        let offset = end.next_multiple_of(ALIGNMENT);
        end = offset + length;
        spans.push((offset, tensor.raw_data.as_slice()));
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.to_owned(),
            value,
            ..Default::default()
        };
        let stub = TensorProto {
            dims: tensor.dims.clone(),
            data_type: tensor.data_type,
            doc_string: tensor.doc_string.clone(),
            data_location: DataLocation::EXTERNAL.into(),
            external_data: vec![
                entry("location", location.to_owned()),
                entry("offset", offset.to_string()),
                entry("length", length.to_string()),
            ],
            ..Default::default()
        };
        stubs.insert(name.clone(), Arc::new(stub));
    }
    (stubs, spans)
}

fn write_data(out: &mut dyn Write, spans: &[(u64, &[u8])]) -> std::io::Result<()> {
    let mut at = 0;
    for (offset, bytes) in spans {
        let gap = usize::try_from(offset - at).unwrap_or_default();
        out.write_all(&[0; ALIGNMENT as usize][..gap])?;
        out.write_all(bytes)?;
        at = offset + bytes.len() as u64;
    }
    Ok(())
}

/// Writes a file under a temporary name beside it, then renames it; removes the temporary file on failure.
fn write_renamed(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    let attempt = || {
        let file = File::create(&temporary).map_err(|error| Error::io("write", path, error))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out).map_err(|error| match error {
            Error::Io { action, source, .. } => Error::io(action, path, source),
            other => other.in_file(path),
        })?;
        let file = out.into_inner().map_err(|error| Error::io("write", path, error.into_error()))?;
        file.sync_all().map_err(|error| Error::io("write", path, error))?;
        fs::rename(&temporary, path).map_err(|error| Error::io("write", path, error))
    };
    attempt().inspect_err(|_| {
        // The first error is returned, whether or not the file can be removed.
        let _ = fs::remove_file(&temporary);
    })
}
