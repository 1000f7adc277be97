"""The check of the extra ``vision``."""

import sys

import pytest

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.vision import check_vision


def test_the_installed_packages_pass():
    check_vision("Detection")


@pytest.mark.parametrize("package", ["mlxtend", "pycocotools", "torchmetrics", "torchvision"])
def test_a_missing_package_is_one_sentence(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = r"^Detection needs .* mlxtend: pip install 'rl_coordconv\[vision\]'\.$"
    with pytest.raises(UserError, match=message):
        check_vision("Detection")


def test_torchvision_for_another_torch_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"^torchvision does not match torch [\d.]+"):
        check_vision("Detection")
