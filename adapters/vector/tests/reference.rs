//! Files that NumPy and pyarrow wrote (tests/reference/make.py) are read exactly; other files are refused.
#![expect(clippy::unwrap_used, reason = "test")]

use std::fs;
use std::path::{Path, PathBuf};

use chiasm_plugin::graph::DType;
use chiasm_plugin::{Adapter, EncoderSpec, Item, Json, Services, Signature, json};
use chiasm_vector::VectorAdapter;

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn open(preprocessing: Json) -> Result<VectorAdapter, String> {
    let spec =
        EncoderSpec { name: "test".into(), directory: reference(), preprocessing, ..Default::default() };
    VectorAdapter::open(&spec, &Services::detached(0, 1)).map_err(|error| error.message().to_owned())
}

fn refusal(preprocessing: Json) -> String {
    open(preprocessing).err().unwrap()
}

fn row(adapter: &VectorAdapter, row: usize) -> Vec<f32> {
    let tensors = adapter.prepare(Item::Row(row)).unwrap();
    assert_eq!(tensors[0].shape(), [5]);
    tensors[0].as_f32().unwrap().to_vec()
}

/// The matrix of make.py; exact in every type that it is stored in, so equality is the right test.
fn expected(i: usize) -> Vec<f32> {
    (0..5).map(|j| (10 * i + j) as f32 / 8.0 - 3.0).collect()
}

#[test]
fn every_kind_of_file_gives_the_same_rows() {
    for table in [
        json!({ "vectors": "f32.npy" }),
        json!({ "vectors": "f64-fortran.npy" }),
        json!({ "vectors": "f16.npy" }),
        json!({ "vectors": "big-endian.npy" }),
        json!({ "vectors": "one.npz" }),
        json!({ "vectors": "two.npz", "member": "image" }),
        json!({ "vectors": "two.npz", "member": "image.npy" }),
        json!({ "vectors": "fixed.parquet" }),
        json!({ "vectors": "list.parquet" }),
        json!({ "vectors": "both.parquet", "column": "b" }),
        json!({ "vectors": "both.parquet", "member": "b" }),
        json!({ "vectors": "gzip.parquet" }),
        json!({ "vectors": "brotli.parquet" }),
        json!({ "vectors": "lz4.parquet" }),
        json!({ "vectors": "struct.parquet", "member": "of.wide" }),
        json!({ "vectors": "struct.parquet", "member": "of.half" }),
    ] {
        let adapter = open(table.clone()).unwrap();
        for i in 0..7 {
            assert_eq!(row(&adapter, i), expected(i), "{table} row {i}");
        }
    }
    // Numbers that repeat are stored in a dictionary.
    let rounded = open(json!({ "vectors": "dictionary.parquet" })).unwrap();
    for i in 0..7 {
        let even: Vec<f32> = expected(i).iter().map(|value| value.round_ties_even()).collect();
        assert_eq!(row(&rounded, i), even, "dictionary row {i}");
    }
    let negative = row(&open(json!({ "vectors": "two.npz", "member": "text" })).unwrap(), 1);
    assert_eq!(negative, expected(1).iter().map(|v| -v).collect::<Vec<_>>());
}

#[test]
fn a_row_that_does_not_exist_is_refused_with_the_number_of_rows() {
    let adapter = open(json!({ "vectors": "f32.npy" })).unwrap();
    for row in [7, usize::MAX] {
        let message = adapter.prepare(Item::Row(row)).unwrap_err().message().to_owned();
        assert!(message.contains("f32.npy") && message.contains("it has 7 rows"), "{message}");
    }
    assert!(adapter.prepare(Item::Text("3")).is_err());
}

#[test]
fn errors_name_the_file_the_place_and_the_correction() {
    let cases: [(Json, &[&str]); 18] = [
        (json!({ "vectors": "bad.npy" }), &["bad.npy", "row 4", "2 of 7 rows"]),
        (json!({ "vectors": "i64.npy" }), &["'<i8'", "astype"]),
        (json!({ "vectors": "flat.npy" }), &["matrix", "[5]"]),
        (json!({ "vectors": "none.npy" }), &["[0, 5]"]),
        (json!({ "vectors": "missing.npy" }), &["missing.npy", "cannot be read"]),
        (json!({ "vectors": "." }), &["is a folder, expected a regular file"]),
        (json!({ "vectors": "make.py" }), &["expected a .npy, .npz or Parquet file"]),
        (json!({ "vectors": "two.npz" }), &["image, text", "member = \"image\""]),
        (json!({ "vectors": "two.npz", "member": "audio" }), &["no array `audio`", "image, text"]),
        (json!({ "vectors": "f32.npy", "member": "a" }), &["member = \"a\" means nothing"]),
        (json!({ "vectors": "both.parquet" }), &["a, b", "member = \"a\""]),
        (json!({ "vectors": "struct.parquet" }), &["(of.wide, of.half)", "member = \"of.wide\""]),
        (json!({ "vectors": "map.parquet" }), &["no column holds lists of floats"]),
        (json!({ "vectors": "fixed.parquet", "column": "id" }), &["`id`", "embedding"]),
        (json!({ "vectors": "ragged.parquet" }), &["row 5", "expected 5 numbers", "got 3"]),
        (json!({ "vectors": "null.parquet" }), &["row 5", "null"]),
        (json!({ "vector": "f32.npy" }), &["vector", "vectors"]),
        (json!({}), &["vectors"]),
    ];
    for (table, words) in cases {
        let message = refusal(table.clone());
        for word in words {
            assert!(message.contains(word), "{table}: {message:?} lacks {word:?}");
        }
    }
}

/// A file truncated anywhere is refused. A header that states 2^60 numbers neither crashes nor fills memory.
#[test]
fn damaged_files_are_refused() {
    let folder = std::env::temp_dir().join(format!("chiasm-vector-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("cut");
    let vectors = path.to_str().unwrap();
    for (file, member) in
        [("f32.npy", None), ("f64-fortran.npy", None), ("two.npz", Some("text")), ("fixed.parquet", None)]
    {
        let whole = fs::read(reference().join(file)).unwrap();
        for end in (0..whole.len() - 1).step_by(13) {
            fs::write(&path, &whole[..end]).unwrap();
            let message = refusal(json!({ "vectors": vectors, "member": member }));
            assert!(message.contains("cut"), "{file} cut at {end}: {message}");
        }
    }
    let whole = fs::read(reference().join("f32.npy")).unwrap();
    let mut lying = whole.clone();
    let at = whole.windows(6).position(|window| window == b"(7, 5)").unwrap();
    lying.splice(at..at + 30, format!("{:<30}", "(1152921504606846976, 5), }").into_bytes());
    fs::write(&path, &lying).unwrap();
    let message = refusal(json!({ "vectors": vectors }));
    assert!(message.contains("states the shape [1152921504606846976, 5]"), "{message}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_tail_has_one_token_and_no_card_is_drafted() {
    let adapter = open(json!({ "vectors": "f32.npy" })).unwrap();
    let [input] = adapter.inputs().try_into().unwrap();
    assert_eq!((input.dtype, input.dims), (DType::F32, vec![Some(5)]));
    let tail = adapter.tail().unwrap();
    tail.verify().unwrap();
    let shown: Vec<String> = tail.inputs().iter().chain(&tail.outputs()).map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "vector f32[batch,5]",
            "tokens f32[batch,tokens,5]",
            "mask f32[batch,tokens]",
            "pooled f32[batch,5]"
        ]
    );
    assert!(VectorAdapter::draft(&Signature::default(), &reference()).unwrap().is_none());
}
