"""Embedding columns of batches, as distributed engines do."""

import pickle
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
from test_fit import write

import chiasm


class Embedders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        write(cls.path)
        cls.opened = chiasm.fit(cls.path / "recipe.toml", cls.path / "run", progress=False)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_a_column_is_added_to_batches_of_every_kind(self):
        embedder = pickle.loads(pickle.dumps(chiasm.Embedder(self.opened, "a", column="item", key="id")))
        items = [5, 0, 7]
        expected = self.opened.encode(a=items)
        self.assertEqual(embedder.dim, expected.shape[1])
        self.assertEqual(embedder.version, self.opened.version)
        batch = pa.RecordBatch.from_pydict({"id": ["x", "y", "z"], "item": items})
        added = embedder(batch)
        self.assertEqual(added.schema.names, ["id", "item", "embedding"])
        self.assertEqual(added.schema.field("embedding").type, embedder.arrow_type)
        np.testing.assert_array_equal(np.array(added.column("embedding").to_pylist(), np.float32), expected)
        table = embedder(pa.Table.from_batches([batch, batch]))
        self.assertEqual(table.num_rows, 6)
        frame = embedder(pandas.DataFrame({"id": ["x", "y", "z"], "item": items}))
        np.testing.assert_array_equal(np.stack(frame["embedding"]), expected)
        rows = embedder({"id": np.array(["x", "y", "z"]), "item": np.array(items)})
        np.testing.assert_array_equal(np.stack(rows["embedding"]), expected)
        for own in embedder.batches(iter([batch, batch])):  # Spark refuses lists of a fixed size
            self.assertEqual(own.schema.field("embedding").type, pa.list_(pa.float32()))
            self.assertEqual(own.column("embedding").to_pylist(), added.column("embedding").to_pylist())
        self.assertEqual(embedder(batch.slice(0, 0)).num_rows, 0)

    def test_an_item_that_cannot_be_read_is_named_by_its_key_or_null(self):
        batch = pa.RecordBatch.from_pydict({"id": ["x", "y", "z"], "a": [5, 10_000, 7]})
        with self.assertRaisesRegex(chiasm.ChiasmError, "row 'y'"):
            chiasm.Embedder(self.opened, "a", key="id")(batch)
        skipping = chiasm.Embedder(self.opened, "a", skip_bad=True)
        embedded = skipping(batch).column("embedding")
        self.assertEqual([value.is_valid for value in embedded], [True, False, True])
        missing = pa.RecordBatch.from_pydict({"a": pa.array([None, 3], pa.int64())})
        self.assertEqual(skipping(missing).column("embedding").null_count, 1)
        with self.assertRaisesRegex(ValueError, "row 0: the column 'a' is null"):
            chiasm.Embedder(self.opened, "a")(missing)

    def test_a_run_that_has_changed_is_refused(self):
        copy = self.path / "copy"
        shutil.copytree(self.path / "run", copy)
        stored = pickle.dumps(chiasm.Embedder(copy, "a"))
        chiasm.fit(self.path / "recipe.toml", copy, progress=False, align__plugin="procrustes")
        with self.assertRaisesRegex(ValueError, "has changed"):
            pickle.loads(stored).embed([1])


if __name__ == "__main__":
    unittest.main()
