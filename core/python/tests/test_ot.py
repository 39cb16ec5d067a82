"""Optimal transport against SciPy's linear programs, POT and plain NumPy."""

import inspect
import unittest
import warnings

import numpy as np
import ot as pot
from scipy.optimize import linprog
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from chiasm import measure, ot


def problem(n=20, m=30, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.random(n), rng.random(m)
    return a / a.sum(), b / b.sum(), rng.random((n, m))


def sinkhorn(a, b, cost, epsilon, iterations=20_000, penalty=np.inf):
    """Plain Sinkhorn in log space, with penalties of the marginals where `penalty` is finite."""
    f, g = np.zeros(len(a)), np.zeros(len(b))
    share = 1.0 if np.isinf(penalty) else penalty / (penalty + epsilon)
    for _ in range(iterations):
        f = -share * epsilon * logsumexp((g - cost) / epsilon + np.log(b), axis=1)
        g = -share * epsilon * logsumexp((f[:, None] - cost) / epsilon + np.log(a)[:, None], axis=0)
    return a[:, None] * b * np.exp((f[:, None] + g - cost) / epsilon)


def partial(a, b, cost, epsilon, mass, iterations=20_000):
    """Partial transport by Dykstra's projections, as Benamou et al. 2015 write it."""
    plan = np.exp(-cost / epsilon)
    rows, columns, total = np.ones(len(a)), np.ones(len(b)), 1.0
    for _ in range(iterations):
        plan, before = plan * rows[:, None], plan * rows[:, None]
        plan = plan * np.minimum(a / plan.sum(axis=1), 1)[:, None]
        rows = before.sum(axis=1) / plan.sum(axis=1)
        before = plan = plan * columns
        plan = plan * np.minimum(b / plan.sum(axis=0), 1)
        columns = before.sum(axis=0) / plan.sum(axis=0)
        before = plan = plan * total
        plan = plan * (mass / plan.sum())
        total = before.sum() / plan.sum()
    return plan


class Transport(unittest.TestCase):
    def test_entropic_plans_of_tiny_and_huge_weights_are_those_of_shares_times_their_sum(self):
        rng = np.random.default_rng(4)
        costs, shares = rng.random((6, 5)), [np.full(n, 1 / n) for n in (6, 5)]
        plan, log = ot.sinkhorn(*shares, costs, 0.3, log=True)
        for total in (1e-300, 1e-20, 10, 1e30, 1e300):
            scaled = [own * total for own in shares]
            found, own = ot.sinkhorn(*scaled, costs, 0.3, log=True)
            np.testing.assert_allclose(found / total, plan, atol=1e-6)  # the stated tolerance
            self.assertAlmostEqual(own["cost"] / total, log["cost"], delta=1e-6)
            potentials = np.add.outer(own["u"], own["v"])
            again = np.outer(scaled[0] / total, scaled[1]) * np.exp((potentials - costs) / 0.3)
            np.testing.assert_allclose(again / total, plan, atol=1e-5)

    def test_exact_transport_has_the_cost_of_the_linear_program(self):
        a, b, cost = problem()
        n, m = cost.shape
        rows = np.kron(np.eye(n), np.ones(m))
        columns = np.kron(np.ones(n), np.eye(m))
        best = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b])).fun
        plan, log = ot.emd(a, b, cost, log=True)
        self.assertAlmostEqual(log["cost"], best, delta=1e-10)
        self.assertAlmostEqual(ot.emd2(a, b, cost), best, delta=1e-10)
        np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-12)
        self.assertIsNone(log["warning"])
        part = linprog(
            cost.ravel(),
            A_ub=np.vstack([rows, columns]),
            b_ub=np.concatenate([a, b]),
            A_eq=np.ones((1, n * m)),
            b_eq=[0.4],
        ).fun
        _, log = ot.partial_wasserstein(a, b, cost, m=0.4, log=True)
        self.assertAlmostEqual(log["partial_w_dist"], part, delta=1e-9)

    def test_entropic_plans_are_those_of_plain_sinkhorn(self):
        a, b, cost = problem()
        # single precision on a kernel whose entries span e^20
        np.testing.assert_allclose(ot.sinkhorn(a, b, cost, 0.05), sinkhorn(a, b, cost, 0.05), atol=1e-6)
        np.testing.assert_allclose(
            ot.sinkhorn_unbalanced(a, b, cost, 0.05, 0.5), sinkhorn(a, b, cost, 0.05, penalty=0.5), atol=1e-6
        )
        plan, log = ot.entropic_partial_wasserstein(a, b, cost, 0.05, m=0.4, log=True)
        np.testing.assert_allclose(plan, partial(a, b, cost, 0.05, 0.4), atol=1e-6)
        self.assertAlmostEqual(log["cost"], (plan * cost).sum(), delta=1e-9)

    def test_gromov_wasserstein_finds_a_turned_cloud(self):
        rng = np.random.default_rng(3)
        points = rng.normal(size=(25, 3))
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        order = rng.permutation(25)
        distances = [((p[:, None] - p) ** 2).sum(axis=2) for p in (points, (points @ rotation)[order])]
        plan, log = ot.gromov_wasserstein(*distances, log=True)
        np.testing.assert_array_equal(plan.argmax(axis=1)[order], np.arange(25))
        self.assertLess(log["gw_dist"], 1e-5 * np.mean(distances[0]) ** 2)

    def test_gromov_wasserstein_has_no_unit(self):
        rng = np.random.default_rng(4)
        clouds = rng.normal(size=(12, 2)), rng.normal(size=(9, 3))
        inner = [((points[:, None] - points) ** 2).sum(axis=2) for points in clouds]
        linear = rng.random((12, 9))
        plain = ot.gromov_wasserstein2(*inner)
        entropic = ot.entropic_gromov_wasserstein(*inner, epsilon=0.5, log=True)[1]["gw_dist"]
        fused = ot.fused_gromov_wasserstein(linear, *inner, log=True)[1]["fgw_dist"]
        for unit in (1e-30, 1e-18, 1e18, 1e30):
            scaled = [distances * unit for distances in inner]
            square = unit**2
            self.assertAlmostEqual(ot.gromov_wasserstein2(*scaled) / square, plain, delta=1e-5 * plain)
            _, log = ot.entropic_gromov_wasserstein(*scaled, epsilon=0.5 * square, log=True)
            self.assertAlmostEqual(log["gw_dist"] / square, entropic, delta=1e-5 * entropic)
            _, log = ot.fused_gromov_wasserstein(linear * square, *scaled, log=True)
            self.assertAlmostEqual(log["fgw_dist"] / square, fused, delta=1e-5 * fused)

    def test_images_are_those_of_pot(self):
        rng = np.random.default_rng(5)
        x, y, new = rng.normal(size=(30, 3)), rng.normal(size=(30, 3)) + 1, rng.normal(size=(7, 3))
        cost = ((x[:, None] - y) ** 2).sum(axis=2)
        plan, log = ot.sinkhorn([], [], cost, 0.5, log=True)
        tight = {"max_iter": 100_000, "tol": 1e-12}
        for fitted, own in (
            (pot.da.EMDTransport(), ot.emd([], [], cost)),
            (pot.da.SinkhornTransport(reg_e=0.5, out_of_sample_map="ferradans", **tight), plan),
        ):
            fitted.fit(Xs=x, Xt=y)
            # entropic plans meet their marginals to 1e-6
            np.testing.assert_allclose(ot.barycentric(own, y), fitted.transform(Xs=x), atol=2e-5)
            np.testing.assert_allclose(ot.transform(own, x, y, new), fitted.transform(Xs=new), atol=2e-5)
        smooth = pot.da.SinkhornTransport(reg_e=0.5, method="sinkhorn_log", **tight).fit(Xs=x, Xt=y)
        apart = ((new[:, None] - y) ** 2).sum(axis=2)
        np.testing.assert_allclose(
            ot.entropic_map(apart, y, log["v"], 0.5), smooth.transform(Xs=new), atol=2e-5
        )
        at_sources = ot.entropic_map(cost, y, log["v"], 0.5)
        np.testing.assert_allclose(at_sources, ot.barycentric(plan, y), atol=1e-5)

    def test_sources_without_mass_move_as_the_nearest_or_are_an_error(self):
        x, y = np.array([[0.0, 0.0], [5.0, 0.0], [6.0, 1.0]]), np.array([[0.0, 1.0], [5.0, 3.0]])
        plan = np.array([[0.5, 0.0], [0.0, 0.5], [0.0, 0.0]])
        with self.assertRaisesRegex(ValueError, "rows without mass have no image: 2"):
            ot.barycentric(plan, y)
        np.testing.assert_array_equal(ot.barycentric(plan, y, x), [[0, 1], [5, 3], [6, 4]])
        np.testing.assert_array_equal(ot.transform(plan, x, y, [[0.0, 0.5]]), [[0, 1.5]])
        # to a space of one coordinate there is no shift
        np.testing.assert_array_equal(ot.transform(plan, x, y[:, 1:], [[6.0, 1.0]]), [[3]])
        with self.assertRaisesRegex(ValueError, "expected 2 rows"):
            ot.barycentric(plan, x)
        with self.assertRaisesRegex(ValueError, "row 1"):
            ot.barycentric(plan, [[0.0], [np.nan]])

    def test_empty_weights_are_uniform_and_mistakes_are_errors(self):
        _, _, cost = problem(4, 4)
        np.testing.assert_allclose(ot.emd([], [], cost).sum(axis=1), np.full(4, 0.25))
        with self.assertRaisesRegex(Exception, "sum"):
            ot.emd([0.5, 0.5, 0.5, 0.5], [0.25] * 4, cost)
        with self.assertRaisesRegex(ValueError, "square_loss"):
            ot.gromov_wasserstein(cost, cost, loss_fun="kl_loss")


