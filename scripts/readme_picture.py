"""Puts some of a run's overlays into one picture: docs/images/overlays.jpg of the README.

After `make demo`: python scripts/readme_picture.py predictions/emoji-voc-val
"""

from pathlib import Path

import click
import cv2
import numpy as np

from iseg_cli.storage import encode_picture, write_atomically

MARGIN = 12
WHITE = (255, 255, 255)


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--images",
    default="val_0001,val_0009,val_0010,val_0003,val_0016,val_0021",
    show_default=True,
    help="Image ids with commas.",
)
@click.option("--columns", default=3, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/images/overlays.jpg"),
    show_default=True,
)
@click.option("--scale", default=0.5, show_default=True, help="Of the overlays' own size.")
def run(run: Path, images: str, columns: int, out: Path, scale: float) -> None:
    """Tile the overlays of RUN."""
    tiles = []
    for image_id in images.split(","):
        picture = cv2.imread(str(run / "overlays" / f"{image_id}.jpg"))
        if picture is None:
            raise click.UsageError(f"{run} has no overlay of {image_id}; generate with --overlays")
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        tiles.append(
            cv2.copyMakeBorder(
                small, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=WHITE
            )
        )
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    sheet = np.full((-(-len(tiles) // columns) * height, columns * width, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    write_atomically(out, encode_picture(cv2.cvtColor(sheet, cv2.COLOR_BGR2RGB)))
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    run()
