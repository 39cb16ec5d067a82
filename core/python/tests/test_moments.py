"""Aligners that are fitted from sums over batches, in one process and on Ray."""

import importlib.util
import pickle
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from test_align import pairs

import chiasm
import chiasm.ray
from chiasm.align import CCA, MLP, Procrustes, Ridge

FIXED = {"cca": CCA(dimensions=4, ridge=0.1, power=1.0, members=1), "ridge": Ridge(ridge=0.1, onto="view1")}


def lists(rows):
    """Returns an Arrow array of lists."""
    return pa.array(list(np.asarray(rows, np.float32)))


def scores(aligner, first, second):
    return aligner.transform(first) @ aligner.transform(second, view=1).T


class FromMoments(unittest.TestCase):
    def setUp(self):
        self.first, self.second = pairs(3000)

    def parts(self, edges, **options):
        """Returns moments of every part of the rows, pickled as for another process."""
        edges = [0, *edges, len(self.first)]
        parts = zip(edges, edges[1:], strict=False)
        own = [chiasm.Moments(**options).update(self.first[a:b], self.second[a:b]) for a, b in parts]
        return [pickle.loads(pickle.dumps(part)) for part in own]

    def test_batches_and_merged_parts_give_the_fit_on_all_rows(self):
        for name, aligner in FIXED.items():
            for curve in ("unit", "signed-root"):
                with self.subTest(name, curve=curve):
                    whole = aligner.__class__(**{**aligner.get_params(), "curve": curve})
                    whole.fit(self.first, self.second)
                    merged = chiasm.Moments(curve=curve)
                    for part in reversed(self.parts([700, 701, 2000], curve=curve)):
                        merged.merge(part)
                    self.assertEqual(merged.count, 3000)
                    summed = merged.fit(aligner)
                    # unit rows in single precision
                    np.testing.assert_allclose(
                        scores(summed, self.first, self.second[:50]),
                        scores(whole, self.first, self.second[:50]),
                        atol=2e-6,
                    )
                    self.assertEqual(summed.parameters_, whole.parameters_)
                    again = pickle.loads(pickle.dumps(summed))
                    self.assertGreater(again.score(self.first[:200], self.second[:200]), 0.3)

    def test_procrustes_reads_the_rows_twice(self):
        for given in ({"dimensions": 4, "curve": "unit"}, {"dimensions": 4}):
            with self.subTest(**given):
                moments = chiasm.Moments(curve=given.get("curve")).update(self.first, self.second)
                begun = moments.second_pass("procrustes", **given)
                empty = pickle.dumps(begun)
                for part in (slice(2000, 3000), slice(0, 1), slice(1, 2000)):
                    own = pickle.loads(empty).update(self.first[part], self.second[part])
                    begun.merge(pickle.loads(pickle.dumps(own)))
                self.assertEqual(begun.count, 3000)
                summed = begun.fit()
                whole = Procrustes(**summed.parameters_).fit(self.first, self.second)
                # unit rows in single precision
                np.testing.assert_allclose(
                    scores(summed, self.first, self.second[:50]),
                    scores(whole, self.first, self.second[:50]),
                    atol=2e-6,
                )
                self.assertEqual(summed.parameters_, whole.parameters_)
                self.assertEqual(summed.n_components_, 4)
        with self.assertRaisesRegex(chiasm.ChiasmError, "the 3000 rows of the first one, got 2"):
            moments.second_pass().update(self.first[:2], self.second[:2]).fit()
        with self.assertRaisesRegex(ValueError, "'cca' has no second pass"):
            moments.second_pass("cca")
        with self.assertRaisesRegex(ValueError, "no rows"):
            chiasm.Moments().second_pass()

    def test_choices_do_not_depend_on_how_rows_are_split(self):
        fits = []
        for edges in ([], [100], [1000, 1500, 2900]):
            merged = chiasm.Moments()
            for part in self.parts(edges):
                merged.merge(part)
            fits.append(merged.fit("cca", members=3))
        for other in fits[1:]:
            self.assertEqual(other.parameters_, fits[0].parameters_)
            found, expected = (scores(own, self.first[:300], self.second[:300]) for own in (other, fits[0]))
            np.testing.assert_allclose(found, expected, atol=5e-6)
        self.assertEqual(fits[0].notes_["search"]["rows"], 2000)

    def test_arrow_columns_are_added_without_numpy(self):
        expected = chiasm.Moments(curve="unit").update(self.first, self.second)
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(self.second.astype(np.float32).ravel()), 12)
        table = pa.table({"a": lists(self.first), "b": fixed})
        for batch in (table, table.to_batches()[0]):
            found = chiasm.Moments(curve="unit").update(batch.column("a"), batch.column("b"))
            self.assertEqual(pickle.dumps(found), pickle.dumps(expected))
        sliced = chiasm.Moments(curve="unit").update([table["a"][5:9], table["b"][5:9]])
        expected = chiasm.Moments(curve="unit").update(self.first[5:9], self.second[5:9])
        self.assertEqual(pickle.dumps(sliced), pickle.dumps(expected))

    def test_parquet_files_are_added_in_batches(self):
        expected = chiasm.Moments(curve="unit").update(self.first, self.second).fit(FIXED["ridge"])
        with tempfile.TemporaryDirectory() as folder:
            for at in range(3):
                part = slice(at * 1000, (at + 1) * 1000)
                table = pa.table({"b": lists(self.second[part]), "a": lists(self.first[part])})
                pq.write_table(table, Path(folder, f"{at}.parquet"), row_group_size=300)
            paths = sorted(Path(folder).iterdir())
            for source in (folder, paths):
                found = chiasm.Moments(curve="unit").update_parquet(source, ["a", "b"])
                self.assertEqual(found.count, 3000)
                np.testing.assert_allclose(
                    scores(found.fit(FIXED["ridge"]), self.first, self.second[:50]),
                    scores(expected, self.first, self.second[:50]),
                    atol=2e-6,
                )
            pq.write_table(pa.table({"a": pa.array([[1.0, 2.0], None])}), paths[0])
            with self.assertRaisesRegex(ValueError, r"0\.parquet, batch from row 0: view 0: row 1"):
                chiasm.Moments().update_parquet(paths[0], ["a", "a"])

    def test_three_views(self):
        third = self.second[:, ::-1]
        views = [self.first, self.second, third]
        whole = CCA(dimensions=4, ridge=0.1, power=1.0, members=1, curve="unit").fit(views)
        summed = chiasm.Moments(curve="unit").update(views).fit(FIXED["cca"])
        for a, b in zip(whole.transform(views), summed.transform(views), strict=True):
            np.testing.assert_allclose(a @ a[:50].T, b @ b[:50].T, atol=2e-6)

    def test_mistakes_are_named(self):
        moments = chiasm.Moments(curve="unit").update(self.first, self.second)
        with self.assertRaisesRegex(ValueError, "two or more views"):
            moments.update(self.first)
        with self.assertRaisesRegex(ValueError, "d > 1"):
            chiasm.Moments().update(self.first, self.second[:, 0])
        with self.assertRaisesRegex(chiasm.ChiasmError, "expected 20 columns, got 12"):
            moments.update(self.second, self.second)
        with self.assertRaisesRegex(chiasm.ChiasmError, "3000, as many as"):
            moments.update(self.first, self.second[:9])
        with self.assertRaisesRegex(chiasm.ChiasmError, "NaN or infinity in row 1 "):
            moments.update(np.where(np.arange(3000)[:, None] == 1, np.nan, self.first), self.second)
        with self.assertRaisesRegex(ValueError, "view 0: row 1 is null"):
            moments.update(pa.array([[1.0, 2.0], None]), self.second)
        with self.assertRaisesRegex(ValueError, "view 0: row 1 has 1 numbers, the first one has 2"):
            moments.update(pa.array([[1.0, 2.0], [3.0]]), self.second)
        with self.assertRaisesRegex(ValueError, "lists of numbers, got string"):
            moments.update(pa.array(["a"]), self.second)
        self.assertEqual(moments.count, 3000)
        with self.assertRaisesRegex(chiasm.ChiasmError, "curve unit.* both curves"):
            moments.merge(chiasm.Moments().update(self.first, self.second))
        with self.assertRaisesRegex(ValueError, "'procrustes' is not fitted from moments"):
            moments.fit("procrustes")
        with self.assertRaisesRegex(chiasm.ChiasmError, "cca or ridge, got `mlp`"):
            moments.fit(MLP())
        with self.assertRaisesRegex(ValueError, "no rows"):
            chiasm.Moments().fit("cca")
        with self.assertRaisesRegex(ValueError, "signed-root"):
            chiasm.Moments(curve="root")
        with self.assertRaisesRegex(chiasm.ChiasmError, "dimensions"):
            moments.fit("cca", dimensions=-1)


