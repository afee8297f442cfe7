"""The kinds of image files, by extension and by content, and which of them iseg reads."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from PIL import features

_READ = (
    ".jpg .jpeg .jpe .jfif .jfi .jif .pjpeg .pjp .mpo .png .apng .webp .avif .gif .bmp .tif .tiff "
    ".ppm .pgm .pbm .pnm .heic .heif .hif .heics .heifs"
)
IMAGE_SUFFIXES = tuple(_READ.split())
"""Extensions, in lower case, of images that can be read (HEIC and AVIF need a plug-in)."""

_VIDEOS = ".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .mts .m2ts .wmv .3gp .flv"
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
"""Extensions, in lower case, of videos, which phones store beside photographs."""

READ_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""The formats that Pillow may decode, whatever the extension. Its other formats run programs (EPS)
or need special handling. JPEG includes MPO, the pair of images that some cameras write."""

HEAD_LENGTH = 64
"""The number of bytes at the beginning of a file that determine its kind."""

_JPEG_2000, _RAW = "JPEG 2000 picture", "raw photograph"
_OTHER_KINDS = {
    _JPEG_2000: ".jp2 .j2k .j2c .jpc .jpf .jpx .jpm",
    "JPEG XL picture": ".jxl",
    "JPEG XR picture": ".jxr .wdp .hdp",
    _RAW: ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .x3f .3fr .fff "
    ".iiq .erf .mrw .dcr .kdc .mef .mos .rwl .gpr .raw",
    "Photoshop picture": ".psd .psb",
    "drawing": ".svg .svgz .eps .wmf .emf",
    "icon": ".ico .icns .cur",
    "picture of an editor": ".xcf .kra .ora",
    "picture": ".tga .dib .dds .exr .pcx .qoi .bpg .flif .jng .sgi .xbm .xpm .dcm",
}
_KIND_OF_SUFFIX = {
    suffix: kind for kind, suffixes in _OTHER_KINDS.items() for suffix in suffixes.split()
}
OTHER_SUFFIXES = frozenset(_KIND_OF_SUFFIX)
"""Extensions, in lower case, of images that are never read; they are reported."""

# The beginning of a file -> its kind: one of `READ_FORMATS`, or a noun for messages.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"(II\*\0|MM\0\*)....CR", _RAW),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
    (rb"BM", "BMP"),
    (rb"P[1-6][\s#]", "PPM"),
    (rb"....ftyp(avif|avis)", "AVIF"),
    (rb"....ftyp(mif1|msf1).{4}(....)*?(avif|avis)", "AVIF"),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC"),
    (rb"....ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb", _RAW),
    (rb"....ftyp(qt  |mp4[12]|iso[2-9m]|m4v|3g[p2]|avc1|msnv|dash)", "video"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", _JPEG_2000),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL picture"),
    (rb"8BPS", "Photoshop picture"),
    (rb"%!PS|\xc5\xd0\xd3\xc6|\s*<svg", "drawing"),
    (rb"%PDF", "PDF document"),
    (rb"\0\0\x01\0", "icon"),
    (rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)", "web page"),
    (rb"version https://git-lfs", "Git LFS pointer"),
)
_PATTERNS = tuple((re.compile(start, re.DOTALL | re.IGNORECASE), k) for start, k in _BEGINNINGS)

_ADVICE = {
    "HEIC": 'is a HEIC picture, which needs a plug-in; pip install "iseg-cli[heic]" to read it',
    "AVIF": "is an AVIF picture, which this Pillow cannot read; install Pillow 11.3 or newer",
    "video": "is a video, no picture; save a frame of it as JPEG or PNG",
    "PDF document": "is a PDF document, no picture; save its pages as PNG",
    "web page": "is no image but a web page; download the image again",
    "Git LFS pointer": "is no image but a Git LFS pointer; run `git lfs pull` in its repository",
}


def kind_of(head: bytes) -> str | None:
    """Return the kind of a file from its first bytes: a format or a noun; None if unknown."""
    return next((kind for pattern, kind in _PATTERNS if pattern.match(head)), None)


def formats_of(kind: str | None) -> tuple[str, ...]:
    """Return the formats with which Pillow reads a file of a kind; none if iseg does not read it.

    An unknown kind may be any of `READ_FORMATS`.
    """
    if kind == "HEIC":
        return ("HEIF",) if _can_read_heic() else ()
    if kind == "AVIF":
        return ("AVIF",) if _can_read_avif() else ()
    return READ_FORMATS if kind is None or kind in READ_FORMATS else ()


def refusal(kind: str) -> str:
    """Return the clause about a kind that iseg does not read: what is wrong, and what to do."""
    a = "an" if kind[0] in "aeiou" else "a"
    return _ADVICE.get(kind, f"is {a} {kind}, which iseg does not read; save it as JPEG or PNG")


def fault_of_kind(path: Path) -> str | None:
    """Return the sentence about an image file that cannot be read by its extension; else None.

    The content counts more than such an extension: phones export JPEGs as `.HEIC`.
    """
    suffix = path.suffix.lower()
    if suffix in (".heic", ".heif", ".hif", ".heics", ".heifs"):
        kind = "HEIC"
    elif suffix == ".avif":
        kind = "AVIF"
    elif suffix in OTHER_SUFFIXES:
        kind = _KIND_OF_SUFFIX[suffix]
    else:
        return None
    content = _peek(path)
    if formats_of(kind) or (content != "TIFF" and content is not None and formats_of(content)):
        return None
    return f"{path} {refusal(kind)}"


def looks_like_image(path: Path) -> bool:
    """Return whether a file, whatever its extension, begins as an image that iseg reads."""
    kind = _peek(path)
    return kind not in (None, "BMP", "PPM") and bool(formats_of(kind))  # two bytes may be chance


def _peek(path: Path) -> str | None:
    """Return the kind of a file by its content; None if it is unknown or cannot be opened."""
    try:
        if not path.is_file():  # reading a pipe would block
            return None
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_LENGTH))
    except OSError:
        return None


@cache
def _can_read_avif() -> bool:
    return "avif" in features.modules and bool(features.check("avif"))


@cache
def _can_read_heic() -> bool:
    """Return whether HEIC can be read; registers its plug-in with Pillow if it is installed."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    try:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    except Exception:  # a plug-in for another system or Pillow does not work
        return False
    return True
