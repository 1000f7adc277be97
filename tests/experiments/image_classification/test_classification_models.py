"""The layer in front, and the weights of the network behind it."""

from typing import get_args

import pytest
import torch
from torchvision.models import get_model

from rl_coordconv.experiments.image_classification import backbones, models
from rl_coordconv.experiments.image_classification.models import make_classifier
from rl_coordconv.experiments.image_classification.names import ClassificationModel
from rl_coordconv.runs.config import UserError

MODELS = get_args(ClassificationModel)


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def save_weights(path, network):
    torch.save(network.state_dict(), path)
    return str(path)


def test_parameters_of_the_papers_network():
    """56 more in the layer (6 x 8 weights, 8 biases), and five more channels in the 7x7 stem."""
    plain = n_parameters(get_model("resnet50"))
    sizes = {model: n_parameters(make_classifier(model, "resnet50", 1000)) for model in MODELS}
    widened = plain + 64 * 5 * 7 * 7
    assert sizes == {
        "plain": plain,
        "conv": widened + 3 * 8 + 8,
        "coordconv": widened + 56,
        "coordconv-zeros": widened + 56,
        "coordconv-noise": widened + 56,
    }


@pytest.mark.parametrize(
    ("model", "backbone"),
    [
        ("conv", "resnet18"),
        ("coordconv", "resnet18"),
        ("coordconv-noise", "resnet18"),
        ("coordconv", "mobilenet_v3_small"),
        ("coordconv", "squeezenet1_1"),
        ("coordconv", "shufflenet_v2_x0_5"),
        ("coordconv", "swin_t"),
    ],
)
def test_given_weights_keep_their_output(model, backbone, tmp_path):
    plain = get_model(backbone, num_classes=10).eval()
    weights = save_weights(tmp_path / "weights.pt", plain)
    network = make_classifier(model, backbone, 10, weights).eval()
    images = torch.randn(2, 3, 64, 48)
    torch.testing.assert_close(network(images), plain(images), rtol=1e-4, atol=1e-5)


def test_the_additional_channels_learn(tmp_path):
    weights = save_weights(tmp_path / "weights.pt", get_model("resnet18", num_classes=3))
    network = make_classifier("coordconv", "resnet18", 3, weights)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    for _ in range(2):  # the first step changes the stem, and the second the layer in front
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert network.front.weight.grad[3:].abs().amin() > 0


def test_models_start_with_equal_weights_behind_the_first_convolution():
    states = []
    for model in MODELS:
        torch.manual_seed(0)
        network = make_classifier(model, "resnet18", 4)
        states.append(getattr(network, "backbone", network).state_dict())
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[k], x) for k, x in states[0].items() if k != "conv1.weight")
        assert torch.equal(state["conv1.weight"][:, :3], states[0]["conv1.weight"])
        spreads = [part.std().item() for part in state["conv1.weight"].split([3, 5], dim=1)]
        assert spreads[1] == pytest.approx(spreads[0], rel=0.1)


def test_coordinates_change_the_output_and_zeros_do_not_add_any():
    """A picture and the same one moved: only coordinates and noise distinguish their places."""
    images = torch.zeros(2, 3, 64, 64)
    images[0, :, 24, 24], images[1, :, 24, 32] = 1, 1
    for model in ("coordconv", "coordconv-zeros", "coordconv-noise"):
        torch.manual_seed(0)
        front = make_classifier(model, "resnet18", 4).front
        first, second = front(images)
        assert torch.allclose(first[:, 24, 24], second[:, 24, 32]) == (model == "coordconv-zeros")


def test_the_last_layer_is_new_for_another_number_of_classes(tmp_path):
    """Also from a checkpoint of torchvision's training script."""
    plain = get_model("resnet18", num_classes=10)
    torch.save({"model": plain.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    network = make_classifier("plain", "resnet18", 7, str(tmp_path / "checkpoint.pth"))
    assert network.fc.weight.shape == (7, 512)
    assert torch.equal(network.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)


def test_a_classifier_of_timm():
    timm = pytest.importorskip("timm")
    network = make_classifier("coordconv", "resnet10t", 5)
    assert isinstance(network.backbone, timm.models.ResNet)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("resnet5", "", r"There is no classifier 'resnet5'; did you mean resnet50"),
        ("googlenet", "", r"--backbone googlenet has several outputs; choose another"),
        ("resnet18", "nowhere.pt", r"--weights nowhere.pt is not a readable file of weights."),
        ("resnet18", "DEFAULT", r"The weights of resnet18 cannot be downloaded \(no network\); "),
    ],
)
def test_a_mistake_is_a_one_sentence_error(backbone, weights, message, monkeypatch):
    def fail(name):
        raise OSError("no network")

    monkeypatch.setattr(backbones, "_default_of_torchvision", fail)
    with pytest.raises(UserError, match=message):
        make_classifier("coordconv", backbone, 5, weights)


def test_a_backbone_needs_a_convolution_over_images(monkeypatch):
    monkeypatch.setattr(models, "make_backbone", lambda *_: torch.nn.Linear(3, 4))
    with pytest.raises(UserError, match="--backbone linear has no convolution over images"):
        make_classifier("coordconv", "linear", 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no weights"),
        ([1], "has no weights"),
        ({"conv1.weight": torch.zeros(1)}, "does not fit the network: "),
        (get_model("resnet34", num_classes=4).state_dict(), "does not fit the network: layer"),
    ],
)
def test_weights_that_do_not_fit_are_a_one_sentence_error(content, message, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=message):
        make_classifier("plain", "resnet18", 4, str(tmp_path / "weights.pt"))