class Measures(unittest.TestCase):
    def test_cka_is_that_of_numpy(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(50, 6)), rng.normal(size=(50, 4))
        y[:, :2] += x[:, :2]
        a, b = x - x.mean(axis=0), y - y.mean(axis=0)
        expected = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
        found = measure(x, y, only="cka_linear")["measures"]["cka_linear"]["value"]
        self.assertAlmostEqual(found, expected, delta=1e-12)


class Signatures(unittest.TestCase):
    """Arguments of POT's functions, against POT. Plans of entropic solvers are right to 1e-5 of the largest."""

    def test_unbalanced_transport_relative_to_other_plans(self):
        a, b, cost = problem()
        a, b = 3 * a, 2 * b
        reference = np.random.default_rng(1).random(cost.shape)
        for options in ({}, {"reg_type": "entropy"}, {"c": reference}):
            with self.subTest(**options), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # POT warns that it replaces `c`
                given = {"log": True, "numItermax": 20_000, **options}
                expected, theirs = pot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, stopThr=1e-12, **given)
                found, ours = ot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, **given)
                np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
                for name in ("logu", "logv"):
                    np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4)
                self.assertAlmostEqual(ours["cost"], (found * cost).sum(), places=5)

    def test_several_targets_give_the_cost_of_each(self):
        a, _, cost = problem()
        b = np.random.default_rng(2).random((30, 3))
        b /= b.sum(axis=0)
        np.testing.assert_allclose(ot.emd2(a, b, cost), pot.emd2(a, b, cost), atol=1e-10)
        for ours, theirs in ((ot.sinkhorn2, pot.sinkhorn2), (ot.sinkhorn, pot.sinkhorn)):
            np.testing.assert_allclose(
                ours(a, b, cost, 0.1), theirs(a, b, cost, 0.1, stopThr=1e-12), atol=1e-6
            )
        found, ours = ot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, log=True)
        expected, theirs = pot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, stopThr=1e-12, log=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(ours["logu"], theirs["logu"], atol=1e-4)

    def test_arguments_come_in_the_order_of_pot(self):
        for module, names in (
            (pot, ("emd", "emd2", "sinkhorn", "sinkhorn2", "sinkhorn_unbalanced")),
            (pot.partial, ("partial_wasserstein", "entropic_partial_wasserstein")),
            (
                pot.gromov,
                (
                    "gromov_wasserstein",
                    "gromov_wasserstein2",
                    "entropic_gromov_wasserstein",
                    "fused_gromov_wasserstein",
                ),
            ),
        ):
            for name in names:
                ours, theirs = (
                    list(inspect.signature(getattr(own, name)).parameters) for own in (ot, module)
                )
                # the last ones are named only: ours, and `**_`
                known = [argument for argument in ours if argument in theirs]
                self.assertEqual(ours[: len(known)], theirs[: len(known)], name)
        a, _, cost = problem()
        b = np.random.default_rng(2).random((30, 2))
        b /= b.sum(axis=0)
        np.testing.assert_allclose(ot.emd2(a, b, cost, 1), pot.emd2(a, b, cost, 1), atol=1e-10)

    def test_unknown_methods_are_refused_as_in_pot(self):
        a, b, cost = problem()
        for call in (
            lambda: ot.sinkhorn(a, b, cost, 0.1, method="magic"),
            lambda: ot.sinkhorn2(a, b, cost, 0.1, method="magic"),
            lambda: ot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, method="magic"),
            lambda: ot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, reg_type="magic"),
        ):
            with self.assertRaisesRegex(ValueError, "expected one of .*, got 'magic'"):
                call()
        with self.assertWarnsRegex(UserWarning, "numItermax"):
            ot.emd(a, b, cost, numItermax=1)

    def test_misspelt_arguments_are_refused(self):
        a, b, cost = problem()
        inner = np.abs(np.subtract.outer(a, a))
        for call in (
            lambda: ot.emd(a, b, cost, numItermx=1),
            lambda: ot.emd2(a, b, cost, retrun_matrix=True),
            lambda: ot.sinkhorn(a, b, cost, 0.1, stopThrr=1e-3),
            lambda: ot.sinkhorn_unbalanced(a, b, cost, 0.1, 1.0, regtype="entropy"),
            lambda: ot.partial_wasserstein(a, b, cost, mass=0.5),
            lambda: ot.entropic_partial_wasserstein(a, b, cost, 0.1, mass=0.5),
            lambda: ot.gromov_wasserstein2(inner, inner, weights=a),
            lambda: ot.entropic_gromov_wasserstein(inner, inner, eps=0.1),
        ):
            with self.assertRaisesRegex(TypeError, "unexpected keyword argument"):
                call()
        np.testing.assert_allclose(ot.emd(a, b, cost, numThreads="max", check_marginals=False).sum(), 1)
        ot.sinkhorn(a, b, cost, 0.1, method="sinkhorn_stabilized", tau=1e3, print_period=10)

    def test_what_a_conversion_would_drop_is_refused(self):
        a, b, cost = problem()
        inner = np.abs(np.subtract.outer(a, a))
        cases = (
            (lambda: ot.emd(a, b, np.ma.masked_greater(cost, 0.5)), "masked"),
            (lambda: ot.sinkhorn(a, b, cost + 1j, 0.1), "real numbers"),
            (lambda: ot.emd(a, b, csr_matrix(cost)), "toarray"),
            (lambda: ot.emd(a[:, None], b[:, None], cost), r"a: expected 20 weights on one axis"),
            (lambda: ot.gromov_wasserstein(np.zeros((0, 0)), inner), r"C1: expected a matrix"),
            (lambda: ot.gromov_wasserstein(inner, inner, starts=0), "starts"),
            (lambda: ot.entropic_map(cost, np.ones((30, 2)), np.zeros(30), 0.0), "positive reg"),
            (lambda: measure(cost, cost, labels=[0.2, 0.7] * 10), "labels: expected one whole number"),
            (lambda: measure(cost, cost, labels=[-1] * 20), "labels: expected one whole number"),
            (lambda: measure(cost, cost, labels=["a"] * 20), "labels: expected one whole number"),
            (lambda: measure(cost, cost, null=-1), "null"),
            (lambda: measure(np.ma.masked_greater(cost, 0.5), cost), "masked"),
        )
        for call, message in cases:
            with self.assertRaisesRegex((TypeError, ValueError), message), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
        plan = ot.gromov_wasserstein(inner, inner, [], [])
        np.testing.assert_allclose(plan.sum(axis=1), 1 / 20, atol=1e-6)


if __name__ == "__main__":
    unittest.main()
