"""Draws the test pictures and stores what Pillow makes of them.

    python make.py        # needs numpy and "pillow < 13"; rewrites pictures/, cases.json and golden.bin beside this file

Why below 13: until then Pillow resampled columns before rows always, and every published model was trained so; Pillow 13
swaps the two where the height shrinks much more than the width, which moves hard edges by some levels.
Everything is seeded. golden.bin holds the expected bytes of all cases one after the other; cases.json says which
bytes belong to which case. Made with the Pillow version that cases.json names.
"""
import json, pathlib, struct, zlib
import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageOps

assert int(PIL.__version__.split(".")[0]) < 13, "see above"
HERE = pathlib.Path(__file__).parent
PICTURES = HERE / "pictures"
W, H = 37, 27  # odd on purpose: chroma of half the size does not divide it


def drawing(width=W, height=H, seed=7):
    """Gradients, overlapping shapes with hard edges, and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 7 + y / 5)], -1)
    image = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = int(rng.integers(0, width - 8)), int(rng.integers(0, height - 8))
        box = [left, top, left + int(rng.integers(6, 20)), top + int(rng.integers(6, 20))]
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    noisy = np.asarray(image).astype(int) + rng.integers(-6, 7, (height, width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def png16(array, colour):
    """A 16-bit PNG by hand: Pillow cannot write 16-bit colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures():
    rgb = drawing()
    alpha = Image.fromarray(np.linspace(0, 255, W * H).astype(np.uint8).reshape(H, W))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    yield "rgb.png", rgb, {}
    yield "rgba.png", rgba, {}
    yield "grey.png", rgb.convert("L"), {}
    yield "grey-alpha.png", rgba.convert("LA"), {}
    yield "one-bit.png", rgb.convert("1"), {}
    yield "palette.png", rgb.quantize(16), {"transparency": 3}
    yield "four-bit.png", rgb.quantize(9), {"bits": 4}
    yield "rgb.bmp", rgb, {}
    yield "palette.bmp", rgb.quantize(32), {}
    yield "lossless.webp", rgba, {"lossless": True, "exact": True}
    yield "lossy.webp", rgb, {"quality": 80}
    yield "420.jpg", rgb, {"quality": 85, "subsampling": 2}
    yield "422.jpg", rgb, {"quality": 85, "subsampling": 1}
    yield "444.jpg", rgb, {"quality": 92, "subsampling": 0}
    yield "progressive.jpg", rgb, {"quality": 80, "progressive": True}
    yield "grey.jpg", rgb.convert("L"), {"quality": 85}
    yield "cmyk.jpg", rgb.convert("CMYK"), {"quality": 90}
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "turned.jpg", rgb, {"quality": 90, "exif": turned}
    tall = drawing(47, 106, seed=11)
    yield "tall.png", tall, {}
    yield "small.png", drawing(15, 12, seed=5), {}


def shortest_side_crop(image, kernel, shortest, height, width):
    """transformers' get_resize_output_image_size, then its center_crop."""
    w, h = image.size
    other = int(shortest * max(w, h) / min(w, h))
    whole = np.asarray(image.resize((shortest, other) if w <= h else (other, shortest), kernel))
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    return whole[top : top + height, left : left + width]


def longest_side(image, kernel, longest):
    """SAM's ResizeLongestSide.get_preprocess_shape, before the padding."""
    w, h = image.size
    scale = longest * 1.0 / max(h, w)
    return np.asarray(image.resize((int(w * scale + 0.5), int(h * scale + 0.5)), kernel))


def main():
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.iterdir():
        old.unlink()
    for name, image, options in pictures():
        image.save(PICTURES / name, **options)
    rng = np.random.default_rng(3)
    deep = rng.integers(0, 65536, (H, W, 3))
    (PICTURES / "deep.png").write_bytes(png16(deep, 2))
    (PICTURES / "deep-grey.png").write_bytes(png16(deep[..., 0], 0))
    whole = (PICTURES / "420.jpg").read_bytes()
    (PICTURES / "truncated.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    whole = (PICTURES / "rgb.png").read_bytes()
    (PICTURES / "truncated.png").write_bytes(whole[: len(whole) * 2 // 3])

    cases, golden = [], bytearray()

    def add(kind, file, array, **more):
        data = np.ascontiguousarray(array, dtype=np.uint8)
        cases.append({"kind": kind, "file": file, "height": data.shape[0], "width": data.shape[1],
                      "offset": len(golden), **more})
        golden.extend(data.tobytes())

    for path in sorted(PICTURES.iterdir()):
        if path.name.startswith("truncated"):
            continue
        if path.name == "deep-grey.png":  # Pillow clips at 255; the high byte is what it does with 16-bit colour
            add("decode", path.name, np.repeat((deep[..., :1] >> 8), 3, axis=2), orient=False)
            continue
        add("decode", path.name, np.asarray(Image.open(path).convert("RGB")), orient=False)
    turned = Image.open(PICTURES / "turned.jpg")
    add("decode", "turned.jpg", np.asarray(ImageOps.exif_transpose(turned).convert("RGB")), orient=True)

    filters = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS, "nearest": Image.NEAREST,
               "box": Image.BOX, "hamming": Image.HAMMING}
    for file in ["tall.png", "rgb.png", "small.png"]:
        image = Image.open(PICTURES / file).convert("RGB")
        for name, kernel in filters.items():
            add("resize", file, np.asarray(image.resize((26, 22), kernel)), filter=name, resize="stretch")
            cropped = shortest_side_crop(image, kernel, shortest=24, height=19, width=22)
            add("resize", file, cropped, filter=name, resize="shortest-side-crop", shortest=24)
            square = np.asarray(image.resize((24, 24), kernel))[2:21, 1:23]
            add("resize", file, square, filter=name, resize="stretch-crop", shortest=24)
            add("resize", file, longest_side(image, kernel, 29), filter=name, resize="longest-side-pad", longest=29)

    (HERE / "golden.bin").write_bytes(golden)
    versions = {"pillow": PIL.__version__, "numpy": np.__version__}
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    (HERE / "cases.json").write_text(f'{{"made_with": {json.dumps(versions)}, "cases": [\n  {lines}\n]}}\n')
    print(len(cases), "cases,", len(golden), "golden bytes,", sum(p.stat().st_size for p in PICTURES.iterdir()), "picture bytes")


main()
