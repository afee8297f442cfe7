import io
import itertools
import struct
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pngs import (
    GREY_ALPHA,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    encode_png,
    header,
    packed_rows,
    renumbered,
    write_png,
)

from iseg_cli.errors import DataError, IsegError
from iseg_cli.files.pillow import MAX_PIXELS
from iseg_cli.label_images import Legend, folder_legend, read_labels
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.label_tables import label_set_names, load_label_set
from iseg_cli.segmentation.segment_labels import segment_label_set
from iseg_cli.storage import encode_mask, read_mask
from iseg_cli.types import Category, LabelSet, Mask

VOC = load_label_set("voc")
COCO = load_label_set("coco")
LABELS = np.array([[0, 8, 8, 12], [0, 12, 255, 0], [8, 8, 0, 0]], np.uint8)
TRUTH, OURS = Legend.of(VOC), Legend.of(VOC, written="palette")
GREY_RUN = Legend.of(VOC, written="grey")
ALL = [TRUTH, OURS]


def read(path: Path, legend: Legend) -> tuple[list[list[int]], bool]:
    decoded = read_labels(path, legend)
    return decoded.labels.tolist(), decoded.by_color


def grey(*values: int) -> list[list[int]]:
    return [[value] * 3 for value in values]


# --- without a legend: samples are labels ------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_labels_do_not_depend_on_bits_and_interlacing(tmp_path, bits, interlaced) -> None:
    labels = np.arange(7 * 11).reshape(7, 11) % min(2**bits, 256)
    path = write_png(tmp_path / "a.png", labels, bits=bits, interlaced=interlaced)
    assert read_labels(path).labels.tolist() == labels.tolist()
    assert read_mask(path).labels.tolist() == labels.tolist()
    if bits < 16:
        palette = [[9, 9, 9]] * 2**bits
        write_png(path, labels, bits=bits, interlaced=interlaced, palette=palette)
        assert read_labels(path).labels.tolist() == labels.tolist()


def test_pillow_and_our_encoder_agree(tmp_path) -> None:
    """Else the tests would prove that a wrong encoder fits a wrong decoder."""
    labels = np.arange(13 * 9).reshape(13, 9) % 16
    for bits, interlaced in itertools.product((4, 8), (False, True)):
        data = encode_png(labels, bits=bits, interlaced=interlaced, palette=grey(*range(16)))
        assert np.array_equal(np.array(Image.open(io.BytesIO(data))), labels)


def test_opaque_alpha_and_foreign_chunks_change_nothing(tmp_path) -> None:
    with_alpha = np.stack([LABELS, np.full_like(LABELS, 255)], axis=-1)
    path = write_png(tmp_path / "a.png", with_alpha, color_type=GREY_ALPHA)
    assert read_labels(path, TRUTH).labels.tolist() == LABELS.tolist()
    extra = [
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        chunk(b"fcTL", bytes(26)),
        chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000))),
        chunk(b"iCCP", b"broken"),
        chunk(b"tRNS", b"\0"),
    ]
    palette = VOC.palette.tolist()
    write_png(path, LABELS, palette=palette, extra=extra)
    assert read(path, TRUTH) == (np.array(LABELS).tolist(), False)


