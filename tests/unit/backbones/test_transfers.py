import numpy as np
import torch

from iseg_cli.backbones.transfers import HostCopies, to_device


def test_copies_are_what_the_tensors_were():
    labels = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    scores = torch.linspace(0, 1, 10, dtype=torch.float16)
    own, other = HostCopies([labels, scores]).arrays()
    assert own.dtype == np.uint8
    assert other.dtype == np.float16
    np.testing.assert_array_equal(own, labels.numpy())
    np.testing.assert_array_equal(other, scores.numpy())
    assert HostCopies([]).arrays() == []


def test_shapes_pass_as_on_any_device():
    sent = to_device(torch.ones(2, 3), torch.device("meta"))
    assert sent.device.type == "meta"
    assert sent.shape == (2, 3)
