"""The learners' evaluation, the probe of places, and whether a small network learns."""

import io

import pytest
import torch
from matplotlib.colors import to_rgb

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.mnist_detection import train
from rl_coordconv.experiments.mnist_detection.boxes import to_corners
from rl_coordconv.experiments.mnist_detection.detections import Detections
from rl_coordconv.experiments.mnist_detection.figures import grid
from rl_coordconv.experiments.mnist_detection.probe import (
    N_PROBE_DIGITS,
    ProbeMaps,
    probe,
    probe_canvases,
)
from rl_coordconv.runs.checkpoint import rng_state
from rl_coordconv.runs.results import GREEN, ORANGE

CPU = torch.device("cpu")
SMALL = {"canvas": 40, "n_digits": 2, "n_images": 64, "batch_size": 8, "device": "cpu"}


def make_learner(monkeypatch, n_test=9, **settings):
    monkeypatch.setattr(train, "N_TEST", n_test)
    config = make_config("detection", **{**SMALL, **settings})
    return train.make_learner(config, *train.read_canvases(config, CPU))


def detections(boxes):
    """Return boxes ``[B, D, 4]`` as the detections in images."""
    scores = torch.ones(boxes.shape[1])
    return [Detections(each, scores.long(), scores) for each in boxes]


def stored(state) -> bytes:
    """Return a state as it is in a file."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


class TestEvaluation:
    def test_it_changes_neither_the_training_nor_the_random_numbers(self, monkeypatch):
        for model in ("rpn-conv", "faster-rcnn"):
            learner = make_learner(monkeypatch, model=model)
            learner.update(0)
            before = stored((learner.state(), rng_state()))
            metrics = learner.evaluate(1)
            learner.images()
            learner.figures()
            assert stored((learner.state(), rng_state())) == before
            assert learner.evaluate(1) == metrics

    def test_test_losses_are_those_of_single_canvases(self, monkeypatch):
        """With N_TEST canvases, the last batch of an evaluation is smaller than the others."""
        learner = make_learner(monkeypatch, n_test=130, model="rpn-coordconv")
        metrics = learner.evaluate(0)
        generator = torch.Generator().manual_seed(0)
        numbers = torch.rand((130, 3, 49 * 9), generator=generator)
        sums = torch.zeros(3)
        for k in range(130):
            one = learner.test[torch.tensor([k])]
            with torch.no_grad():
                outputs = learner.model(one.images / 255)
                losses = learner._losses(*outputs, one.boxes, numbers[k : k + 1])
            sums += torch.stack([losses[n] for n in ("loss", "box_loss", "score_loss")])
        found = [metrics[f"test/{name}"] for name in ("loss", "box_loss", "score_loss")]
        torch.testing.assert_close(torch.tensor(found), sums / 130, rtol=1e-4, atol=1e-5)


class TestProbe:
    def test_a_perfect_detector_has_no_errors(self):
        config = make_config("detection", canvas=40, n_digits=2)
        canvases = probe_canvases(config)
        maps = probe(lambda images: detections(canvases.boxes), config, CPU)
        assert maps.centres.tolist() == [10, 14, 18, 22, 26, 30]
        assert maps.iou.tolist() == [[1] * 6] * 6
        assert maps.centre_error.tolist() == [[0] * 6] * 6

    def test_errors_are_shown_in_their_place(self):
        """Boxes are 10 columns too far right in the first row, and not found in the last."""
        config = make_config("detection", canvas=40, n_digits=2)
        boxes = probe_canvases(config).boxes.clone()
        top, bottom = boxes[:, 0, 0] == 10, boxes[:, 0, 0] == 30
        boxes[top, 0, 1] += 10
        found = detections(boxes)
        for k in bottom.nonzero()[:, 0].tolist():
            found[k] = found[k][:0]
        maps = probe(lambda images: found, config, CPU)
        assert torch.allclose(maps.iou.mean(dim=1), torch.tensor([1 / 3, 1, 1, 1, 1, 0]))
        assert maps.centre_error[:5].mean(dim=1).tolist() == [10, 0, 0, 0, 0]
        assert maps.centre_error[5].isnan().all()
        assert maps.metrics() == pytest.approx({"probe/iou": 13 / 18, "probe/centre_error": 2})

    def test_the_deviation_is_that_of_places_in_the_middle(self):
        ticks = torch.arange(10.0, 55, 4)  # 22 to 42 are at least 20 pixels from the border
        overlaps = torch.ones(12, 12)
        overlaps[3:6, 3:9] = 0.5  # half of the middle
        overlaps[:3] = 0
        metrics = ProbeMaps(ticks, overlaps, torch.zeros(12, 12)).metrics()
        assert metrics == {
            "probe/iou": (108 - 18 * 0.5) / 144,
            "probe/centre_error": 0,
            "probe/iou_std": 0.25,
        }

    def test_region_proposals_are_equivariant_without_coordinates_only(self, monkeypatch):
        deviations = {}
        for model in ("rpn-conv", "rpn-zeros", "rpn-coordconv", "rpn-noise"):
            learner = make_learner(monkeypatch, model=model, canvas=64)
            deviations[model] = learner.probe().metrics()["probe/iou_std"]
        assert max(deviations["rpn-conv"], deviations["rpn-zeros"]) < 1e-6
        assert min(deviations["rpn-coordconv"], deviations["rpn-noise"]) > 1e-3

    def test_a_canvas_has_one_digit_in_its_box(self):
        canvases = probe_canvases(make_config("detection", canvas=40, n_digits=2))
        assert len(canvases) == 36 * N_PROBE_DIGITS
        for image, corners in zip(canvases.images, to_corners(canvases.boxes[:, 0]), strict=True):
            left, top, right, bottom = corners.int().tolist()
            rows, columns = image[0].nonzero().unbind(dim=1)
            inside = image[0, top:bottom, left:right]
            assert inside.count_nonzero() == len(rows) > 20
            assert (rows.min(), columns.min()) == (top, left)


def test_true_boxes_are_green_and_five_detections_orange():
    """Pixels are enlarged four times, and the grid has a border of two pixels."""
    images = torch.zeros((2, 1, 40, 40), dtype=torch.uint8)
    boxes = torch.tensor([[[5.0, 5.0, 6.0, 6.0]]] * 2)
    detected = torch.tensor([[[20.0, 3.0 + 6 * k, 4.0, 4.0] for k in range(6)]] * 2)
    image = grid(images, boxes, detections(detected))
    colours = {tuple(x) for x in (image * 255).round().int().flatten(1).T.tolist()}
    green, orange = (tuple(round(255 * x) for x in to_rgb(name)) for name in (GREEN, ORANGE))
    assert colours == {(0, 0, 0), (128, 128, 128), green, orange}
    is_orange = (image - torch.tensor(to_rgb(ORANGE))[:, None, None]).abs().amax(dim=0) < 0.01
    columns = is_orange[:, : 2 + 4 * 40].any(dim=0).nonzero()[:, 0]
    assert columns.min() == 2 + 4 * 1
    assert columns.max() < 2 + 4 * (3 + 6 * 4 + 2 + 1)  # the sixth is not drawn


def test_a_small_network_learns_to_propose_digits(monkeypatch):
    learner = make_learner(monkeypatch, n_test=100, model="rpn-conv", n_images=400)
    before = learner.evaluate(0)
    for number in range(300):
        learner.update(number)
    after = learner.evaluate(300)
    assert after["test/iou"] > before["test/iou"] + 0.08
    assert after["test/positive_iou"] > before["test/positive_iou"] + 0.05
    assert after["test/score_loss"] < before["test/score_loss"] / 2
