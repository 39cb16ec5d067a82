"""The peer of prepare.rs: the same pictures by Pillow and NumPy in a thread pool, as one would write it today.

    python peer.py FOLDER THREADS ROUNDS      # prints the seconds of each round as one line of JSON
"""
import json, pathlib, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from PIL import Image

FILES = sorted(pathlib.Path(sys.argv[1]).glob("*.jpg"))
THREADS, ROUNDS = int(sys.argv[2]), int(sys.argv[3])


def prepare(path):
    picture = Image.open(path)
    picture.draft("RGB", (224, 224))  # decodes large pictures at a fraction of their size: a liberty that ours does not take
    picture = picture.convert("RGB").resize((224, 224), Image.BICUBIC)
    values = np.asarray(picture).transpose(2, 0, 1).astype(np.float32, order="C")
    values -= np.float32(128)
    values *= np.float32(1 / 128)
    return values


def main():
    seconds = []
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(prepare, FILES[:50]))
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in pool.map(prepare, FILES):
                pass
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"files": len(FILES), "seconds": seconds}))


main()
