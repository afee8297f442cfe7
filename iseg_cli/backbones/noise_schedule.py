"""The noise level of each timestep, from the scheduler_config.json of any class that has betas.

Only the noise levels are read, so it does not matter how a scheduler draws an image. A file may
lack values; each class of schedulers has its own defaults for them.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DDIMScheduler

from iseg_cli.backbones.weight_files import read_object

FILE = "scheduler_config.json"

_DDPM = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
_KARRAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}
_LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

SUPPORTED: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            "DDIMScheduler",
            "DDIMInverseScheduler",
            "DDIMParallelScheduler",
            "DDPMScheduler",
            "DDPMParallelScheduler",
            "DEISMultistepScheduler",
            "DPMSolverMultistepScheduler",
            "DPMSolverMultistepInverseScheduler",
            "DPMSolverSinglestepScheduler",
            "EulerAncestralDiscreteScheduler",
            "EulerDiscreteScheduler",
            "LMSDiscreteScheduler",
            "PNDMScheduler",
            "RePaintScheduler",
            "SASolverScheduler",
            "UniPCMultistepScheduler",
        ),
        _DDPM,
    ),
    **dict.fromkeys(
        (
            "DPMSolverSDEScheduler",
            "HeunDiscreteScheduler",
            "KDPM2AncestralDiscreteScheduler",
            "KDPM2DiscreteScheduler",
        ),
        _KARRAS,
    ),
    **dict.fromkeys(("LCMScheduler", "TCDScheduler"), _LATENT),
}
"""The classes of schedulers with betas, each with its defaults for them."""

KINDS = "DDIM, DDPM, PNDM, Euler, LMS, Heun, KDPM2, DPMSolver, DEIS, UniPC, SASolver, LCM, TCD"
"""The supported classes in short, for the message."""

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""The values that a model with such noise may predict."""

SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
"""The schedules of betas that DDIM computes; other schedules are computed by their own class."""


def load_noise_schedule(folder: Path) -> Any:
    """Return the noise levels of a model as a DDIMScheduler.

    Args:
        folder: it holds scheduler_config.json, of any class in `SUPPORTED`.

    Raises:
        OSError: the file is missing or broken, or names a scheduler of another kind, such as flow
            matching; the message lists the supported ones.
    """
    path = folder / FILE
    config = read_object(path)
    name = config.get("_class_name")
    if not isinstance(name, str):
        raise OSError(f"{path} names no class of scheduler (_class_name)")
    if name not in SUPPORTED:
        raise OSError(
            f"{path} names {name}, whose noise is of another kind than that of Stable Diffusion 1 "
            f"and 2; schedulers with betas are read ({KINDS})"
        )
    _refuse_other_noise(path, config)
    known = inspect.signature(DDIMScheduler.__init__).parameters
    values = {key: value for key, value in {**SUPPORTED[name], **config}.items() if key in known}
    try:
        if values["beta_schedule"] not in SCHEDULES and values.get("trained_betas") is None:
            betas = getattr(diffusers, name).from_config(config).betas
            values |= {"trained_betas": betas.tolist(), "beta_schedule": "linear"}
            values["rescale_betas_zero_snr"] = False  # its own class has done it
        schedule = DDIMScheduler(**values)
        kept = schedule.alphas_cumprod
        is_valid = bool(kept.isfinite().all() and (kept >= 0).all() and (kept <= 1).all())
        is_valid = is_valid and len(kept) == schedule.config.num_train_timesteps
    except MemoryError:
        raise
    # Values of other types make the arithmetic raise errors of any class.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise OSError(f"{path} has values that no noise comes from ({reason[:160]})") from None
    if not is_valid:
        raise OSError(f"{path} has values that no noise comes from (its betas are not in [0, 1])")
    return schedule


def _refuse_other_noise(path: Path, config: Mapping[str, Any]) -> None:
    """Raise OSError where a known class is set to flow matching or to continuous time."""
    prediction = config.get("prediction_type", "epsilon")
    if config.get("use_flow_sigmas") or prediction == "flow_prediction":
        raise OSError(
            f"{path} asks for flow matching, which is noise of another kind than that of Stable "
            "Diffusion 1 and 2"
        )
    if prediction not in PREDICTIONS:
        raise OSError(
            f"{path} has prediction_type {prediction!r}; it must be one of {', '.join(PREDICTIONS)}"
        )
    if config.get("timestep_type", "discrete") != "discrete":
        raise OSError(
            f"{path} has timestep_type {config['timestep_type']!r}; only discrete ones are read"
        )
