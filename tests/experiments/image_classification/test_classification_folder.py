"""Test folders of pictures: what is found, how it is read, and mistakes."""

import shutil

import numpy as np
import pytest
import torch
from classification_pictures import BLUE, GREEN, RED, WHITE, make_tree, noise, save
from PIL import Image

from rl_coordconv.experiments.image_classification.datasets import read_splits
from rl_coordconv.experiments.image_classification.image_folder import find_pictures
from rl_coordconv.runs.config import UserError

ORIENTATION = 0x0112


def middle(sample):
    """Return the colour in the middle of an image."""
    size = sample.image.shape[-1]
    return tuple(sample.image[:, size // 2, size // 2].tolist())


def test_classes_and_pictures_are_sorted(tmp_path):
    make_tree(tmp_path, per_class=1, classes=("b", "a"))
    save(noise(3, 3), tmp_path / "train" / "a" / "deep" / "é.JPEG")
    save(noise(3, 3), tmp_path / "train" / "a" / "._1.png")
    save(noise(3, 3), tmp_path / "train" / ".cache" / "1.png")
    (tmp_path / "train" / "a" / "labels.txt").touch()
    (tmp_path / "train" / "notes.txt").touch()
    files, classes = find_pictures(tmp_path)
    assert classes == ["a", "b"]
    train = files["train"]
    paths = [train.path(k).relative_to(tmp_path / "train").as_posix() for k in range(len(train))]
    assert paths == ["a/0.png", "a/deep/é.JPEG", "b/0.png"]
    assert train.labels.tolist() == [0, 0, 1]
    assert len(files["val"]) == 2


def test_pictures_of_all_modes_are_read_upright(tmp_path):
    sixteen_bits = Image.fromarray(np.full((9, 300), 65535, dtype=np.uint16))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was turned; stored rows are columns from the right
    halves = Image.new("RGB", (64, 64), RED)
    halves.paste(BLUE, (32, 0, 64, 64))
    pictures = {
        "0.jpg": (Image.new("L", (500, 1), 255), WHITE),
        "1.png": (Image.new("LA", (37, 91), (0, 0)), WHITE),
        "2.png": (Image.new("RGB", (1, 500), GREEN).quantize(4), GREEN),
        "3.png": (Image.new("RGBA", (2, 3), (0, 0, 255, 0)), WHITE),
        "4.jpg": (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), RED),
        "5.png": (sixteen_bits, WHITE),
    }
    make_tree(tmp_path, per_class=1, classes=("a", "z"))
    (tmp_path / "val" / "a" / "0.png").unlink()
    for name, (image, _) in pictures.items():
        save(image, tmp_path / "val" / "a" / name)
    save(halves, tmp_path / "val" / "a" / "6.jpg", exif=exif, quality=95, subsampling=0)
    data = read_splits(str(tmp_path), 32)
    assert data.classes == ["a", "z"]
    for index, (_, colour) in enumerate(pictures.values()):
        sample = data.val[index, 0]
        assert (sample.index, sample.label) == (index, 0)
        assert (sample.image.dtype, tuple(sample.image.shape)) == (torch.uint8, (3, 32, 32))
        assert np.abs(np.array(middle(sample)) - colour).max() <= 2
    upright = data.val[6, 0].image
    assert np.allclose(upright[:, 4, 16], RED, atol=4)  # the left half, turned clockwise
    assert np.allclose(upright[:, 28, 16], BLUE, atol=4)


def test_augmentation_depends_on_the_seed_alone(tmp_path):
    train = read_splits(str(make_tree(tmp_path)), 32).train
    before = torch.get_rng_state()
    one, again, other = (train[1, seed].image for seed in (5, 5, 6))
    assert torch.get_rng_state().equal(before)
    assert one.equal(again)
    assert not one.equal(other)


def test_unreadable_pictures_are_named_three_times_and_then_counted(tmp_path, capsys):
    val = make_tree(tmp_path) / "val" / "dog"
    for k in range(4):
        (val / f"{k}.png").write_text("not a picture")
    whole = (val / "4.png").read_bytes()
    (val / "4.png").write_bytes(whole[: len(whole) // 2])
    data = read_splits(str(tmp_path), 16).val
    unreadable = [k for k in range(10) if data[k, 0].image is None]
    assert unreadable == [5, 6, 7, 8, 9]
    data.report(unreadable[:2])
    data.report_total()
    data.report(unreadable)
    data.report(unreadable)
    data.report_total()
    data.report_total()
    assert capsys.readouterr().err.splitlines() == [
        *(f"{val}/{k}.png cannot be read and is skipped." for k in range(3)),
        f"5 of 10 pictures in {tmp_path}/val cannot be read and are skipped.",
    ]


def error(folder):
    with pytest.raises(UserError) as caught:
        read_splits(str(folder), 32)
    return str(caught.value)


def test_unknown_data_is_one_sentence(tmp_path):
    assert error("no-such") == (
        "There is no folder no-such; "
        "choose a folder or built-in data: digits, mnist-5k, quadrants, bars."
    )
    (tmp_path / "file").touch()
    assert error(tmp_path / "file").startswith(f"{tmp_path / 'file'} is a file; pass its folder")


def test_an_incomplete_folder_is_one_sentence(tmp_path):
    make_tree(tmp_path / "tree", per_class=1, classes="abcdef")
    train, val = tmp_path / "tree" / "train", tmp_path / "tree" / "val"
    hint = "it needs train/CLASS/ and val/CLASS/ with pictures."
    assert error(train) == f"There is no folder 'train' in {train}; {hint}"

    for name in "bcde":
        shutil.rmtree(val / name)
    assert error(tmp_path / "tree") == (
        f"These classes are in only one of train and val in {tmp_path / 'tree'}:"
        " b, c, d and 1 more."
    )
    for name in "bcde":
        shutil.rmtree(train / name)
    (train / "f" / "0.png").unlink()
    assert error(tmp_path / "tree").startswith(
        f"There is no picture in {train} of the class f; files must end in one of .bmp, "
    )
    for part in (train, val):
        shutil.rmtree(part / "f")
    assert error(tmp_path / "tree") == (
        f"{tmp_path / 'tree'} has only one class, 'a'; at least two are needed."
    )
    shutil.rmtree(val / "a")
    assert error(tmp_path / "tree") == (
        f"There is no folder in {val}; it needs a folder of pictures per class."
    )
    shutil.rmtree(val)
    assert error(tmp_path / "tree") == f"There is no folder 'val' in {tmp_path / 'tree'}; {hint}"
