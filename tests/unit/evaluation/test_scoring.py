"""Scoring in several processes: the same counts, the same errors, bounded memory, no orphans."""

import contextlib
import errno
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from layouts import box, coco_object, make_coco, write_image, write_mask
from sklearn.metrics import confusion_matrix

from iseg_cli.cli import main
from iseg_cli.errors import DataError, PredictionsError
from iseg_cli.evaluation import MATCHINGS, scoring
from iseg_cli.evaluation.evaluate import evaluate
from iseg_cli.evaluation.scoring import BATCH_SIZE, MaskBatch, count_batch, score, suitable_workers
from iseg_cli.execution.processes import Processes
from iseg_cli.readers.coco.reader import CocoReader
from iseg_cli.readers.voc import VocReader
from iseg_cli.storage import list_masks

IMAGES = 3 * BATCH_SIZE + 5
IDS = tuple(f"2007_{number:06}" for number in range(IMAGES))


def truth_labels(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    small = rng.choice([0, 0, 8, 15, 255], size=(2 + number % 3, 3)).astype(np.uint8)
    return small.repeat(3, axis=0).repeat(4, axis=1)


def predicted_labels(number: int) -> np.ndarray:
    rng = np.random.default_rng(1000 + number)
    truth = truth_labels(number)
    wrong = rng.choice([0, 8, 15, 3, 255], size=truth.shape)
    return np.where(rng.random(truth.shape) < 0.7, truth % 255, wrong).astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "VOC2012"
    for number, image_id in enumerate(IDS):
        labels = truth_labels(number)
        write_image(root / "JPEGImages" / f"{image_id}.jpg", size=labels.shape)
        write_mask(root / "SegmentationClass" / f"{image_id}.png", labels)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(IDS) + "\n")
    return root


@pytest.fixture
def masks(tmp_path):
    for number, image_id in enumerate(IDS):
        write_mask(tmp_path / "masks" / f"{image_id}.png", predicted_labels(number))
    return tmp_path / "masks"


def report(masks: Path, root: Path, workers: int, **options) -> dict[str, object]:
    return evaluate(masks, dataset="voc", root=root, workers=workers, **options).to_json_dict()


# --- the same counts ---------------------------------------------------------------------------


@pytest.mark.parametrize("matching", MATCHINGS)
def test_the_report_is_the_same_whatever_the_number_of_workers(masks, root, matching):
    alone = report(masks, root, 1, matching=matching)
    assert alone["images"] == IMAGES
    assert report(masks, root, 2, matching=matching) == alone
    if matching == "none":
        assert report(masks, root, 3, matching=matching) == alone


@pytest.mark.parametrize("workers", [1, 3])
def test_counts_are_scikit_learns_over_all_pixels_at_once(masks, root, workers):
    truth = np.concatenate([truth_labels(n).ravel() for n in range(IMAGES)])
    prediction = np.concatenate([predicted_labels(n).ravel() for n in range(IMAGES)])
    counted = truth != 255
    expected = confusion_matrix(truth[counted], prediction[counted], labels=[*range(21), 255])
    found = score(list_masks(masks), VocReader(root), "none", workers=workers)
    np.testing.assert_array_equal(found.matrix.pairs, expected[:-1])
    assert found.ignored == (~counted).sum()
    assert found.faults == {}


def test_truth_painted_from_coco_annotations_is_painted_by_the_workers(tmp_path):
    numbers = range(BATCH_SIZE + 3)
    objects = [coco_object(n + 1, n, 1, box(0, 0, 1 + n % 8, 6), area=6) for n in numbers]
    root = make_coco(tmp_path, objects=objects, images=numbers)
    reader = CocoReader(root)
    for image_id in reader.image_ids:
        write_mask(tmp_path / "masks" / f"{image_id}.png", np.ones((6, 8)))
    paths = list_masks(tmp_path / "masks")
    people = sum(6 * (1 + n % 8) for n in numbers)  # by hand: columns of a height of 6
    for workers in (1, 2):
        counts = score(paths, reader, "none", workers=workers).matrix.counts
        assert (counts[1, 1], counts[0, 1]) == (people, 48 * len(numbers) - people)
        assert counts.sum() == counts[:2, 1].sum()


# --- the same errors ---------------------------------------------------------------------------


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_damaged_masks_are_counted_and_the_first_are_named(masks, root, workers):
    bad = [
        masks / f"{IDS[n]}.png"
        for n in (BATCH_SIZE + 2, 2 * BATCH_SIZE, 2 * BATCH_SIZE + 1, IMAGES - 1)
    ]
    for path in bad:
        spoil(path)
    with pytest.raises(PredictionsError) as raised:
        report(masks, root, workers)
    rest = "is truncated or damaged; delete it and rerun iseg generate"
    assert str(raised.value) == (
        f"4 of {IMAGES} images cannot be scored: (1) {bad[0]} {rest}; (2) {bad[1]} {rest}; "
        f"(3) {bad[2]} {rest}; and 1 more (pass --allow-missing to score the others)"
    )
    assert not (masks / "report.json").exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("matching", MATCHINGS)