def test_what_is_no_mask_is_named(tmp_path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(DataError, match=r"there is no mask .*a\.png"):
        read_labels(path)
    with pytest.raises(DataError, match="is no file"):
        read_labels(tmp_path)
    write_png(path, np.array([[0, 300]]), bits=16)
    with pytest.raises(DataError, match=r"a\.png has label 300"):
        read_labels(path)
    write_png(path, np.zeros((2, 2, 3), np.uint16), bits=16, color_type=RGB)
    with pytest.raises(DataError, match="colours of 16 bits"):
        read_labels(path)
    write_png(path, np.zeros((2, 2, 3), np.uint8), color_type=RGB)
    with pytest.raises(DataError, match="holds colours, not labels"):
        read_labels(path)
    clear = np.full((2, 2, 4), 255, np.uint8)
    clear[0, 0, 3] = 254
    write_png(path, clear, color_type=RGBA)
    with pytest.raises(DataError, match="1 transparent pixel;"):
        read_labels(path, TRUTH)
    Image.fromarray(LABELS).save(tmp_path / "b.jpg")
    with pytest.raises(DataError, match=r"b\.jpg is no PNG"):
        read_labels(tmp_path / "b.jpg")


def test_rows_that_are_missing_are_not_filled_in(tmp_path) -> None:
    """Pillow returns zeros for them and says nothing."""
    whole = encode_png(np.ones((4, 8), np.uint8))
    taller = header((8, 8), 8, 0)
    (tmp_path / "a.png").write_bytes(SIGNATURE + taller + whole[8 + len(taller) :])
    with pytest.raises(DataError, match="broken or truncated"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_sizes_are_looked_at_before_memory_is_taken(tmp_path, size) -> None:
    body = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND")
    (tmp_path / "a.png").write_bytes(SIGNATURE + header(size, 8, 0) + body)
    with pytest.raises(DataError, match=str(MAX_PIXELS) if all(size) else "broken"):
        read_labels(tmp_path / "a.png")


# --- shrunk masks: every colour is kept --------------------------------------------------------


@pytest.mark.parametrize("legend", ALL)
@pytest.mark.parametrize("order", list(itertools.permutations((0, 8, 12, 255)))[::5])
def test_a_renumbered_palette_is_read_by_its_colours(tmp_path, legend, order) -> None:
    indices, palette = renumbered(LABELS, VOC.palette, order)
    for bits, more in ((2, []), (8, []), (8, [[255, 255, 255]])):  # ImageMagick adds a colour
        path = write_png(tmp_path / "a.png", indices, bits=bits, palette=[*palette, *more])
        decoded = read_labels(path, legend)
        assert decoded.labels.tolist() == LABELS.tolist()
        assert decoded.by_color


@pytest.mark.parametrize("name", label_set_names())
def test_every_shipped_table_survives_renumbering(tmp_path, name) -> None:
    label_set = load_label_set(name)
    # The benchmark's own colours make no difference between pole and polegroup.
    labels = np.array(sorted(Legend.of(label_set).by_color.values()), np.uint8)[None]
    assert len(labels[0]) == len(label_set.names) + (1 if name != "cityscapes-27" else -1)
    order = np.random.default_rng(0).permutation(labels[0]).tolist()
    indices, palette = renumbered(labels, label_set.palette, order)
    path = write_png(tmp_path / "a.png", indices, palette=palette)
    for written in (None, "palette"):
        assert np.array_equal(read_labels(path, Legend.of(label_set, written=written))[0], labels)
    rgb = write_png(tmp_path / "b.png", label_set.palette[labels], color_type=RGB)
    assert np.array_equal(read_labels(rgb, Legend.of(label_set))[0], labels)


def test_segments_survive_renumbering(tmp_path) -> None:
    label_set = segment_label_set()
    labels = np.arange(254, dtype=np.uint8).reshape(2, 127)
    indices, palette = renumbered(labels, label_set.palette, range(253, -1, -1))
    path = write_png(tmp_path / "a.png", indices, palette=palette)
    assert np.array_equal(read_labels(path, Legend.of(label_set, written="palette"))[0], labels)


def test_a_palette_may_become_grey(tmp_path) -> None:
    """VOC's car is (128, 128, 128): zopflipng and ImageMagick store black and car as grey."""
    path = write_png(tmp_path / "a.png", np.array([[0, 128]]))
    for legend in ALL:
        assert read_labels(path, legend).labels.tolist() == [[0, 7]]
    write_png(path, np.array([[0, 1]]), bits=1, palette=grey(128, 0))
    for legend in ALL:
        assert read_labels(path, legend).labels.tolist() == [[7, 0]]
    write_png(path, np.zeros((2, 2), np.uint8), bits=1)  # an empty mask
    for legend in [*ALL, GREY_RUN]:
        assert read(path, legend) == (np.array(np.zeros((2, 2))).tolist(), False)


def test_rgb_and_opaque_rgba_are_read_by_their_colours(tmp_path) -> None:
    rgb = VOC.palette[LABELS]
    path = write_png(tmp_path / "a.png", rgb, color_type=RGB, interlaced=True)
    for legend in ALL:
        assert read_labels(path, legend).labels.tolist() == LABELS.tolist()
    rgba = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=-1)
    write_png(path, rgba, color_type=RGBA)
    for legend in ALL:
        assert read(path, legend) == (np.array(LABELS).tolist(), True)


@pytest.mark.parametrize("legend", ALL)
def test_an_unshrunk_mask_is_read_by_its_indices(tmp_path, legend) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_mask(Mask(LABELS), VOC.palette))
    assert read(path, legend) == (np.array(LABELS).tolist(), False)
    write_png(path, LABELS % 21, bits=8, palette=VOC.palette[:21].tolist())
    assert read(path, legend) == (np.array(LABELS % 21).tolist(), False)
    write_png(path, LABELS, palette=grey(*range(256)))  # a ramp
    assert read(path, legend) == (np.array(LABELS).tolist(), False)
    write_png(path, LABELS)  # no palette at all
    assert read(path, legend) == (np.array(LABELS).tolist(), False)


