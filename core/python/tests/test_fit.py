"""Fitting a recipe from Python."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import numpy as np
import onnxruntime

import chiasm

RECIPE = '[encoders.a]\nvectors = "a.npy"\n[encoders.b]\nvectors = "b.npy"\n[align]\nplugin = "ridge"\n'


def write(folder, rows=120):
    """Writes two files of paired vectors and a recipe."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, 4))
    np.save(folder / "a.npy", (z @ rng.normal(size=(4, 8))).astype(np.float32))
    np.save(folder / "b.npy", (z @ rng.normal(size=(4, 6))).astype(np.float32))
    (folder / "recipe.toml").write_text(RECIPE)


class Listener:
    def __init__(self):
        self.stages = []

    def begin(self, stage, total):
        self.stages.append(stage)

    def advance(self, done):
        pass

    def status(self, text):
        pass

    def end(self):
        pass

    def note(self, message):
        pass


class Fit(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name)
        write(self.path)

    def test_a_recipe_is_fitted_and_reported(self):
        listener = Listener()
        run = chiasm.fit(
            self.path / "recipe.toml",
            self.path / "run",
            progress=listener,
            align__plugin="procrustes",
            seed=3,
        )
        self.assertTrue(run.report["fresh"])
        self.assertTrue((self.path / "run" / "model.onnx").is_file())
        self.assertIn("procrustes", (self.path / "run" / "manifest.json").read_text())
        self.assertTrue(listener.stages)
        again = chiasm.fit(
            self.path / "recipe.toml", self.path / "run", progress=False, align__plugin="procrustes", seed=3
        )
        self.assertFalse(again.report["fresh"])

    def test_an_opened_run_encodes_and_searches(self):
        run = chiasm.fit(self.path / "recipe.toml", self.path / "run", progress=False)
        again = pickle.loads(pickle.dumps(chiasm.open(self.path / "run")))
        self.assertEqual(again.modalities, ["a", "b"])
        rows = np.load(self.path / "a.npy")
        encoded = run.encode(a=rows)
        np.testing.assert_allclose(encoded, again.encode(a=list(range(len(rows)))), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(encoded, axis=1), 1, atol=1e-5)
        # model.onnx, run by Python's ONNX Runtime
        session = onnxruntime.InferenceSession(self.path / "run" / "model.onnx")
        other = np.load(self.path / "b.npy")
        names = [own.name for own in session.get_inputs()]
        outputs = session.run(["a_embeds", "b_embeds"], dict(zip(names, (rows, other), strict=True)))
        np.testing.assert_allclose(encoded, outputs[0], atol=1e-6)
        both = run.encode(a=rows, b=other)
        np.testing.assert_allclose(both["b"], outputs[1], atol=1e-6)
        scores = run.similarity(both["a"], both["b"])
        self.assertEqual(scores.shape, (120, 120))
        hits = run.search({"a": 7}, "b", top_k=3)
        self.assertEqual(len(hits), 3)
        self.assertEqual(hits, run.search(encoded[7], "b", top_k=3))
        self.assertGreaterEqual(hits[0]["score"], hits[1]["score"])
        predicted = run.predict(a=[0, 1], b=[0, 1])
        np.testing.assert_allclose(predicted["a_embeds"], encoded[:2], atol=1e-6)
        run.save_pretrained(self.path / "copy")
        np.testing.assert_array_equal(chiasm.open(self.path / "copy").encode(a=rows), encoded)
        for wrong, words in [
            ({"c": [1]}, "no modality 'c'; it has a, b"),
            ({"a": rows[:, :3]}, "expected vectors of width 8, got 3"),
            ({"a": rows * np.nan}, "row 0 has the length nan"),
            ({"a": rows * np.float32(1e25)}, "vectors of a length up to 1e19"),
            ({"a": ["x"]}, "expected a row number"),
            ({"a": 3}, "put it in a list"),
            ({}, "one or more of the modalities"),
        ]:
            with self.assertRaisesRegex((ValueError, TypeError, chiasm.ChiasmError), words):
                run.encode(**wrong)

    def test_an_error_has_a_code_a_place_and_help(self):
        (self.path / "recipe.toml").write_text(RECIPE.replace("ridge", "rigde"))
        with self.assertRaises(chiasm.ChiasmError) as caught:
            chiasm.fit(self.path / "recipe.toml", self.path / "run", progress=False)
        error = caught.exception
        self.assertTrue(error.code.startswith("chiasm::"), error.code)
        self.assertIn("rigde", str(error))
        self.assertTrue(error.place.endswith("recipe.toml:6"), error.place)
        self.assertIn("chiasm plugin list", error.help)

    def test_an_interrupt_stops_the_fit(self):
        code = textwrap.dedent(f"""
            import chiasm, signal
            # a shell ignores the signal for programs in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
            class Listener:
                def begin(self, stage, total): print(stage, flush=True)
                def __getattr__(self, name): return lambda *_: None
            try:
                chiasm.fit({str(self.path / "recipe.toml")!r}, {str(self.path / "run")!r},
                progress=Listener(),
                           align__plugin="mlp", align__steps=1_000_000)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        for line in process.stdout:
            if "train" in line or "mlp" in line:
                process.send_signal(signal.SIGINT)
                break
        self.addCleanup(process.kill)
        rest, _ = process.communicate(timeout=60)
        self.assertIn("interrupted", rest)
        self.assertFalse((self.path / "run" / "model.onnx").exists())


if __name__ == "__main__":
    unittest.main()
