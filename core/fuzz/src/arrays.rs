//! Arrays of numbers: .npy, .npz and Parquet files of vectors, and the shards of the cache.

use crate::{
    scratch,
    seeds::{self, Seeds},
};
use chiasm_pipeline::{Cache, read_npy};
use chiasm_plugin::{Adapter, EncoderSpec, Item, Services};
use chiasm_vector::VectorAdapter;
use parquet::basic::Compression;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Opens a file as vectors and as an array.
pub(crate) fn run(bytes: &[u8]) {
    scratch::with_file("vectors", bytes, |path| {
        let spec = EncoderSpec {
            name: "vectors".into(),
            preprocessing: json!({ "vectors": path }),
            ..EncoderSpec::default()
        };
        if let Ok(vectors) = VectorAdapter::open(&spec, &Services::detached(0, 1)) {
            let rows = vectors.rows().unwrap_or(0);
            assert!(vectors.prepare(Item::Row(rows)).is_err(), "row {rows} of {rows} exists");
            let last = rows.checked_sub(1).map(|row| vectors.prepare(Item::Row(row)));
            assert!(last.is_none_or(|row| row.is_ok()), "the last row is missing");
            let _ = vectors.tail().is_ok();
        }
        if let Ok(array) = read_npy(path) {
            // Integers of 8 bits are the smallest numbers.
            assert!(array.len() <= bytes.len(), "{} numbers in {} bytes", array.len(), bytes.len());
        }
    });
}

pub(crate) fn seeds() -> Seeds {
    let numbers: Vec<u8> = (0..24).flat_map(|i| (i as f32 / 4.0).to_le_bytes()).collect();
    let array = seeds::npy(1, &seeds::header("<f4", "(6, 4)"), &numbers);
    Ok(vec![
        array.clone(),
        seeds::npy(2, &seeds::header(">f8", "(3, 4)"), &numbers),
        seeds::npy(3, &seeds::header("<f2", "(12, 4)").replace("False", "True"), &numbers),
        seeds::npy(1, &seeds::header("<f8", "(12,)"), &numbers),
        seeds::archive("a.npy", &array, zip::CompressionMethod::Stored)?,
        seeds::archive("a.npy", &array, zip::CompressionMethod::Deflated)?,
        seeds::vectors(Compression::UNCOMPRESSED)?,
        seeds::vectors(Compression::SNAPPY)?,
    ])
}

/// The key of the shard that is read.
const KEY: &str = "abcdef";

/// Reads a shard. The first byte says whether the digest of the others is put after them: no change of a
/// shard goes unnoticed without it, and with it the reader of the content is reached.
pub(crate) fn shard(bytes: &[u8]) {
    let Some((sealed, content)) = bytes.split_first() else { return };
    let mut file = content.to_vec();
    if sealed.is_multiple_of(2) {
        file.extend(Sha256::new_with_prefix(KEY).chain_update(content).finalize());
    }
    let Some(folder) = scratch::path("cache") else { return };
    let Ok(shards) = Cache::at(&folder).embeddings() else { return };
    scratch::with_file("cache/embeddings/ab/cdef.npy", &file, |_| {
        match shards.load::<ndarray::IxDyn>(KEY, 3) {
            Ok(Some(shard)) => {
                assert!(sealed.is_multiple_of(2), "a shard without its digest is used");
                assert_eq!(shard.shape()[0], 3);
                assert!(shard.iter().all(|value| value.is_finite()), "a shard with NaN is used");
            }
            Ok(None) => unreachable!("the shard is not found"),
            Err(_) => {}
        }
    });
}

pub(crate) fn shard_seeds() -> Seeds {
    let numbers: Vec<u8> = (0..12).flat_map(|i| (i as f32 - 4.0).to_le_bytes()).collect();
    let shard = |sealed: u8, shape: &str| {
        [&[sealed], &seeds::npy(1, &seeds::header("<f4", shape), &numbers)[..]].concat()
    };
    let sealed = ["(3, 4)", "(3, 2, 2)", "(3,)", "(0, 4)"].map(|shape| shard(0, shape));
    Ok(sealed.into_iter().chain([shard(1, "(3, 4)")]).collect())
}
