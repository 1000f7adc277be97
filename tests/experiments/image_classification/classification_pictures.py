"""Folders of made pictures, of odd sizes and modes."""

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
MODES = [("RGB", "jpg"), ("L", "jpeg"), ("CMYK", "JPG"), ("P", "png"), ("RGBA", "png")]
SIZES = [(500, 1), (37, 91), (1, 1), (64, 64), (5, 300)]


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(256, size=(height, width, 3), dtype=np.uint8))


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def make_tree(folder, per_class=5, classes=("cat", "dog"), modes=(("RGB", "png"),)):
    """Write pictures of noise of different sizes, and return the folder.

    Args:
        modes: PIL's modes and the suffixes of files, in turn.
    """
    for part in ("train", "val"):
        for label, name in enumerate(classes):
            for k in range(per_class):
                image = noise(*SIZES[k % len(SIZES)], seed=10 * k + label)
                mode, suffix = modes[k % len(modes)]
                save(image.convert(mode), folder / part / name / f"{k}.{suffix}")
    return folder