def test_the_others_are_scored_on_demand_and_the_report_says_so(masks, root, workers, matching):
    damaged, small, unreadable = BATCH_SIZE - 1, BATCH_SIZE, 2 * BATCH_SIZE + 3
    spoil(masks / f"{IDS[damaged]}.png")
    write_mask(masks / f"{IDS[small]}.png", np.zeros((2, 5)))
    good = [n for n in range(IMAGES) if n not in (damaged, small, unreadable)]
    paths = {IDS[n]: masks / f"{IDS[n]}.png" for n in good}
    expected = score(paths, VocReader(root), matching).matrix.pairs
    truth = root / "SegmentationClass" / f"{IDS[unreadable]}.png"
    whole = truth.read_bytes()
    try:
        spoil(truth)
        found = report(masks, root, workers, matching=matching, allow_missing=True)
    finally:
        truth.write_bytes(whole)
    counts = np.column_stack((found["confusion"]["counts"], found["confusion"]["undecided"]))
    np.testing.assert_array_equal(counts, expected)
    assert found["images"] == found["protocol"]["images"] == IMAGES - 3
    assert found["protocol"]["faulty"] == 3
    assert found["protocol"]["missing"] == 0
    (note,) = found["protocol"]["notes"]
    assert note.startswith(f"3 of {IMAGES} images cannot be scored: (1) ")
    for path in (masks / f"{IDS[damaged]}.png", masks / f"{IDS[small]}.png", truth):
        assert str(path) in note


@pytest.mark.parametrize("workers", [1, 2])
def test_sizes_and_labels_and_truth_that_do_not_fit_are_named(masks, root, workers, tmp_path):
    middle, late = IDS[BATCH_SIZE + 7], IDS[-1]
    write_mask(masks / f"{late}.png", np.zeros((2, 5)))
    with pytest.raises(PredictionsError, match=rf"{late}\.png is 5 wide and 2 high.*12 wide and"):
        report(masks, root, workers)
    write_mask(masks / f"{middle}.png", np.full(truth_labels(BATCH_SIZE + 7).shape, 33))
    with pytest.raises(PredictionsError, match=rf"\(1\) .*{middle}\.png has label 33.*--matching"):
        report(masks, root, workers)
    without = shutil.copytree(root, tmp_path / "without")
    (without / "SegmentationClass" / f"{IDS[1]}.png").unlink()
    reader = VocReader(without).part(IDS[:3])
    found = score({IDS[1]: masks / f"{IDS[1]}.png"}, reader, "none", workers=workers)
    assert found.matrix.pairs.sum() == 0
    (fault,) = found.faults.values()
    assert isinstance(fault, DataError)
    assert re.search(r"there is no mask .*SegmentationClass", str(fault))


@pytest.mark.parametrize("allow_missing", [False, True])
def test_where_no_image_can_be_scored_there_is_no_report(masks, root, allow_missing):
    for image_id in IDS:
        write_mask(masks / f"{image_id}.png", np.zeros((1, 1)))
    with pytest.raises(PredictionsError) as raised:
        report(masks, root, 1, allow_missing=allow_missing)
    assert str(raised.value).startswith(f"{IMAGES} of {IMAGES} images cannot be scored: (1) ")
    assert str(raised.value).endswith(f"and {IMAGES - 3} more")


def test_a_worker_that_was_killed_is_one_sentence(masks, root, monkeypatch):
    monkeypatch.setattr(scoring, "count_batch", exec)
    monkeypatch.setattr(scoring, "MaskBatch", lambda *_: "import os; os._exit(9)")
    with pytest.raises(PredictionsError, match="pass fewer than --workers 2"):
        report(masks, root, 2)


# --- bounded memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_few_parts_are_on_their_way_however_many_there_are(root, workers):
    reader, made, ahead = VocReader(root), [], []

    def parts():
        for number in range(60):
            made.append(number)
            yield MaskBatch(reader.part(()), {}, "none", None)

    for taken, counts in enumerate(scoring._count_batches(parts(), workers), 1):
        ahead.append(len(made) - taken)
        assert counts.pairs.sum() == counts.ignored == 0
    assert len(ahead) == len(made) == 60
    assert max(ahead) <= 2 * max(workers, 4)  # a single process has four threads


def test_a_part_weighs_the_same_whatever_the_size_of_the_dataset(tmp_path):
    sizes = []
    for images in (BATCH_SIZE, 20 * BATCH_SIZE):
        objects = [coco_object(n + 1, n, 1, box(0, 0, 4, 6), area=24) for n in range(images)]
        root = make_coco(tmp_path / str(images), objects=objects, images=range(images))
        reader = CocoReader(root)
        part = reader.part(reader.image_ids[:BATCH_SIZE])
        sizes.append(len(pickle.dumps(part)))
        received = pickle.loads(pickle.dumps(part))  # noqa: S301, our own bytes
        assert received.image_ids == reader.image_ids[:BATCH_SIZE]
        assert received.ground_truth(part.image_ids[3]).labels.sum() == 24
        with pytest.raises(DataError, match="has no image"):
            received.ground_truth(f"COCO_train2014_{images - 1:012}x")
    assert abs(sizes[0] - sizes[1]) < 100  # but for the lengths of paths
    assert sizes[0] < 50_000


