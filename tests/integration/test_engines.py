"""Every engine writes the same masks: this process, Ray, shards; also after lost workers."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from emoji_runs import iseg
from faults import LIMIT_S, wait_until
from PIL import Image

from iseg_cli.config.resolve import resolve_settings
from iseg_cli.config.resources import embedded_dataset
from iseg_cli.generation.engines import ray_worker
from iseg_cli.generation.engines.ray_worker import Worker, WorkerPlan, survey
from iseg_cli.generation.mask_generator import OnRecord
from iseg_cli.generation.plan import RunPlan, open_generator
from iseg_cli.storage import ImageRecord

LIMIT, BATCH = 22, 2
ARGUMENTS = ("generate", "--dataset", "emoji-voc", "--limit", LIMIT, "--batch-size", BATCH)
RAY = ("--engine", "ray", "--workers", 2, "--device", "cpu")
ONE = ("--engine", "ray", "--workers", 1, "--device", "cpu")
"""Each worker imports torch and loads the model, so a test with one takes half the time."""


def files(folder: Path) -> dict[str, bytes]:
    """The files of a run without run.json, which has its date."""
    paths = (p for p in folder.rglob("*") if p.is_file() and p.name != "run.json")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def masks(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder).items() if name.endswith(".png")}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run in this process; other engines must write the same bytes."""
    out = tmp_path_factory.mktemp("once") / "run"
    result = iseg(*ARGUMENTS, "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two CPUs and a pretended GPU; all runs here share it."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


# --- Ray ---------------------------------------------------------------------------------------


def test_runs_go_on_with_another_engine_and_broken_images_are_reported(
    once: Path, cluster: None, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(embedded_dataset(), root)
    broken = root / "JPEGImages" / "val_0009.jpg"
    picture = broken.read_bytes()
    broken.write_bytes(picture[:900])
    out = tmp_path / "run"
    arguments = (*ARGUMENTS, "--root", root, "--out", out)

    assert iseg(*arguments, "--limit", 3).exit_code == 0  # local
    result = iseg(*arguments, *RAY)
    assert result.exit_code == 1, result.output
    assert f"{LIMIT - 4} masks written" in result.output
    assert "3 were there already" in result.output
    assert "val_0009.jpg" in result.output
    assert f"1 of {LIMIT} images failed" in result.output
    expected = masks(once)
    assert masks(out) == {n: data for n, data in expected.items() if n != "val_0009.png"}

    broken.write_bytes(picture)
    mended = iseg(*arguments)  # local again
    assert mended.exit_code == 0, mended.output
    assert "1 masks written" in mended.output
    assert files(out) == files(once)
    run, before = (json.loads((path / "run.json").read_text()) for path in (out, once))
    assert run["batch_size"] == before["batch_size"]
    assert run["model"] == before["model"]


def test_photos_are_turned_and_reported_alike_by_every_engine(
    cluster: None, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name, orientation in (("a.jpg", 6), ("b.jfif", 1), ("c.jpg", 3), ("sub\\d.jpg", 1)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(root / name, "JPEG", exif=exif)
    (root / "e.jp2").write_bytes(b"\0\0\0\x0cjP  ")
    arguments = (
        "generate", "--dataset", "folder", "--root", root, "--categories", "cat, dog",
        "--config", "emoji-voc", "--model", "tiny", "--batch-size", BATCH,
    )  # fmt: skip
    said = {}
    for engine, options in (("local", ("--device", "cpu")), ("ray", ONE)):
        result = iseg(*arguments, "--out", tmp_path / engine, *options)
        assert result.exit_code == 1, result.output
        assert "note: 2 images are stored turned or mirrored" in result.output
        assert "2 of 5 images failed." in result.output
        starts = ("note: ", "failed: ")  # Ray, started by this process, has lines of its own
        said[engine] = [line for line in result.output.splitlines() if line.startswith(starts)]
    assert said["local"] == said["ray"]
    assert files(tmp_path / "local") == files(tmp_path / "ray")
    lines = (tmp_path / "ray" / "images.jsonl").read_text().splitlines()
    turned = {r["image_id"]: r.get("exif_orientation") for r in map(json.loads, lines)}
    assert turned == {"a": 6, "b": None, "c": 3, "e": None, "sub\\d": None}


def dying_after_an_image(mark: Path) -> type[Worker]:
    """A worker that is killed after its first image; later workers live."""

    class Dying(Worker):  # Ray sends a class that stands in a function along with its code
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            make = self._generator.run

            def run(image_ids: Sequence[str], on_record: OnRecord) -> None:
                def delivered(record: ImageRecord) -> None:
                    with suppress(FileExistsError):
                        mark.open("x").close()
                        os.kill(os.getpid(), signal.SIGKILL)
                    on_record(record)

                make(image_ids, delivered)

            self._generator.run = run

    return Dying


def test_a_worker_killed_at_work_costs_no_image(
    once: Path, cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, killed = tmp_path / "run", tmp_path / "killed"
    monkeypatch.setattr("iseg_cli.generation.engines.ray.Worker", dying_after_an_image(killed))
    result = iseg(*ARGUMENTS, "--out", out, *RAY)
    assert result.exit_code == 0, result.output
    assert killed.exists()
    assert f"{LIMIT} masks written" in result.output
    assert files(out) == files(once)


@pytest.mark.parametrize(
    ("task", "engine"),
    [
        (("--labels", "clip", "--overlays", "--scores"), ONE),
        (("--task", "unsupervised"), ("--engine", "ray")),  # one worker for each GPU
    ],
)
def test_workers_do_every_task_with_all_that_lies_beside_the_masks(
    cluster: None,
    tmp_path: Path,
    task: tuple[str, ...],
    engine: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = (*ARGUMENTS, "--limit", 3, *task)
    assert iseg(*arguments, "--out", "local").exit_code == 0
    result = iseg(*arguments, "--out", "ray", *engine)
    assert result.exit_code == 0, result.output
    assert len(masks(tmp_path / "ray")) == 3
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_ctrl_c_stops_rays_processes_and_says_how_to_go_on(tmp_path: Path) -> None:
    """As a user starts it, with a Ray of its own that prints nothing and leaves no process."""
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "iseg_cli", "generate", "--dataset", "emoji-voc", "--batch-size", "1",
        "--out", str(out), "--engine", "ray", "--workers", "2", "--device", "cpu",
    ]  # fmt: skip
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal signals all processes of a session
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until(lambda: len(list(out.glob("*.png"))) >= 2 or running.poll() is not None)
    os.killpg(running.pid, signal.SIGINT)
    output, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130, errors
    assert output == ""
    assert errors.strip() == "Stopped. Finished images stay; the same command resumes."
    assert 2 <= len(masks(out)) < 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "99"), "99 workers need a GPU each, and Ray finds 1 here"),
        (("--workers", "99", "--device", "cpu"), "99 workers need a CPU each, and Ray finds 2"),
        (("--device", "mps"), "--device auto, cpu or cuda"),
        (("--model", "nowhere"), "check --model"),
        (("--model", "nowhere", "--device", "cpu"), "check --model"),
        (("--root", "/no/such/root"), "/no/such/root"),
    ],
)
def test_what_ray_cannot_do_is_one_sentence(
    cluster: None, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = iseg(*ARGUMENTS, "--engine", "ray", "--out", tmp_path / "run", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_gpu_that_ray_has_not_is_one_sentence(
    cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0})
    result = iseg(*ARGUMENTS, "--out", tmp_path / "run", *RAY, "--device", "cuda")
    assert result.exit_code == 2
    assert "Ray finds no GPU" in result.output


@pytest.mark.parametrize(
    ("address", "said"),
    [("auto", "at auto (no running Ray)"), ("127.0.0.1:{port}", "refused"), ("there", "(no run")],
)
def test_no_ray_at_an_address_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, said: str
) -> None:
    import ray

    def refuse(**options: object) -> None:
        assert options["address"] in ("auto", "there")  # at a closed port it would try on and on
        raise ConnectionError("no running Ray")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with socket.socket() as nobody:  # has the port for itself, and does not listen
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        given = ("--engine", "ray", "--ray-address", address.format(port=port))
        result = iseg(*ARGUMENTS, "--out", tmp_path / "run", *given)
    assert result.exit_code == 2
    assert said in result.output
    assert "check --ray-address" in result.output


@pytest.mark.parametrize("missing", ["ray", "pyarrow"])
def test_without_ray_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    name = "iseg_cli.generation.engines.ray"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    if missing != "ray":  # Ray without its part for data

        class Finder:
            @staticmethod
            def find_spec(fullname: str, path: object = None, target: object = None) -> None:
                if fullname == name:
                    raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

        monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    result = iseg(*ARGUMENTS, "--out", tmp_path / "run", *RAY)
    assert result.exit_code == 2
    assert f"needs {missing}" in result.output
    assert 'pip install "iseg-cli[ray]"' in result.output


def test_an_address_without_ray_is_refused(tmp_path: Path) -> None:
    result = iseg(*ARGUMENTS, "--out", tmp_path / "run", "--ray-address", "auto")
    assert result.exit_code == 2
    assert "--engine ray" in result.output


# --- the code of Ray's processes, without Ray -----------------------------------------------------


def plan(out: Path, **options: object) -> RunPlan:
    given = {"dataset": "emoji-voc", "runtime.batch_size": BATCH, "runtime.device": "cpu"}
    settings = resolve_settings((), (), {**given, **options})
    return RunPlan(settings, out, {}, images=LIMIT, limit=LIMIT)


def rows(worker: Worker, *image_ids: str) -> list[tuple[dict[str, object] | None, str]]:
    answer = worker({ray_worker.TASK: [json.dumps(image_ids)]})
    lines, errors = answer[ray_worker.LINE], answer[ray_worker.ERROR]
    return [(json.loads(x) if x else None, e) for x, e in zip(lines, errors, strict=True)]


def test_a_worker_returns_a_row_for_each_image(once: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(once, out)
    worker_plan = WorkerPlan(plan(out), Path.cwd())
    info = survey(worker_plan)
    assert not isinstance(info, str)
    (out / "val_0003.png").unlink()
    worker = Worker(worker_plan, info, lambda task: 1)
    found = rows(worker, "val_0003", "val_0000")
    assert sorted(str(record["image_id"]) for record, _ in found) == ["val_0000", "val_0003"]
    assert {record["status"] for record, _ in found} == {"done"}
    assert {error for _, error in found} == {""}
    assert masks(out) == masks(once)


def test_what_kills_one_worker_after_the_other_is_given_up(once: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(once, out)
    worker_plan = WorkerPlan(plan(out), Path.cwd())
    begun: list[str] = []

    def begin(task: str) -> int:
        begun.append(task)
        return ray_worker.MOST_ATTEMPTS + 1

    worker = Worker(worker_plan, survey(worker_plan), begin)
    found = rows(worker, "val_0003", "val_0000")
    assert begun == ["val_0003"]
    assert [record["status"] for record, _ in found] == ["failed", "failed"]
    assert "6 workers in turn died" in str(found[0][0]["error"])
    assert not (out / "val_0003.png").exists()


def test_a_node_that_would_make_other_masks_ends_the_run(once: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(once, out)
    _, info = open_generator(plan(out))
    other = WorkerPlan(plan(out, **{"runtime.dtype": "bfloat16"}), Path.cwd())
    ((record, error),) = rows(Worker(other, info, lambda task: 1), "val_0000")
    assert record is None
    assert 'dtype "float32" -> "bfloat16"' in error


def test_a_node_that_does_not_see_the_folder_ends_the_run(tmp_path: Path) -> None:
    worker_plan = WorkerPlan(plan(tmp_path / "elsewhere"), Path.cwd())
    worker = Worker(worker_plan, survey(worker_plan), lambda task: 1)
    ((record, error),) = rows(worker, "val_0000")
    assert record is None
    assert "storage that all nodes share" in error
    assert not (tmp_path / "elsewhere").exists()


def test_a_model_that_is_not_there_is_told_by_whoever_looks(tmp_path: Path) -> None:
    worker_plan = WorkerPlan(plan(tmp_path, model="nowhere"), Path.cwd())
    assert "check --model" in str(survey(worker_plan))


# --- shards ------------------------------------------------------------------------------------


def test_shards_make_one_folder(once: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = (*ARGUMENTS, "--out", out)
    for shard, written in (("3/3", 7), ("1/3", 8)):
        result = iseg(*arguments, "--shard", shard)
        assert result.exit_code == 0, result.output
        assert f"{written} masks written" in result.output
    refused = iseg("evaluate", out)
    assert refused.exit_code == 2
    assert f"7 of {LIMIT} masks are missing" in refused.output
    assert iseg(*arguments, "--shard", "2/3").exit_code == 0
    assert files(out) == files(once)
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert iseg("evaluate", out).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shard", "4/3"), "no part 4 of 3"),
        (("--shard", "first"), "1/8, 2/8 ... 8/8"),
        (("--shard", "1/3", "--rle", "coco.json"), "without --shard"),
        (("--shard", "1/3", "--overwrite"), "cannot overwrite"),
    ],
)
def test_wrong_use_of_shards_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = iseg(*ARGUMENTS, "--out", tmp_path / "run", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
