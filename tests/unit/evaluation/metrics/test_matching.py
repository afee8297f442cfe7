"""Hungarian matching: by hand, by trying every assignment, and as DiffSeg's evaluation counts."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from iseg_cli.cli import main
from iseg_cli.errors import DataError
from iseg_cli.evaluation.evaluate import evaluate
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.evaluation.metrics.matching import count_overlaps, match
from iseg_cli.readers.registry import open_dataset
from iseg_cli.storage import read_mask


def test_segments_take_the_classes_they_cover():
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 255]])
    segments = np.array([[40, 40, 7, 7], [7, 7, 0, 0]])
    overlaps = count_overlaps(segments, truth, num_classes=3)
    assert overlaps.shape == (4, 256)
    assert (overlaps[3, 0], overlaps[3].sum()) == (1, 1)  # the last row: what the truth ignores
    matrix = match(overlaps)
    np.testing.assert_array_equal(matrix.counts, [[2, 1, 0], [0, 3, 0], [0, 0, 1]])
    assert matrix.undecided.sum() == 0
    assert matrix.pixel_accuracy() == 6 / 7


def test_one_to_one_even_where_two_segments_cover_one_class():
    truth = np.array([0] * 10 + [1])
    segments = np.array([3] * 6 + [5] * 4 + [5])
    matrix = match(count_overlaps(segments, truth, num_classes=2))
    # 3 is class 0; 5 must be class 1, although it covers more of class 0
    np.testing.assert_array_equal(matrix.counts, [[6, 4], [0, 1]])


def overlaps_of(counts: list[list[int]] | np.ndarray, ignored: int = 0) -> np.ndarray:
    """Return counts by class and segment, as `count_overlaps` gives them; `ignored` of segment 0"""
    counts = np.asarray(counts)
    overlaps = np.zeros((len(counts) + 1, 256), np.int64)
    overlaps[:-1, : counts.shape[1]] = counts
    overlaps[-1, 0] = ignored
    return overlaps


def test_the_matching_with_most_right_pixels_beats_the_greedy_one():
    matrix = match(overlaps_of([[10, 9], [9, 0]]))
    np.testing.assert_array_equal(matrix.counts, [[9, 10], [0, 9]])


def test_segments_beyond_the_classes_and_pixels_of_no_segment_are_errors():
    truth = np.array([0, 0, 0, 1, 1, 1, 1])
    segments = np.array([0, 0, 1, 2, 2, 2, 255])
    matrix = match(count_overlaps(segments, truth, num_classes=2))
    np.testing.assert_array_equal(matrix.counts, [[2, 0], [0, 3]])
    np.testing.assert_array_equal(matrix.undecided, [1, 1])
    np.testing.assert_allclose(matrix.iou(), [2 / 3, 3 / 4])


def test_a_segment_left_over_is_a_false_find_where_no_empty_number_is_left():
    truth = np.array([0, 0, 0])
    matrix = match(count_overlaps(np.array([0, 0, 1]), truth, num_classes=2))
    np.testing.assert_array_equal(matrix.iou(), [2 / 3, 0])


def test_a_class_of_no_pixel_may_take_an_empty_number():
    # Class 0 takes segment 4, the others any two of the numbers 0 to 3; 0 alone has a pixel.
    counts = [[1, 0, 0, 0, 5], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    _, columns = linear_sum_assignment(counts, maximize=True)
    is_taken = 0 in columns
    matrix = match(overlaps_of(counts))
    assert matrix.counts[0, 0] == 5
    assert matrix.counts[0, 1:].sum() == (1 if is_taken else 0)
    assert matrix.undecided[0] == (0 if is_taken else 1)
    # Numbers up to the last segment alone: with class 2 gone 0 cannot be the only one left.
    assert match(overlaps_of([[1, 5], [0, 0]])).counts.tolist() == [[5, 1], [0, 0]]


@pytest.mark.parametrize(("last", "columns"), [(1, 3), (2, 3), (4, 5), (254, 255)])
def test_numbers_go_to_the_last_segment_of_the_mask_also_where_the_truth_ignores_it(
    monkeypatch, last, columns
):
    shapes = []

    def assign(table, **options):
        shapes.append(np.shape(table))
        return linear_sum_assignment(table, **options)

    monkeypatch.setattr("scipy.optimize.linear_sum_assignment", assign)
    truth = np.array([0, 0, 0, 0, 255])
    matrix = match(count_overlaps(np.array([0, 0, 0, 1, last]), truth, num_classes=3))
    assert shapes == [(3, columns)]
    assert matrix.counts[0, 0] == 3
    assert matrix.counts.sum() + matrix.undecided.sum() == 4


def test_only_the_classes_that_are_named_take_part():
    overlaps = overlaps_of([[0, 0, 0], [4, 1, 0], [0, 0, 0], [0, 2, 3]])
    matrix = match(overlaps, labels=(1, 3))
    np.testing.assert_array_equal(matrix.counts[[0, 2]], 0)
    np.testing.assert_array_equal(matrix.counts[:, [0, 2]], 0)
    np.testing.assert_array_equal(matrix.counts[np.ix_([1, 3], [1, 3])], [[4, 0], [0, 3]])
    np.testing.assert_array_equal(matrix.undecided, [0, 1, 0, 2])


def test_a_truth_of_nothing_matches_nothing():
    matrix = match(count_overlaps(np.array([0, 1]), np.array([255, 255]), num_classes=2))
    assert matrix.counts.sum() == matrix.undecided.sum() == 0


def test_labels_outside_are_refused():
    with pytest.raises(DataError, match="ground truth has label 2"):
        count_overlaps(np.array([0]), np.array([2]), num_classes=2)
    with pytest.raises(DataError, match="prediction has label 256"):
        count_overlaps(np.array([256]), np.array([0]), num_classes=2)


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(0, 20)
    )
)
def test_no_assignment_is_better(counts):
    matrix = match(overlaps_of(counts))
    small, large = sorted(counts.shape)
    flat = counts if counts.shape == (small, large) else counts.T
    best = max(
        sum(flat[i, chosen] for i, chosen in enumerate(choice))
        for choice in permutations(range(large), small)
    )
    assert np.trace(matrix.counts) == best
    np.testing.assert_array_equal(matrix.counts.sum(axis=1) + matrix.undecided, counts.sum(axis=1))


# --- DiffSeg's evaluation, a second time -------------------------------------------------------


class Oracle:
    """Hits, false finds and misses as DiffSeg's evaluation adds them up, in float64.

    A pixel counts if its truth is a class. The table of an image has a row for each class and a
    column for each number from 0 to the mask's last one, over all of its pixels, and not fewer than
    there are classes. Every class gets a column; columns beyond are misses of their classes alone.
    """

    def __init__(self, num_classes: int) -> None:
        self.classes = np.arange(num_classes)
        self.hits, self.false, self.missed = np.zeros((3, num_classes))

    def table(self, segments: np.ndarray, truth: np.ndarray) -> np.ndarray:
        columns = np.arange(max(len(self.classes), segments.max() + 1))
        is_class = (truth.reshape(-1, 1) == self.classes).astype(np.float64)
        is_segment = (segments.reshape(-1, 1) == columns).astype(np.float64)
        return is_class.T @ is_segment

    def add(self, table: np.ndarray) -> None:
        of_class = dict(zip(*linear_sum_assignment(-table), strict=True))
        for row in self.classes:
            column = of_class[row]
            self.hits[row] += table[row, column]
            self.missed[row] += table[row].sum() - table[row, column]
            self.false[row] += table[:, column].sum() - table[row, column]

    @property
    def miou(self) -> float:
        union = self.hits + self.false + self.missed
        return float((self.hits[union > 0] / union[union > 0]).mean())

    @property
    def accuracy(self) -> float:
        return float(self.hits.sum() / (self.hits.sum() + self.missed.sum()))


def sum_of(tables: list[np.ndarray]) -> np.ndarray:
    """Return the sum of tables of different widths."""
    wide = max(table.shape[1] for table in tables)
    return sum(np.pad(table, ((0, 0), (0, wide - table.shape[1]))) for table in tables)


LABELS = hnp.arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 2, 3, 5, 255]))
SEGMENTS = hnp.arrays(np.uint8, (3, 5), elements=st.one_of(st.integers(0, 8), st.just(40)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SEGMENTS, LABELS), min_size=1, max_size=4))
def test_counts_are_those_of_diffseg_image_by_image_and_once(pairs):
    by_image, once = Oracle(6), Oracle(6)
    tables = [by_image.table(segments, truth) for segments, truth in pairs]
    for table in tables:
        by_image.add(table)
    once.add(sum_of(tables))
    overlaps = [count_overlaps(segments, truth, num_classes=6) for segments, truth in pairs]
    summed = sum((match(each) for each in overlaps), start=ConfusionMatrix(6))
    for matrix, oracle in ((summed, by_image), (match(sum(overlaps)), once)):
        found = np.diagonal(matrix.counts)
        np.testing.assert_array_equal(found, oracle.hits)
        np.testing.assert_array_equal(matrix.counts.sum(axis=0) - found, oracle.false)
        rows = matrix.counts.sum(axis=1) + matrix.undecided
        np.testing.assert_array_equal(rows - found, oracle.missed)
        if oracle.hits.sum() + oracle.missed.sum() > 0:
            assert matrix.miou() == pytest.approx(oracle.miou, abs=1e-12)
            assert matrix.pixel_accuracy() == pytest.approx(oracle.accuracy, abs=1e-12)


@pytest.fixture(scope="module")
def real_masks(tmp_path_factory) -> Path:
    """Masks that the embedded model makes of emoji-voc val without labels."""
    out = tmp_path_factory.mktemp("run") / "unsupervised"
    result = CliRunner().invoke(
        main,
        f"generate --dataset emoji-voc --task unsupervised --limit 16 --out {out}".split(),
    )
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("matching", ["image", "dataset"])
def test_real_masks_score_as_in_diffseg(real_masks, matching):
    reader = open_dataset("emoji-voc", split="val")
    oracle = Oracle(reader.label_set.num_classes)
    tables = []
    for image_id in reader.image_ids[:16]:
        segments = read_mask(real_masks / f"{image_id}.png").labels
        tables.append(oracle.table(segments, reader.ground_truth(image_id).labels))
    for table in tables if matching == "image" else [sum_of(tables)]:
        oracle.add(table)
    report = evaluate(real_masks, matching=matching)
    assert report.images == 16
    assert report.miou == pytest.approx(oracle.miou, abs=1e-9)
    assert report.pixel_accuracy == pytest.approx(oracle.accuracy, abs=1e-9)
