"""The loop over images: batches in order, failures alone, bounded queues."""

import threading
import time
from pathlib import Path

import pytest
from layouts import write_image

from iseg_cli.errors import DataError
from iseg_cli.generation.image_loop import FailedImage, run_image_loop
from iseg_cli.readers.folder import FolderReader

COUNT, BATCH, THREADS = 90, 4, 2


@pytest.fixture
def reader(tmp_path: Path) -> FolderReader:
    for number in range(COUNT):
        write_image(tmp_path / f"{number:02}.png", size=(4, 4))
    return FolderReader(tmp_path)


def run(reader: FolderReader, **steps: object) -> list[FailedImage]:
    failed: list[FailedImage] = []
    given = {
        "prepare": lambda sample, decoded: sample.image_id,
        "process": lambda batch: (),
        "fail": failed.append,
        **steps,
    }
    run_image_loop(reader, reader.image_ids, **given, batch_size=BATCH, threads=THREADS)
    return failed


def test_images_come_in_their_order_in_full_batches(reader: FolderReader) -> None:
    seen: list[list[str]] = []
    assert run(reader, process=lambda batch: seen.append(batch) or ()) == []
    assert [image_id for batch in seen for image_id in batch] == list(reader.image_ids)
    assert {len(batch) for batch in seen[:-1]} == {BATCH}


def test_an_image_that_fails_costs_no_other(reader: FolderReader, tmp_path: Path) -> None:
    (tmp_path / "07.png").write_bytes(b"no image")

    def prepare(sample, decoded):
        if sample.image_id == "03":
            raise DataError("no labels")
        return sample.image_id

    seen: list[str] = []
    failed = run(reader, prepare=prepare, process=lambda batch: seen.extend(batch) or ())
    assert [image.image_id for image in failed] == ["03", "07"]
    assert failed[0].reason == "no labels"
    assert seen == [i for i in reader.image_ids if i not in ("03", "07")]


def test_defects_in_our_code_are_no_faults_of_images(reader: FolderReader) -> None:
    with pytest.raises(ZeroDivisionError):
        run(reader, prepare=lambda sample, decoded: 1 / 0)


def test_an_error_of_a_write_task_ends_the_loop(reader: FolderReader) -> None:
    def write() -> None:
        raise DataError("disk full")

    with pytest.raises(DataError, match="disk full"):
        run(reader, process=lambda batch: [write for _ in batch])


def test_neither_decoding_nor_writing_runs_far_ahead(reader: FolderReader) -> None:
    lock, open_images, most = threading.Lock(), 0, 0

    def prepare(sample, decoded):
        nonlocal open_images, most
        with lock:
            open_images += 1
            most = max(most, open_images)
        return sample.image_id

    def write() -> None:
        nonlocal open_images
        time.sleep(0.005)
        with lock:
            open_images -= 1

    run(reader, prepare=prepare, process=lambda batch: [write for _ in batch])
    ahead = THREADS + 2 * BATCH
    assert open_images == 0
    assert most <= 3 * ahead + 2 * BATCH < COUNT
