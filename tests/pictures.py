"""Images of a split that need no files."""

from pathlib import Path


class Pictures:
    """A split of images without files: ids are their paths without ending."""

    def __init__(self, *names: str, root: str = "/data/pictures", split: str = "all") -> None:
        self.root, self.split = Path(root), split
        self.files = {name.rpartition(".")[0] or name: self.root / name for name in names}
        self.image_ids = tuple(self.files)

    def image_path(self, image_id: str) -> Path:
        return self.files[image_id]
