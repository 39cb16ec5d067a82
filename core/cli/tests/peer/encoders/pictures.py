"""Image models, and a file with an image and a text encoder."""

import numpy as np
from onnx import TensorProto as T
from PIL import Image

from graphs import Graph, Text
from kinds import D, KINDS, SIDE, TEXTS, kind, numbers, write
from reference import MEAN, of_texts, tokenizer

V = numbers(21, 3 * SIDE * SIDE, D) / 8


def pixels(root, row, mode="RGB", size=(SIDE, SIDE), crop=None, resample=Image.Resampling.BICUBIC):
    picture = Image.open(root / f"images/{row}.png").convert("RGB").convert(mode)
    if crop:
        scale = [crop * side // min(picture.size) for side in picture.size]
        picture = picture.resize(scale, resample)
        left, top = (scale[0] - SIDE) // 2, (scale[1] - SIDE) // 2
        picture = picture.crop((left, top, left + SIDE, top + SIDE))
    else:
        picture = picture.resize(size, resample)
    levels = np.asarray(picture, np.float64)
    return levels[:, :, None] if mode == "L" else levels


def images(root):
    def picture(
        name,
        what,
        dims=("B", 3, SIDE, SIDE),
        dtype=T.FLOAT,
        config={},
        prepare=None,
        refused=None,
        by="plan",
        add=(),
        map_output=False,
        more=(),
    ):
        graph = Graph()
        x = graph.op("Cast", graph.input("pixel_values", dtype, *dims), to=T.FLOAT)
        for key, kind_of, *shape in more:
            graph.input(key, kind_of, *shape)
        if map_output:
            graph.output(
                graph.op("Conv", x, graph.const(V[:27].T.reshape(D, 3, 3, 3))), "features", "B", D, 6, 6
            )
        else:
            channels = 1 if 1 in dims[1:] else 3
            rows = V[: channels * SIDE * SIDE]
            flat = graph.op("Reshape", x, graph.const(np.array([-1, channels * SIDE * SIDE])))
            graph.output(graph.op("MatMul", flat, graph.const(rows)), "image_embeds", dims[0], D)
        graph.save(root / name / "model.onnx")
        write(
            root / name / "preprocessor_config.json",
            {
                "image_processor_type": "ViTImageProcessor",
                "do_resize": True,
                "size": {"height": SIDE, "width": SIDE},
                "resample": 3,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.5, 0.4, 0.3],
                "image_std": [0.5, 0.25, 0.2],
                **config,
            },
        )
        vectors = None if refused else [prepare(row) for row in range(len(TEXTS))]
        kind(name, what, takes="image", vectors=vectors, refused=refused, by=by, add=list(add))

    def embed(values):
        return values.reshape(-1) @ V[: values.size].astype(np.float64)

    def scaled(levels, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2)):
        return (levels / 255 - np.array(mean)) / np.array(std)

    chw = lambda values: values.transpose(2, 0, 1)
    plain = lambda row: embed(chw(scaled(pixels(root, row))))
    picture("image", "a Hugging Face folder of an image model", prepare=plain)
    picture(
        "image-nhwc",
        "channels last",
        ("B", SIDE, SIDE, 3),
        prepare=lambda row: embed(scaled(pixels(root, row))),
    )
    picture(
        "image-bgr",
        "`do_flip_channel_order`",
        config={"do_flip_channel_order": True, "do_normalize": False},
        prepare=lambda row: embed(chw(pixels(root, row)[:, :, ::-1] / 255)),
    )
    picture("image-half", "a `float16` input", dtype=T.FLOAT16, prepare=plain)
    picture("image-double", "a `float64` input", dtype=T.DOUBLE, prepare=plain)
    picture("image-u8", "a `uint8` input", dtype=T.UINT8, prepare=lambda row: embed(chw(pixels(root, row))))
    picture(
        "image-u8-nhwc",
        "a `uint8` input, channels last",
        ("B", SIDE, SIDE, 3),
        T.UINT8,
        prepare=lambda row: embed(pixels(root, row)),
    )
    picture(
        "image-gray",
        "one channel",
        ("B", 1, SIDE, SIDE),
        config={"image_mean": [0.5], "image_std": [0.25]},
        prepare=lambda row: embed(chw(scaled(pixels(root, row, "L"), 0.5, 0.25))),
    )
    picture("image-batch-1", "a fixed batch of 1", (1, 3, SIDE, SIDE), prepare=plain)
    picture("image-batch-8", "a fixed batch of 8", (8, 3, SIDE, SIDE), prepare=plain)
    picture("image-free", "free height and width", ("B", 3, "H", "W"), prepare=plain)
    picture(
        "image-crop",
        "shortest edge and centre crop",
        config={
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 10},
            "crop_size": {"height": SIDE, "width": SIDE},
            "do_center_crop": True,
        },
        prepare=lambda row: embed(chw(scaled(pixels(root, row, crop=10)))),
    )
    picture(
        "image-bilinear",
        "`resample` 2",
        config={"resample": 2},
        prepare=lambda row: embed(chw(scaled(pixels(root, row, resample=Image.Resampling.BILINEAR)))),
    )

    def convolved(row):
        x, k = chw(scaled(pixels(root, row))), V[:27].T.reshape(D, 3, 3, 3).astype(np.float64)
        maps = [(k * x[:, a : a + 3, b : b + 3]).sum((1, 2, 3)) for a in range(6) for b in range(6)]
        return np.mean(maps, 0)

    picture("image-map", "a feature map, whose positions are averaged", prepare=convolved, map_output=True)
    picture("image-pad", "`do_pad` in the file", config={"do_pad": True}, refused=["do_pad"], by="add")
    picture(
        "image-size",
        "another size than the graph has",
        refused=["size"],
        by="add",
        add=["--set", "preprocessing.size=[4,4]"],
        prepare=plain,
    )
    picture(
        "image-u8-scale",
        "`scale` 1/255 for a `uint8` input",
        dtype=T.UINT8,
        refused=["u8"],
        by="add",
        add=["--set", "preprocessing.scale=0.00392"],
    )
    picture(
        "image-inputs",
        "a second input that does not follow from a picture",
        refused=["boxes"],
        by="add",
        more=[("boxes", T.FLOAT, "B", 4)],
    )


