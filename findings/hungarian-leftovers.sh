#!/usr/bin/env bash
# mIoU after Hungarian matching depends on the numbers of the segments, accuracy does not.
#
# Versions: scipy 1.17.1, numpy 2.4.6.
# Guess: numbers of segments are names. Segments without classes are matched to classes, image by
#   image, so that most pixels agree. A new numbering of the same segments gives the same scores.
# What happens: an image has more segments than classes that it shows. The segments left over have
#   no pixel in common with the other classes, so every choice among them is equally good.
#   linear_sum_assignment must choose one. Here it takes the first. A large left-over segment
#   becomes false pixels of one absent class or of another one. The matched pixels and the accuracy
#   stay the same, the mIoU of the data set does not.
#
# Output seen (two images, classes a, b, c; a left-over segment of 40 pixels and one of 5):
#> segments in order: accuracy 0.8500, IoU a 0.7429 b 0.3846 c 0.9524, mIoU 0.6933
#> last two segments of the first image exchanged: accuracy 0.8500, IoU a 0.7429 b 0.8333 c 0.7143, mIoU 0.7635
#> random tables: 200 new numberings, accuracy 0.5193 to 0.5193, mIoU 0.3699 to 0.3913
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      scipy==1.17.1 numpy==2.4.6
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import numpy as np
from scipy.optimize import linear_sum_assignment


def scores(tables):
    """Accuracy and IoU of a data set whose images are tables: pixels of (class, segment)."""
    classes = tables[0].shape[0]
    true, predicted, agreed = np.zeros((3, classes), dtype=int)
    for table in tables:
        true += table.sum(axis=1)
        for label, segment in zip(*linear_sum_assignment(table, maximize=True)):
            predicted[label] += table[:, segment].sum()
            agreed[label] += table[label, segment]
    return agreed.sum() / true.sum(), agreed / (true + predicted - agreed)


def tell(name, tables):
    accuracy, iou = scores(tables)
    each = " ".join(f"{label} {value:.4f}" for label, value in zip("abc", iou))
    print(f"{name}: accuracy {accuracy:.4f}, IoU {each}, mIoU {iou.mean():.4f}")


# The first image shows class a only, in three segments. The second shows b and c without a fault.
first = np.array([[130, 40, 5], [0, 0, 0], [0, 0, 0]])
second = np.array([[0, 0, 0], [25, 0, 0], [0, 100, 0]])
tell("segments in order", [first, second])
tell("last two segments of the first image exchanged", [first[:, [0, 2, 1]], second])

# 30 images, 6 classes of which an image shows one to three, 8 segments.
random = np.random.default_rng(0)
tables = []
for _ in range(30):
    table = np.zeros((6, 8), dtype=int)
    for label in random.choice(6, random.integers(1, 4), replace=False):
        table[label] = random.multinomial(1000, random.dirichlet(np.full(8, 0.3)))
    tables.append(table)
accuracies, means = [], []
for _ in range(200):
    accuracy, iou = scores([table[:, random.permutation(8)] for table in tables])
    accuracies.append(accuracy)
    means.append(iou.mean())
print(
    f"random tables: 200 new numberings, accuracy {min(accuracies):.4f} to {max(accuracies):.4f}, "
    f"mIoU {min(means):.4f} to {max(means):.4f}"
)
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
