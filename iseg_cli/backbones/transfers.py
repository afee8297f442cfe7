"""Copies of tensors between the host and a GPU; neither waits for the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on a device.

    A copy from ordinary memory waits for all work of the GPU. A copy from pinned memory is queued.
    """
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class HostCopies:
    """Copies of tensors on the host, which arrive from a GPU in the background."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        # Only CUDA tells when a copy that does not wait has arrived.
        self._copies = [tensor.to("cpu", non_blocking=tensor.is_cuda) for tensor in tensors]
        self._arrived = None
        if any(tensor.is_cuda for tensor in tensors):
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(tensors[0].device))

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """Return the copies after they have arrived; any thread may call this."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [copy.numpy() for copy in self._copies]
