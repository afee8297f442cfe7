"""When two names of categories or files are one: case, blanks and Unicode forms."""

import re
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


def split_names(text: str) -> tuple[str, ...]:
    """Return the names between commas or line ends, without quotes around them and empty ones.

    ValueError if signs that separate names elsewhere (`;`, `|`, brackets) are part of one.

    Example:
        >>> split_names("cat, 'traffic light',")
        ('cat', 'traffic light')
    """
    names = tuple(filter(None, (_unquoted(name) for name in re.split(r"[,\r\n]", text))))
    for name in names:
        if re.search(r"[;|\[\]{}]", name):
            raise ValueError(f'{name!r} is no name of a category; write names such as "cat, dog"')
    return names


def _unquoted(name: str) -> str:
    name = name.strip()
    is_quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "\"'"
    return name[1:-1].strip() if is_quoted else name
