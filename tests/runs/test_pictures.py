"""Test that pictures of all modes become upright RGB images."""

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from rl_coordconv.runs.pictures import read_rgb

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)
ORIENTATION, X_RESOLUTION = 0x0112, 0x011A


def plain(colour, mode="RGB"):
    return Image.new(mode, (37, 91), colour)


def half_grey(mode):
    grey = plain(128, "L")
    if mode == "I;16":
        return Image.fromarray(np.full((91, 37), 128 * 256 + 255, dtype=np.uint16))
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("image", "name", "colour"),
    [
        (half_grey("L"), "a.jpg", (128, 128, 128)),
        (half_grey("I;16"), "a.png", (128, 128, 128)),
        (half_grey("I;16"), "a.tif", (128, 128, 128)),
        (half_grey("F"), "a.tif", (128, 128, 128)),
        (plain(1, "1"), "a.png", WHITE),
        (plain((128, 255), "LA"), "a.png", (128, 128, 128)),
        (plain((128, 0), "LA"), "a.png", WHITE),
        (plain(RED).quantize(4), "a.png", RED),
        (plain((0, 0, 255, 0), "RGBA"), "a.png", WHITE),
        (plain((0, 0, 255, 51), "RGBA"), "a.webp", (204, 204, 255)),
        (plain((0, 255, 255, 0), "CMYK"), "a.tif", RED),
        (plain((0, 255, 255, 0), "CMYK"), "a.jpg", RED),
    ],
)
def test_all_modes_become_rgb(tmp_path, image, name, colour):
    lossless = {"lossless": True} if name.endswith("webp") else {}
    image.save(tmp_path / name, **lossless)
    read = read_rgb(tmp_path / name)
    assert (read.mode, read.size) == ("RGB", (37, 91))
    assert np.abs(np.asarray(read).astype(int) - colour).max() <= 1  # JPEG is not exact


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_pictures_are_turned_upright(tmp_path, orientation, suffix):
    """The stored rows are the visual top, bottom, or a side, as the standard of Exif says."""
    upright = np.zeros((32, 64, 3), dtype=np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = RED, WHITE, BLUE
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),  # it must be turned clockwise to be upright
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored[orientation])).save(path, exif=exif)
    read = read_rgb(path)
    assert read.size == (64, 32)
    corners = [read.getpixel(xy) for xy in ((4, 4), (60, 4), (4, 28), (60, 28))]
    assert np.allclose(corners, [RED, WHITE, BLUE, (0, 0, 0)], atol=3)


def test_damaged_metadata_do_not_matter(tmp_path):
    """PIL's own function raises a TypeError here."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[X_RESOLUTION] = IFDRational(72, 1)
    path = tmp_path / "a.jpg"
    plain(RED).save(path, exif=exif)
    entry = bytes.fromhex("011a0005")  # this tag is a rational number
    assert path.read_bytes().count(entry) == 1
    path.write_bytes(path.read_bytes().replace(entry, bytes.fromhex("011a0007")))  # raw bytes
    assert read_rgb(path).size == (91, 37)


def test_what_cannot_be_read_is_none(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(91, 37, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("a text")
    (tmp_path / "empty.png").touch()
    assert read_rgb(tmp_path / "whole.jpg").size == (37, 91)
    for name in ("truncated.jpg", "text.jpg", "empty.png", "missing.png"):
        assert read_rgb(tmp_path / name) is None
