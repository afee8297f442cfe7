"""What holds for every test: no network, one thread, no time limits; and the random models.

The process that only hands out tests to others loads this file too, so torch is imported later.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
# The tensors of tests are so small that threads cost more than they save. With one thread an image
# also has the same result, to the last bit, in every position of a batch. A test that needs more
# threads sets their number; PASSIVE keeps its waiting threads from taking the cores of others.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
# On a busy machine the processes of Ray may need longer to start than Ray's own minute.
os.environ["RAY_worker_register_timeout_seconds"] = "600"  # noqa: SIM112, Ray's own spelling

import hypothesis
import pytest

# The duration of an example depends on the load of the machine, so it says nothing of the code.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def random_model_folder(tmp_path_factory):
    """A folder in diffusers format: images of 64 pixels, L = 16, maps at 16, 8, 4 and 2."""
    from random_models import write_random_model

    return write_random_model(tmp_path_factory.mktemp("model") / "random")


@pytest.fixture(scope="session")
def random_model(random_model_folder):
    """That model, loaded in float32 on the CPU."""
    import torch

    from iseg_cli.backbones.loading import load_model

    return load_model(str(random_model_folder), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def tokenizer(random_model):
    """The tokenizer of that model."""
    return random_model.tokenizer


@pytest.fixture(scope="session")
def random_clip_folder(tmp_path_factory):
    """A folder in transformers format: a CLIP of random weights."""
    from random_models import write_random_clip

    return write_random_clip(tmp_path_factory.mktemp("clip") / "random")


@pytest.fixture(scope="session")
def random_clip(random_clip_folder):
    """That CLIP, loaded in float32 on the CPU."""
    import torch

    from iseg_cli.clip.loading import load_clip

    folder = str(random_clip_folder)
    return load_clip(folder, device=torch.device("cpu"), dtype=torch.float32)
