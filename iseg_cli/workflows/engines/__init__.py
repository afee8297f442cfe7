"""Where the work of a run is done: in this process, or in many."""

from iseg_cli.workflows.engines.base import Crew, Engine
from iseg_cli.workflows.engines.local import LocalEngine

__all__ = ["Crew", "Engine", "LocalEngine"]
