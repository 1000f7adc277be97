"""Test the images that are read from a folder."""

import numpy as np
import pytest
from PIL import Image

from rl_coordconv.experiments.generative.folder import read_folder
from rl_coordconv.runs.config import UserError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def stripes(*colours, width=8, height=16):
    """Return vertical stripes, each of one colour."""
    row = np.repeat(np.array(colours, dtype=np.uint8), width, axis=0)
    return Image.fromarray(np.tile(row, (height, 1, 1)))


def plain(colour, mode="RGB"):
    return Image.new(mode, (8, 8), colour)


def colours(images):
    """Return the colour in the middle of each image."""
    middle = images.shape[-1] // 2
    return [tuple(colour) for colour in images[:, :, middle, middle].tolist()]


@pytest.fixture
def save(tmp_path):
    def save(name, image, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        return path

    return save


def test_images_of_all_subfolders_are_read_in_the_order_of_their_paths(save, tmp_path):
    save("b/one.png", plain(BLUE))
    save("c.bmp", plain(GREEN))
    save("a/deep/two.PNG", plain(RED))
    save("a/.thumbnails/two.png", plain(WHITE))
    save("a/._two.png", plain(WHITE))
    (tmp_path / "a" / "labels.csv").write_text("two.PNG,1\n")
    images = read_folder(tmp_path, 16)
    assert images.shape == (3, 3, 16, 16)
    assert colours(images) == [RED, BLUE, GREEN]


def test_linked_folders_are_read(save, tmp_path):
    save("elsewhere/one.png", plain(RED))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "class").symlink_to(tmp_path / "elsewhere")
    assert colours(read_folder(tmp_path / "data", 16)) == [RED]


@pytest.mark.parametrize("turned", [False, True])
def test_the_middle_of_the_longer_side_is_kept(save, tmp_path, turned):
    image = stripes(BLUE, RED, GREEN, BLUE, width=16, height=32)  # 64 by 32
    save("one.png", image.rotate(-90, expand=True) if turned else image)
    (image,) = read_folder(tmp_path, 16).permute(0, 2, 3, 1)
    line = image[:, 8] if turned else image[8]
    assert line[1:7].tolist() == [list(RED)] * 6
    assert line[9:15].tolist() == [list(GREEN)] * 6


def test_resizing_averages_pixels(save, tmp_path):
    """Without antialiasing, thin stripes would vanish or become too wide."""
    save("one.png", stripes(*[RED, WHITE, WHITE, WHITE] * 32, width=1, height=128))
    red, green, blue = read_folder(tmp_path, 16).float()[0, :, 2:-2, 2:-2]
    assert (red == 255).all()
    assert (green - 0.75 * 255).abs().max() < 12
    assert green.equal(blue)


def test_the_orientation_of_a_photo_is_respected(save, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # turned upside down
    save("one.png", stripes(RED, BLUE), exif=exif)
    (image,) = read_folder(tmp_path, 16).permute(0, 2, 3, 1)
    assert image[0, [0, -1]].tolist() == [list(BLUE), list(RED)]


def test_transparent_pixels_are_white_and_other_modes_are_converted(save, tmp_path):
    save("a.png", plain((0, 0, 255, 0), "RGBA"))
    save("b.png", plain((0, 0, 255, 51), "RGBA"))
    save("c.gif", plain(RED).quantize(4))
    save("d.gif", plain(RED).quantize(4), transparency=0)
    save("e.png", plain(RED), transparency=RED)
    save("f.tif", plain((0, 255, 255, 0), "CMYK"))
    images = read_folder(tmp_path, 16)
    assert colours(images) == [WHITE, (204, 204, 255), RED, WHITE, WHITE, RED]


def test_unreadable_images_are_skipped_and_named(save, tmp_path, capsys):
    save("e.png", plain(RED))
    whole = save("0.jpg", stripes(RED, BLUE, width=100, height=200)).read_bytes()
    for name in "abcd":
        (tmp_path / f"{name}.jpg").write_bytes(b"" if name == "a" else whole[: len(whole) // 2])
    assert len(read_folder(tmp_path, 16)) == 2
    names = ", ".join(str(tmp_path / f"{name}.jpg") for name in "abc")
    assert capsys.readouterr().err == (
        f"4 of 6 images cannot be read and are skipped: {names} and 1 more.\n"
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_a_grey_image_is_an_error_that_names_the_first(save, tmp_path, mode):
    sixteen_bits = Image.fromarray(np.full((8, 8), 1000, dtype=np.uint16))
    image = sixteen_bits if mode == "I;16" else plain(RED).convert("L").convert(mode)
    assert image.mode == mode
    save("a.png", plain(RED))
    grey = save("b.png", image)
    save("c.png", image)
    with pytest.raises(UserError) as error:
        read_folder(tmp_path, 16)
    assert str(error.value) == f"{grey} is a grey image; remove it or convert it to colour."


def test_grey_images_in_colour_are_an_error_if_there_are_no_others(save, tmp_path):
    save("a.png", plain((90, 90, 90)))
    with pytest.raises(UserError, match=r"are grey; choose a folder of colour images\.$"):
        read_folder(tmp_path, 16)
    save("b.png", plain((90, 90, 91)))
    assert len(read_folder(tmp_path, 16)) == 2


def test_a_folder_without_images_is_one_sentence(tmp_path):
    with pytest.raises(UserError) as missing:
        read_folder(tmp_path / "none", 16)
    assert str(missing.value) == f"There is no folder {tmp_path / 'none'}."
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError) as empty:
        read_folder(tmp_path, 16)
    assert str(empty.value).startswith(f"There is no image in {tmp_path}; files must end in one of")
    (tmp_path / "broken.png").touch()
    with pytest.raises(UserError) as broken:
        read_folder(tmp_path, 16)
    assert str(broken.value) == f"No image in {tmp_path} can be read."
