"""Output folders: records and provenance, resumed runs, two writers at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stored_runs import LABELS, RUN, leftovers, random_mask, save

from iseg_cli.errors import PredictionsError
from iseg_cli.storage import (
    Drawing,
    ImageRecord,
    PredictionFolder,
    Shard,
    encode_mask,
    list_masks,
    read_mask,
    write_atomically,
)
from iseg_cli.storage.files import TEMPORARY_SUFFIX
from iseg_cli.storage.journal import read_records
from iseg_cli.types import Mask


def test_a_run_is_written_and_read_back(tmp_path):
    path = tmp_path / "run"
    with PredictionFolder.start(path, RUN) as folder:
        save(folder, "b/two", random_mask(2))
        save(folder, "a", random_mask(1))
        empty = Mask(np.zeros((2, 3), np.uint8))
        folder.write(
            ImageRecord("c", (2, 3), (), "empty"),
            encode_mask(empty, LABELS.palette),
        )
        folder.finish(["a", "b/two", "c"])
    assert leftovers(path) == []
    lines = [json.loads(line) for line in (path / "images.jsonl").read_text().splitlines()]
    assert [line["image_id"] for line in lines] == ["a", "b/two", "c"]
    assert lines[2] == {
        "image_id": "c",
        "size": [2, 3],
        "categories": [],
        "status": "empty",
        "error": None,
    }
    again = PredictionFolder.open(path)
    assert again.info == replace(RUN, status="finished")
    assert again.records == folder.records
    assert again.finished() == {"a", "b/two", "c"}
    assert list_masks(path).keys() == {"a", "b/two", "c"}
    np.testing.assert_array_equal(read_mask(path / "b" / "two.png").labels, random_mask(2).labels)


def test_a_resumed_run_makes_only_what_is_not_whole(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        for image_id in ("kept", "truncated", "deleted", "resized"):
            save(folder, image_id, random_mask(0))
        folder.write(ImageRecord("broken", None, ("cat",), "failed", "cannot be decoded"))
    torn = tmp_path / "truncated.png"
    torn.write_bytes(torn.read_bytes()[:-5])
    (tmp_path / "deleted.png").unlink()
    (tmp_path / "resized.png").write_bytes(encode_mask(random_mask(0, (9, 9)), LABELS.palette))
    (tmp_path / f".1-aa{TEMPORARY_SUFFIX}").write_bytes(b"half a mask")
    later = replace(RUN, root="/mnt/voc", device="cuda:0", created="later", versions={"iseg": "2"})
    with PredictionFolder.start(tmp_path, later) as folder:
        assert folder.finished() == {"kept"}
        assert [r.image_id for r in folder.failed()] == ["broken"]
        assert folder.info.created == RUN.created
        assert folder.info.root == "/mnt/voc"
        save(folder, "broken", random_mask(0))
        assert folder.failed() == []
    assert leftovers(tmp_path) == []
    assert PredictionFolder.open(tmp_path).finished() == {"kept", "broken"}


def test_a_torn_last_line_is_dropped_and_written_over(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        save(folder, "a", random_mask(0))
        save(folder, "b", random_mask(0))
    journal = tmp_path / "images.jsonl"
    journal.write_bytes(journal.read_bytes()[:-8])
    with PredictionFolder.start(tmp_path, RUN) as folder:
        assert folder.finished() == {"a"}
        save(folder, "b", random_mask(0))
    assert PredictionFolder.open(tmp_path).finished() == {"a", "b"}


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        save(folder, "a", random_mask(0))
    journal = tmp_path / "images.jsonl"
    journal.write_bytes(b"{oops\n" + journal.read_bytes())
    with pytest.raises(PredictionsError, match="line 1 is damaged"):
        PredictionFolder.open(tmp_path)


def test_other_settings_are_refused_by_name_and_replaced_on_demand(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        save(folder, "sub/a", random_mask(0))
        write_atomically(tmp_path / "overlays/sub/a.jpg", b"jpg")
        write_atomically(tmp_path / "scores/sub/a.npz", b"npz")
        write_atomically(folder.report_path, b"{}")
    settings = {"refine": {"iterations": 10, "mode": "entropy"}, "gamma": 1.6}
    other = replace(RUN, settings=settings, seed=7)
    with pytest.raises(PredictionsError) as refused:
        PredictionFolder.start(tmp_path, other)
    assert "refine.iterations 8 -> 10, seed 1101 -> 7" in str(refused.value)
    assert "--overwrite" in str(refused.value)
    assert PredictionFolder.open(tmp_path).finished() == {"sub/a"}
    with PredictionFolder.start(tmp_path, other, overwrite=True) as folder:
        assert folder.finished() == set()
        assert folder.records == {}
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"run.json", "images.jsonl"}
    assert PredictionFolder.open(tmp_path).info.seed == 7


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dataset": "coco"}, 'dataset "voc" -> "coco"'),
        ({"split": None}, 'split "train" -> null'),
        ({"label_source": "clip"}, 'label_source "masks" -> "clip"'),
        ({"task": "unsupervised"}, "task"),
        ({"model": {"name": "tiny", "revision": "2"}}, 'model.revision "1" -> "2"'),
        ({"model": {"name": "tiny"}}, 'model.revision "1" -> (none)'),
        ({"batch_size": 8}, "batch_size 4 -> 8"),
        ({"dtype": "float16"}, "dtype"),
        ({"categories": ("cat",)}, 'categories null -> ["cat"]'),
        ({"settings": {"gamma": 1.6, "refine": {"mode": "entropy", "iterations": 8}}}, None),
        ({"settings": {**RUN.settings, "png": "grey"}}, 'png "palette" -> "grey"'),
        ({"settings": {**RUN.settings, "png": "palette"}}, None),
        (
            {
                "settings": {
                    **RUN.settings,
                    "split": "train",
                    "root": "/",
                    "runtime": {"workers": 2},
                }
            },
            None,
        ),
        ({"limit": 2, "images": 2}, None),
        ({"root": "/mnt"}, None),
        ({"device": "cuda:0"}, None),
    ],
)
def test_what_decides_the_bytes_must_not_change(tmp_path, changed, named):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        save(folder, "a", random_mask(0))
    if named is None:
        PredictionFolder.start(tmp_path, replace(RUN, **changed)).close()
        return
    with pytest.raises(PredictionsError) as refused:
        PredictionFolder.start(tmp_path, replace(RUN, **changed))
    assert named in str(refused.value)


FAILED = ImageRecord("a", None, ("cat",), "failed", "there is no mask")


def test_a_folder_without_a_mask_is_taken_over(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        folder.write(FAILED)
        folder.finish(["a"])
        write_atomically(folder.report_path, b"{}")
    other = replace(RUN, label_source="annotations", created="later", batch_size=2)
    with PredictionFolder.start(tmp_path, other) as folder:
        assert folder.records == {}
        assert folder.info == other
        save(folder, "a", random_mask(0))
        folder.finish(["a"])
    assert {p.name for p in tmp_path.iterdir()} == {"run.json", "images.jsonl", "a.png"}
    with pytest.raises(PredictionsError, match='label_source "annotations" -> "masks"'):
        PredictionFolder.start(tmp_path, RUN)
    assert PredictionFolder.open(tmp_path).finished() == {"a"}


def test_the_same_run_keeps_what_it_knows_of_failures(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        folder.write(FAILED)
    with PredictionFolder.start(tmp_path, replace(RUN, created="later")) as folder:
        assert folder.failed() == [FAILED]
        assert folder.info.created == RUN.created


@pytest.mark.parametrize("name", ["b.png", "deep/b.png", "overlays/a.jpg", "scores/a.npz"])
def test_a_folder_with_anything_made_is_not_taken_over(tmp_path, name):
    """A killed run leaves a mask without its record."""
    with PredictionFolder.start(tmp_path, RUN) as folder:
        folder.write(FAILED)
        write_atomically(tmp_path / name, b"made")
    with pytest.raises(PredictionsError, match=r"seed 1101 -> 1\)"):
        PredictionFolder.start(tmp_path, replace(RUN, seed=1))
    assert (tmp_path / name).read_bytes() == b"made"


def test_the_folder_of_another_command_is_not_taken_over(tmp_path):
    PredictionFolder.start(tmp_path, RUN).close()
    with pytest.raises(PredictionsError, match="results of another command"):
        PredictionFolder.start(tmp_path, replace(RUN, task="synthesis"))


def test_shards_take_over_together_what_shards_left_empty(tmp_path):
    for index in (1, 2):
        with PredictionFolder.start(tmp_path, RUN, shard=Shard(index, 2)) as folder:
            folder.write(replace(FAILED, image_id=str(index)))
    other = replace(RUN, seed=1)
    started = threading.Barrier(4)

    def work(index: int) -> None:
        started.wait()
        with PredictionFolder.start(tmp_path, other, shard=Shard(index, 4)) as folder:
            save(folder, f"new{index}", random_mask(index))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(1, 5)))
    folder = PredictionFolder.open(tmp_path)
    assert folder.info.seed == 1
    assert folder.finished() == folder.records.keys() == {"new1", "new2", "new3", "new4"}


def test_shards_at_work_are_not_robbed_of_their_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("iseg_cli.storage.folder.TAKE_OVER_S", 0.2)
    with PredictionFolder.start(tmp_path, RUN, shard=Shard(1, 2)) as folder:
        with pytest.raises(PredictionsError, match=r"seed 1101 -> 1\)"):
            PredictionFolder.start(tmp_path, replace(RUN, seed=1), shard=Shard(2, 2))
        save(folder, "a", random_mask(0))
    assert PredictionFolder.open(tmp_path).info.seed == RUN.seed


def test_settings_are_compared_as_json_keeps_them(tmp_path):
    run = replace(RUN, settings={"layers": (16, 32), "gamma": 1.0}, categories=("cat", "dog"))
    PredictionFolder.start(tmp_path, run).close()
    PredictionFolder.start(tmp_path, run).close()
    assert PredictionFolder.open(tmp_path).info.categories == ("cat", "dog")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_someone_else_is_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(PredictionsError, match=r"thesis\.tex"):
        PredictionFolder.start(tmp_path, RUN, overwrite=overwrite)
    (tmp_path / "run.json").write_text('{"learning_rate": 0.1}')
    with pytest.raises(PredictionsError, match="not written by iseg"):
        PredictionFolder.start(tmp_path, RUN, overwrite=overwrite)
    assert {p.name for p in tmp_path.iterdir()} == {"thesis.tex", "run.json"}
    with pytest.raises(PredictionsError, match="is a file"):
        PredictionFolder.start(tmp_path / "thesis.tex", RUN, overwrite=overwrite)


@pytest.mark.parametrize("contents", ["", "{", "[]", "3", "{}"])
def test_a_run_json_that_is_not_ours_is_refused(tmp_path, contents):
    (tmp_path / "run.json").write_text(contents)
    with pytest.raises(PredictionsError, match="not written by iseg"):
        PredictionFolder.open(tmp_path)


def test_opening_what_is_no_run_says_what_to_do(tmp_path):
    with pytest.raises(PredictionsError, match="--dataset"):
        PredictionFolder.open(tmp_path)
    with pytest.raises(PredictionsError, match="is no folder"):
        list_masks(tmp_path / "none")


@pytest.mark.parametrize("image_id", ["../a", "a/../../b", "/etc/a", "a\0b", "a/"])
def test_no_image_id_leads_out_of_the_folder(tmp_path, image_id):
    with (
        PredictionFolder.start(tmp_path / "run", RUN) as folder,
        pytest.raises(PredictionsError, match="outside"),
    ):
        folder.mask_path(image_id)


def test_a_failed_image_loses_its_mask_and_a_new_mask_outdates_the_report(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        save(folder, "a", random_mask(0))
        folder.finish(["a"])
    write_atomically(folder.report_path, b"{}")
    with PredictionFolder.start(tmp_path, RUN) as folder:
        assert folder.report_path.exists()  # nothing has changed yet
        folder.write(ImageRecord("a", None, (), "failed", "out of memory"))
        assert not folder.report_path.exists()
        assert not folder.mask_path("a").exists()
        assert folder.finished() == set()
        folder.write(ImageRecord("a", (5, 7), (), "failed", "out of memory"))
        folder.mask_path("a").write_bytes(encode_mask(random_mask(0), LABELS.palette))
        assert folder.finished() == set()  # a mask of that name is not this run's
        with pytest.raises(ValueError, match="unless the image failed"):
            folder.write(ImageRecord("a", (1, 1), (), "done"))


def test_finishing_part_of_a_wider_run_keeps_the_rest(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        for image_id in ("c", "b", "a"):
            save(folder, image_id, random_mask(0))
    with PredictionFolder.start(tmp_path, replace(RUN, limit=1, images=1)) as folder:
        folder.finish(["b"])
    again = PredictionFolder.open(tmp_path)
    assert list(again.records) == ["b", "a", "c"]
    assert again.info.images == 1


def test_a_record_tells_how_an_image_was_drawn_if_it_was():
    drawing = Drawing("a cat and a dog", 3, (0.25, 0.5), (0.1, 1.0))
    drawn = ImageRecord("a", (5, 7), ("cat", "dog"), "done", drawing=drawing)
    assert ImageRecord.from_json(json.loads(json.dumps(drawn.to_json()))) == drawn
    plain = replace(drawn, drawing=None)
    assert "drawing" not in plain.to_json()
    assert ImageRecord.from_json(plain.to_json()) == plain


def test_a_record_says_what_exif_turned() -> None:
    turned = ImageRecord("a", (5, 7), ("cat",), "done", exif_orientation=6)
    assert turned.to_json()["exif_orientation"] == 6
    assert ImageRecord.from_json(json.loads(json.dumps(turned.to_json()))) == turned
    upright = ImageRecord("a", (5, 7), ("cat",), "done")
    assert "exif_orientation" not in upright.to_json()
    assert ImageRecord.from_json(upright.to_json()) == upright
    with pytest.raises(TypeError):
        ImageRecord.from_json({**upright.to_json(), "exif_orientation": "6"})


def test_failures_of_names_that_the_dataset_lacks_are_forgotten(tmp_path: Path) -> None:
    with PredictionFolder.start(tmp_path, RUN) as folder:
        for name in ("gone", "later"):
            folder.write(ImageRecord(name, None, (), "failed", "no"))
        folder.finish(["a"], known={"a", "later"})
    assert set(read_records(tmp_path)) == {"later"}


# --- two writers, and a killed one -------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from iseg_cli.types import Mask
from iseg_cli.storage import ImageRecord, PredictionFolder, RunInfo, encode_mask
import json
folder = PredictionFolder.start(Path(sys.argv[1]), RunInfo.from_json(json.loads(sys.argv[2])))
number = 0
while True:
    mask = Mask(np.random.default_rng(number).integers(0, 3, (200, 300), dtype=np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    record = ImageRecord(f"image-{number}", mask.size, ("cat",), "done")
    folder.write(record, encode_mask(mask, palette))
    number += 1
    if number == 5:
        print("five", flush=True)
"""


