"""Fitting a recipe from Python."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import numpy as np

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
        report = chiasm.fit(
            self.path / "recipe.toml", self.path / "run", progress=listener, align__plugin="procrustes", seed=3
        )
        self.assertTrue(report["fresh"])
        self.assertTrue((self.path / "run" / "model.onnx").is_file())
        self.assertIn("procrustes", (self.path / "run" / "run.json").read_text())
        self.assertTrue(listener.stages)
        again = chiasm.fit(
            self.path / "recipe.toml", self.path / "run", progress=False, align__plugin="procrustes", seed=3
        )
        self.assertFalse(again["fresh"])

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
        code = textwrap.dedent(
            f"""
            import chiasm
            class Listener:
                def begin(self, stage, total): print(stage, flush=True)
                def __getattr__(self, name): return lambda *_: None
            try:
                chiasm.fit({str(self.path / "recipe.toml")!r}, {str(self.path / "run")!r}, progress=Listener(),
                           align__plugin="mlp", align__steps=1_000_000)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """
        )
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
        for line in process.stdout:
            if "train" in line or "mlp" in line:
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=60)
        self.assertIn("interrupted", rest)
        self.assertFalse((self.path / "run" / "model.onnx").exists())


if __name__ == "__main__":
    unittest.main()
