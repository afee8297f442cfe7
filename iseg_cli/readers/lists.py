"""Lists of images, as datasets keep them for their splits: a text file with an image a line."""

from pathlib import Path, PurePosixPath

from iseg_cli.errors import DataError


def read_ids(path: Path) -> list[str]:
    """Return the ids of a list: each line's first word, or its stem where that is a path.

    VOC's lists of train_aug go about as `/JPEGImages/<id>.jpg /SegmentationClassAug/<id>.png`.
    DataError, naming the file, if it cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no readable list of images: {error}") from error
    first_words = [line.split()[0] for line in lines if line.strip()]
    return [PurePosixPath(word).stem if word.startswith("/") else word for word in first_words]
