//! Parquet files, written with the low-level writer of the parquet crate.

use super::{COLUMNS, DatasetColumns, expect, read, refused, text};
use crate::catalog::dataset::ItemRef;
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    data_type::{
        ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int32Type, Int64Type,
    },
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};
use serde_json::json;
use std::sync::Arc;

/// Writes one stored column.
type Write<'a> = &'a dyn Fn(&mut SerializedColumnWriter<'_>);

/// Returns the bytes of a file with one row group. The columns are in the order of the schema.
fn file(schema: &str, properties: WriterProperties, columns: &[Write<'_>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for write in columns {
        let mut column = group.next_column().unwrap().unwrap();
        write(&mut column);
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// Writes values with their levels. Empty levels are for a column that has none of that kind.
fn put<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    definitions: &[i16],
    repetitions: &[i16],
) {
    let levels = |levels: &'_ [i16]| (!levels.is_empty()).then(|| levels.to_vec());
    let (definitions, repetitions) = (levels(definitions), levels(repetitions));
    column.typed::<T>().write_batch(values, definitions.as_deref(), repetitions.as_deref()).unwrap();
}

fn texts(texts: &[&str]) -> Vec<ByteArray> {
    texts.iter().map(|text| ByteArray::from(*text)).collect()
}

fn plain() -> WriterProperties {
    WriterProperties::builder().build()
}

/// Four rows with a nullable text, nullable lists (null, empty, and of two), integers, and lists that are not
/// nullable.
pub(super) fn table() -> Vec<u8> {
    let schema = "message rows {
        optional binary image (UTF8);
        optional group captions (LIST) { repeated group list { optional binary element (UTF8); } }
        required int64 answer;
        required group tags (LIST) { repeated group list { required binary element (UTF8); } }
        optional group unread { required int32 a; required int32 b; }
    }";
    let images = texts(&["a.png", "c.png", "d.png"]);
    let captions = texts(&["x", "y", "z"]);
    let tags = texts(&["p", "p", "q", "r"]);
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    file(
        schema,
        properties.build(),
        &[
            &|column| put::<ByteArrayType>(column, &images, &[1, 0, 1, 1], &[]),
            &|column| put::<ByteArrayType>(column, &captions, &[3, 3, 3, 1, 0], &[0, 1, 0, 0, 0]),
            &|column| put::<Int64Type>(column, &[3, 4, -5, 6], &[], &[]),
            &|column| put::<ByteArrayType>(column, &tags, &[1, 0, 1, 1, 1], &[0, 0, 0, 1, 0]),
            &|column| put::<Int32Type>(column, &[], &[0; 4], &[]),
            &|column| put::<Int32Type>(column, &[], &[0; 4], &[]),
        ],
    )
}

#[test]
fn integers_are_row_numbers_and_null_entries_are_ignored() {
    let schema = "message rows {
        optional int32 frame (UINT_32);
        required group shots (LIST) { repeated group list { optional int64 element; } }
        required double score;
    }";
    let bytes = file(
        schema,
        plain(),
        &[
            &|column| put::<Int32Type>(column, &[7, -1], &[1, 0, 1], &[]),
            &|column| put::<Int64Type>(column, &[1, 2], &[2, 1, 2, 0, 0], &[0, 1, 1, 0, 0]),
            &|column| put::<DoubleType>(column, &[0.5, 1.0, -2.0], &[], &[]),
        ],
    );
    let columns = DatasetColumns { inputs: &["frame", "shots"], values: &["score"], split: None };
    let problems = refused("rows.parquet", &bytes, columns);
    expect(&problems, &["row 2: no item in any of the columns `frame`, `shots`"]);
    let columns = DatasetColumns { inputs: &["score"], values: &[], split: None };
    expect(
        &refused("rows.parquet", &bytes, columns),
        &["row 1: column `score`: expected a text, a row number"],
    );
    let columns = DatasetColumns { inputs: &[], values: &["score"], split: None };
    let data = read("rows.parquet", &bytes, columns).unwrap();
    assert_eq!(data.values("score"), [json!(0.5), json!(1.0), json!(-2.0)]);
    let columns = DatasetColumns { inputs: &["frame", "shots"], values: &[], split: None };
    let whole = file(
        schema,
        plain(),
        &[
            &|column| put::<Int32Type>(column, &[7, -1], &[1, 1], &[]),
            &|column| put::<Int64Type>(column, &[1, 2], &[2, 1, 2, 0], &[0, 1, 1, 0]),
            &|column| put::<DoubleType>(column, &[0.5, 1.0], &[], &[]),
        ],
    );
    let data = read("rows.parquet", whole, columns).unwrap();
    assert_eq!(data.column("frame"), [vec![ItemRef::Row(7)], vec![ItemRef::Row(u64::from(u32::MAX))]]);
    assert_eq!(data.column("shots"), [vec![ItemRef::Row(1), ItemRef::Row(2)], vec![]]);
}

