"""Raw items as a run takes them: paths and texts. Other kinds are written to files of a temporary folder."""

import os
import struct
import tempfile
from pathlib import Path

import numpy as np


class Items:
    """Writes items that are not in files. Use it as a context manager: the files live as long as it."""

    def __enter__(self):
        self._folder = None
        self._count = 0
        return self

    def __exit__(self, *_):
        if self._folder is not None:
            self._folder.cleanup()

    def column(self, modality, takes, items):
        """Returns the items of one modality as strings.

        `takes` is ``"text"``, ``"path"`` or ``"row"``, as the run says.
        """
        if isinstance(items, (str, bytes, os.PathLike)) or not hasattr(items, "__iter__"):
            raise TypeError(f"{modality}: expected a list of items, got {items!r}: put it in a list")
        return [self._item(f"{modality}[{at}]", takes, item) for at, item in enumerate(items)]

    def _item(self, place, takes, item):
        if takes == "row":
            if isinstance(item, (int, np.integer)):
                return str(int(item))
            raise TypeError(
                f"{place}: expected a row number or an array of vectors, got {type(item).__name__}"
            )
        if takes == "text":
            if isinstance(item, str):
                return item
            raise TypeError(f"{place}: expected a text, got {type(item).__name__}")
        if isinstance(item, (str, os.PathLike)):
            written = os.fspath(item)
            if "://" in written:
                raise ValueError(
                    f"{place}: {written!r} is an address; download it and give its path or bytes"
                )
            return str(Path(written).absolute())
        if isinstance(item, (bytes, bytearray, memoryview)):
            return self._write(bytes(item), "")
        if isinstance(item, dict) and {"array", "sampling_rate"} <= item.keys():
            return self._write(_wav(place, item["array"], item["sampling_rate"]), ".wav")
        if hasattr(item, "save") and hasattr(item, "mode"):
            return self._picture(item)
        if isinstance(item, np.ndarray):
            if item.dtype != np.uint8 or item.ndim not in (2, 3):
                raise TypeError(
                    f"{place}: expected pixels of type uint8 and shape (height, width, 3) or (height, width),"
                    f" got {item.dtype} {item.shape}; a sound is a dict with `array` and `sampling_rate`"
                )
            from PIL import Image

            return self._picture(Image.fromarray(item))
        raise TypeError(
            f"{place}: expected a path, bytes, a PIL image, pixels, or a dict with `array` and "
            f"`sampling_rate`, got {type(item).__name__}"
        )

    def _picture(self, image):
        path = self._path(".png")
        image.save(path)
        return path

    def _write(self, content, suffix):
        path = self._path(suffix)
        Path(path).write_bytes(content)
        return path

    def _path(self, suffix):
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="chiasm-")
        self._count += 1
        return os.path.join(self._folder.name, f"{self._count}{suffix}")


def _wav(place, samples, rate):
    """Returns samples (n,) or (channels, n) as a WAV file of 32-bit floats."""
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim not in (1, 2):
        raise TypeError(f"{place}: expected samples of shape (n,) or (channels, n), got {samples.shape}")
    channels = 1 if samples.ndim == 1 else len(samples)
    if not 1 <= channels <= 64:
        raise TypeError(f"{place}: expected samples of shape (n,) or (channels, n), got {samples.shape}")
    if not 0 < rate < 2**24:
        raise ValueError(f"{place}: expected a sampling rate in Hz, got {rate}")
    data = np.ascontiguousarray(np.atleast_2d(samples).T).tobytes()
    rate = int(rate)
    header = struct.pack("<HHIIHH", 3, channels, rate, rate * channels * 4, channels * 4, 32)
    body = (
        b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
