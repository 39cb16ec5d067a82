//! Reading weights that are stored in files beside a model.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Component, Path, PathBuf},
};

use onnx_protobuf::{TensorProto, tensor_proto::DataLocation};

use crate::{Budget, Error, Result, open_file, weight};

/// The files beside a model, opened when a weight in them is read.
pub(crate) struct ExternalFiles {
    /// The folder that locations start at.
    folder: PathBuf,
    /// The folders in which the files must lie, without links.
    allowed: Vec<PathBuf>,
    open: HashMap<PathBuf, ExternalFile>,
}

struct ExternalFile {
    file: File,
    size: u64,
    /// The bytes that may still be read. Two weights may be stored at the same place, such as a matrix that
    /// is used as an embedding and as an output layer.
    budget: Budget,
}

/// All weights are checked before one is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Check,
    Read,
}

impl ExternalFiles {
    pub(crate) fn beside(model: &Path) -> Self {
        let folder = model.parent().unwrap_or(Path::new("")).to_owned();
        let named = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        let target = model.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        let allowed = named.canonicalize().ok().into_iter().chain(target).collect();
        Self { folder, allowed, open: HashMap::new() }
    }

    /// Returns the paths of the files that weights were read from, sorted.
    pub(crate) fn into_paths(self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.open.into_keys().collect();
        paths.sort();
        paths
    }

    /// Checks where a weight is stored and spends its bytes, or reads the bytes into the tensor.
    pub(crate) fn fetch(&mut self, tensor: &mut TensorProto, step: Step) -> Result<()> {
        let refuse =
            |reason: String| Error::Tensor(format!("`{}` is stored in another file: {reason}", tensor.name));
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key == key);
            found.map(|entry| entry.value.as_str())
        };
        let number = |key: &str| {
            let text = entry(key);
            let parsed = text.map(str::parse::<u64>).transpose();
            parsed.map_err(|_| refuse(format!("its {key} `{}` is not a number", text.unwrap_or_default())))
        };
        let location = entry("location").ok_or_else(|| refuse("its `location` is missing".to_owned()))?;
        let leaves =
            || refuse(format!("`{location}` leaves the model's folder; only files in that folder are read"));
        let path = inside(&self.folder, location).ok_or_else(leaves)?;
        let expected = weight::byte_len(tensor)?
            .ok_or_else(|| refuse(format!("its element type {} has no known width", tensor.data_type)))?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(expected as u64);
        if length != expected as u64 {
            return Err(refuse(format!("its shape needs {expected} bytes, its `length` is {length}")));
        }
        let unreadable = |error| Error::io("read", &path, error);
        let external = match self.open.entry(path.clone()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => {
                let real = path.canonicalize().map_err(unreadable)?;
                if !self.allowed.iter().any(|folder| real.starts_with(folder)) {
                    return Err(leaves());
                }
                free.insert(ExternalFile::open(&path).map_err(unreadable)?)
            }
        };
        if offset.checked_add(length).is_none_or(|end| end > external.size) {
            return Err(refuse(format!(
                "`{}` has {} bytes, and the weight has {length} from byte {offset}: the file is truncated",
                path.display(),
                external.size
            )));
        }
        if step == Step::Check {
            let spent = external.budget.spend(length);
            return spent.map_err(|over| refuse(format!(
                "`{}` has {} bytes, and the weights in it together have more than twice as many ({over}); \
                 save the model again with each weight once",
                path.display(),
                external.size
            )));
        }
        let full = || refuse(format!("its {expected} bytes do not fit into memory"));
        let mut bytes = zeros(expected).ok_or_else(full)?;
        let file = &mut external.file;
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(unreadable)?;
        tensor.raw_data = bytes;
        tensor.external_data.clear();
        tensor.data_location = DataLocation::DEFAULT.into();
        Ok(())
    }
}

impl ExternalFile {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = open_file(path, u64::MAX)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size, budget: Budget::of_bytes(size.saturating_mul(2)) })
    }
}

/// This many zeros; `None` if they do not fit into memory.
fn zeros(count: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count).ok()?;
    bytes.resize(count, 0);
    Some(bytes)
}

/// The file at a relative location; `None` if it is outside the folder.
fn inside(directory: &Path, location: &str) -> Option<PathBuf> {
    // A backslash separates folders on one system and is part of a name on another: not allowed on either.
    let relative = Path::new(location);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (plain && !location.is_empty() && !location.contains(['\\', ':'])).then(|| directory.join(relative))
}
