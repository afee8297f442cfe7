"""Tensors between the host and a GPU, without making one wait for the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on a device.

    From ordinary memory, CUDA would first finish all that it was given to do; from pinned memory
    the copy takes its turn.
    """
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class HostCopies:
    """Copies of tensors on the host: under way from a GPU until they are asked for."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        # Elsewhere than on CUDA nothing would tell when a copy that does not wait is there.
        self._copies = [tensor.to("cpu", non_blocking=tensor.is_cuda) for tensor in tensors]
        self._arrived = None
        if any(tensor.is_cuda for tensor in tensors):
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(tensors[0].device))

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """Return the copies, when they are there; any thread may ask."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [copy.numpy() for copy in self._copies]
