"""The check of the extra ``vision``."""

import sys

import pytest

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.extras import check_vision

PACKAGES = ("mlxtend", "torchmetrics", "torchvision")


def test_the_installed_packages_pass():
    check_vision("Detection", PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_one_sentence(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = r"^Detection needs mlxtend, torchmetrics, torchvision: pip install 'rl_coordconv\["
    with pytest.raises(UserError, match=message):
        check_vision("Detection", PACKAGES)


def test_torchvision_for_another_torch_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"^torchvision does not match torch [\d.]+"):
        check_vision("Detection", PACKAGES)