def test_two_labels_of_one_colour_are_not_told_apart_by_it(tmp_path) -> None:
    twins = LabelSet(
        "twins", tuple(Category(n, f"c{n}", f"c{n}", color=(9, 0, min(n, 2))) for n in (1, 2, 3))
    )
    ours = Legend.of(twins, written="palette")
    path = tmp_path / "a.png"
    labels = np.array([[0, 1, 2, 3]], np.uint8)
    path.write_bytes(encode_mask(Mask(labels), twins.palette))
    assert read_labels(path, ours).labels.tolist() == labels.tolist()
    write_png(path, np.array([[1, 0]]), bits=1, palette=[[9, 0, 1], [0, 0, 0]])
    assert read_labels(path, ours).labels.tolist() == [[0, 1]]
    write_png(path, np.array([[1, 0]]), bits=1, palette=[[9, 0, 2], [0, 0, 0]])
    with pytest.raises(DataError, match=r"\(9, 0, 2\), which label set twins lacks or has twice"):
        read_labels(path, ours)


# --- grey runs ---------------------------------------------------------------------------------


def test_a_shrunk_grey_mask_of_ours_keeps_its_greys(tmp_path) -> None:
    path = tmp_path / "a.png"
    indices, _ = renumbered(LABELS, VOC.palette, (255, 12, 8, 0))
    write_png(path, indices, bits=2, palette=grey(255, 12, 8, 0))
    assert read_labels(path, GREY_RUN).labels.tolist() == LABELS.tolist()
    write_png(path, np.array([[0, 1]]), bits=4)  # ImageMagick: 17, sheep, in 4 bits
    assert read_labels(path, GREY_RUN).labels.tolist() == [[0, 17]]
    write_png(path, np.array([[0, 1]]), bits=1)
    assert read_labels(path, GREY_RUN).labels.tolist() == [[0, 255]]
    write_png(path, np.array([[1, 0]]), bits=1, palette=grey(255, 0))
    assert read_labels(path, GREY_RUN).labels.tolist() == [[0, 255]]
    write_png(path, np.stack([LABELS] * 3, axis=-1), color_type=RGB)
    assert read_labels(path, GREY_RUN).labels.tolist() == LABELS.tolist()


def test_shrunk_grey_truth_is_read_by_its_greys(tmp_path) -> None:
    """The masks of train_aug are grey; optipng makes palettes of them, in the order of values."""
    path = write_png(
        tmp_path / "a.png", np.array([[0, 1, 2, 3]]), bits=2, palette=grey(0, 8, 12, 255)
    )
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 8, 12, 255]]
    write_png(path, np.array([[0, 1]]), bits=1, palette=grey(0, 17))
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 17]]


@pytest.mark.parametrize(
    "how",
    [
        {"bits": 4},  # 1, or 17 in fewer bits
        {"bits": 1, "palette": grey(0, 255)},
        {"bits": 1, "palette": grey(255, 0)},
    ],
)
def test_truth_of_two_meanings_is_refused(tmp_path, how) -> None:
    path = write_png(tmp_path / "a.png", np.array([[0, 1]]), **how)
    with pytest.raises(DataError, match=r"a\.png has pixels that are label \d+ or label \d+"):
        read_labels(path, TRUTH)


def test_few_bits_are_labels_where_nothing_else_is_possible(tmp_path) -> None:
    path = write_png(tmp_path / "a.png", np.array([[0, 8, 12]]), bits=4)
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 8, 12]]
    write_png(path, np.array([[0, 15]]), bits=4)  # 0 and 255 would be stored with one bit
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 15]]
    write_png(path, np.array([[0, 1, 2]]), bits=2)
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 1, 2]]
    write_png(path, np.array([[0, 1]]), bits=1)
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 1]]