class OnRay(unittest.TestCase):
    def test_a_block_becomes_one_row_of_moments(self):
        first, second = pairs(90)
        table = pa.table({"a": lists(first), "b": lists(second), "id": list(range(90))})
        summed = chiasm.ray.summed(table, ["a", "b"], "unit", 5)
        found = pickle.loads(summed["sums"][0].as_py())
        expected = chiasm.Moments(curve="unit", seed=5).update(first, second)
        self.assertEqual(pickle.dumps(found), pickle.dumps(expected))
        none = pickle.loads(chiasm.ray.summed(table[:0], ["a", "b"], "unit", 5)["sums"][0].as_py())
        self.assertEqual(none.merge(found).count, 90)

    @unittest.skipIf(importlib.util.find_spec("ray"), "Ray is installed")
    def test_ray_is_asked_for(self):
        with self.assertRaisesRegex(ImportError, "pip install"):
            chiasm.ray.fit(None, ["a", "b"])

    @unittest.skipUnless(importlib.util.find_spec("ray"), "Ray is not installed")
    def test_a_data_set_is_fitted_as_in_one_process(self):
        import ray

        first, second = pairs(3000)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        self.addCleanup(ray.shutdown)
        ray.data.DataContext.get_current().enable_progress_bars = False
        with self.assertRaisesRegex(TypeError, "ray.data.Dataset"):
            chiasm.ray.fit([], ["a", "b"])
        table = pa.table({"a": lists(first), "b": lists(second)})
        dataset = ray.data.from_arrow(table)
        expected = chiasm.Moments(curve="unit").update(first, second).fit(FIXED["cca"])
        for blocks in (1, 7):
            found = chiasm.ray.fit(dataset.repartition(blocks), ["a", "b"], FIXED["cca"], curve="unit")
            np.testing.assert_allclose(
                scores(found, first, second[:50]), scores(expected, first, second[:50]), atol=2e-6
            )
            self.assertEqual(found.parameters_, expected.parameters_)
        expected = Procrustes(dimensions=4, curve="unit").fit(first, second)
        found = chiasm.ray.fit(dataset.repartition(7), ["a", "b"], "procrustes", dimensions=4, curve="unit")
        np.testing.assert_allclose(
            scores(found, first, second[:50]), scores(expected, first, second[:50]), atol=2e-6
        )
        tensors = dataset.map_batches(lambda batch: {name: np.stack(batch[name]) for name in batch})
        self.assertEqual(chiasm.ray.moments(tensors, ["a", "b"]).count, 3000)


if __name__ == "__main__":
    unittest.main()
