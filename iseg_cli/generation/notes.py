"""Notes on the images of a run, for the user."""

from collections.abc import Sequence

from iseg_cli.storage import ImageRecord


def note_on_turned_images(records: Sequence[ImageRecord | None]) -> tuple[str, ...]:
    """Return a note if EXIF turned some images: programs without EXIF see them otherwise."""
    turned = sum(record is not None and record.exif_orientation is not None for record in records)
    if not turned:
        return ()
    images, masks = (
        ("1 image is", "its mask is")
        if turned == 1
        else (f"{turned} images are", "their masks are")
    )
    return (
        f"{images} stored turned or mirrored; {masks} upright, as EXIF says: readers that ignore "
        "EXIF (Pillow, torchvision) have to turn such images (exif_orientation in images.jsonl)",
    )


def note_on_empty_masks(records: Sequence[ImageRecord | None]) -> tuple[str, ...]:
    """Return a note if no image has a category, for example with labels of another dataset."""
    done = [record for record in records if record is not None and record.error is None]
    if not done or any(record.status != "empty" for record in done):
        return ()
    if len(done) == 1:
        return ("the image has no category by its labels; its mask is background alone",)
    return (
        f"none of the {len(done)} images has a category by its labels; their masks are background "
        "alone",
    )
