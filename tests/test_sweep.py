"""Scoring many settings at once gives what generating and evaluating each of them gives."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner

from iseg_cli.cli import main
from iseg_cli.config import load_settings
from iseg_cli.diffusion.loading import load_model
from iseg_cli.evaluation.confusion import ConfusionMatrix
from iseg_cli.readers.registry import open_dataset
from iseg_cli.storage import read_mask
from iseg_cli.workflows.sweep import score_settings

IMAGES = 6
VARIANTS = {
    "raw": {"refine.mode": "none", "cat_cross.gamma": 1.0},
    "refined": {"refine.iterations": 3, "cat_cross.gamma": 1.0},
    "enhanced": {"refine.iterations": 3, "cat_cross.gamma": 1.6},
}


def test_the_same_counts_as_generate_and_evaluate(tmp_path: Path) -> None:
    variants = {
        name: load_settings("emoji-voc", overrides=changes) for name, changes in VARIANTS.items()
    }
    reader = open_dataset("emoji-voc", split="val")
    counts = score_settings(load_model("tiny"), reader, variants, batch_size=4, limit=IMAGES)
    assert len({confusion.counts.tobytes() for confusion in counts.values()}) == len(VARIANTS)
    for name, changes in VARIANTS.items():
        out = tmp_path / name
        options = [f"--set={key}={value}" for key, value in changes.items()]
        result = CliRunner().invoke(
            main,
            ["generate", "--dataset=emoji-voc", f"--out={out}", f"--limit={IMAGES}",
             "--batch-size=4", *options],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        expected = ConfusionMatrix(21)
        for image_id in reader.image_ids[:IMAGES]:
            mask = read_mask(out / f"{image_id}.png").labels
            expected.update(mask, reader.truth(image_id).labels)
        assert np.array_equal(counts[name].counts, expected.counts)
