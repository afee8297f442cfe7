"""Where the files of a run lie in its folder, and masks written there by whoever makes them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from iseg_cli.errors import NameRefusedError, PredictionsError
from iseg_cli.storage.files import naming_faults, write_atomically
from iseg_cli.storage.records import RUN_NAME

REPORT_NAME = "report.json"


class Layout:
    """The places in a folder of predictions; it holds nothing, so that every process has its own.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mask_path(self, image_id: str) -> Path:
        """Return where an image's mask is written: `<image_id>.png`."""
        return self._inside(image_id, ".png")

    def overlay_path(self, image_id: str) -> Path:
        """Return where an image's overlay is written: `overlays/<image_id>.jpg`."""
        return self._inside(f"overlays/{image_id}", ".jpg")

    def scores_path(self, image_id: str) -> Path:
        """Return where an image's scores are written: `scores/<image_id>.npz`."""
        return self._inside(f"scores/{image_id}", ".npz")

    @property
    def report_path(self) -> Path:
        """Where the evaluation of these masks is written."""
        return self.path / REPORT_NAME

    def write_mask(self, image_id: str, png: bytes | None) -> None:
        """Write an image's encoded mask; None for a failed image, whose earlier mask is removed.

        The image's record, which says that the mask is there, must come after.
        """
        path = self.mask_path(image_id)
        if png is not None:
            write_atomically(path, png, below=self.path)
            return
        with suppress(NameRefusedError), naming_faults("remove", path):
            path.unlink(missing_ok=True)

    def require_there(self) -> None:
        """Raise PredictionsError where the folder is gone: what is written would make it anew."""
        if not (self.path / RUN_NAME).exists():
            raise PredictionsError(
                f"{self.path} was removed while masks were written into it; run the same command "
                "again to make what is missing"
            )

    @contextmanager
    def naming_removal(self) -> Iterator[None]:
        """Say that the folder was removed, where that is why files cannot be written in a block."""
        try:
            yield
        except PredictionsError:
            self.require_there()
            raise

    @staticmethod
    def is_inside(name: str) -> bool:
        """Tell whether a file of this name, without its ending, would lie in the folder."""
        leads_out = name.startswith("/") or ".." in PurePosixPath(name).parts
        return not (leads_out or name.endswith("/") or not name or "\0" in name)

    def _inside(self, name: str, suffix: str) -> Path:
        if not self.is_inside(name):
            raise PredictionsError(f"image id {name!r} would be written outside {self.path}")
        return self.path / (name + suffix)
