"""A session of Ray: joined or started, quiet, with its errors in one sentence."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError, RayTaskError

from iseg_cli.errors import IsegError, SettingsError

CONNECT_TIMEOUT_S = 10.0
"""Seconds in which a cluster at HOST:PORT must answer."""


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Join a cluster or start Ray on this machine, and leave at the end; only errors are shown.

    A Ray that already runs in this process is used and stays.

    Raises:
        SettingsError: there is no Ray at the address.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's C++ part warns of every pool of actors that is restarted.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        _require_listener(address)
        with _no_stderr():  # Ray reports there that it uses the variable above
            if address is not None:
                ray.init(address=address, **quiet)
            else:
                ray.init(address="local", include_dashboard=False, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"there is no Ray at {address or 'this machine'} ({_first_line(error)}); "
            "check --ray-address"
        ) from None
    try:
        _hide_progress()
        yield
    finally:
        ray.shutdown()


@contextmanager
def ray_errors() -> Iterator[None]:
    """Raise IsegError, one sentence, if Ray gives up; errors in our code keep their traceback."""
    try:
        yield
    except RayTaskError:
        raise
    except RayError as error:
        raise IsegError(
            f"Ray gave up ({_first_line(error)}); finished masks stay, the same command resumes: "
            "with --engine local to see which image ends it, if one does"
        ) from None


def available(kind: str) -> int:
    """Return how many CPUs or GPUs the cluster has."""
    return int(ray.cluster_resources().get(kind, 0))


def _require_listener(address: str | None) -> None:
    """Raise OSError if no process listens at HOST:PORT: Ray itself would try for many minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        endpoint = (host.strip("[]"), int(port))
        socket.create_connection(endpoint, timeout=CONNECT_TIMEOUT_S).close()


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Close the descriptor of this process's stderr, which Ray's C++ part writes to."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _hide_progress() -> None:
    """Turn off Ray's progress bars: the terminal has ours."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
