//! The sizes of the pages of a Parquet column, read before the pages are decoded, and columns of vectors that
//! are read in batches.
//!
//! A page of a few bytes can state, and expand to, gigabytes, and libraries allocate what its header states.
//! The headers are structures of Thrift's compact protocol
//! (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>).

mod vectors;

use parquet::{basic::Compression, file::metadata::ColumnChunkMetaData};
use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom};

pub use vectors::{PageLimit, VectorRows};

/// What the headers of a column's pages state.
///
/// ```
/// use std::io::Cursor;
///
/// // One page without values: type 0, 20 bytes when decoded, 0 bytes in the file.
/// let header = [0x15, 0, 0x15, 40, 0x15, 0, 0];
/// let pages = chiasm_parquet_pages::ParquetPages::read(Cursor::new(header), 0, 7).unwrap();
/// assert_eq!((pages.largest, pages.values), (20, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParquetPages {
    /// The decoded size of the largest page in bytes.
    pub largest: u64,
    /// The number of values of all pages, with those that are null.
    pub values: u64,
    /// Whether a page is in the encoding DELTA_BYTE_ARRAY, in which each text may repeat the one before it,
    /// so that the size of a page does not bound that of its texts.
    pub prefixed: bool,
}

/// Returns a reader of what these compressed bytes expand to.
type Expand = dyn for<'a> Fn(Box<dyn Read + 'a>) -> Box<dyn Read + 'a>;

/// The number of the encoding DELTA_BYTE_ARRAY.
const DELTA_BYTE_ARRAY: i64 = 7;
/// The largest header, of which the statistics are the largest part.
const LONGEST_HEADER: u64 = 16 << 20;
/// The deepest structure in a header is at depth 3.
const DEPTH: usize = 8;

impl ParquetPages {
    /// Reads the headers of the pages in the `length` bytes from `start`.
    ///
    /// # Errors
    /// The system's error; or [`ErrorKind::InvalidData`] if a header is damaged, or states more bytes than
    /// the column has.
    pub fn read(file: impl Read + Seek, start: u64, length: u64) -> Result<Self> {
        Self::read_expanding(file, start, length, None)
    }

    /// Reads the headers of the pages of a column. If its codec does not stop at the size that a header
    /// states, as gzip does not, each page is also expanded, and nothing of it is kept.
    ///
    /// # Errors
    /// As [`ParquetPages::read`]; also if a page expands to more bytes than its header states, or with
    /// [`ErrorKind::Unsupported`] for a codec that is not read.
    pub fn of_column(file: impl Read + Seek, column: &ColumnChunkMetaData) -> Result<Self> {
        let (start, length) = column.byte_range();
        Self::read_expanding(file, start, length, expand(column.compression())?)
    }

    fn read_expanding(
        file: impl Read + Seek,
        start: u64,
        length: u64,
        expand: Option<&Expand>,
    ) -> Result<Self> {
        let mut file = BufReader::with_capacity(4096, file);
        let end = start.checked_add(length).ok_or_else(|| damaged("the column ends beyond the file"))?;
        let (mut pages, mut at) = (Self::default(), start);
        while at < end {
            file.seek(SeekFrom::Start(at))?;
            let mut header = PageHeader { from: file.by_ref().take(LONGEST_HEADER.min(end - at)), read: 0 };
            let page = header.page(&mut pages)?;
            let payload = at.saturating_add(header.read).saturating_add(page.levels);
            at = at.saturating_add(header.read).saturating_add(page.stored);
            // A page without values has no compressed bytes.
            let values = page.decoded.saturating_sub(page.levels);
            if let Some(expand) = expand.filter(|_| page.compressed && values > 0) {
                file.seek(SeekFrom::Start(payload))?;
                let stored = Box::new(file.by_ref().take(at.min(end).saturating_sub(payload)));
                let mut expanded = expand(stored).take(values.saturating_add(1));
                if std::io::copy(&mut expanded, &mut std::io::sink())? > values {
                    return Err(damaged("a page expands to more bytes than it states"));
                }
            }
        }
        match at == end {
            true => Ok(pages),
            false => Err(damaged("a page is longer than its column")),
        }
    }
}