def test_grey_in_three_channels_is_grey(tmp_path) -> None:
    path = write_png(tmp_path / "a.png", np.stack([LABELS] * 3, axis=-1), color_type=RGB)
    assert read_labels(path, TRUTH).labels.tolist() == LABELS.tolist()
    write_png(path, np.array([grey(0, 255)], np.uint8), color_type=RGB)
    with pytest.raises(DataError, match=r"1 pixel of the colour \(255, 255, 255\)"):
        read_labels(path, TRUTH)


# --- palettes of others ------------------------------------------------------------------------


def test_vocs_palette_is_no_sign_of_vocs_labels(tmp_path) -> None:
    """Most tools write it, whatever the classes are."""
    voc = [voc_color(n) for n in range(256)]
    labels = np.array([[0, 1, 44, 80, 255]], np.uint8)
    path = write_png(tmp_path / "a.png", labels, palette=voc)
    assert read(path, Legend.of(COCO)) == (labels.tolist(), False)
    write_png(path, labels % 81, palette=voc[:81])
    assert read_labels(path, Legend.of(COCO)).labels.tolist() == (labels % 81).tolist()
    indices, palette = renumbered(labels, np.array(voc), (80, 0, 255, 44, 1))
    write_png(path, indices, palette=palette)
    assert read_labels(path, Legend.of(COCO)).labels.tolist() == labels.tolist()


def test_a_palette_of_decoration_leaves_the_indices(tmp_path) -> None:
    random = np.random.default_rng(3).integers(1, 255, (256, 3)).tolist()
    for legend in (TRUTH, Legend.of(COCO), Legend.of(label_set_of(["corgi", "surfboard"]))):
        path = write_png(tmp_path / "a.png", np.array([[0, 1, 2]]), palette=random)
        assert read(path, legend) == (np.array([[0, 1, 2]]).tolist(), False)
    write_png(path, np.array([[0, 1]]), bits=1, palette=[[0, 0, 0], [250, 10, 10]])
    assert read_labels(path, Legend.of(label_set_of(["corgi"]))).labels.tolist() == [[0, 1]]
    write_png(path, np.array([[0, 1, 2]]), palette=[[7, 7, 7]] * 256)
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 1, 2]]


def test_other_colours_are_refused_with_a_way_out(tmp_path) -> None:
    palette = [[0, 0, 0], [250, 10, 10], [10, 250, 10]]
    path = write_png(tmp_path / "a.png", np.array([[0, 1, 2], [2, 2, 2]]), palette=palette)
    sentence = r"a\.png has 4 pixels of the colour \(10, 250, 10\), which label set voc lacks"
    with pytest.raises(DataError, match=sentence + ".*grey PNG.*labelmap"):
        read_labels(path, TRUTH)
    with pytest.raises(DataError, match=sentence + ".*run iseg generate again.*grey PNG"):
        read_labels(path, OURS)
    random = np.random.default_rng(3).integers(1, 255, (256, 3)).tolist()
    write_png(path, LABELS, palette=random)
    with pytest.raises(DataError, match="which label set voc lacks"):
        read_labels(path, OURS)
    write_png(path, np.array(palette, np.uint8)[None], color_type=RGB)
    with pytest.raises(DataError, match=r"1 pixel of the colour \(10, 250, 10\)"):
        read_labels(path, TRUTH)
    smooth = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    write_png(path, smooth, color_type=RGB)
    with pytest.raises(DataError, match="as smoothing and JPEG leave them"):
        read_labels(path, TRUTH)


def test_a_datasets_own_ids_need_no_palette(tmp_path) -> None:
    cityscapes = Legend.of_sources(load_label_set("cityscapes"), last=33)
    ids = np.array([[7, 26, 4, 33, 0]], np.uint8)
    path = write_png(tmp_path / "a.png", ids)
    assert read(path, cityscapes) == (np.array(ids).tolist(), False)
    colors = {7: (128, 64, 128), 26: (0, 0, 142), 33: (119, 11, 32), 5: (111, 74, 0)}
    palette = [list(colors.get(n, (0, 0, 0))) for n in range(34)]
    write_png(path, ids, palette=palette)  # as the benchmark colours them
    assert read_labels(path, cityscapes).labels.tolist() == ids.tolist()
    write_png(path, np.array([[0, 1, 2]]), bits=2, palette=grey(7, 26, 33))  # shrunk
    assert read_labels(path, cityscapes).labels.tolist() == [[7, 26, 33]]
    stuff = Legend.of_sources(load_label_set("cocostuff27"), last=181)
    random = np.random.default_rng(3).integers(1, 255, (182, 3)).tolist()
    write_png(path, np.array([[0, 1, 181]]), palette=random)
    assert read_labels(path, stuff).labels.tolist() == [[0, 1, 181]]


