"""When two names of categories or files are one: case, blanks and Unicode forms."""

import unicodedata


def name_key(name: str) -> str:
    """Return what the names of one category have in common.

    Case, runs of blanks and the Unicode form (NFC, NFD) make no difference: a text encoder reads
    `Dog` and `dog` alike, and a Mac writes the letters of a file's name apart from their accents.

    Example:
        >>> name_key("Traffic  Light") == name_key("traffic light")
        True
    """
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", " ".join(folded.split()))


def is_background(name: str) -> bool:
    """Tell whether a name means the background: `background`, `_background_`, `Background` ...

    Example:
        >>> is_background("__background__")
        True
    """
    return name_key(name).strip("_") == "background"


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form (UAX #15), in which equal names are equal."""
    return unicodedata.normalize("NFC", name)
