"""Shards of a run: parts of the images, one output folder, separate records and locks."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.errors import PredictionsError
from iseg_cli.storage import ImageRecord, PredictionFolder, RunInfo, Shard, encode_mask
from iseg_cli.storage import lock as locks
from iseg_cli.storage.files import TEMPORARY_SUFFIX
from iseg_cli.types import Mask

RUN = RunInfo(
    dataset="voc",
    root="/data/voc",
    split="train",
    label_source="masks",
    task="wsss",
    model={"name": "tiny", "revision": "1"},
    settings={"gamma": 1.6},
    seed=1101,
    batch_size=4,
    dtype="float32",
    device="cpu",
    images=5,
    limit=None,
    created="2025-01-01T00:00:00+00:00",
)
IMAGES = ["e", "d", "c", "b", "a"]
FIRST, SECOND = Shard(1, 2), Shard(2, 2)
PNG = encode_mask(Mask(np.ones((2, 3), np.uint8)), np.zeros((256, 3), np.uint8))


def save(folder: PredictionFolder, *image_ids: str) -> None:
    for image_id in image_ids:
        folder.write(ImageRecord(image_id, (2, 3), ("cat",), "done"), PNG)


def fail(folder: PredictionFolder, image_id: str) -> None:
    folder.write(ImageRecord(image_id, None, (), "failed", "broken"))


def names(path) -> set[str]:
    return {p.name for p in path.iterdir()}


@given(st.lists(st.integers()), st.integers(1, 9))
def test_shards_share_out_a_list_evenly(images, count):
    parts = [Shard(index, count).select(images) for index in range(1, count + 1)]
    assert sorted(i for part in parts for i in part) == sorted(images)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_is_read_from_its_text():
    assert Shard.parse("3/8") == Shard(3, 8)
    assert Shard.parse("2/2").select("abcde") == "bd"
    assert Shard(3, 8).name == "3-of-8"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "-1/2", "1/2/3", "a/b", "1/0", " 1/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match=r"no part|not of the form"):
        Shard.parse(text)


def test_the_last_shard_at_work_puts_the_records_together(tmp_path):
    first = PredictionFolder.start(tmp_path, RUN, shard=FIRST)
    second = PredictionFolder.start(tmp_path, RUN, shard=SECOND)
    save(first, *FIRST.select(IMAGES))
    save(second, *SECOND.select(IMAGES))
    first.finish(IMAGES)
    first.close()
    seen = PredictionFolder.open(tmp_path)
    assert seen.info.status == "running"
    assert seen.finished() == set(IMAGES)
    assert {"images.1-of-2.jsonl", "images.2-of-2.jsonl"} <= names(tmp_path)

    second.finish(IMAGES)
    second.close()
    seen = PredictionFolder.open(tmp_path)
    assert seen.info.status == "finished"
    assert list(seen.records) == IMAGES
    assert names(tmp_path) == {"run.json", "images.jsonl", *(f"{i}.png" for i in IMAGES)}


def test_a_shard_alone_does_not_finish_the_run(tmp_path):
    with PredictionFolder.start(tmp_path, RUN, shard=SECOND) as folder:
        save(folder, *SECOND.select(IMAGES))
        folder.finish(IMAGES)
    seen = PredictionFolder.open(tmp_path)
    assert seen.info.status == "running"
    assert list(seen.records) == ["d", "b"]
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST) as folder:
        assert folder.finished() == {"d", "b"}
        save(folder, *FIRST.select(IMAGES))
        folder.finish(IMAGES)
    assert PredictionFolder.open(tmp_path).info.status == "finished"


def test_shards_and_a_whole_run_keep_out_of_each_others_way(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    other = replace(RUN, seed=7)
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST):
        with pytest.raises(PredictionsError, match=f"process {os.getpid()} on"):
            PredictionFolder.start(tmp_path, RUN, shard=FIRST)
        with pytest.raises(PredictionsError, match=f"process {os.getpid()} on"):
            PredictionFolder.start(tmp_path, RUN)
        with pytest.raises(PredictionsError, match="seed 1101 -> 7"):
            PredictionFolder.start(tmp_path, other, shard=SECOND)
        with pytest.raises(PredictionsError, match="cannot overwrite"):
            PredictionFolder.start(tmp_path, other, shard=SECOND, overwrite=True)
        PredictionFolder.start(tmp_path, RUN, shard=SECOND).close()
    with (
        PredictionFolder.start(tmp_path, RUN),
        pytest.raises(PredictionsError, match=f"process {os.getpid()} on"),
    ):
        PredictionFolder.start(tmp_path, RUN, shard=SECOND)
    PredictionFolder.start(tmp_path, RUN, shard=SECOND).close()  # a refusal has left no lock
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_a_shard_does_not_take_away_the_lock_of_those_still_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    first = PredictionFolder.start(tmp_path, RUN, shard=FIRST)
    second = PredictionFolder.start(tmp_path, RUN, shard=SECOND)
    first.close()
    with pytest.raises(PredictionsError, match="another run"):
        PredictionFolder.start(tmp_path, RUN)
    second.close()
    PredictionFolder.start(tmp_path, RUN).close()


def test_a_shard_waits_for_the_one_that_puts_the_records_together(tmp_path, monkeypatch):
    alone = PredictionFolder.start(tmp_path, RUN)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: alone.close())
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST) as folder:
        save(folder, "e")
    assert PredictionFolder.open(tmp_path).finished() == {"e"}


def test_a_killed_shard_resumes_and_leaves_the_files_of_others_alone(tmp_path):
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST) as folder:
        save(folder, "e")
    journal = tmp_path / "images.1-of-2.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"image_id": "c", "si')
    writing = tmp_path / f".4242-cafe{TEMPORARY_SUFFIX}"
    writing.write_bytes(b"half a mask of a shard elsewhere")
    second = PredictionFolder.start(tmp_path, RUN, shard=SECOND)
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST) as folder:
        assert folder.finished() == {"e"}
        save(folder, "c", "a")
        folder.finish(IMAGES)
    assert writing.exists()
    second.finish(IMAGES)
    second.close()
    assert not writing.exists()  # nobody else was at work any more
    assert list(PredictionFolder.open(tmp_path).records) == ["e", "c", "a"]


def test_what_a_killed_worker_left_is_removed_at_the_end(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        (tmp_path / f".4242-cafe{TEMPORARY_SUFFIX}").write_bytes(b"half a mask of a Ray worker")
        save(folder, *IMAGES)
        folder.finish(IMAGES)
    assert names(tmp_path) == {"run.json", "images.jsonl", *(f"{i}.png" for i in IMAGES)}


def test_a_whole_run_takes_up_what_shards_have_done(tmp_path):
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST) as folder:
        save(folder, "e", "c")
    with PredictionFolder.start(tmp_path, RUN) as folder:
        assert folder.finished() == {"e", "c"}
        assert "images.1-of-2.jsonl" not in names(tmp_path)
        save(folder, "d", "b", "a")
        folder.finish(IMAGES)
    assert list(PredictionFolder.open(tmp_path).records) == IMAGES
    with PredictionFolder.start(tmp_path, RUN, shard=FIRST) as folder:
        fail(folder, "e")
    with PredictionFolder.start(tmp_path, replace(RUN, seed=7), overwrite=True) as folder:
        assert folder.records == {}
    assert names(tmp_path) == {"run.json", "images.jsonl"}


def test_what_shards_say_is_newer_than_the_records_and_a_mask_outweighs_a_failure(tmp_path):
    with PredictionFolder.start(tmp_path, RUN) as folder:
        fail(folder, "e")
        save(folder, "d")
    with PredictionFolder.start(tmp_path, RUN, shard=Shard(1, 9)) as folder:
        save(folder, "e")
        fail(folder, "d")
        fail(folder, "c")
    with PredictionFolder.start(tmp_path, RUN, shard=Shard(2, 3)) as folder:
        save(folder, "c")
    seen = PredictionFolder.open(tmp_path)
    assert {i: record.status for i, record in seen.records.items()} == {
        "e": "done",
        "d": "failed",
        "c": "done",
    }
    with PredictionFolder.start(tmp_path, RUN, shard=Shard(9, 9)) as folder:
        fail(folder, "c")
    assert PredictionFolder.open(tmp_path).records["c"].status == "done"


SHARD = """
import json, sys
from pathlib import Path
import numpy as np
from iseg_cli.types import Mask
from iseg_cli.storage import ImageRecord, PredictionFolder, RunInfo, Shard, encode_mask
path, run, shard = Path(sys.argv[1]), RunInfo.from_json(json.loads(sys.argv[2])), sys.argv[3]
ids = [str(number) for number in range(40)]
png = encode_mask(Mask(np.ones((2, 3), np.uint8)), np.zeros((256, 3), np.uint8))
print("ready", flush=True)
sys.stdin.readline()
with PredictionFolder.start(path, run, shard=Shard.parse(shard)) as folder:
    for image_id in Shard.parse(shard).select(ids):
        folder.write(ImageRecord(image_id, (2, 3), ("cat",), "done"), png)
    folder.finish(ids)
"""


def test_processes_that_start_and_finish_together_leave_one_list_of_records(tmp_path):
    command = [sys.executable, "-c", SHARD, str(tmp_path / "run"), json.dumps(RUN.to_json())]
    running = [
        subprocess.Popen(
            [*command, f"{index}/4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for index in range(1, 5)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=600)
        assert process.returncode == 0
    seen = PredictionFolder.open(tmp_path / "run")
    assert seen.info.status == "finished"
    assert list(seen.records) == [str(number) for number in range(40)]
    assert len(names(tmp_path / "run")) == 42


def test_the_lock_of_a_killed_shard_dies_with_it(tmp_path):
    code = SHARD.replace("folder.finish(ids)", "print('written', flush=True); sys.stdin.readline()")
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(RUN.to_json()), "2/2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "written\n"
        with pytest.raises(PredictionsError, match=f"process {process.pid} on"):
            PredictionFolder.start(tmp_path, RUN)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with PredictionFolder.start(tmp_path, RUN) as folder:
        assert len(folder.finished()) == 20