/// Returns the decoder of a codec that does not stop at the size that a page states.
fn expand(codec: Compression) -> Result<Option<&'static Expand>> {
    fn gzip<'a>(stored: Box<dyn Read + 'a>) -> Box<dyn Read + 'a> {
        Box::new(flate2::read::MultiGzDecoder::new(stored))
    }
    fn brotli<'a>(stored: Box<dyn Read + 'a>) -> Box<dyn Read + 'a> {
        Box::new(brotli::Decompressor::new(stored, 1 << 12))
    }
    match codec {
        Compression::GZIP(_) => Ok(Some(&gzip)),
        Compression::BROTLI(_) => Ok(Some(&brotli)),
        Compression::LZ4 | Compression::LZO => {
            let help = "write the file with zstd, snappy, gzip, brotli or lz4_raw";
            Err(Error::new(ErrorKind::Unsupported, format!("the codec {codec} is not read; {help}")))
        }
        _ => Ok(None),
    }
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the header of a page is damaged: {what}"))
}

/// What one header states.
struct Page {
    /// The bytes of the page in the file.
    stored: u64,
    /// Its bytes when it is decoded.
    decoded: u64,
    /// The bytes of its levels, which precede the compressed ones and are not compressed themselves.
    levels: u64,
    compressed: bool,
}

/// Reads one header.
struct PageHeader<R> {
    from: R,
    /// The bytes that were read.
    read: u64,
}

impl<R: Read> PageHeader<R> {
    /// Adds what the header states to `pages`.
    fn page(&mut self, pages: &mut ParquetPages) -> Result<Page> {
        let (mut stored, mut field) = (None, 0);
        let mut page = Page { stored: 0, decoded: 0, levels: 0, compressed: true };
        while let Some(kind) = self.field(&mut field)? {
            match (field, kind) {
                (2, 5) => page.decoded = self.size()?,
                (3, 5) => stored = Some(self.size()?),
                // The headers of data pages of both versions, and of a dictionary.
                (5 | 7 | 8, 12) => self.values(field, pages, &mut page)?,
                (_, kind) => self.skip(kind, 0)?,
            }
        }
        pages.largest = pages.largest.max(page.decoded);
        page.stored = stored.ok_or_else(|| damaged("it does not state the size of its page"))?;
        Ok(page)
    }

    fn values(&mut self, header: i64, pages: &mut ParquetPages, page: &mut Page) -> Result<()> {
        let mut field = 0;
        while let Some(kind) = self.field(&mut field)? {
            match (header, field, kind) {
                (_, 1, 5) => pages.values = pages.values.saturating_add(self.size()?),
                (5, 2, 5) | (8, 4, 5) => pages.prefixed |= self.integer()? == DELTA_BYTE_ARRAY,
                // Of the second version of data pages.
                (8, 5 | 6, 5) => page.levels = page.levels.saturating_add(self.size()?),
                (8, 7, 1 | 2) => page.compressed = kind == 1,
                (_, _, kind) => self.skip(kind, 0)?,
            }
        }
        Ok(())
    }

