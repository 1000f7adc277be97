import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from rl_coordconv.runs import device as devices
from rl_coordconv.runs.config import DeviceName, UserError
from rl_coordconv.runs.device import print_slow_precision, use_device, visible_gpus
from rl_coordconv.runs.folder import Run


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_device_names_are_valid_on_every_machine(name):
    assert TypeAdapter(DeviceName).validate_python(name) == name


def test_an_invalid_device_name_lists_the_valid_ones():
    wanted = "There is no device 'tpu'; choose auto, cpu, cuda or cuda:N."
    with pytest.raises(ValidationError, match=wanted):
        TypeAdapter(DeviceName).validate_python("tpu")


def test_a_missing_device_is_an_error_only_when_it_is_used():
    name = TypeAdapter(DeviceName).validate_python("cuda:99")
    wanted = "There is no cuda:99 device on this machine; choose --device cpu."
    with pytest.raises(UserError, match=wanted):
        use_device(name, 0)


@pytest.mark.parametrize(
    ("visible", "count", "gpus"),
    [(None, 2, ["0", "1"]), ("2,3", 2, ["2", "3"]), ("", 0, []), (None, 0, [])],
)
def test_gpus_are_those_that_this_process_may_use(visible, count, gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == gpus


def test_auto_uses_a_gpu_if_there_is_one():
    assert use_device("auto", 0).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_sets_the_threads():
    before = torch.get_num_threads()
    try:
        use_device("cpu", before + 1)
        assert torch.get_num_threads() == before + 1
        use_device("cpu", 0)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("precision", "device", "has_bf16", "hint"),
    [
        ("bf16", "cpu", False, True),
        ("bf16", "cpu", True, False),
        ("bf16", "cuda", False, False),
        ("float32", "cpu", False, False),
    ],
)
def test_bf16_without_instructions_for_it_is_announced(
    precision, device, has_bf16, hint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(devices, "cpu_computes_bf16", lambda: has_bf16)
    print_slow_precision(Run(tmp_path), device, precision)
    assert ("--precision float32 is much faster here" in capsys.readouterr().out) == hint
    run = Run(tmp_path, verbose=False)
    print_slow_precision(run, device, precision)
    assert capsys.readouterr().out == ""


def test_cpus_have_instructions_for_bf16_or_not():
    assert devices.cpu_computes_bf16() in (True, False)
