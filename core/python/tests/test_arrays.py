"""Arrays of Arrow and of libraries with DLPack: read where they are, copied correctly, or refused."""

import unittest

import numpy as np
import pyarrow as pa
from test_align import pairs

import chiasm
from chiasm._arrays import array, matrix
from chiasm.align import Procrustes


class Tensor:
    """An array of another library: all that is known of it is DLPack."""

    ndim = 2

    def __init__(self, values, device=None):
        self._values, self._device = values, device

    def __dlpack__(self, **arguments):
        return self._values.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self._device or self._values.__dlpack_device__()


class Column:
    """A column of a data frame: all that is known of it is Arrow's C interface."""

    def __init__(self, values):
        self._values = values

    def __arrow_c_array__(self, requested_schema=None):
        return self._values.__arrow_c_array__(requested_schema)


class Stream:
    """A column in chunks."""

    def __init__(self, *chunks):
        self._values = pa.chunked_array(chunks)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._values.__arrow_c_stream__(requested_schema)


def fixed(rows):
    """Returns an Arrow array of lists of one length that shares the memory of `rows`."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def address(rows):
    return rows.__array_interface__["data"][0]


ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


class Arrays(unittest.TestCase):
    def test_rows_one_after_the_other_are_read_where_they_are(self):
        values = pa.array(ROWS.ravel())
        start = values.buffers()[1].address
        offsets = pa.array(range(0, 25, 4), pa.int32())
        column = pa.FixedSizeListArray.from_arrays(values, 4)
        shaped = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [4]), column)
        table = pa.table({"v": column})
        for name, given, at in (
            ("NumPy", ROWS, address(ROWS)),
            ("DLPack", Tensor(ROWS), address(ROWS)),
            ("lists of fixed size", column, start),
            ("lists", pa.ListArray.from_arrays(offsets, values), start),
            ("large lists", pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), values), start),
            ("tensors", shaped, start),
            ("a column of a table", table["v"], start),
            ("a column of a batch", table.to_batches()[0].column("v"), start),
            ("the C interface", Column(column), start),
            ("a stream of one chunk", Stream(column), start),
        ):
            with self.subTest(name):
                found = matrix(given)
                np.testing.assert_array_equal(found, ROWS)
                self.assertEqual(address(found), at, "a copy was made")
        part = matrix(column[2:5])
        np.testing.assert_array_equal(part, ROWS[2:5])
        self.assertEqual(address(part), start + 2 * 4 * 4)
        part = matrix(pa.ListArray.from_arrays(offsets, values)[2:5])
        np.testing.assert_array_equal(part, ROWS[2:5])
        self.assertEqual(address(part), start + 2 * 4 * 4)

    def test_other_layouts_are_copied_correctly(self):
        wide = np.arange(48, dtype=np.float32).reshape(6, 8)
        for name, given, expected in (
            ("every second column", Tensor(wide[:, ::2]), wide[:, ::2]),
            ("columns one after the other", Tensor(np.asfortranarray(wide)), wide),
            ("backwards", Tensor(wide[::-1]), wide[::-1]),
            ("transposed", Tensor(wide.T), wide.T),
            ("one row for all", Tensor(np.broadcast_to(wide[0], (6, 8))), np.broadcast_to(wide[0], (6, 8))),
            ("double precision", Tensor(wide.astype(np.float64)), wide),
            ("half precision", Tensor(wide.astype(np.float16)), wide),
            ("integers", Tensor(wide.astype(np.int8)), wide),
            ("big-endian", wide.astype(">f4"), wide),
            ("two chunks", pa.chunked_array([fixed(wide[:2]), fixed(wide[2:])]), wide),
            ("a stream of two chunks", Stream(fixed(wide[:2]), fixed(wide[2:])), wide),
            ("half precision in Arrow", fixed(wide.astype(np.float16)), wide),
            ("integers in Arrow", fixed(wide.astype(np.int64)), wide),
            ("no rows", fixed(wide)[:0], wide[:0]),
            ("a table of numbers", pa.table({"a": wide[:, 0], "b": wide[:, 1]}), wide[:, :2]),
        ):
            with self.subTest(name):
                found = matrix(given)
                np.testing.assert_array_equal(found, expected)
                self.assertEqual((found.dtype, found.flags.c_contiguous), (np.float32, True))
        self.assertEqual(array(pa.array([3, 1])).tolist(), [3, 1])

    def test_what_cannot_be_read_is_refused(self):
        nulls = pa.array([[1.0, None], [2.0, 3.0]], pa.list_(pa.float32(), 2))
        for given, expected in (
            (Tensor(ROWS, (2, 0)), r"X: expected an array in main memory, got one on the device 2 of DLPack"),
            (pa.array(["a"]), "X: expected an Arrow array of lists of numbers, got string"),
            (pa.array([["a"]]), "lists of numbers, got list"),
            (pa.array([[True, False]]), "lists of numbers, got list"),
            (pa.array([[1.0], None]), "X: row 1 is null"),
            (nulls, "X: a number of the lists is null"),
            (pa.array([[1.0, 2.0], [3.0]]), "X: row 1 has 1 numbers, the first one has 2"),
            (Column(pa.array(["a"])), "lists of numbers, got string"),
            ("text", "X: expected numbers, got str"),
            ([[1.0, 2.0], [3.0]], "X: expected numbers, got list"),
        ):
            with self.assertRaisesRegex(ValueError, expected):
                matrix(given, "X")

    def test_estimators_and_measures_take_them(self):
        first, second = (np.ascontiguousarray(view, dtype=np.float32) for view in pairs())
        expected = Procrustes(dimensions=4, curve="unit").fit(first, second)
        for name, (x, y) in {
            "Arrow": (fixed(first), fixed(second)),
            "DLPack": (Tensor(first), Tensor(second)),
            "the C interface": (Column(fixed(first)), Column(fixed(second))),
        }.items():
            with self.subTest(name):
                for found in (
                    Procrustes(dimensions=4, curve="unit").fit(x, y),
                    Procrustes(dimensions=4, curve="unit").fit(
                        [x, y] if name != "the C interface" else [first, second]
                    ),
                ):
                    np.testing.assert_array_equal(found.transform(x), expected.transform(first))
                    np.testing.assert_array_equal(
                        found.transform(y, view=1), expected.transform(second, view=1)
                    )
                    self.assertEqual(found.score(x, y), expected.score(first, second))
                found, own = (
                    chiasm.measure(*views, only=["cka_linear"])["measures"]["cka_linear"]["value"]
                    for views in ((x, y), (first, second))
                )
                self.assertEqual(found, own)


if __name__ == "__main__":
    unittest.main()
