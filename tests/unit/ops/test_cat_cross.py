import numpy as np
import pytest
import reference
import torch

from iseg_cli.ops.cat_cross import enhance


def make(batch=2, tokens=5, channels=3):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(batch, tokens, channels, generator=generator, dtype=torch.float64)
    mask = torch.rand(batch, tokens, generator=generator) > 0.5
    return embeddings, mask


def test_by_hand():
    embeddings = torch.tensor([[[1.0, -2.0], [3.0, 4.0]]])
    result = enhance(embeddings, torch.tensor([[False, True]]), gamma=1.5)
    assert result.tolist() == [[[1.0, -2.0], [4.5, 6.0]]]


def test_equals_the_reference():
    embeddings, mask = make()
    expected = [
        reference.enhance(e, m, 1.6) for e, m in zip(embeddings.numpy(), mask.numpy(), strict=True)
    ]
    np.testing.assert_allclose(enhance(embeddings, mask, gamma=1.6).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_precision_is_kept_and_gamma_one_changes_nothing(dtype):
    embeddings, mask = make()
    embeddings = embeddings.to(dtype)
    before = embeddings.clone()
    result = enhance(embeddings, mask, gamma=1.6)
    assert result.dtype == dtype
    assert torch.equal(result[~mask], embeddings[~mask])
    assert torch.equal(enhance(embeddings, mask, gamma=1.0), embeddings)
    assert torch.equal(embeddings, before)


def test_keys_alone_or_whole_embeddings_give_the_same_attention():
    # Keys are a product of the embeddings without a bias: scaling either is eq. 8, and only the
    # values differ.
    embeddings, mask = make(channels=4)
    query, to_key = torch.randn(2, 6, 3).double(), torch.randn(4, 3).double()
    whole = query @ (enhance(embeddings, mask, gamma=1.6) @ to_key).transpose(1, 2)
    keys = query @ enhance(embeddings @ to_key, mask, gamma=1.6).transpose(1, 2)
    torch.testing.assert_close(whole.softmax(dim=2), keys.softmax(dim=2))
