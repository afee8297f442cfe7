"""The file of image-level labels of `iseg tag`, and the file of their scores.

The first line of labels.scores.jsonl has what the scores depend on. Each other line has the scores
of a finished image, from which a run resumes. labels.json maps images to the names of their
classes; `--labels file:labels.json` reads it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import LineFile, write_atomically


class TagFile:
    """The file of labels of a run, and its scores.

    Attributes:
        path: the file of labels, which is written at the end.
        scores_path: the file of scores, in the same folder.
        scores: the scores of the classes in each finished image, by image id.
    """

    def __init__(self, path: Path, journal: LineFile) -> None:
        self.path, self.scores_path = path, _scores_path(path)
        self.scores: dict[str, Float32[np.ndarray, " classes"]] = {}
        self._journal = journal

    @classmethod
    @contextmanager
    def start(
        cls,
        path: Path,
        settings: Mapping[str, Any],
        *,
        about: Mapping[str, Any],
        overwrite: bool = False,
    ) -> Iterator["TagFile"]:
        """Yield the file of a run: a new one, or that of an earlier run with these settings.

        Args:
            path: the file of labels, ending in `.json`.
            settings: what the scores depend on, by name; JSON values.
            about: other provenance of the run.
            overwrite: replace the file of any other run or program.

        Raises:
            PredictionsError: another ending, a file of other settings or another program, or a
                folder that cannot be written.
        """
        if path.suffix != ".json":
            raise PredictionsError(f"labels are written as JSON; {path} must end in .json")
        kept = [] if overwrite else _finished(path, settings)
        head = _line({"settings": settings, **about})
        write_atomically(_scores_path(path), b"".join([head, *kept]))  # a torn last line ends here
        with closing(LineFile(_scores_path(path))) as journal:
            file = cls(path, journal)
            file.scores.update(map(_parse, kept))
            yield file

    def add(self, scores: Mapping[str, Sequence[float]]) -> None:
        """Append the scores of images, with all their decimals."""
        lines = [_line({"image_id": i, "scores": list(own)}) for i, own in scores.items()]
        self._journal.append(b"".join(lines))
        self.scores.update(map(_parse, lines))

    def finish(self, labels: Mapping[str, Sequence[str]]) -> None:
        """Write the file of labels: the names of the classes in each image."""
        lines = [f"{_json(image)}: {_json(list(names))}" for image, names in labels.items()]
        write_atomically(self.path, "{{\n{}\n}}\n".format(",\n".join(lines)).encode())


def _scores_path(path: Path) -> Path:
    return path.with_suffix(".scores.jsonl")


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)


def _line(content: Mapping[str, Any]) -> bytes:
    return _json(content).encode() + b"\n"


def _parse(line: bytes) -> tuple[str, Float32[np.ndarray, " classes"]]:
    """Return the image id and the scores of a line; KeyError, TypeError or ValueError if none."""
    record = json.loads(line)
    return str(record["image_id"]), np.array(record["scores"], dtype=np.float32)


def _finished(path: Path, settings: Mapping[str, Any]) -> list[bytes]:
    """Return the lines of an earlier run with these settings; no lines if there was no run."""
    scores_path = _scores_path(path)
    if not scores_path.exists():
        if path.exists():
            raise PredictionsError(
                f"{path} exists and was not written by iseg tag; pass --overwrite to replace it or "
                "--out for another file"
            )
        return []
    try:
        lines = scores_path.read_bytes().splitlines(keepends=True)
        head, *kept = [line for line in lines if line.endswith(b"\n")]  # the last may be torn
        earlier = dict(json.loads(head)["settings"])
        for line in kept:
            _parse(line)
    except OSError as error:
        raise PredictionsError(f"cannot read {scores_path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PredictionsError(
            f"{scores_path} is damaged; pass --overwrite to make it again"
        ) from error
    changed = [
        f"{name} {_json(earlier.get(name))} -> {_json(settings.get(name))}"
        for name in sorted(earlier.keys() | settings.keys())
        if earlier.get(name) != settings.get(name)
    ]
    if changed and (kept or path.exists()):
        raise PredictionsError(
            f"{path} was made with other settings ({', '.join(changed)}); pass --overwrite to "
            "replace it or --out for another file"
        )
    return [] if changed else kept
