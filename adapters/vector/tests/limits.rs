//! Small files that state or expand to very large arrays: each is an error within two seconds and half a
//! gigabyte.
#![expect(clippy::unwrap_used, reason = "test")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use chiasm_plugin::{Adapter, EncoderSpec, Services, json};
use chiasm_testing::limited;
use chiasm_vector::VectorAdapter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::FloatType;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Memory of a test program and 512 MiB, and the time on a machine with other work.
const MEBIBYTES: u64 = 700;
const SECONDS: u64 = 10;

fn refused(path: &Path) -> String {
    let preprocessing = json!({ "vectors": path });
    let spec = EncoderSpec { name: "test".into(), preprocessing, ..Default::default() };
    let opened = VectorAdapter::open(&spec, &Services::detached(0, 1));
    let message = opened.map(drop).unwrap_err().message().to_owned();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

/// An array of version 2, whose header may be long.
fn npy(header: &str) -> Vec<u8> {
    let length = (header.len() as u32).to_le_bytes();
    [b"\x93NUMPY\x02\0", &length[..], header.as_bytes()].concat()
}

fn described(shape: &str) -> String {
    format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n")
}

#[test]
fn headers_of_arrays_that_are_nested_or_long_or_state_too_much() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.npy");
        let nested = |count: usize| format!("{}{}", "(".repeat(count), ")".repeat(count));
        for (header, reason) in [
            ("[".repeat(9_000), "nested deeper"),
            ("{".repeat(5_000_000), "expected at most 10000"),
            (format!("{{'descr': {}, 'shape': (2, 2)}}", nested(4_000)), "nested deeper"),
            (described(&nested(4_000)), "nested deeper"),
            (described("(1152921504606846976, 8)"), "states the shape [1152921504606846976, 8]"),
            (described("(4294967296, 4294967296)"), "larger than memory"),
            (described("(100000000, 64)"), "states the shape [100000000, 64]"),
        ] {
            fs::write(&path, npy(&header)).unwrap();
            let message = refused(&path);
            assert!(message.contains(reason), "{message}");
        }
    });
}

#[test]
fn an_archive_that_expands_to_gigabytes() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.npz");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default().large_file(true);
        archive.start_file("a.npy", options).unwrap();
        archive.write_all(&npy(&described("(8388608, 64)"))).unwrap();
        let zeros = vec![0; 1 << 24];
        (0..128).for_each(|_| archive.write_all(&zeros).unwrap());
        archive.finish().unwrap();
        let message = refused(&path);
        let words =
            ["array `a`", "states the shape [8388608, 64]", "takes more than 256 MiB", "without compression"];
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    });
}

#[test]
fn a_column_that_expands_to_gigabytes() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.parquet");
        // One row whose list repeats one number; its pages have a few bytes.
        let count = 17 << 20;
        let schema =
            "message rows { required group v (LIST) { repeated group list { required float element; } } }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        for page in [1 << 30, 1 << 16] {
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .set_data_page_size_limit(page)
                .build();
            let file = File::create(&path).unwrap();
            let mut writer = SerializedFileWriter::new(file, schema.clone(), Arc::new(properties)).unwrap();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let (values, present, mut inside) =
                (vec![0.5_f32; count], vec![1_i16; count], vec![1_i16; count]);
            inside[0] = 0;
            column.typed::<FloatType>().write_batch(&values, Some(&present), Some(&inside)).unwrap();
            column.close().unwrap();
            group.close().unwrap();
            writer.close().unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
            let message = refused(&path);
            let words = ["column `v`", "takes more than 256 MiB", "without compression"];
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    });
}

#[test]
fn pipes_devices_and_folders() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.npy");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(refused(path).contains("expected a regular file"));
        }
        // Two TiB of zeros that take no place on the disk: no bytes of an array, and more than the memory.
        let sparse = folder.path().join("sparse.npy");
        fs::write(&sparse, npy(&described("(8589934592, 64)"))).unwrap();
        File::options().append(true).open(&sparse).unwrap().set_len(2 << 40).unwrap();
        let message = refused(&sparse);
        assert!(message.contains("states the shape [8589934592, 64]"), "{message}");
    });
}
