"""A run meets faults of the machine: a kill, a full disk, lost images, another run.

After each fault the user reads one sentence, no file is half written, and finished masks stay. The
same command then gives the bytes of a run without a fault.
"""

import errno
import fcntl
import json
import os
import shutil
import signal
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
from emoji_runs import emoji_pictures, emoji_root, first_ids
from emoji_runs import iseg as invoke
from faults import (
    Fault,
    Run,
    has_lines,
    out_of_memory,
    peak_memory,
    removed,
    run,
    start,
    stopped,
    together,
    wait_until,
)
from PIL import Image

from iseg_cli.errors import PredictionsError
from iseg_cli.storage import encode_mask, files, is_whole_png, read_mask
from iseg_cli.storage import lock as locks
from iseg_cli.storage.files import LineFile
from iseg_cli.storage.lock import FolderLock
from iseg_cli.types import Mask

COUNT, BATCH = 16, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emoji_root(tmp_path_factory.mktemp("data") / "root", first_ids(COUNT))


@pytest.fixture(scope="module")
def image_ids(root: Path) -> list[str]:
    return (root / "ImageSets/Segmentation/val.txt").read_text().split()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def generate(root: Path, out: Path) -> list[object]:
    return [
        "generate", "--dataset", "emoji-voc", "--root", root, "--out", out, "--batch-size", BATCH,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Every file of a run without faults, with overlays, scores and the COCO file."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = run(*with_extras(root, folder / "a" / "out"), log=folder / "log")
    assert ended.code == 0, ended.said
    files = contents(folder / "a")
    assert len(files) == 3 * COUNT + 3
    return files


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output folder of one test, in a folder of its own."""
    return tmp_path / "a" / "out"


def with_extras(root: Path, out: Path) -> list[object]:
    """The command that writes every kind of file; the COCO file lies beside the output folder."""
    return [*generate(root, out), "--overlays", "--scores", "--rle", out.parent / "coco.json"]


def contents(folder: Path) -> dict[str, object]:
    """The bytes of every file, hidden files included; of run.json all keys except the time."""
    files: dict[str, object] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    info = json.loads((folder / "out" / "run.json").read_bytes())
    files["out/run.json"] = {**info, "created": None}
    return files


def without_extras(files: dict[str, object]) -> dict[str, object]:
    return {name: data for name, data in files.items() if name.count("/") == 1}


def assert_nothing_is_half(out: Path, undisturbed: dict[str, object]) -> set[str]:
    """Check that every mask is right and every record has its mask; return the recorded images."""
    for path in out.glob("*.png"):
        assert path.read_bytes() == undisturbed[f"out/{path.name}"], path
    journal = out / "images.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    records = [json.loads(line) for line in lines]
    for record in records:
        assert (record["status"] == "done") == (out / f"{record['image_id']}.png").exists()
    return {record["image_id"] for record in records}


def assert_one_sentence(ended: Run, *words: str) -> None:
    """Check that a run ended with exit code 2 and one line, which has these words in it."""
    assert ended.code == 2, ended.said
    line, end = ended.said.split("\n", 1)
    assert line.startswith("Error: ")
    assert end == "", ended.said
    for word in words:
        assert word in line


# --- kill -9 -------------------------------------------------------------------------------------

MOMENTS = {
    "while the model is loaded": Fault("read", "unet/config.json$"),
    "before run.json": Fault("rename", "/run.json$"),
    "between run.json and images.jsonl": Fault("rename", "/images.jsonl$"),
    "while images are decoded": Fault("read", "/JPEGImages/", 3),
    "while a batch is segmented": Fault("unet", first=2),
    "while a mask is written": Fault("rename", r"\.png$", 2),
    "between a mask and its record": Fault("append", "/images.jsonl$"),
    "while records are put in order": Fault("rename", "/images.jsonl$", 2),
    "before the run is called finished": Fault("rename", "/run.json$", 2),
    "before the lock is removed": Fault("remove", "/.iseg-lock$"),
}


def test_killed_at_one_moment_after_another(
    root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    """Runs in one folder are killed, each at another moment, and each resumes the one before."""
    earlier = set[str]()
    for moment, fault in MOMENTS.items():
        killed = run(*generate(root, out), log=log, faults=[fault])
        assert killed.code == -9, (moment, killed.said)
        recorded = assert_nothing_is_half(out, undisturbed)
        assert recorded >= earlier, moment  # what was finished stays
        earlier = recorded
        if moment == "between a mask and its record":
            assert {path.stem for path in out.glob("*.png")} > recorded
    resumed = run(*generate(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert f"0 masks written to {out}, {COUNT} were there already" in resumed.said
    assert contents(out.parent) == without_extras(undisturbed)


@pytest.fixture(scope="module")
def happened(root: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The number of events of a run that concern its files and its model."""
    folder = tmp_path_factory.mktemp("events")
    ended = run(
        *with_extras(root, folder / "a" / "out"), log=folder / "log", journal=folder / "events"
    )
    assert ended.code == 0, ended.said
    lines = (folder / "events").read_text().splitlines()
    return sum(line == "unet ''" or "/root/" in line or "/a/" in line for line in lines)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_a_random_moment(
    seed: int,
    happened: int,
    root: Path,
    out: Path,
    log: Path,
    undisturbed: dict[str, object],
) -> None:
    moment = int(np.random.default_rng(seed).integers(1, happened * 9 // 10))
    fault = Fault("any", "^$|/root/|/a/", moment)
    killed = run(*with_extras(root, out), log=log, faults=[fault])
    assert killed.code == -9, killed.said
    recorded = assert_nothing_is_half(out, undisturbed)
    resumed = run(*with_extras(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert f"{COUNT - len(recorded)} masks written" in resumed.said
    assert contents(out.parent) == undisturbed


def test_killed_while_the_coco_file_is_written(
    root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    """The file lies outside the output folder, where no run looks for files of a killed run."""
    fault = Fault("rename", r"coco\.json$")
    assert run(*with_extras(root, out), log=log, faults=[fault]).code == -9
    assert run(*with_extras(root, out), log=log).code == 0
    assert contents(out.parent) == undisturbed


# --- a disk that is full, a folder that may not be written ---------------------------------------

FULL, READ_ONLY, FORBIDDEN, DEFECT = errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO
REFUSALS = [
    (Fault("mkdir", "/out$", then=READ_ONLY), "/out"),
    (Fault("write", "/.iseg-lock$", then=FORBIDDEN), "/out"),
    (Fault("rename", "/run.json$", then=FULL), "/out/run.json"),
    (Fault("rename", "/images.jsonl$", then=FULL), "/out/images.jsonl"),
    (Fault("append", "/images.jsonl$", then=READ_ONLY), "/out/images.jsonl"),
    (Fault("rename", r"/overlays/.*\.jpg$", 3, then=FULL), "/out/overlays/val_"),
    (Fault("rename", r"/scores/.*\.npz$", 3, then=FULL), "/out/scores/val_"),
    (Fault("rename", r"/out/val_.*\.png$", 3, then=FULL), "/out/val_"),
    (Fault("read", "/images.jsonl$", then=DEFECT), "/out/images.jsonl"),
    (Fault("read", "/run.json$", then=DEFECT), "/out/run.json"),
    (Fault("rename", "/images.jsonl$", 2, then=FULL), "/out/images.jsonl"),
    (Fault("rename", "/run.json$", 2, then=FULL), "/out/run.json"),
    (Fault("rename", r"coco\.json$", then=FULL), "coco.json"),
]


def test_refused_by_the_system_at_one_moment_after_another(
    root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    """The system refuses something to each run in one folder; each resumes the one before."""
    earlier = set[str]()
    for fault, where in REFUSALS:
        log.unlink(missing_ok=True)
        refused = run(*with_extras(root, out), log=log, faults=[fault])
        assert_one_sentence(refused, where, os.strerror(int(fault.then)))
        recorded = assert_nothing_is_half(out, undisturbed)
        assert recorded >= earlier, fault
        earlier = recorded
        assert not list(out.rglob(".*")), fault  # neither temporaries nor the lock
    log.unlink()
    resumed = run(*with_extras(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert contents(out.parent) == undisturbed


def test_a_folder_that_may_not_be_cleared(root: Path, out: Path, log: Path) -> None:
    again = [*generate(root, out), "--limit", 4]
    assert run(*again, log=log).code == 0
    (out / ".1-aa.iseg-tmp").write_bytes(b"of a killed run")
    before = {path: path.read_bytes() for path in out.iterdir() if path.name != "run.json"}
    assert len(before) == 4 + 2
    for arguments in (again, [*again, "--set", "seed=7", "--overwrite"]):
        log.unlink()
        refused = run(
            *arguments, log=log, faults=[Fault("remove", r"/out/(?!\.iseg-lock)", then=READ_ONLY)]
        )
        assert_one_sentence(refused, str(out), "Read-only file system")
        assert {path: path.read_bytes() for path in before} == before
        assert json.loads((out / "run.json").read_bytes())["seed"] != 7


@pytest.mark.parametrize("largest", [2_000, 5_000])
def test_a_file_that_cannot_grow(
    largest: int, root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    """The system stops a file in its middle, as a full disk does."""
    refused = run(*with_extras(root, out), log=log, largest_file=largest)
    assert_one_sentence(refused, str(out), "File too large")
    assert_nothing_is_half(out, undisturbed)
    log.unlink()
    resumed = run(*with_extras(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert contents(out.parent) == undisturbed


def test_a_record_that_the_disk_takes_half(tmp_path: Path, out: Path, log: Path) -> None:
    """The disk is full between two bytes of a line of images.jsonl."""
    names = [f"{'x' * 200}{number:02}" for number in range(COUNT)]
    folder = emoji_pictures(tmp_path / "pictures", [f"{name}.jpg" for name in names])
    arguments = [
        "generate", "--dataset", "folder", "--root", folder, "--categories", "dog, cat",
        "--config", "emoji-voc", "--batch-size", BATCH, "--out", out,
    ]  # fmt: skip
    assert run(*arguments, log=log).code == 0
    undisturbed = contents(out.parent)
    assert len(undisturbed["out/images.jsonl"]) > 4_100
    shutil.rmtree(out)
    log.unlink()
    refused = run(*arguments, log=log, largest_file=4_100)
    assert_one_sentence(refused, "/out/images.jsonl", "File too large")
    assert 0 < len((out / "images.jsonl").read_bytes()) <= 4_100
    assert_nothing_is_half(out, undisturbed)
    assert run(*arguments, log=log).code == 0
    assert contents(out.parent) == undisturbed


class FullFor(FileIO):
    """A file that takes ten bytes, refuses the second write, and takes every later one."""

    tries = 0

    def write(self, data: bytes) -> int:
        self.tries += 1
        if self.tries == 2:
            raise OSError(FULL, os.strerror(FULL))
        return super().write(data[:10] if self.tries == 1 else data)


def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may write the next line as soon as the disk has room again."""
    (tmp_path / "file").write_bytes(b"first line\n")
    monkeypatch.setattr(files, "FileIO", FullFor)
    with closing(LineFile(tmp_path / "file")) as file:
        with pytest.raises(PredictionsError, match=r"cannot write .*file: No space left"):
            file.append(b"second line\n")
        file.append(b"third line\n")
    assert (tmp_path / "file").read_bytes() == b"first line\nthird line\n"


VANISHING = [
    ("unet", ""), ("write", r"/out/\..*\.iseg-tmp$"), ("mkdir", "/out/overlays$"),
    ("mkdir", "/out/scores$"), ("rename", r"/out/val_.*\.png$"),
]  # fmt: skip


def test_a_folder_that_vanishes(
    root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    """At every event the user is told, and the run does not create the folder again."""
    masks_are_there = partial(has_lines, out / "images.jsonl", 2)
    for event, path in VANISHING:
        log.unlink(missing_ok=True)
        fault = Fault(event, path, when=masks_are_there, then=partial(removed, out))
        gone = run(*with_extras(root, out), log=log, faults=[fault])
        assert_one_sentence(gone, str(out), "removed")
        assert not out.exists(), event
    done = run(*with_extras(root, out), log=log)
    assert done.code == 0, done.said
    assert contents(out.parent) == undisturbed


def test_no_device_is_replaced_by_a_file(root: Path, out: Path, tmp_path: Path, log: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused = run(*generate(root, out), "--limit", 1, "--rle", pipe, log=log)
    assert_one_sentence(refused, str(pipe), "is no file")
    assert pipe.is_fifo()


# --- images that change during a run -------------------------------------------------------------


def bomb(path: Path) -> None:
    """Write a small PNG whose header says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def jpeg_bomb(path: Path) -> None:
    """Change a JPEG's header (SOF0: a height and a width) to 60,000 x 60,000 pixels."""
    data = path.read_bytes()
    frame = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:frame] + struct.pack(">HH", 60_000, 60_000) + data[frame + 4 :])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900])


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def resized(path: Path) -> None:
    with Image.open(path) as image:
        image.resize((90, 70)).save(path)


CHANGES = {
    cut: "broken or truncated",
    Path.unlink: "there is no image",
    partial(Path.write_text, data="<html>404</html>"): "is no image but a web page",
    partial(Path.write_bytes, data=b""): "is no image but an empty file",
    partial(
        Path.write_text, data="%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    ): "is a drawing, which iseg does not read",
    replaced_by_a_folder: "is no file",
    replaced_by_a_pipe: "is no file",
    replaced_by_a_loop: "Too many levels of symbolic links",
    resized: "is 128 wide and 128 high, but its image",
    bomb: "has more than 89478485 pixels",
    jpeg_bomb: "has more than 89478485 pixels",
}


def change(images: list[Path]) -> None:
    for image, act in zip(images, CHANGES, strict=True):
        act(image)


def test_images_that_change_after_the_start(
    root: Path, image_ids: list[str], tmp_path: Path, out: Path, log: Path, undisturbed
) -> None:
    moved = shutil.copytree(root, tmp_path / "root")
    changed = image_ids[4 : 4 + len(CHANGES)]
    images = [moved / "JPEGImages" / f"{image_id}.jpg" for image_id in changed]
    fault = Fault("read", "/JPEGImages/", then=partial(change, images))
    ended = run(*generate(moved, out), log=log, faults=[fault])
    assert ended.code == 1, ended.said
    written, *failures, last = ended.said.splitlines()
    assert written.startswith(f"{COUNT - len(CHANGES)} masks written")
    assert last == f"{len(CHANGES)} of {COUNT} images failed."
    for failure, image, reason in zip(sorted(failures), images, CHANGES.values(), strict=True):
        assert failure.startswith(f"failed: {image.stem}: ")
        assert str(image) in failure
        assert reason in failure
    assert assert_nothing_is_half(out, undisturbed) == set(image_ids)
    for image in images:  # put right, the same command does just these
        if image.is_dir():
            image.rmdir()
        image.unlink(missing_ok=True)
        shutil.copy(root / "JPEGImages" / image.name, image)
    resumed = run(*generate(moved, out), log=log)
    assert resumed.code == 0, resumed.said
    assert f"{len(CHANGES)} masks written" in resumed.said
    made = contents(out.parent)
    assert made["out/run.json"].pop("root") == str(moved)
    assert made.keys() == without_extras(undisturbed).keys()
    assert all(made[name] == undisturbed[name] for name in made if name != "out/run.json")


def test_whatever_lies_in_a_folder_of_pictures(tmp_path: Path, log: Path) -> None:
    """Odd names are kept, things that are no files are reported, and no pipe is waited for."""
    odd = [
        "-rf", "two\nlines", "tab\t", "süß 雪 🐕", "a;b'c\"d$e", "...", "x" * 251, "%s{0}",
        os.fsdecode(b"not \xff utf-8"), "run.json", "images.jsonl", "nested/.png",
    ]  # fmt: skip
    folder = emoji_pictures(tmp_path / "pictures", [f"{name}.jpg" for name in odd])
    os.mkfifo(folder / "pipe.jpg")
    (folder / "round.png").symlink_to(folder / "round.png")
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    (folder / "again").symlink_to(folder)  # a folder within itself
    (folder / "folder.png").mkdir()
    bomb(folder / "bomb.png")
    out = folder / "predictions"  # masks are no pictures to segment
    arguments = [
        "generate", "--dataset", "folder", "--root", folder, "--categories", "dog, cat",
        "--config", "emoji-voc", "--batch-size", BATCH, "--out", out, "--overlays", "--scores",
    ]  # fmt: skip
    for written in (len(odd) - 2, 0):
        log.unlink(missing_ok=True)
        ended = run(*arguments, log=log)
        assert ended.code == 1, ended.said
        assert f"{written} masks written" in ended.said
        failed = ("bomb", "nowhere", "pipe", "round")
        assert all(f"failed: {name}: " in ended.said for name in failed)
        assert "4 of 14 images failed" in ended.said
        assert "again leads back to a folder above it" in ended.said
        seen = [name for name in odd if not name.split("/")[-1].startswith(".")]
        for name in seen:
            assert read_mask(out / f"{name}.png").size == (128, 128)
        lines = (out / "images.jsonl").read_text("utf-8").splitlines()
        assert {json.loads(line)["image_id"] for line in lines} == {*failed, *seen}


# --- files that an old crash, or somebody, damaged -----------------------------------------------


def rebuilt(files: dict[str, object], folder: Path) -> None:
    """Write what `contents` read."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        raw = data if isinstance(data, bytes) else json.dumps({**data, "created": ""}).encode()
        (folder / name).write_bytes(raw)


def cut_to(part: float, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def flip_in_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_another_size(path: Path) -> None:
    path.write_bytes(encode_mask(Mask(np.zeros((9, 9), np.uint8)), np.zeros((256, 3), np.uint8)))


DAMAGES = [
    partial(cut_to, 0), partial(cut_to, 0.5), partial(cut_to, 0.999), flip_in_the_middle,
    of_another_size, Path.unlink,
]  # fmt: skip


def test_damaged_masks_are_found_and_made_again(
    root: Path, image_ids: list[str], out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    rebuilt(undisturbed, out.parent)
    for damage, image_id in zip(DAMAGES, image_ids, strict=False):
        damage(out / f"{image_id}.png")
        assert not is_whole_png(out / f"{image_id}.png", (128, 128))
        if damage is not of_another_size:
            with pytest.raises(PredictionsError, match=image_id):
                read_mask(out / f"{image_id}.png")
    refused = iseg("evaluate", out)
    assert_one_sentence(refused, f"{len(DAMAGES)} ")
    resumed = run(*with_extras(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert f"{len(DAMAGES)} masks written" in resumed.said
    assert contents(out.parent) == undisturbed


def test_no_byte_of_a_mask_changes_unseen(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 255], size=(9, 11)).astype(np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    data, path = encode_mask(Mask(labels), palette), tmp_path / "a.png"
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        assert not is_whole_png(path, labels.shape), position
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert not is_whole_png(path, labels.shape), length
    path.write_bytes(data)
    assert is_whole_png(path, labels.shape)


def iseg(*arguments: object) -> Run:
    """Run `iseg` in this process, and raise every error that is no error of the user."""
    result = invoke(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.output)


JUNK = {
    "empty": b"",
    "cut": b'{"dataset": "emoji-voc", "roo',
    "binary": bytes(range(256)),
    "another kind": b"[1, 2]",
    "a number": b"3",
    "somebody else's": b'{"learning_rate": 0.1}',
    "bottomless": b"[" * 100_000,
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_a_broken_run_json_is_a_sentence(
    junk: bytes, root: Path, out: Path, undisturbed: dict[str, object]
) -> None:
    rebuilt(undisturbed, out.parent)
    (out / "run.json").write_bytes(junk)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for arguments in (["evaluate", out], generate(root, out)):
        refused = iseg(*arguments)
        assert_one_sentence(refused, f"{out / 'run.json'} is damaged or", "pass another folder")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


KEYS = ("dataset", "root", "model", "settings", "seed", "images", "limit", "status", "versions",
        "categories", "batch_size", "crop_side", "created")  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_run_json_of_wrong_types_is_a_sentence(
    key: str, out: Path, undisturbed: dict[str, object]
) -> None:
    rebuilt(undisturbed, out.parent)
    info = undisturbed["out/run.json"]
    for value in (1.5, [[]]):
        (out / "run.json").write_text(json.dumps({**info, "created": "", key: value}))
        assert_one_sentence(iseg("evaluate", out), f"{out / 'run.json'} is damaged or")


LINE = b'{"image_id": "a", "size": [1, 2], "categories": ["cat"], "status": "done", "error": null}'
BROKEN_LINES = {
    "cut": LINE[:50],
    "empty": b"",
    "binary": bytes(range(11, 256)),
    "another kind": b"[]",
    "zeros": bytes(100),
    "a size of text": LINE.replace(b"[1, 2]", b'["1", 2]'),
    "one side": LINE.replace(b"[1, 2]", b"[1]"),
    "no name": LINE.replace(b'"a"', b"7"),
    "unknown status": LINE.replace(b'"done"', b'"odd"'),
    "status of another kind": LINE.replace(b'"done"', b"[]"),
    "categories of text": LINE.replace(b'["cat"]', b'"cat"'),
    "bottomless": b"[" * 100_000,
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_broken_line_is_a_sentence(
    line: bytes, out: Path, undisturbed: dict[str, object]
) -> None:
    rebuilt(undisturbed, out.parent)
    journal = out / "images.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + LINE + b"\n" + line + b"\n" + LINE + b"\n")
    refused = iseg("evaluate", out)
    assert_one_sentence(refused, f"{journal}, line {COUNT + 2} is damaged; delete the line")


@pytest.mark.parametrize("torn", [b"", *BROKEN_LINES.values()], ids=["nothing", *BROKEN_LINES])
def test_a_torn_last_line_is_passed_over(
    torn: bytes, out: Path, undisturbed: dict[str, object]
) -> None:
    rebuilt(undisturbed, out.parent)
    journal = out / "images.jsonl"
    journal.write_bytes(journal.read_bytes() + torn.replace(b"\n", b""))
    assert iseg("evaluate", out).code == 0


def test_records_that_are_lost_are_made_again(
    root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    rebuilt(undisturbed, out.parent)
    (out / "images.jsonl").write_bytes(bytes(range(11, 200)))
    resumed = run(*with_extras(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert f"{COUNT} masks written" in resumed.said
    assert contents(out.parent) == undisturbed


# --- two runs in one folder ----------------------------------------------------------------------


def test_a_second_run_is_refused_until_the_first_is_dead(
    root: Path, out: Path, log: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    mark = tmp_path / "stopped"
    some_are_done = partial(has_lines, out / "images.jsonl", BATCH)
    fault = Fault("any", when=some_are_done, then=partial(stopped, mark))
    first = start(*generate(root, out), log=tmp_path / "first", faults=[fault])
    wait_until(mark.exists)
    for more in ([], ["--overwrite"]):
        refused = run(*generate(root, out), *more, log=log)
        assert_one_sentence(refused, f"(process {first.process.pid} on ", str(out), "--out")
        log.unlink()
    assert first.kill().code == -signal.SIGKILL
    recorded = assert_nothing_is_half(out, undisturbed)
    assert BATCH <= len(recorded) < COUNT
    resumed = run(*generate(root, out), log=log)
    assert resumed.code == 0, resumed.said
    assert f"{COUNT - len(recorded)} masks written" in resumed.said
    assert contents(out.parent) == without_extras(undisturbed)


def test_two_runs_that_start_together_do_not_mix(
    root: Path, out: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    logs = (tmp_path / "one", tmp_path / "two")
    running = [start(*generate(root, out), log=log, gate=tmp_path / "gate") for log in logs]
    (tmp_path / "gate").touch()
    ended = [one.wait() for one in running]
    assert {run.code for run in ended} <= {0, 2}
    assert any(run.code == 0 for run in ended), ended
    for one, other in (running, running[::-1]):
        if one.wait().code == 2:
            assert_one_sentence(one.wait(), f"(process {other.process.pid} on ")
    assert contents(out.parent) == without_extras(undisturbed)


def take_turns(folder: Path, rounds: int, barrier) -> list[str]:
    """Take a lock again and again; while a process has it, no other process is in the folder."""
    mine, refusals = str(os.getpid()), []
    barrier.wait()
    for _ in range(rounds):
        try:
            lock = FolderLock(folder)
        except PredictionsError as error:
            refusals.append(str(error))
            continue
        with (folder / "inside").open("x") as file:  # FileExistsError where two are inside
            file.write(mine)
        (folder / "inside").unlink()
        lock.release()
    return refusals


def one_of_two(folder: Path, rounds: int, barrier) -> list[str]:
    """Try several locks at the same instant as another process; return the refusals or blanks."""
    said = []
    for number in range(rounds):
        (folder / str(number)).mkdir(exist_ok=True)
        lock = None
        barrier.wait()
        try:
            lock = FolderLock(folder / str(number))
            said.append("")
        except PredictionsError as error:
            said.append(str(error))
        barrier.wait()
        if lock is not None:
            lock.release()
    return said


def test_only_one_process_is_inside_at_any_time(tmp_path: Path) -> None:
    refusals = [text for _, said in together(take_turns, tmp_path, 400) for text in said]
    assert all("another run (process " in text for text in refusals)
    assert not list(tmp_path.iterdir())


def test_of_two_at_the_same_instant_one_is_named_to_the_other(tmp_path: Path) -> None:
    (one, said_to_one), (other, said_to_other) = together(one_of_two, tmp_path, 200)
    for to_one, to_other in zip(said_to_one, said_to_other, strict=True):
        assert (to_one == "") != (to_other == ""), (to_one, to_other)
        owner = other if to_one else one
        assert f"another run (process {owner} on " in to_one + to_other


def test_a_lock_that_its_owner_removes_this_moment_is_none(tmp_path: Path, monkeypatch) -> None:
    """A file was opened, and its owner then removed it: a lock on it protects nothing."""
    first, real, times = FolderLock(tmp_path), fcntl.flock, []

    def flock(descriptor: int, kind: int) -> None:
        times.append(kind)
        if len(times) == 1:
            first.release()
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = FolderLock(tmp_path)
    assert len(times) == 2
    with pytest.raises(PredictionsError, match="another run"):
        FolderLock(tmp_path)
    second.release()


class Clock:
    """Replaces the module `time`: time passes only in `sleep`."""

    def __init__(self, after_each_sleep: Callable[[], object] = lambda: None) -> None:
        self.now, self.after_each_sleep = 100.0, after_each_sleep

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.after_each_sleep()


def test_an_owner_that_has_not_written_its_name_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = os.open(tmp_path / ".iseg-lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    clock = Clock(lambda: clock.now < 100.5 or os.pwrite(descriptor, b"123 on here", 0))
    monkeypatch.setattr(locks, "time", clock)
    with pytest.raises(PredictionsError, match=r"another run \(process 123 on here\)"):
        FolderLock(tmp_path)
    assert clock.now == pytest.approx(100.5, abs=0.02)
    os.close(descriptor)


def test_an_owner_that_never_writes_its_name_is_not_waited_for_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = os.open(tmp_path / ".iseg-lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    clock = Clock()
    monkeypatch.setattr(locks, "time", clock)
    with pytest.raises(PredictionsError, match=r"another run \(process unknown\)"):
        FolderLock(tmp_path)
    assert clock.now == pytest.approx(101.0, abs=0.02)
    os.close(descriptor)


# --- memory --------------------------------------------------------------------------------------


def test_a_batch_that_finds_no_memory(
    root: Path, out: Path, log: Path, undisturbed: dict[str, object]
) -> None:
    with out_of_memory(over=2) as asked:
        refused = iseg(*generate(root, out))
    assert asked == [BATCH]
    assert_one_sentence(refused, f"{BATCH} images do not fit into the memory", "--batch-size")
    assert_nothing_is_half(out, undisturbed)


def batches_of_auto(root: Path, out: Path) -> list[object]:
    arguments = generate(root, out)
    arguments[arguments.index("--batch-size") + 1] = "auto"
    return arguments


def test_a_batch_size_that_was_not_asked_for_is_halved_until_memory_suffices(
    root: Path, out: Path, tmp_path: Path
) -> None:
    with out_of_memory(over=2) as asked:
        done = iseg(*batches_of_auto(root, out))
        assert done.code == 0, done.said
        assert asked[:3] == [8, 4, 2]
        assert set(asked[2:]) == {2}
        assert "Memory did not suffice for more than 2 images" in done.said
        passes = len(asked)
        again = iseg(*batches_of_auto(root, out))  # a resumed run starts with what fitted
    assert again.code == 0
    assert len(asked) == passes
    assert json.loads((out / "run.json").read_text())["batch_size"] == 2
    in_twos = generate(root, tmp_path / "twos")
    in_twos[in_twos.index("--batch-size") + 1] = 2
    assert iseg(*in_twos).code == 0
    for path in sorted((tmp_path / "twos").glob("*.png")):
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_masks_from_before_memory_ran_out_stay(root: Path, out: Path) -> None:
    """Another process may take the memory during a run."""
    limited = [*batches_of_auto(root, out), "--limit", "8"]
    assert iseg(*limited).code == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert len(before) == 8
    with out_of_memory(over=4) as asked:
        done = iseg(*batches_of_auto(root, out))
    assert done.code == 0, done.said
    assert asked[:2] == [8, 4]
    assert before.items() <= {p.name: p.stat().st_mtime_ns for p in out.glob("*.png")}.items()
    assert len(list(out.glob("*.png"))) > 8


def test_where_not_one_image_fits_it_is_said(root: Path, out: Path) -> None:
    with out_of_memory(over=0) as asked:
        refused = iseg(*batches_of_auto(root, out))
    assert asked == [8, 4, 2, 1]
    assert_one_sentence(refused, "not even one image at a time", "--dtype float16")


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """Images of three megabytes: 48 would show in the peak beside 16 if they were kept."""
    peaks = []
    for count in (16, 48):
        folder = tmp_path / str(count)
        folder.mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((1000, 1000)).save(folder / "0.jpg")
        for number in range(1, count):
            os.link(folder / "0.jpg", folder / f"{number}.jpg")
        arguments = [
            "generate", "--dataset", "folder", "--root", folder, "--categories", "dog, cat",
            "--config", "emoji-voc", "--batch-size", BATCH, "--out", tmp_path / f"out-{count}",
        ]  # fmt: skip
        peaks.append(peak_memory(*arguments, log=tmp_path / "log"))
    assert peaks[1] <= 1.1 * peaks[0]
