"""Image classifiers, of which the tensor before the class scores is the embedding."""

import numpy as np
from onnx import TensorProto as T, numpy_helper

from graphs import Graph
from kinds import D, SIDE, TEXTS, kind, numbers, write
from pictures import pixels

KERNELS = numbers(22, 27, D).T.reshape(D, 3, 3, 3) / 8
SCORES = numbers(23, D, 5)


def computed_paddings(graph):
    """One pixel on each side, as PyTorch's older exporter writes `F.pad(x, (1, 1, 1, 1))`."""
    zero = numpy_helper.from_array(np.array([0]))
    zeros = graph.op("ConstantOfShape", graph.const(np.array([4])), value=zero)
    pads = graph.op("Concat", graph.const(np.array([1, 1, 1, 1])), zeros, axis=0)
    pairs = graph.op("Reshape", pads, graph.const(np.array([-1, 2])))
    bounds = [graph.const(np.array([value])) for value in (-1, -(2**63) + 1, 0, -1)]
    turned = graph.op("Transpose", graph.op("Slice", pairs, *bounds), perm=[1, 0])
    return graph.op("Reshape", turned, graph.const(np.array([-1])))


def classifiers(root):
    def classifier(name, what, old):
        graph = Graph()
        x = graph.input("pixel_values", T.FLOAT, "B", 3, SIDE, SIDE)
        pads = computed_paddings(graph) if old else graph.const(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        maps = graph.op("Conv", graph.op("Pad", x, pads), graph.const(KERNELS))
        pooled = graph.op("GlobalAveragePool", graph.op("Relu", maps))
        if old:
            batch = graph.op("Gather", graph.op("Shape", x), graph.const(np.array(0)), axis=0)
            batch = graph.op("Unsqueeze", batch, graph.const(np.array([0])))
            shape = graph.op("Concat", batch, graph.const(np.array([-1])), axis=0)
            flat = graph.op("Reshape", pooled, shape)
        else:
            flat = graph.op("Flatten", pooled, axis=1)
        graph.output(graph.op("Gemm", flat, graph.const(SCORES)), "logits", "B", 5)
        graph.save(root / name / "model.onnx")
        side = {"height": SIDE, "width": SIDE}
        config = {"image_processor_type": "ViTImageProcessor", "size": side, "resample": 3}
        means = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
        write(root / name / "preprocessor_config.json", {**config, **means})
        kind(name, what, takes="image", vectors=[embed(row) for row in range(len(TEXTS))])

    def embed(row):
        levels = (pixels(root, row) / 255 - 0.5) / 0.25
        x = np.pad(levels.transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1)))
        k = KERNELS.astype(np.float64)
        places = range(SIDE)
        maps = [
            np.maximum((k * x[:, a : a + 3, b : b + 3]).sum((1, 2, 3)), 0) for a in places for b in places
        ]
        return np.mean(maps, 0)

    classifier("image-classifier", "a classifier: the tensor before its scores", old=False)
    classifier(
        "image-classifier-old", "the same, with paddings and a last shape that the graph computes", old=True
    )
