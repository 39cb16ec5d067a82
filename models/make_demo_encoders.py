"""Trains the demo's two small encoders and writes models/demo-image and models/demo-text.

    python3 -m venv ~/demo-encoders
    ~/demo-encoders/bin/pip install -r models/requirements.txt
    ~/demo-encoders/bin/python models/make_demo_encoders.py         # both; a quarter of an hour on two cores
    ~/demo-encoders/bin/python models/make_demo_encoders.py image   # or one of them
    ~/demo-encoders/bin/python models/check_demo_encoders.py        # how well the two can be aligned

Run from anywhere inside the repository; `cargo` makes the training scenes. The two encoders never meet: the image
encoder learns from pictures and their facts in one world (seed 1001) and never sees a word, the text encoder from
captions alone in another (seed 1002) and never sees a picture. The demo's own world (seed 2026) is seen by neither.

What each learns, and how, is said at the top of demo_encoders/image.py and demo_encoders/text.py.
"""

import argparse
import tempfile
from pathlib import Path

from demo_encoders import image, text


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("which", nargs="?", choices=["image", "text"], help="default: both")
    options.add_argument("--steps", type=int, default=None, help="training steps, for a quick trial")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for name, encoder in (("image", image), ("text", text)):
            if chosen.which in (None, name):
                encoder.make(Path(work) / name, chosen.steps or encoder.STEPS)


if __name__ == "__main__":
    main()