    /// Reads the number and the type of the next field; `None` at the end of a structure.
    fn field(&mut self, number: &mut i64) -> Result<Option<u8>> {
        let byte = self.byte()?;
        match (byte >> 4, byte & 15) {
            (_, 0) => return Ok(None),
            (0, _) => *number = self.integer()?,
            (step, _) => *number = number.wrapping_add(step.into()),
        }
        Ok(Some(byte & 15))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(damaged("it is nested too deep"));
        }
        match kind {
            // Truth values are part of the type.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.bytes(8)?,
            8 => {
                let length = self.varint()?;
                self.bytes(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                for _ in 0..count {
                    match head & 15 {
                        1 | 2 => drop(self.byte()?),
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
            }
            12 => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            other => return Err(damaged(&format!("it has a field of type {other}"))),
        }
        Ok(())
    }

    fn size(&mut self) -> Result<u64> {
        u64::try_from(self.integer()?).map_err(|_| damaged("a size is below 0"))
    }

    /// A signed number: 0, -1, 1, -2, ... are stored as 0, 1, 2, 3, ...
    fn integer(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number is longer than nine bytes"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }

    fn bytes(&mut self, count: u64) -> Result<()> {
        let read = std::io::copy(&mut self.from.by_ref().take(count), &mut std::io::sink())?;
        self.read += read;
        match read == count {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(bytes: &[u8]) -> Result<ParquetPages> {
        ParquetPages::read(Cursor::new(bytes), 0, bytes.len() as u64)
    }

    /// The fields of a header, by hand: `0x15` is the next field of type i32, numbers are doubled.
    fn page(decoded: u8, values: u8, encoding: u8, data: &[u8]) -> Vec<u8> {
        let stored = 2 * data.len() as u8;
        let header = [0x15, 0, 0x15, 2 * decoded, 0x15, stored];
        // Field 5, a structure: num_values, encoding; then the ends of both structures.
        let data_page = [0x2c, 0x15, 2 * values, 0x15, 2 * encoding, 0, 0];
        [&header[..], &data_page, data].concat()
    }

    #[test]
    fn the_sizes_of_all_pages_are_added() {
        let bytes = [page(40, 9, 0, &[1, 2, 3]), page(60, 5, 8, &[]), page(10, 1, 0, &[7; 20])].concat();
        let expected = ParquetPages { largest: 60, values: 15, prefixed: false };
        assert_eq!(read(&bytes).unwrap(), expected);
        let prefixed = [bytes, page(1, 1, 7, &[])].concat();
        assert_eq!(read(&prefixed).unwrap(), ParquetPages { values: 16, prefixed: true, ..expected });
        assert_eq!(read(&[]).unwrap(), ParquetPages::default());
    }

    #[test]
    fn a_page_may_not_expand_to_more_than_it_states() {
        // Each byte stands for that many zeros.
        fn expand<'a>(mut stored: Box<dyn Read + 'a>) -> Box<dyn Read + 'a> {
            let mut counts = Vec::new();
            stored.read_to_end(&mut counts).unwrap();
            let zeros = counts.iter().map(|count| usize::from(*count)).sum();
            Box::new(Cursor::new(vec![0; zeros]))
        }
        let read = |bytes: &[u8]| {
            ParquetPages::read_expanding(Cursor::new(bytes), 0, bytes.len() as u64, Some(&expand))
        };
        let good = [page(40, 9, 0, &[10, 30]), page(20, 1, 0, &[20])].concat();
        assert_eq!(read(&good).unwrap(), ParquetPages { largest: 40, values: 10, prefixed: false });
        let bad = [good, page(20, 1, 0, &[21])].concat();
        assert!(read(&bad).unwrap_err().to_string().contains("expands to more bytes than it states"));
        // Version 2: three bytes of levels, then those that are compressed; or none that are.
        let second = |compressed: u8, data: &[u8]| {
            let header = [0x15, 6, 0x15, 40, 0x15, 2 * data.len() as u8, 0x5c];
            let data_page = [0x15, 2, 0x15, 0, 0x15, 2, 0x15, 0, 0x15, 2, 0x15, 4, 0x10 | compressed, 0, 0];
            [&header[..], &data_page, data].concat()
        };
        assert!(read(&second(1, &[200, 200, 200, 17])).is_ok());
        assert!(read(&second(1, &[0, 0, 0, 18])).is_err());
        assert!(read(&second(2, &[0, 0, 0, 18])).is_ok());
    }

    /// A page whose values are all null has levels only, and an empty text is no valid gzip.
    #[test]
    fn a_page_of_nulls_is_not_expanded() {
        let header = [0x15, 6, 0x15, 6, 0x15, 6, 0x5c];
        let data_page = [0x15, 18, 0x15, 18, 0x15, 18, 0x15, 0, 0x15, 2, 0x15, 4, 0x11, 0, 0];
        let page = [&header[..], &data_page, &[0, 0, 0]].concat();
        let gzip = expand(Compression::GZIP(Default::default())).unwrap();
        let pages = ParquetPages::read_expanding(Cursor::new(&page), 0, page.len() as u64, gzip).unwrap();
        assert_eq!(pages, ParquetPages { largest: 3, values: 9, prefixed: false });
    }

    #[test]
    fn damaged_headers_are_an_error() {
        let whole = page(40, 9, 0, &[1, 2, 3]);
        for end in 1..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
        // A size below 0, a structure in itself without an end, and a list of 2^60 numbers.
        assert!(read(&[0x15, 0, 0x15, 3, 0]).unwrap_err().to_string().contains("below 0"));
        assert!(read(&[0x1c; 100]).unwrap_err().to_string().contains("nested too deep"));
        let list = [0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1];
        assert_eq!(read(&list).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(ParquetPages::read(Cursor::new(whole), u64::MAX, 2).is_err());
    }
}
