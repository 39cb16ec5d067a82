//! The header of a NumPy file, checked before it is parsed.

use std::io::{Error, ErrorKind, Read, Result};

/// The longest header: NumPy's own limit.
const LONGEST: u64 = 10_000;
/// The deepest nesting: a dictionary, a list of fields, a field, and its shape.
const DEPTH: usize = 8;

/// Reads the magic string, the version and the header of an `.npy` file, and checks that the header is short
/// and not nested deeply: parsers of headers are recursive. The array's data follow in the reader.
///
/// ```
/// let file = b"\x93NUMPY\x01\x00\x76\0{'descr': '<f4', 'shape': ";
/// assert!(chiasm_plugin::npy_header(&file[..]).is_err()); // it is truncated
/// ```
///
/// # Errors
/// The reader's error, or [`ErrorKind::InvalidData`] if the file is not one of NumPy's, or its header is
/// longer than 10,000 bytes or nested deeper than 8.
pub fn npy_header(mut reader: impl Read) -> Result<Vec<u8>> {
    let damaged = |what: String| Error::new(ErrorKind::InvalidData, what);
    let mut header = vec![0; 10];
    reader.read_exact(&mut header)?;
    let version = match &header[..8] {
        [0x93, b'N', b'U', b'M', b'P', b'Y', version @ 1..=3, _] => *version,
        other => {
            return Err(damaged(format!(
                "expected a file of numpy.save, got one beginning with {other:02x?}"
            )));
        }
    };
    let mut length = u64::from(u16::from_le_bytes([header[8], header[9]]));
    if version > 1 {
        let mut high = [0; 2];
        reader.read_exact(&mut high)?;
        header.extend(high);
        length |= u64::from(u16::from_le_bytes(high)) << 16;
    }
    if length > LONGEST {
        return Err(damaged(format!("the header has {length} bytes, expected at most {LONGEST}")));
    }
    let start = header.len();
    reader.take(length).read_to_end(&mut header)?;
    if ((header.len() - start) as u64) < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut depth = 0_usize;
    for byte in &header[start..] {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return Err(damaged(format!("the header is nested deeper than {DEPTH}")));
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str) -> Vec<u8> {
        let length = (header.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), b"data"].concat()
    }

    #[test]
    fn the_header_is_returned_and_the_data_are_left() {
        for version in 1..=3 {
            let bytes = file(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n");
            let mut reader = bytes.as_slice();
            let header = npy_header(&mut reader).unwrap();
            assert_eq!([&header, reader].concat(), bytes);
            assert_eq!(reader, b"data");
        }
    }

    #[test]
    fn long_deep_and_truncated_headers_are_an_error() {
        let refused = |bytes: &[u8]| npy_header(bytes).unwrap_err().to_string();
        assert!(refused(&file(1, &"[".repeat(9_000))).contains("nested deeper than 8"));
        assert!(refused(&file(2, &"(".repeat(5_000_000))).contains("5000000 bytes, expected at most 10000"));
        assert!(refused(b"not an array").contains("numpy.save"));
        let whole = file(1, "{}");
        for end in 0..whole.len() - 4 {
            assert!(npy_header(&whole[..end]).is_err(), "cut at {end}");
        }
        // The length is that of 4 GiB.
        assert!(refused(b"\x93NUMPY\x02\0\xff\xff\xff\xff").contains("4294967295 bytes"));
    }
}
