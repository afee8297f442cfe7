"""The files that ship with iseg: presets, backbones, category tables, the embedded data and models.

A checkout has `configs/` and `datasets/` beside the package; a wheel has them in `iseg_cli/_data/`.
Both have the embedded models in the package itself.
"""

from pathlib import Path

from iseg_cli.errors import SettingsError, suggestion

PACKAGE = Path(__file__).resolve().parents[1]
TINY_MODEL = PACKAGE / "models" / "tiny"
"""The embedded model's folder (docs/embedded-model.md)."""
TINY_CLIP = PACKAGE / "models" / "tiny-clip"
"""The embedded CLIP's folder (docs/embedded-model.md)."""


def data_folder(name: str) -> Path:
    """Return the folder `configs` or `datasets` of this installation."""
    for folder in (PACKAGE / "_data" / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this installation of iseg lacks its {name} folder; reinstall it")


def preset_names() -> list[str]:
    """Return the names of all presets, such as `voc` or `paper/voc`, in alphabetical order."""
    folder = data_folder("configs")
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml")]
    return sorted(path.as_posix() for path in paths if path.parts[0] != "backbones")


def preset_path(name: str) -> Path:
    """Return the file of a preset such as `voc` or `paper/voc`; SettingsError if there is none."""
    known = preset_names()
    if name not in known:
        raise SettingsError(
            f"there is no preset {name!r}{suggestion(name, known)}; there are {', '.join(known)}"
        )
    return data_folder("configs") / f"{name}.yaml"


def label_table_path(name: str) -> Path:
    """Return the category table `datasets/<name>.yaml`."""
    return data_folder("datasets") / f"{name}.yaml"


def embedded_dataset() -> Path:
    """Return the root of the embedded dataset emoji-voc."""
    return data_folder("datasets") / "emoji-voc"