def test_workers_load_no_torch(root, masks):
    reader = VocReader(root).part(IDS[:2])
    paths = {image_id: masks / f"{image_id}.png" for image_id in reader.image_ids}
    with Processes(1) as pool:
        counts = pool.submit(count_batch, MaskBatch(reader, paths, "image", None)).result()
        loaded = pool.submit(eval, "sorted(__import__('sys').modules)").result()
    assert counts.pairs.sum() == sum((truth_labels(n) != 255).sum() for n in range(2))
    assert "numpy" in loaded
    assert "torch" not in loaded


# --- how many -------------------------------------------------------------------------------------


def test_processes_are_started_where_there_is_work_for_them(monkeypatch):
    monkeypatch.setattr(scoring, "available_cores", lambda: 8)
    assert suitable_workers(1, (1024, 2048)) == 1
    assert suitable_workers(200, (375, 500)) == 1
    assert suitable_workers(1449, (375, 500)) == 2
    assert suitable_workers(10_000, (375, 500)) == 8
    assert suitable_workers(500, (1024, 2048)) == 8
    monkeypatch.setattr(scoring, "available_cores", lambda: 1)
    assert suitable_workers(500, (1024, 2048)) == 1


@pytest.mark.parametrize("asked", ["auto", "1", "2"])
def test_the_command_starts_as_many_as_it_is_told(masks, root, monkeypatch, asked):
    started = []

    class Counted(Processes):
        def __init__(self, number: int) -> None:
            started.append(number)
            super().__init__(number)

    monkeypatch.setattr(scoring, "Processes", Counted)
    arguments = ["evaluate", str(masks), "--dataset", "voc", "--root", str(root), "--format", "csv"]
    result = CliRunner().invoke(main, [*arguments, "--workers", asked])
    assert result.exit_code == 0
    assert started == ([2] if asked == "2" else [])
    alone = report(masks, root, 1)
    assert f"mean,{alone['miou']!r},{alone['mean_accuracy']!r}" in result.stdout
    assert result.stderr == ""


def test_auto_asks_for_the_cores_where_the_masks_are_many(masks, root, monkeypatch):
    monkeypatch.setattr(scoring, "WORTH_A_PROCESS", 1000)
    monkeypatch.setattr(scoring, "available_cores", lambda: 2)
    asked = []
    monkeypatch.setattr(
        scoring, "Processes", lambda number: asked.append(number) or Processes(number)
    )
    assert report(masks, root, None) == report(masks, root, 1)
    assert asked == [2]


@pytest.mark.parametrize("workers", ["0", "-1", "many", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(masks, root, workers):
    result = CliRunner().invoke(main, ["evaluate", str(masks), f"--workers={workers}"])
    assert result.exit_code == 2
    assert "auto" in result.stderr


# --- the end --------------------------------------------------------------------------------------


WAIT_FOR_A_PIPE = """
import pathlib
read = pathlib.Path.read_bytes
def read_late(path):
    if path.name == {mask!r}:
        open({pipe!r}).read()
    return read(path)
pathlib.Path.read_bytes = read_late
"""


@pytest.fixture
def stuck(masks, root, tmp_path):
    """An evaluation in a terminal's process group, one of whose workers waits for a mask."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "site").mkdir()
    waiting = WAIT_FOR_A_PIPE.format(mask=f"{IDS[BATCH_SIZE + 1]}.png", pipe=str(pipe))
    (tmp_path / "site" / "sitecustomize.py").write_text(waiting)
    command = [sys.executable, "-m", "iseg_cli", "evaluate", str(masks)]
    process = subprocess.Popen(
        [*command, "--dataset", "voc", "--root", str(root), "--workers", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    writer = wait_for(lambda: opened_for_writing(pipe))
    yield process
    os.close(writer)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()


def opened_for_writing(pipe: Path) -> int | None:
    """Open a pipe that somebody reads; None while nobody does."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def wait_for(function):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if (result := function()) is not None:
            return result
        time.sleep(0.05)
    raise TimeoutError


def ends(process: subprocess.Popen) -> str:
    """Return what was printed as an error, once no process is left that could print more."""
    _, stderr = process.communicate(timeout=600)  # until the last worker has closed its end
    return stderr


def test_ctrl_c_ends_every_process_without_a_traceback(stuck):
    os.killpg(stuck.pid, signal.SIGINT)  # as a terminal does
    stderr = ends(stuck)
    assert stuck.returncode == 130
    assert stderr.strip().startswith("Stopped.")
    assert "Traceback" not in stderr


def test_a_killed_evaluation_leaves_no_worker_behind(stuck):
    os.kill(stuck.pid, signal.SIGKILL)
    ends(stuck)
    assert stuck.returncode == -signal.SIGKILL
