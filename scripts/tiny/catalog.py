"""The table of classes, styles and icon names (`sprites.yaml`) as frozen values."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Style:
    """One emoji package: its name on npm (scope @iconify-json), pinned version and terms."""

    name: str
    version: str
    license: str
    author: str
    title: str


@dataclass(frozen=True)
class Category:
    """One VOC class: its id and name in VOC, its words in a prompt, the icons that draw it."""

    id: int
    name: str
    prompt: str
    icons: tuple[str, ...]


@dataclass(frozen=True)
class Catalog:
    """The whole table; `held_out` names the style that training never sees."""

    styles: tuple[Style, ...]
    categories: tuple[Category, ...]
    held_out: str
    dropped: frozenset[str]

    @property
    def training_styles(self) -> tuple[str, ...]:
        """Names of the styles that training scenes draw from."""
        return tuple(style.name for style in self.styles if style.name != self.held_out)


@cache
def load_catalog() -> Catalog:
    """Read `sprites.yaml` beside this module."""
    table = yaml.safe_load(Path(__file__).with_name("sprites.yaml").read_text("utf-8"))
    return Catalog(
        styles=tuple(Style(name, **entry) for name, entry in table["styles"].items()),
        categories=tuple(
            Category(row["id"], row["name"], row["prompt"], tuple(row["icons"]))
            for row in table["classes"]
        ),
        held_out=table["held_out_style"],
        dropped=frozenset(table["drop"]),
    )


def caption(prompts: list[str]) -> str:
    """The training caption of a scene: the words the product's prompt starts with."""
    return f"a photograph of {' and '.join(prompts)} and other object and background"