def both_towers(root):
    """A file with two encoders, as CLIP's."""
    for name, adapter in [("clip-text", "text"), ("clip-image", "image")]:
        graph = Text()
        text = graph.mean()
        x = graph.input("pixel_values", T.FLOAT, "I", 3, SIDE, SIDE)
        flat = graph.op("Reshape", x, graph.const(np.array([-1, 3 * SIDE * SIDE])))
        image = graph.op("MatMul", flat, graph.const(V))
        graph.output(
            graph.op("MatMul", text, graph.op("Transpose", image, perm=[1, 0])), "logits_per_text", "B", "I"
        )
        graph.output(text, "text_embeds", "B", D)
        graph.output(image, "image_embeds", "I", D)
        graph.save(root / name / "model.onnx")
        tokenizer(root / name, length=48)
        write(
            root / name / "preprocessor_config.json",
            {
                "image_processor_type": "CLIPImageProcessor",
                "size": {"height": SIDE, "width": SIDE},
                "resample": 3,
                "do_center_crop": False,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            },
        )
        if adapter == "text":
            kind(
                name,
                "a file with two encoders: the text encoder",
                vectors=of_texts(MEAN),
                add=["--adapter", adapter],
            )
            (root / "clip").mkdir()
            KINDS.append(
                {
                    "kind": "clip",
                    "what": "a file with two encoders, and no choice",
                    "takes": "text",
                    "add": [],
                    "path": "../clip-text",
                    "refused": ["image", "text", "--adapter"],
                    "by": "add",
                }
            )
        else:
            vectors = [
                ((pixels(root, row) / 255 - 0.5) / 0.5).transpose(2, 0, 1).reshape(-1) @ V
                for row in range(len(TEXTS))
            ]
            kind(
                name,
                "the same: the image encoder",
                takes="image",
                vectors=vectors,
                add=["--adapter", adapter],
            )
