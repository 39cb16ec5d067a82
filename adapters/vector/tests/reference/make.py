"""Writes the same little matrix in every kind of file that the adapter reads, by NumPy and pyarrow.

    python make.py        # needs numpy and pyarrow; rewrites the data files beside this script

Entry (i, j) is (10 i + j) / 8 - 3, exact in float16, so every reading must be equal to it.
"""
import pathlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
ROWS, DIM = 7, 5
MATRIX = (10 * np.arange(ROWS)[:, None] + np.arange(DIM)[None]) / 8 - 3


def parquet(name, columns, **options):
    pq.write_table(pa.table(columns), HERE / name, **options)


def main():
    np.save(HERE / "f32.npy", MATRIX.astype("<f4"))
    np.save(HERE / "f64-fortran.npy", np.asfortranarray(MATRIX.astype("<f8")))
    np.save(HERE / "f16.npy", MATRIX.astype("<f2"))
    np.save(HERE / "big-endian.npy", MATRIX.astype(">f4"))
    np.save(HERE / "i64.npy", MATRIX.astype("<i8"))
    np.save(HERE / "flat.npy", MATRIX[0].astype("<f4"))
    np.save(HERE / "none.npy", np.zeros((0, DIM), "<f4"))
    bad = MATRIX.astype("<f4")
    bad[4, 2], bad[6, 0] = np.nan, np.inf
    np.save(HERE / "bad.npy", bad)
    np.savez_compressed(HERE / "two.npz", image=MATRIX.astype("<f4"), text=-MATRIX.astype("<f8"))
    np.savez(HERE / "one.npz", only=MATRIX.astype("<f4"))

    ids = pa.array([f"id{i}" for i in range(ROWS)])
    flat = pa.array(MATRIX.astype("f4").ravel())
    fixed = pa.FixedSizeListArray.from_arrays(flat, DIM)
    lists = pa.array(MATRIX.astype("f8").tolist(), pa.list_(pa.float64()))
    parquet("fixed.parquet", {"id": ids, "embedding": fixed}, compression="snappy", row_group_size=3)
    parquet("list.parquet", {"id": ids, "embedding": lists}, compression="zstd")
    parquet("both.parquet", {"a": fixed, "b": lists}, compression="none")
    half = pa.array([list(row) for row in MATRIX.astype("f2")], pa.list_(pa.float16()))
    for codec in ("gzip", "brotli", "lz4"):
        # The second version of data pages does not compress the levels.
        parquet(f"{codec}.parquet", {"embedding": half}, compression=codec, data_page_version="2.0")
    few = pa.array(np.round(MATRIX).astype("f4").tolist(), pa.list_(pa.float32()))
    parquet("dictionary.parquet", {"id": ids.dictionary_encode(), "embedding": few}, compression="gzip")
    struct = pa.StructArray.from_arrays([ids, fixed, half], ["id", "wide", "half"])
    pairs = pa.array([[("a", 1.5)]] * ROWS, pa.map_(pa.string(), pa.float32()))
    parquet("struct.parquet", {"map": pairs, "of": struct, "nested": pa.array([[[1.0]]] * ROWS)})
    parquet("map.parquet", {"map": pairs})
    ragged = MATRIX.astype("f4").tolist()
    ragged[5] = ragged[5][:3]
    parquet("ragged.parquet", {"embedding": pa.array(ragged, pa.list_(pa.float32()))})
    ragged[5] = None
    parquet("null.parquet", {"embedding": pa.array(ragged, pa.list_(pa.float32()))})


main()