@pytest.fixture
def writer(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path), json.dumps(RUN.to_json())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "five\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path, writer):
    for overwrite in (False, True):
        with pytest.raises(PredictionsError, match=f"process {writer.pid} on .*--out"):
            PredictionFolder.start(tmp_path, RUN, overwrite=overwrite)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with PredictionFolder.start(tmp_path, RUN) as folder:  # its lock died with it
        finished = folder.finished()
        assert len(finished) >= 5
        assert finished == folder.records.keys()
        for image_id in finished:
            assert read_mask(folder.mask_path(image_id)).size == (200, 300)
        # A mask may have been renamed into place before its record was written, no more.
        assert len(list_masks(tmp_path).keys() - finished) <= 1
    assert leftovers(tmp_path) == []


def test_one_process_does_not_write_twice_either(tmp_path):
    with (
        PredictionFolder.start(tmp_path, RUN),
        pytest.raises(PredictionsError, match=f"process {os.getpid()} "),
    ):
        PredictionFolder.start(tmp_path, RUN)
    PredictionFolder.start(tmp_path, RUN).close()


def test_a_refused_start_frees_the_folder(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        save(folder, "a", random_mask(0))
    with pytest.raises(PredictionsError):
        PredictionFolder.start(tmp_path, replace(RUN, seed=1))
    PredictionFolder.start(tmp_path, RUN).close()


def test_tens_of_thousands_of_masks_are_checked_fast(tmp_path):
    png = encode_mask(random_mask(0), LABELS.palette)
    lines = []
    for number in range(2000):
        (tmp_path / f"{number}.png").write_bytes(png)
        record = ImageRecord(str(number), (5, 7), (), "done")
        lines.append(json.dumps(record.to_json()) + "\n")
    (tmp_path / "run.json").write_text(json.dumps(RUN.to_json()))
    (tmp_path / "images.jsonl").write_text("".join(lines))
    folder = PredictionFolder.open(tmp_path)
    start = time.thread_time()  # of this thread alone, however busy the machine is
    assert len(folder.finished()) == 2000
    assert time.thread_time() - start < 2  # about 0.05 s: 80,000 masks in seconds


def test_a_run_of_another_version_is_refused_in_one_sentence(tmp_path):
    """Its run.json lacks settings of today, or has settings that are gone."""
    layout = {"capture": {"timestep": 100, "cross_weights": {"4": 0.7, "2": 0.3}}}
    today = {"capture": {**layout["capture"], "heads": None}}
    weights = {"capture": {**today["capture"], "cross_weights": {"1": 1.0}}}
    with PredictionFolder.start(tmp_path, replace(RUN, settings=layout)) as folder:
        save(folder, "a", random_mask(0))
    with pytest.raises(PredictionsError) as raised:
        PredictionFolder.start(tmp_path, replace(RUN, settings=today))
    assert str(raised.value) == (
        f"{tmp_path} was made with other settings (by a version of iseg whose settings have other "
        "names); pass --overwrite to replace its masks or --out for another folder"
    )
    # A mapping of other keys is another value, not another layout.
    changed = replace(RUN, settings=today).differences(replace(RUN, settings=weights))
    assert changed[0] == "capture.cross_weights.1 (none) -> 1.0"
