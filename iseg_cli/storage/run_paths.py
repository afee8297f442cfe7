"""The paths of a run's files in its output folder, and the writing of masks there."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from iseg_cli.errors import NameRefusedError, PredictionsError
from iseg_cli.storage.files import naming_faults, write_atomically
from iseg_cli.storage.run_info import RUN_NAME

REPORT_NAME = "report.json"


class RunPaths:
    """The paths of files in an output folder. It holds no open file: every process has its own.

    Attributes:
        path: the output folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mask_path(self, image_id: str) -> Path:
        """Return the path of an image's mask: `<image_id>.png`."""
        return self.file_path(image_id, ".png")

    @property
    def report_path(self) -> Path:
        """The path of the evaluation of these masks."""
        return self.path / REPORT_NAME

    def file_path(self, name: str, ending: str) -> Path:
        """Return the path of a file in the output folder.

        PredictionsError for a name that leads out of the folder.

        Example:
            >>> RunPaths(Path("run")).file_path("overlays/a", ".jpg").as_posix()
            'run/overlays/a.jpg'
        """
        if not self.is_inside(name):
            raise PredictionsError(f"image id {name!r} would be written outside {self.path}")
        return self.path / (name + ending)

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file of the output folder, whole or not at all."""
        write_atomically(path, data, below=self.path)

    def remove_file(self, path: Path) -> None:
        """Remove a file of the output folder; a missing file is no error."""
        with suppress(NameRefusedError), naming_faults("remove", path):
            path.unlink(missing_ok=True)

    def require_there(self) -> None:
        """Raise PredictionsError if the folder is gone: writing a file would make it again."""
        if not (self.path / RUN_NAME).exists():
            raise PredictionsError(
                f"{self.path} was removed while masks were written into it; run the same command "
                "again to make what is missing"
            )

    @contextmanager
    def naming_removal(self) -> Iterator[None]:
        """Raise an error that names the folder's removal if a block fails because of it."""
        try:
            yield
        except PredictionsError:
            self.require_there()
            raise

    @staticmethod
    def is_inside(name: str) -> bool:
        """Tell whether a file of this name, without its ending, would lie in the folder.

        Example:
            >>> RunPaths.is_inside("train/a"), RunPaths.is_inside("../a")
            (True, False)
        """
        leads_out = name.startswith("/") or ".." in PurePosixPath(name).parts
        return not (leads_out or name.endswith("/") or not name or "\0" in name)
