"""Ent-Self: reduces the entropy of self-attention; refinement then stays in objects (eq. 4-6)."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def reduce_entropy(
    attention: Float[Tensor, "batch pixels pixels"],
    *,
    step_size: float,
    log: Literal["natural", "log10"] = "log10",
) -> Float[Tensor, "batch pixels pixels"]:
    """Return self-attention after one step of gradient descent on its entropy.

    First each key is scaled to a greatest value of 1 over queries. After the step, negative values
    become 0 and each query is divided by its sum. A query without any attention left attends to
    itself alone. An exact zero stays zero: the entropy has no gradient there.

    Computes in float32 or better, one image at a time: besides the result, it needs memory for the
    attention of one image (64 MiB for a grid of 64 x 64 in float32).

    Args:
        attention: how each query (rows) attends to each key (columns), not negative.
        step_size: lambda of eq. 6, 0 or more; with 0 keys are scaled and queries divided only.
        log: the logarithm in eq. 6. The paper writes `natural`. The released code computes
            log10(e * a), which is the natural logarithm with lambda times log10(e) = 0.434.

    Returns:
        Attention whose rows sum to 1.
    """
    dtype = torch.promote_types(attention.dtype, torch.float32)
    reduced = attention.to(dtype, copy=True)
    rate = descent_rate(step_size=step_size, log=log)
    for image in reduced:
        image /= _peaks(image)
        step_down(image, entropy_descent(image), rate=rate, out=image)
    return reduced


def scale_keys(attention: Float[Tensor, "pixels pixels"]) -> Float[Tensor, "pixels pixels"]:
    """Return attention whose keys have a greatest value of 1 over queries, in float32 or better."""
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    return attention / _peaks(attention)


def entropy_descent(scaled: Float[Tensor, "pixels pixels"]) -> Float[Tensor, "pixels pixels"]:
    """Return the negative gradient of the entropy, 1 + log a; minus infinity where a is 0."""
    return scaled.log().add_(1)  # eq. 5: -dE/da


def descent_rate(*, step_size: float, log: Literal["natural", "log10"]) -> float:
    """Return the factor of `entropy_descent`; for `log10` it converts the natural logarithm."""
    return step_size if log == "natural" else step_size * math.log10(math.e)


def step_down(
    scaled: Float[Tensor, "pixels pixels"],
    descent: Float[Tensor, "pixels pixels"],
    *,
    rate: float,
    out: Float[Tensor, "pixels pixels"],
) -> Float[Tensor, "pixels pixels"]:
    """Return the attention of one image after the step of eq. 6.

    Several step sizes can share `scaled` and `descent`.

    Args:
        scaled: attention as `scale_keys` returns it.
        descent: its `entropy_descent`.
        rate: 0 or more, as `descent_rate` returns it.
        out: the tensor that receives the result; may be `scaled` itself.

    Returns:
        `out`. Its rows sum to 1; a row without any attention left attends to itself alone.
    """
    if rate:  # 0 times minus infinity is NaN; every other rate leaves an exact zero at zero
        torch.add(scaled, descent, alpha=rate, out=out).clamp_(min=0)  # eq. 6
    elif out is not scaled:
        out.copy_(scaled)
    total = out.sum(dim=1)
    out /= total.masked_fill(total == 0, 1)[:, None]
    out.diagonal().add_(total == 0)
    return out


def _peaks(attention: Tensor) -> Float[Tensor, "1 pixels"]:
    """Return the greatest value of each key, 1 where it is 0."""
    peaks = attention.amax(dim=0, keepdim=True)
    return peaks.masked_fill(peaks == 0, 1)
