import torch

from iseg_cli.benchmark.plain_ops import cluster_by_distance, reduce_entropy_plainly
from iseg_cli.config import load_settings
from iseg_cli.ops.cluster import cluster_maps
from iseg_cli.ops.ent_self import reduce_entropy


def test_plain_entropy_is_the_fast_one():
    generator = torch.Generator().manual_seed(0)
    attention = (3 * torch.randn(1, 49, 49, generator=generator)).softmax(dim=-1)
    attention[:, :, 7] = 0  # a key that nothing attends to
    attention[:, 3] = 1e-30  # a query that keeps nothing
    for log in ("natural", "log10"):
        for step in (0.0, 0.02, 0.5):
            rule = load_settings(overrides={"ent_self": {"step_size": step, "log": log}}).ent_self
            expected = reduce_entropy(attention, step_size=step, log=log)
            found = reduce_entropy_plainly(attention, rule)
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_plain_clustering_is_the_fast_one():
    generator = torch.Generator().manual_seed(0)
    maps = (4 * torch.randn(1, 24 * 24, 9, generator=generator)).softmax(dim=1)
    maps[:, 5, 2] = 0
    expected = cluster_maps(maps, side=24, rounds=5)
    found = cluster_by_distance(maps[0], side=24, rounds=5)
    torch.testing.assert_close(found, expected[0], atol=1e-7, rtol=1e-4)
