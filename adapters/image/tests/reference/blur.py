"""Stores what scipy.ndimage makes of pictures/rgb.png blurred with each of SIGMAS, as levels, in blur.bin.

    python blur.py        # needs numpy, scipy and pillow
"""
import pathlib

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIGMAS = [1.0, 2.0, 4.0]
HERE = pathlib.Path(__file__).parent
picture = np.asarray(Image.open(HERE / "pictures" / "rgb.png")).astype(float)
blurred = [gaussian_filter(picture, (sigma, sigma, 0), mode="nearest") for sigma in SIGMAS]
(HERE / "blur.bin").write_bytes(np.stack(blurred).round().astype(np.uint8).tobytes())
