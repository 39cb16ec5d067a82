"""A run as the module of a SentenceTransformer, against the vectors of the run."""

import tempfile
import unittest

import numpy as np

import chiasm

try:
    from sentence_transformers import SentenceTransformer

    from chiasm.sentence_transformers import RunModule
except ImportError:
    SentenceTransformer = None


class FakeRun:
    """What the module uses of a run: texts become their lengths, pictures their sums."""

    modalities = ["title", "text", "photo"]
    dim = 2
    manifest = {
        "modalities": [
            {"name": name, "encoders": [{"adapter": adapter}]}
            for name, adapter in (("title", "text"), ("text", "text"), ("photo", "image"), ("row", "vector"))
        ]
    }

    def encode(self, **items):
        ((name, items),) = items.items()
        if name == "photo":
            return np.array([[np.asarray(item).sum(), 3] for item in items], np.float32)
        return np.array([[len(item), {"title": 1, "text": 2}[name]] for item in items], np.float32)


@unittest.skipIf(SentenceTransformer is None, "needs sentence-transformers")
class RunModuleTest(unittest.TestCase):
    def test_the_kind_of_an_item_chooses_the_modality(self):
        model = SentenceTransformer(modules=[RunModule(FakeRun())], similarity_fn_name="dot")
        self.assertEqual(model.encode(["abc", "a"]).tolist(), [[3, 1], [1, 1]])
        pixels = np.ones((4, 5, 3), np.uint8)
        self.assertEqual(model.encode([pixels]).tolist(), [[60, 3]])
        self.assertEqual(model.encode([{"image": pixels}]).tolist(), [[60, 3]])
        self.assertEqual(model.encode(["a"], prompt="bc")[0].tolist(), [3, 1])
        model = SentenceTransformer(modules=[RunModule(FakeRun(), text="text")])
        self.assertEqual(model.encode(["abc"]).tolist(), [[3, 2]])
        self.assertEqual(model.get_embedding_dimension(), 2)

    def test_other_items_and_modalities_are_refused(self):
        with self.assertRaisesRegex(ValueError, "expected kinds of"):
            RunModule(FakeRun(), text="sound")
        with self.assertRaisesRegex(ValueError, "expected items of text, image"):
            RunModule(FakeRun()).preprocess([3.5])

    def test_no_run(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(chiasm.ChiasmError):
            RunModule(folder)


if __name__ == "__main__":
    unittest.main()
