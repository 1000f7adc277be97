"""RLlib, and a Ray cluster that the tests share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from rl_coordconv.experiments.apex.cluster import ray_cluster


@pytest.fixture(scope="session")
def rllib() -> None:
    """Skip a test if RLlib or a package that it needs is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RLlib imports modules that it deprecates
        pytest.importorskip("ray.rllib.algorithms.dqn", exc_type=ImportError)


@pytest.fixture(scope="module")
def cluster(rllib: None) -> Iterator[int]:
    """Start a Ray cluster, which takes seconds, once for a module; return its number of cores."""
    import ray

    with ray_cluster("local"):
        yield int(ray.cluster_resources()["CPU"])