#[test]
fn row_groups_are_concatenated() {
    let schema = Arc::new(parse_message_type("message rows { required binary image (UTF8); }").unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(plain())).unwrap();
    for part in [&["a", "b"][..], &["c"]] {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        put::<ByteArrayType>(&mut column, &texts(part), &[], &[]);
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
    let data = read("rows.parquet", bytes, columns).unwrap();
    assert_eq!(data.column("image"), [vec![text("a")], vec![text("b")], vec![text("c")]]);
}

#[test]
fn unsupported_and_missing_columns_are_refused() {
    let columns = DatasetColumns { inputs: &["image"], values: &["unread"], split: None };
    expect(
        &refused("rows.parquet", table(), columns),
        &["column `unread`", "got a structure; name one of its fields: `unread.a`, `unread.b`"],
    );
    let columns = DatasetColumns { inputs: &["image", "caption"], values: &[], split: None };
    let message = refused("rows.parquet", table(), columns);
    expect(&message, &["no column `caption`", "did you mean `captions`?", "`answer`, `captions`, `image`"]);
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: Some("fold") };
    expect(&refused("rows.parquet", table(), columns), &["no column `fold`"]);
    let days = "message rows { required int32 image (DATE); }";
    let days = file(days, plain(), &[&|column| put::<Int32Type>(column, &[1], &[], &[])]);
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
    expect(&refused("rows.parquet", days, columns), &["column `image`: expected texts", "got Date"]);
    let bytes = "message rows { required binary image; }";
    let bytes = file(
        bytes,
        plain(),
        &[&|column| {
            put::<ByteArrayType>(column, &[ByteArray::from("a"), ByteArray::from(vec![0xff])], &[], &[]);
        }],
    );
    expect(&refused("rows.parquet", bytes, columns), &["column `image`: row 2: not UTF-8"]);
}

#[test]
fn a_small_file_that_decodes_to_a_large_one_is_refused() {
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
    // A dictionary with one text of 1 MiB, and 1,000 rows that refer to it.
    let long = ByteArray::from("x".repeat(1 << 20).as_str());
    let rows = vec![long; 1000];
    let properties = || {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        WriterProperties::builder().set_compression(zstd).set_dictionary_page_size_limit(1 << 30)
    };
    let schema = "message rows { required binary image (UTF8); }";
    let bytes =
        file(schema, properties().build(), &[&|column| put::<ByteArrayType>(column, &rows, &[], &[])]);
    assert!(bytes.len() < 1 << 16);
    expect(&refused("rows.parquet", bytes, columns), &["column `image`", "more than 256 MiB"]);
    // One row whose list repeats one number five million times.
    let schema = "message rows {
        required group image (LIST) { repeated group list { required int32 element; } } }";
    let (values, definitions, mut repetitions) = (vec![3; 5 << 20], vec![1; 5 << 20], vec![1; 5 << 20]);
    repetitions[0] = 0;
    let bytes = file(
        schema,
        properties().build(),
        &[&|column| {
            put::<Int32Type>(column, &values, &definitions, &repetitions);
        }],
    );
    assert!(bytes.len() < 1 << 16);
    expect(&refused("rows.parquet", bytes, columns), &["column `image`", "more than 256 MiB"]);
    // Texts that are each equal to the one before.
    let prefixed = properties().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY);
    let schema = "message rows { required binary image (UTF8); }";
    let bytes = file(schema, prefixed.build(), &[&|column| put::<ByteArrayType>(column, &rows, &[], &[])]);
    expect(&refused("rows.parquet", bytes, columns), &["column `image`", "DELTA_BYTE_ARRAY"]);
}

#[test]
fn a_damaged_file_never_panics() {
    let whole = table();
    for end in 0..whole.len() {
        refused("rows.parquet", &whole[..end], COLUMNS);
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        drop(read("rows.parquet", damaged, COLUMNS));
    }
}

