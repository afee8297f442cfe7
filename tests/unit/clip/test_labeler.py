"""CLIP's labeler: the labels of an image do not depend on how it is asked for them."""

from pathlib import Path

import cv2
from clip_scenes import tagger, unequal_pictures

from iseg_cli.clip.labeler import ClipLabeler
from iseg_cli.types import Sample


def test_one_image_and_a_batch_have_the_same_labels(random_clip, tmp_path: Path) -> None:
    ours = tagger(random_clip, threshold=0.5, min_score=0.0)
    labeler = ClipLabeler(ours)
    samples = [Sample(str(i), tmp_path / f"{i}.png") for i in range(3)]
    for sample, scene in zip(samples, unequal_pictures(), strict=True):
        cv2.imwrite(str(sample.image_path), scene[..., ::-1])
    prepared = [
        labeler.prepare(sample, scene)
        for sample, scene in zip(samples, unequal_pictures(), strict=True)
    ]
    found = labeler.label_batch(prepared)
    assert found == ours.tag([ours.fit(scene) for scene in unequal_pictures()])
    assert [labeler.labels(sample) for sample in samples] == found
    assert (labeler.name, labeler.notes, labeler.batch_size) == ("clip", (), 4)
    assert any(found)
