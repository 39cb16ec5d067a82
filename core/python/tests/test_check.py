"""Checks and Jacobians of maps against closed forms."""

import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper

import chiasm


def model(weights):
    """Returns the bytes of a map z = tanh(x W)."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Tanh", ["y"], ["z"])]
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])]
        for name, width in zip("xz", weights.shape, strict=True)
    ]
    weight = onnx.numpy_helper.from_array(weights, "w")
    graph = helper.make_graph(nodes, "map", *ports, [weight])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


class Maps(unittest.TestCase):
    def test_jacobians_are_those_of_the_closed_form(self):
        rng = np.random.default_rng(0)
        weights = rng.normal(size=(4, 3)).astype(np.float32)
        points = rng.normal(size=(7, 4)).astype(np.float32)
        found = chiasm.jacobian(model(weights), points)
        slope = 1 - np.tanh(points @ weights) ** 2
        expected = slope[:, :, None] * weights.T
        self.assertEqual(found.shape, (7, 3, 4))
        np.testing.assert_allclose(found, expected, atol=1e-5)  # single precision

    def test_points_that_are_no_rows_of_numbers_are_refused(self):
        weights = np.eye(3, dtype=np.float32)
        for points in (np.ones(3), np.ones((0, 3)), np.full((2, 3), np.nan), np.full((2, 3), 1e39)):
            for call in (chiasm.jacobian, chiasm.check):
                with self.assertRaisesRegex(ValueError, "^points: "), np.errstate(over="ignore"):
                    call(model(weights), points)

    def test_a_map_whose_rows_depend_on_each_other_is_refused(self):
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "m"], ["z"]),
        ]
        ports = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])] for name in "xz"]
        graph = helper.make_graph(nodes, "centred", *ports)
        opset = [helper.make_opsetid("", 17)]
        map = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
        points = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32)
        for call in (chiasm.jacobian, chiasm.check):
            for rows in (points, points[:1]):
                with self.assertRaisesRegex(chiasm.ChiasmError, "does not map every row by itself"):
                    call(map, rows)

    def test_a_map_that_loses_a_dimension_fails(self):
        rng = np.random.default_rng(1)
        weights = rng.normal(size=(4, 4)).astype(np.float32)
        points = rng.normal(size=(64, 4)).astype(np.float32) * 0.3
        whole = {check["name"]: check for check in chiasm.check(model(weights), points)["checks"]}
        weights[:, 3] = weights[:, 2]
        lost = {check["name"]: check for check in chiasm.check(model(weights), points)["checks"]}
        self.assertEqual(whole["rank"]["verdict"], "pass")
        self.assertEqual(lost["rank"]["verdict"], "fail")


if __name__ == "__main__":
    unittest.main()
