"""Engines, which run a plan: in this process (`local`) or in many processes (`ray`).

`choose_engine` returns the engine of `--engine`.
"""

from typing import Literal

from iseg_cli.errors import SettingsError
from iseg_cli.generation.engines.base import Engine, WorkerPool
from iseg_cli.generation.engines.local import LocalEngine

__all__ = ["Engine", "LocalEngine", "WorkerPool", "choose_engine"]


def choose_engine(
    name: Literal["local", "ray"], *, workers: int | None = None, address: str | None = None
) -> Engine:
    """Return the engine of a name.

    Args:
        name: `local` or `ray`.
        workers: for ray, the number of processes, each with a model; None for one per GPU, or per
            CPU if there is no GPU.
        address: for ray, the cluster to join; None to start Ray on this machine for the run.

    Raises:
        SettingsError: Ray is not installed, or the engine takes no address.
    """
    if name == "local":
        if address is not None:
            raise SettingsError("--ray-address says where Ray runs; pass --engine ray with it")
        return LocalEngine()
    try:
        from iseg_cli.generation.engines.ray import RayEngine
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("ray", "pyarrow", "pandas"):
            raise
        raise SettingsError(
            f"the engine ray needs {error.name}, which is not installed; "
            'pip install "iseg-cli[ray]", or pass --engine local'
        ) from None
    return RayEngine(workers=workers, address=address)