# --- labelmap.txt ------------------------------------------------------------------------------

LABELMAP = """\ufeff# label:color_rgb:parts:actions
Background:0,0,0::
 CAT : 250, 50, 83::
plane:1,2,3:body,wing:fly
corgi:9,9,9::
dog:::
"""


def test_a_labelmap_names_the_colours(tmp_path) -> None:
    (tmp_path / "labelmap.txt").write_text(LABELMAP, "utf-8")
    legend = folder_legend(tmp_path / "masks", tmp_path, label_set=VOC)
    colors = [[0, 0, 0], [250, 50, 83], [1, 2, 3], [224, 224, 192]]
    path = write_png(tmp_path / "a.png", np.array([colors], np.uint8), color_type=RGB)
    assert read_labels(path, legend).labels.tolist() == [[0, 8, 1, 255]]
    write_png(path, np.array([[0, 1, 2, 3]]), bits=2, palette=colors)
    assert read_labels(path, legend).labels.tolist() == [[0, 8, 1, 255]]
    write_png(path, LABELS)  # grey: labels, as ever
    assert read_labels(path, legend).labels.tolist() == LABELS.tolist()
    write_png(path, np.array([[[9, 9, 9]]], np.uint8), color_type=RGB)
    with pytest.raises(DataError, match=r"labelmap\.txt calls 'corgi', a name that label set voc"):
        read_labels(path, legend)
    write_png(path, np.array([[[9, 8, 9]]], np.uint8), color_type=RGB)
    with pytest.raises(DataError, match=r"add it to .*labelmap\.txt"):
        read_labels(path, legend)


def test_a_labelmap_goes_before_the_tables_colours(tmp_path) -> None:
    """CVAT deals VOC's colours out to whatever classes there are, in their order."""
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncat:128,0,0::\n")
    legend = folder_legend(tmp_path, label_set=VOC)
    path = write_png(tmp_path / "a.png", np.array([[0, 1]]), palette=[[0, 0, 0], [128, 0, 0]])
    assert read_labels(path, legend).labels.tolist() == [[0, 8]]
    assert read_labels(path, TRUTH).labels.tolist() == [[0, 1]]


@pytest.mark.parametrize("text", ["cat\n", "cat:300,0,0::\n", "a:1,2,3::\nb:1,2,3::\n"])
def test_a_broken_labelmap_is_named_with_its_line(tmp_path, text) -> None:
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(DataError, match=r"labelmap\.txt, line \d"):
        folder_legend(tmp_path, label_set=VOC)


def test_a_labelmap_in_utf_16_is_said_to_be_that(tmp_path) -> None:
    (tmp_path / "labelmap.txt").write_text("cat:1,2,3::\n", "utf-16")
    with pytest.raises(DataError, match=r"labelmap\.txt .* UTF-16; save it as UTF-8"):
        folder_legend(tmp_path, label_set=VOC)


# --- what is read with a doubt, and what is refused for it --------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_pillows_web_palette_is_no_labels(tmp_path, dark) -> None:
    """Its indices can all be labels: aeroplane and cat become 12 and 11, background 0 or 10."""
    labels = np.where(LABELS == 8, 1, 8).astype(np.uint8) if dark else LABELS
    image = Image.fromarray(VOC.palette[labels]).convert("P", dither=Image.Dither.NONE)
    image.save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png has the palette of 216 web colours"):
        read_labels(tmp_path / "a.png", TRUTH)


def test_white_of_one_bit_is_label_1_and_marked(tmp_path) -> None:
    path = write_png(tmp_path / "a.png", np.array([[0, 1]]), bits=1)
    decoded = read_labels(path, TRUTH)
    assert decoded.labels.tolist() == [[0, 1]]
    assert decoded.from_bits
    assert not read_labels(path, Legend.of(label_set_of(["dog"]))).from_bits  # what else is white
    assert not read_labels(path, OURS).from_bits
    write_png(path, np.array([[0, 0]]), bits=1)
    assert not read_labels(path, TRUTH).from_bits
    write_png(path, np.array([[0, 1]]), bits=8)
    assert not read_labels(path, TRUTH).from_bits


