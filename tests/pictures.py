"""A split of images without files, for tests that need only ids and paths."""

from pathlib import Path


class Pictures:
    """A split of images without files. An id is a path without its ending."""

    def __init__(self, *names: str, root: str = "/data/pictures", split: str = "all") -> None:
        self.root, self.split = Path(root), split
        self.files = {name.rpartition(".")[0] or name: self.root / name for name in names}
        self.image_ids = tuple(self.files)

    def image_path(self, image_id: str) -> Path:
        return self.files[image_id]
