"""Connect to a Ray cluster, or start one whose files are in a temporary folder.

It needs Ray but not RLlib; studies, which may import experiments, use it too.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock, Timeout
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import RayError

from rl_coordconv.runs.config import UserError

_ANSWER_SECONDS = 5
_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # with which both sides of HTTP/2 begin: RFC 9113
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS
_OBJECT_STORE_BYTES = 512 * 2**20  # of a cluster that is started here


@contextmanager
def ray_cluster(address: str, num_cpus: int | None = None) -> Iterator[None]:
    """Connect to a Ray cluster until the block ends; with ``local``, start one and stop it.

    In a program that has called ``ray.init``, use that connection instead.

    Args:
        address: As for `connect`.
        num_cpus: Number of workers that a cluster started here can have; ``None`` for the number
            of cores.

    Raises:
        UserError: The cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    if address != "local":
        connect(address)
        try:
            yield
        finally:
            ray.shutdown()
        return
    with ray_folder() as folder:
        connect(
            address,
            num_cpus=num_cpus,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",  # then Ray listens to this machine only
            _temp_dir=str(folder),
        )
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Create a folder for Ray's files, and delete it when the block ends.

    In Ray's own folder, a killed process leaves the address of its cluster, at which every later
    ``ray.init()`` on that machine fails. Folders of killed processes are deleted here at the next
    start: a process locks its folder, and the lock ends with it.
    """
    # A short path, because those of sockets are limited to some 100 characters.
    parent = Path(tempfile.gettempdir()) / f"rl-coordconv-ray-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    with FileLock(parent / "lock"):
        for left in parent.glob("*/lock"):
            with suppress(Timeout), FileLock(left, timeout=0):
                shutil.rmtree(left.parent, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="", dir=parent))
        owned = FileLock(folder / "lock")
        owned.acquire()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        owned.release()


def connect(address: str, **settings: Any) -> None:
    """Connect this process to a Ray cluster.

    Args:
        address: As in ``ray.init``: ``auto``, ``host:port``, or ``local`` to start a cluster here.
        settings: Further arguments of ``ray.init``.

    Raises:
        UserError: The cluster cannot be reached.
    """
    try:
        found = canonicalize_bootstrap_address(address) if address == "auto" else address
        host, colon, port = str(found).rpartition(":")
        if colon and "/" not in address:
            if not port.isdecimal():
                raise UserError(
                    f"{address} is not the address of a Ray cluster, such as 10.0.0.1:6379."
                )
            _check_port(host, int(port))
        ray.init(
            address=address,
            log_to_driver=False,  # a run's output is in its folder
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
            **settings,
        )
    except UserError:
        raise
    except (RayError, OSError, RuntimeError, ValueError, OverflowError) as error:
        if "Version mismatch" in str(error):
            raise UserError(" ".join(f"{error}".split())) from None
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"Cannot connect to a Ray cluster at {address}: {reason}. Start one with `ray start"
            " --head`; if it uses a token, set RAY_AUTH_MODE=token and the same token here."
        ) from None


def _check_port(host: str, port: int) -> None:
    """Raise an `OSError` unless an HTTP/2 server answers, as Ray's is; Ray tries for minutes."""
    with socket.create_connection((host, port), timeout=_ANSWER_SECONDS) as server:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        server.sendall(_HELLO)
        try:
            frame = server.recv(len(_SETTINGS), socket.MSG_WAITALL)
        except TimeoutError:
            frame = b""
    if frame[3:4] != _SETTINGS[3:4]:
        raise OSError("another program uses this port")
