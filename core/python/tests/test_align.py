"""The aligners as scikit-learn estimators."""

import pickle
import unittest
import warnings
from itertools import combinations

import numpy as np
import onnxruntime
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import chiasm
from chiasm.align import CCA, MLP, Cycle, KernelCCA, OTMap, Procrustes, Ridge, TensorCCA


def pairs(count=300, noise=0.1, seed=0):
    """Returns two views of five hidden factors."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 5))
    first = z @ rng.normal(size=(5, 20)) + noise * rng.normal(size=(count, 20))
    second = z @ rng.normal(size=(5, 12)) + noise * rng.normal(size=(count, 12))
    return first, second


ALL = [
    Procrustes(),
    Ridge(),
    CCA(),
    KernelCCA(),
    TensorCCA(dimensions=4),
    OTMap(),
    MLP(steps=20),
    Cycle(steps=20),
]

#: Checks of scikit-learn that treat a class called CCA as its own, whose `fit_transform` returns a pair.
EXPECTED = {
    "CCA": {
        "check_transformer_general": "fit_transform returns an array, so that pipelines work",
        "check_transformer_data_not_an_array": "fit_transform returns an array, so that pipelines work",
    }
}


class Aligners(unittest.TestCase):
    def test_each_finds_partners_of_items_that_it_has_not_seen(self):
        first, second = pairs()
        for aligner in ALL:
            with self.subTest(type(aligner).__name__):
                fitted = clone(aligner).fit(first[:200], second[:200])
                # chance is .01
                self.assertGreater(fitted.score(first[200:], second[200:]), 0.3)
                mapped = fitted.transform(first)
                self.assertEqual(mapped.shape, (300, fitted.n_components_))

    def test_the_onnx_file_computes_the_same(self):
        first, second = pairs()
        for aligner in (Procrustes(), CCA(), MLP(steps=5)):
            fitted = clone(aligner).fit([first, second])
            for view, rows in enumerate((first, second)):
                session = onnxruntime.InferenceSession(fitted.to_onnx(view))
                found = session.run(["z"], {"x": rows.astype(np.float32)})[0]
                # another thread count adds in another order
                np.testing.assert_allclose(fitted.transform(rows, view=view), found, atol=2e-6)

    def test_rows_far_from_zero_are_named_with_the_digits_that_are_left(self):
        first, second = pairs()
        mean, spread = np.linalg.norm(first.mean(axis=0) + 1e6), np.linalg.norm(first.std(axis=0))
        # a value of single precision is stored to 2^-24 of its size
        digits = np.log10(spread / mean * 2**24)
        with self.assertWarnsRegex(UserWarning, f"view 0: .* keeps {digits:.1f} digits .* subtract the mean"):
            CCA(dimensions=2, members=1).fit(first + 1e6, second)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            CCA(dimensions=2, members=1).fit(first + 100, second)

    def test_a_column_far_from_zero_loses_nothing(self):
        rng = np.random.default_rng(3)
        first = rng.normal(size=(200, 6))
        year = first @ rng.normal(size=6)
        near = Ridge(onto="view1").fit(first, year)
        far = Ridge(onto="view1").fit(first, year + 1e9)
        # 1e9 in double precision keeps seven digits of numbers near one; in single precision none
        expected = near.transform(year, view=1)
        np.testing.assert_allclose(far.transform(year + 1e9, view=1), expected, atol=1e-5)

    def test_generators_of_numpy_draw_the_seed(self):
        first, second = pairs(60)
        aligner = MLP(steps=20, hidden=8, members=1)

        def image(random_state):
            return clone(aligner).set_params(random_state=random_state).fit(first, second).transform(first)

        for kind in (np.random.RandomState, np.random.default_rng):
            np.testing.assert_array_equal(image(kind(5)), image(kind(5)))
            # some seeds lead to equal maps, because a training that helps nothing is dropped
            self.assertGreater(len({image(kind(seed)).tobytes() for seed in range(6)}), 1)
        with self.assertRaisesRegex(ValueError, "random_state: expected a whole number"):
            image("5")

    def test_an_aligner_is_pickled_with_its_maps(self):
        first, second = pairs()
        fitted = CCA(dimensions=4, members=1).fit(first, second)
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.transform(first), fitted.transform(first))
        self.assertEqual(again.parameters_, fitted.parameters_)
        self.assertEqual(again.get_params(), fitted.get_params())

    def test_procrustes_turns_a_rotated_cloud_back(self):
        rng = np.random.default_rng(1)
        first = rng.normal(size=(200, 6))
        rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
        fitted = Procrustes(dimensions=6, curve="unit").fit(first, first @ rotation)
        a, b = fitted.transform(first, first @ rotation)
        np.testing.assert_allclose(a, b, atol=1e-5)  # both are unit rows in single precision
        # what comes back is the centred unit vector
        back = fitted.inverse_transform(a)
        unit = first / np.linalg.norm(first, axis=1, keepdims=True)
        cosine = (back * unit).sum(axis=1) / np.linalg.norm(back, axis=1)
        self.assertGreater(cosine.min(), 0.97)

    def test_three_views_have_one_space(self):
        first, second = pairs()
        views = [first, second, np.tanh(first[:, :9] + second[:, :9])]
        training, held = [own[:200] for own in views], [own[200:] for own in views]
        for aligner in (CCA(), Procrustes(), KernelCCA()):
            with self.subTest(type(aligner).__name__):
                fitted = clone(aligner).fit(training)
                self.assertEqual(fitted.n_views_, 3)
                mapped = fitted.transform(held)
                self.assertEqual([z.shape for z in mapped], [(100, fitted.n_components_)] * 3)
                # recall@1 over the six directions; chance is .01
                directions = [
                    np.mean((a @ b.T).argmax(axis=1) == np.arange(100))
                    for a in mapped
                    for b in mapped
                    if a is not b
                ]
                self.assertAlmostEqual(fitted.score(held), np.mean(directions))
                self.assertGreater(min(directions), 0.2)
                again = pickle.loads(pickle.dumps(fitted))
                for view, (rows, z) in enumerate(zip(held, mapped, strict=True)):
                    np.testing.assert_array_equal(again.transform(rows, view=view), z)
                    session = onnxruntime.InferenceSession(fitted.to_onnx(view))
                    found = session.run(["z"], {"x": rows.astype(np.float32)})[0]
                    # another thread count adds in another order
                    np.testing.assert_allclose(z, found, atol=2e-6)

    def test_maps_of_three_views_undo_their_inverses(self):
        first, second = pairs()
        views = [first, second, second @ np.random.default_rng(2).normal(size=(12, 9))]
        for aligner in (CCA(members=1), Procrustes(dimensions=5)):
            with self.subTest(type(aligner).__name__):
                fitted = clone(aligner).fit(views)
                for view, z in enumerate(fitted.transform(views)):
                    back = fitted.inverse_transform(z, view=view)
                    self.assertEqual(back.shape, views[view].shape)
                    # single precision, times what the inverse stretches
                    np.testing.assert_allclose(fitted.transform(back, view=view), z, atol=1e-4)

    def test_canonical_directions_of_three_views_are_those_of_maxvar(self):
        rng = np.random.default_rng(3)
        z = rng.normal(size=(400, 2))
        views = [z @ rng.normal(size=(2, width)) + rng.normal(size=(400, width)) for width in (8, 6, 7)]
        views = [own / np.linalg.norm(own, axis=1, keepdims=True) for own in views]
        # Kettenring 1971: the common scores are the first eigenvectors of the sum of projections onto views
        centred = [own - own.mean(axis=0) for own in views]
        values, common = np.linalg.eigh(sum(own @ np.linalg.pinv(own) for own in centred))
        common = common[:, -2:] / np.sqrt(values[-2:])
        scores = [own @ (np.linalg.pinv(own) @ common) for own in centred]
        scores = [own / np.linalg.norm(own, axis=1, keepdims=True) for own in scores]
        mapped = CCA(dimensions=2, ridge=0.0, power=0.0, curve="unit").fit(views).transform(views)
        for (a, b), (c, d) in zip(combinations(mapped, 2), combinations(scores, 2), strict=True):
            # cosines do not depend on the basis of the shared space; maps compute in single precision
            np.testing.assert_allclose(a @ b.T, c @ d.T, atol=3e-6)

    def test_items_without_partners(self):
        first, second = pairs()
        rows = [np.arange(300), np.arange(0, 300, 3)]
        some = OTMap().fit([first, second[::3]], rows=rows)
        self.assertGreater(some.score(first[:60], second[:60]), 0.3)

    def test_it_is_tuned_like_any_estimator(self):
        first, second = pairs(noise=0.5)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), CCA(members=1)), {"cca__dimensions": [1, 4]}, cv=3
        ).fit(first, second)
        self.assertEqual(search.best_params_, {"cca__dimensions": 4})
        self.assertEqual(len(cross_val_score(Ridge(), first, second, cv=3)), 3)

    def test_mistakes_are_named(self):
        first, second = pairs(20)
        with self.assertRaisesRegex(ValueError, "inconsistent numbers of samples: 20, 19"):
            CCA().fit(first, second[:19])
        with self.assertRaises(chiasm.ChiasmError) as caught:
            CCA(dimensions=-1).fit(first, second)
        self.assertEqual(caught.exception.code, "chiasm::plugin")
        self.assertIn("dimensions", str(caught.exception))
        with self.assertRaisesRegex(chiasm.ChiasmError, "no inverse"):
            KernelCCA().fit(first, second).inverse_transform(np.ones((2, 3)))
        with self.assertRaisesRegex(ValueError, "ascending order"):
            OTMap().fit([first, second], rows=[np.arange(20), np.arange(20)[::-1]])
        with self.assertRaisesRegex(ValueError, "expected 20 row numbers"):
            OTMap().fit([first, second], rows=[np.arange(20), np.arange(19)])
        for name, value in (("anchor", 5), ("random_state", -1), ("threads", -1), ("threads", 1.5)):
            with self.assertRaisesRegex(ValueError, f"{name}: expected a whole number"):
                CCA(**{name: value}).fit(first, second)
        with self.assertRaisesRegex(ValueError, "ridge: expected a finite number, got nan"):
            Ridge(ridge=np.nan).fit(first, second)
        with self.assertRaisesRegex(ValueError, "inconsistent numbers of samples: 5, 20"):
            CCA().fit(first, second).score(first[:5], second)
        with self.assertRaisesRegex(ValueError, "masked"):
            CCA().fit(np.ma.masked_greater(first, 1), second)
        with self.assertRaisesRegex(ValueError, "view 1: expected 12 features"):
            CCA().fit(first, second).transform(first, view=1)

    def test_the_contract_of_scikit_learn_holds(self):
        for aligner in (Procrustes(), Ridge(), CCA(members=1)):
            with self.subTest(type(aligner).__name__):
                expected = EXPECTED.get(type(aligner).__name__)
                check_estimator(aligner, expected_failed_checks=expected)


if __name__ == "__main__":
    unittest.main()