# --- anything at all ---------------------------------------------------------------------------

PIECES = st.lists(st.sampled_from([0, 1, 7, 8, 12, 17, 20, 128, 255]), min_size=1, max_size=24).map(
    lambda values: np.array(values, np.uint8).reshape(1, -1)
)


@given(PIECES, st.randoms(use_true_random=False), st.sampled_from([0, 1, 40]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_lossless_change_of_our_masks_keeps_the_labels(labels, random, unused) -> None:
    """A property for every palette: order, bits, unused colours, RGB; the labels stay."""
    labels = labels if 128 not in labels else np.where(labels == 128, 0, labels)
    used = np.unique(labels).tolist()
    random.shuffle(used)
    indices, palette = renumbered(labels, VOC.palette, used)
    padded = [*palette, *[[255, 255, 255]] * unused]
    forms = [
        encode_mask(Mask(labels), VOC.palette),
        encode_png(indices, palette=padded),
        encode_png(indices, palette=palette, bits=4, interlaced=True),
        encode_png(VOC.palette[labels], color_type=RGB),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for data in forms:
            path = Path(folder, "a.png")
            path.write_bytes(data)
            assert read_labels(path, OURS).labels.tolist() == labels.tolist()


VALID = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (3, 1), (3, 4), (3, 8), (4, 8), (6, 8)]


def seldom(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 15)) == 7


@st.composite
def damaged_pngs(draw: st.DrawFn) -> bytes:
    """PNGs of valid checksums whose chunks may contradict each other; some cut or changed."""
    color_type, bits = draw(st.sampled_from(VALID))
    if seldom(draw):
        color_type, bits = draw(st.sampled_from([1, 2, 3, 5, 7])), draw(st.sampled_from([0, 3, 16]))
    height, width = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    if seldom(draw):
        height, width = draw(st.sampled_from([(0, 1), (2**16, 2**16), (2**32 - 1, 1), (9, 2**31)]))
    samples = draw(st.lists(st.integers(0, 20), min_size=4, max_size=40))
    channels = {2: 3, 4: 2, 6: 4}.get(color_type, 1)
    if 0 < height * width < 100:
        rows = np.resize(np.array(samples), (height, width, channels)) % 2 ** min(bits or 1, 16)
        if channels in (2, 4):
            rows[..., -1] = 255 - seldom(draw)
        stored = packed_rows(rows, bits if bits in (1, 2, 4, 8, 16) else 8)
    else:
        stored = bytes(samples)
    if seldom(draw):
        stored = stored[: draw(st.integers(0, len(stored)))]
    if draw(st.booleans()):  # filters of the first row, 5 and more are none
        stored = bytes([draw(st.integers(0, 5))]) + stored[1:]
    compressed = zlib.compress(stored)
    if seldom(draw):
        compressed = compressed[: draw(st.integers(0, len(compressed)))]
    entries = draw(st.sampled_from([2, 21, 256])) if color_type == 3 else 0
    palette = VOC.palette[:entries].tobytes()
    if draw(st.booleans()):
        palette = draw(st.binary(max_size=770)) if seldom(draw) else bytes(range(3, 66)) * 12
    extra = draw(
        st.lists(st.sampled_from([b"tRNS", b"acTL", b"IHDR", b"eXIf", b"PLTE"]), max_size=1)
    )
    data = b"".join(
        (
            SIGNATURE,
            header(
                (height, width), bits, color_type, 2 if seldom(draw) else draw(st.integers(0, 1))
            ),
            chunk(b"PLTE", palette) if palette else b"",
            *(chunk(name, draw(st.binary(max_size=20))) for name in extra),
            chunk(b"IDAT", compressed),
            b"" if seldom(draw) else chunk(b"IEND"),
        )
    )
    if seldom(draw):
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=3)) + data[place + 1 :]
    return data


@given(damaged_pngs(), st.sampled_from([None, TRUTH, OURS, GREY_RUN]))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_file_is_read_or_refused_in_a_sentence(data: bytes, legend: Legend | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        path.write_bytes(data)
        labels = None
        with suppress(IsegError):  # anything else fails the test
            labels = read_labels(path, legend).labels
        if labels is not None:
            assert labels.dtype == np.uint8
            assert labels.shape == struct.unpack(">II", data[16:24])[::-1]
