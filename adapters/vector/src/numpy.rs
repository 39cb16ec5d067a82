//! Reads NumPy's .npy and .npz files: float16, float32 or float64 matrices of either byte order, in C or
//! Fortran order.
//!
//! npyz reads the header. The numbers are read in large blocks and converted to f32.

use std::fs::File;
use std::io::Read;

use chiasm_plugin::{Budget, npy_header};
use npyz::{DType, NpyHeader, Order};

use crate::matrix::{Matrix, reserve};

/// Reads one array. Its numbers are spent from the budget before they are read.
pub(crate) fn read_npy(mut reader: impl Read, budget: &mut Budget) -> Result<Matrix, String> {
    let header = npy_header(&mut reader).and_then(|header| NpyHeader::from_reader(header.as_slice()));
    let header = header.map_err(|error| format!("its header is damaged: {error}"))?;
    let &[rows, dim] = header.shape() else {
        return Err(format!("expected a matrix [rows, dims], got shape {:?}", header.shape()));
    };
    let dtype = match header.dtype() {
        DType::Plain(text) => text.to_string(),
        other => other.descr(),
    };
    let (size, number) = number(&dtype).ok_or_else(|| {
        format!(
            "expected float32, float64 or float16, got dtype '{dtype}'; save it with .astype(numpy.float32)"
        )
    })?;
    let count = rows.checked_mul(dim).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or_else(|| format!("shape [{rows}, {dim}] is larger than memory"))?;
    budget.spend((count as u64).saturating_mul(size as u64)).map_err(|over| {
        format!(
            "its header states the shape [{rows}, {dim}], and {over}: the file is truncated, damaged, or \
             compressed too far; save it again without compression"
        )
    })?;
    let (rows, dim) = (rows as usize, dim as usize);
    let stored = read_numbers(reader, count, size, number)?;
    let values = match header.order() {
        Order::C => stored,
        Order::Fortran => transposed(&stored, rows, dim)?,
    };
    Ok(Matrix { rows, dim, values })
}

/// Reads one array of an .npz archive: `member`, or the only one.
pub(crate) fn read_npz(file: File, member: Option<&str>) -> Result<Matrix, String> {
    let size = file.metadata().map_err(|error| format!("cannot be read: {error}"))?.len();
    let damaged = |error: zip::result::ZipError| format!("the archive is damaged: {error}");
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(damaged)?;
    let files = archive.file_names().collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    let names: Vec<String> =
        files.iter().filter_map(|file| file.strip_suffix(".npy")).map(str::to_owned).collect();
    let listed = names.join(", ");
    let name = match (member, names.as_slice()) {
        (Some(member), names) => {
            let member = member.strip_suffix(".npy").unwrap_or(member);
            names
                .iter()
                .find(|name| *name == member)
                .ok_or(format!("has no array `{member}`; it has {listed}"))?
        }
        (None, [only]) => only,
        (None, []) => return Err("holds no array".into()),
        (None, _) => {
            return Err(format!("holds several arrays ({listed}); say which: member = \"{}\"", names[0]));
        }
    };
    let array = archive.by_name(&format!("{name}.npy")).map_err(damaged)?;
    read_npy(array, &mut Budget::of_file(size)).map_err(|reason| format!("array `{name}`: {reason}"))
}

type Number = fn(&[u8]) -> f32;

/// Returns the size of a number of a NumPy type and the function that decodes it.
fn number(dtype: &str) -> Option<(usize, Number)> {
    fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut number = [0; N];
        number.copy_from_slice(bytes);
        number
    }
    Some(match dtype {
        "<f2" => (2, |bytes| half::f16::from_le_bytes(of(bytes)).to_f32()),
        ">f2" => (2, |bytes| half::f16::from_be_bytes(of(bytes)).to_f32()),
        "<f4" => (4, |bytes| f32::from_le_bytes(of(bytes))),
        ">f4" => (4, |bytes| f32::from_be_bytes(of(bytes))),
        "<f8" => (8, |bytes| f64::from_le_bytes(of(bytes)) as f32),
        ">f8" => (8, |bytes| f64::from_be_bytes(of(bytes)) as f32),
        _ => return None,
    })
}

fn read_numbers(
    mut reader: impl Read,
    count: usize,
    size: usize,
    number: Number,
) -> Result<Vec<f32>, String> {
    let mut values = reserve(count)?;
    let mut block = vec![0; 1 << 18];
    while values.len() < count {
        let wanted = (count - values.len()).saturating_mul(size).min(block.len());
        reader.read_exact(&mut block[..wanted]).map_err(|error| {
            format!(
                "is truncated or damaged after {} of {count} numbers ({error}); save it again",
                values.len()
            )
        })?;
        values.extend(block[..wanted].chunks_exact(size).map(number));
    }
    Ok(values)
}

/// Converts column-major order to row-major order.
fn transposed(stored: &[f32], rows: usize, dim: usize) -> Result<Vec<f32>, String> {
    let mut values = reserve(stored.len())?;
    values.resize(stored.len(), 0.0);
    for (column, numbers) in stored.chunks_exact(rows.max(1)).enumerate() {
        for (row, number) in numbers.iter().enumerate() {
            values[row * dim + column] = *number;
        }
    }
    Ok(values)
}