#[test]
fn fields_of_structs_are_columns() {
    // A picture as some data sets store it, with a list and numbers of 16 bits.
    let schema = "message rows {
        optional group image { optional binary path (UTF8); optional binary bytes; }
        required group more {
            optional group captions (LIST) { repeated group list { optional binary element (UTF8); } }
            required fixed_len_byte_array(2) score (FLOAT16);
        }
    }";
    let (paths, captions) = (texts(&["a.png", "b.png"]), texts(&["x", "y"]));
    // 1.5 and -2 in IEEE 754 binary16, the low byte first.
    let halves =
        [[0x00, 0x3e], [0x00, 0xc0], [0x00, 0x00]].map(|bytes| ByteArray::from(bytes.to_vec()).into());
    let bytes = file(
        schema,
        plain(),
        &[
            &|column| put::<ByteArrayType>(column, &paths, &[2, 0, 2], &[]),
            &|column| put::<ByteArrayType>(column, &[], &[1, 0, 1], &[]),
            &|column| put::<ByteArrayType>(column, &captions, &[3, 3, 1, 0], &[0, 1, 0, 0]),
            &|column| put::<FixedLenByteArrayType>(column, &halves, &[], &[]),
        ],
    );
    let columns =
        DatasetColumns { inputs: &["image.path", "more.captions"], values: &["more.score"], split: None };
    // The second row has neither item.
    expect(&refused("rows.parquet", &bytes, columns), &["row 2: no item in any of the columns"]);
    let columns = DatasetColumns { inputs: &[], values: &["more.score"], split: None };
    let data = read("rows.parquet", &bytes, columns).unwrap();
    assert_eq!(data.values("more.score"), [json!(1.5), json!(-2.0), json!(0.0)]);
    let columns = DatasetColumns { inputs: &["image.pth"], values: &[], split: None };
    expect(&refused("rows.parquet", &bytes, columns), &["did you mean `image.path`?"]);
}

#[test]
fn maps_and_nested_lists_are_refused_in_one_line() {
    let schema = "message rows {
        required group m (MAP) { repeated group key_value {
            required binary key (UTF8); optional int32 value; } }
        required group l (LIST) { repeated group list { optional group element (LIST) {
            repeated group list { optional int32 element; } } } }
        required group s (LIST) { repeated group list { required group element { required int32 a; } } }
    }";
    let bytes = file(
        schema,
        plain(),
        &[
            &|column| put::<ByteArrayType>(column, &texts(&["k"]), &[1], &[0]),
            &|column| put::<Int32Type>(column, &[1], &[2], &[0]),
            &|column| put::<Int32Type>(column, &[1], &[4], &[0]),
            &|column| put::<Int32Type>(column, &[1], &[1], &[0]),
        ],
    );
    for (column, what) in [("m", "a map"), ("l", "lists of lists"), ("s", "a list of structures")] {
        let columns = DatasetColumns { inputs: &[column], values: &[], split: None };
        expect(
            &refused("rows.parquet", &bytes, columns),
            &[&format!(
                "column `{column}`: {}, got {what}",
                "expected texts, integers, floats, booleans or lists of these"
            )],
        );
    }
}

#[test]
fn every_codec_is_read_and_bounded() {
    let schema = "message rows { required binary image (UTF8); }";
    let rows = texts(&["one", "two", "three"]);
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
    let with = |codec: Compression, rows: &[ByteArray]| {
        let properties = WriterProperties::builder().set_compression(codec).set_dictionary_enabled(false);
        file(schema, properties.build(), &[&|column| put::<ByteArrayType>(column, rows, &[], &[])])
    };
    for codec in [
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let data = read("rows.parquet", with(codec, &rows), columns).unwrap();
        assert_eq!(data.column("image"), [vec![text("one")], vec![text("two")], vec![text("three")]]);
    }
    expect(&refused("rows.parquet", with(Compression::LZ4, &rows), columns), &["the codec LZ4", "lz4_raw"]);
    // A page that states 1 byte and expands to 4 MiB: the number after the type is replaced by a long form of
    // 1.
    let large = [ByteArray::from("x".repeat(4 << 20).as_str())];
    for codec in [Compression::GZIP(Default::default()), Compression::BROTLI(Default::default())] {
        let mut bytes = with(codec, &large);
        assert_eq!(&bytes[..7], b"PAR1\x15\x00\x15");
        let length = bytes[7..].iter().position(|byte| byte & 0x80 == 0).unwrap();
        bytes[7] = 0x82;
        bytes[8..7 + length].fill(0x80);
        bytes[7 + length] = 0;
        expect(&refused("rows.parquet", &bytes, columns), &["expands to more bytes than it states"]);
    }
}
