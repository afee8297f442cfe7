"""The method in float64 NumPy, one image at a time, written from its definitions.

Nothing here is taken from `iseg_cli.ops`: loops where they are affordable, so that an error in a
clever matrix product of the product's code cannot stand here too.
"""

import math

import numpy as np


def bilinear(grid, height, width):
    """Resize [rows, columns]: pixels are areas; values beyond the border are repeated."""
    rows, columns = grid.shape
    resized = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
            u = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
            top, left = math.floor(v), math.floor(u)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            above = grid[top, left] * (1 - (u - left)) + grid[top, right] * (u - left)
            below = grid[bottom, left] * (1 - (u - left)) + grid[bottom, right] * (u - left)
            resized[y, x] = above * (1 - (v - top)) + below * (v - top)
    return resized


def fuse_resolutions(maps, weights, side):
    """Weighted sum of [pixels_i, tokens] on a side x side grid, each divided by its sum first."""
    tokens = maps[0].shape[1]
    fused = np.zeros((side * side, tokens))
    for one, weight in zip(maps, weights, strict=True):
        own = math.isqrt(one.shape[0])
        for token in range(tokens):
            total = one[:, token].sum()
            if total > 0:
                grid = (one[:, token] / total).reshape(own, own)
                fused[:, token] += weight * bilinear(grid, side, side).ravel()
    return fused


def tokens_to_categories(maps, positions):
    """Average [pixels, tokens] over each category's list of tokens."""
    columns = [maps[:, tokens].mean(axis=1) for tokens in positions]
    return np.stack(columns, axis=1)


def symmetric_kl(p, q):
    """Return half the sum of both divergences of two positive vectors."""
    return 0.5 * (np.sum(p * np.log(p / q)) + np.sum(q * np.log(q / p)))


def cluster_maps(maps, side, rounds=20):
    """k-means of [pixels, tokens] under symmetric KL; returns the maps and the clusters' sizes."""
    points = np.where(maps == 0, 1e-6, maps)
    step = max(1, int(side // math.sqrt(32)))
    starts = [y * side + x for y in range(0, side, step) for x in range(0, side, step)]
    centres = [points[start] for start in starts]
    for _ in range(rounds):
        nearest = np.array(
            [
                int(np.argmin([symmetric_kl(centre + 1e-5, point + 1e-5) for centre in centres]))
                for point in points
            ]
        )
        kept = sorted(set(nearest.tolist()))
        centres = [points[nearest == cluster].mean(axis=0) for cluster in kept]
    clustered = np.zeros_like(maps)
    for cluster in kept:
        clustered[nearest == cluster] = maps[nearest == cluster].mean(axis=0)
    return clustered, [int((nearest == cluster).sum()) for cluster in kept]


def enhance(embeddings, mask, gamma):
    """Multiply the rows of [tokens, channels] that the mask names."""
    enhanced = embeddings.copy()
    for token in range(len(mask)):
        if mask[token]:
            enhanced[token] = gamma * embeddings[token]
    return enhanced


def reduce_entropy(attention, step_size, log="log10"):
    """Equations 4 to 6 on [queries, keys], with whole arrays to be fast at 4096 positions."""
    peak = attention.max(axis=0)
    scaled = np.divide(attention, peak[None, :], out=np.zeros_like(attention), where=peak > 0)
    positive = scaled > 0
    logarithm = np.log10 if log == "log10" else np.log
    gain = logarithm(math.e * scaled[positive])
    scaled[positive] += step_size * gain
    scaled = np.maximum(scaled, 0)
    for query in range(len(scaled)):
        total = scaled[query].sum()
        if total > 0:
            scaled[query] /= total
        else:
            scaled[query, query] = 1
    return scaled


def entropy(attention):
    """Equation 4 on [queries, keys]."""
    positive = attention[attention > 0]
    return -np.sum(positive * np.log(positive))


def normalise(maps):
    """Least value 0, sum 1, category by category of [pixels, categories]; constant maps are 0."""
    result = np.zeros_like(maps)
    for category in range(maps.shape[1]):
        shifted = maps[:, category] - maps[:, category].min()
        if shifted.max() > 0:
            result[:, category] = shifted / shifted.sum()
    return result


def refine(maps, attention, iterations):
    """Equation 3 with a normalisation before the first product and after each."""
    maps = normalise(maps)
    for _ in range(iterations):
        maps = normalise(attention @ maps)
    return maps


def refine_adaptively(maps, attention, tolerance, least, greatest):
    """Refine until no map moves `tolerance` of its mass; returns the maps and the steps taken."""
    maps, steps = normalise(maps), 0
    while steps < greatest:
        before, maps = maps, normalise(attention @ maps)
        steps += 1
        moved = [np.abs(maps[:, c] - before[:, c]).sum() / 2 for c in range(maps.shape[1])]
        if steps >= least and all(share < tolerance for share in moved):
            break
    return maps, steps


def min_max(scores):
    """Stretch each [height, width] of [categories, height, width] to [0, 1]; constant is 0."""
    result = np.zeros_like(scores)
    for category, score in enumerate(scores):
        if score.max() > score.min():
            result[category] = (score - score.min()) / (score.max() - score.min())
    return result


def assign(scores, background, threshold=0.0):
    """Label [categories, height, width] pixel by pixel; equal scores go to the earlier one."""
    categories, height, width = scores.shape
    labels = np.zeros((height, width), dtype=np.int64)
    for y in range(height):
        for x in range(width):
            values = [float(scores[c, y, x]) for c in range(categories)]
            if background == "power":
                candidates = [(1 - max(values, default=0.0)) ** 2, *values]
            elif background == "threshold":
                candidates = [0.0] + [value if value >= threshold else 0.0 for value in values]
            else:
                candidates = [-1.0, *values]
            labels[y, x] = candidates.index(max(candidates))
    return labels


def merge_resolutions(maps, side):
    """DiffSeg's aggregation of [queries_i, keys_i], averaged over heads and layers already.

    Every query's map is enlarged over keys and divided by its sum; then the grid of queries is
    repeated. Resolutions weigh in proportion to their sides, which must divide the common one.
    """
    sides = [math.isqrt(one.shape[0]) for one in maps]
    merged = np.zeros((side, side, side, side))
    for one, own in zip(maps, sides, strict=True):
        ratio = side // own
        for row in range(own):
            for column in range(own):
                grid = one[row * own + column].reshape(own, own)
                enlarged = bilinear(grid, side, side)
                enlarged = enlarged / enlarged.sum()
                rows = slice(row * ratio, (row + 1) * ratio)
                columns = slice(column * ratio, (column + 1) * ratio)
                merged[rows, columns] += own / sum(sides) * enlarged
    return merged.reshape(side * side, side * side)


def anchor_grid(side, anchors):
    """Return evenly spaced rows (and columns) of anchors, centred on the grid."""
    step = (side - 1) // (anchors - 1)
    length = step * (anchors - 1)
    start = (side - 1 - length) // 2
    return [start + step * i for i in range(anchors)]


def propose(attention, side, anchors, threshold, rounds):
    """DiffSeg's iterative merging of [pixels, pixels]: a list of proposals."""
    lines = anchor_grid(side, anchors)
    proposals = []
    for row in lines:
        for column in lines:
            anchor = attention[row * side + column]
            near = [point for point in attention if symmetric_kl(anchor, point) < threshold]
            proposals.append(np.mean(near, axis=0))
    for _ in range(rounds - 1):
        matched, merged = set(), []
        for i, proposal in enumerate(proposals):
            if i in matched:
                continue
            near = [j for j, one in enumerate(proposals) if symmetric_kl(proposal, one) < threshold]
            matched.update(near)
            merged.append(np.mean([proposals[j] for j in near], axis=0))
        proposals = merged
    return proposals


def suppress(proposals, height, width):
    """The greatest of the enlarged proposals at every pixel."""
    side = math.isqrt(len(proposals[0]))
    enlarged = [bilinear(one.reshape(side, side), height, width) for one in proposals]
    return np.argmax(np.stack(enlarged), axis=0)


def class_probabilities(features, texts, scale):
    """Softmax over classes of the cosines of [patches, channels] with [classes, channels]."""
    result = np.zeros((len(features), len(texts)))
    for patch, feature in enumerate(features):
        cosines = [feature @ text / np.linalg.norm(feature) for text in texts]
        weights = np.exp(scale * (np.array(cosines) - max(cosines)))
        result[patch] = weights / weights.sum()
    return result


def trusted_attention(attention, averaged, min_agreeing):
    """TagCLIP's first mask on [blocks, patches, patches]: mean attention where blocks agree."""
    result = np.zeros(attention.shape[1:])
    means = [block.mean() for block in attention]
    for row in range(len(result)):
        for column in range(len(result)):
            agreeing = sum(
                block[row, column] > mean for block, mean in zip(attention, means, strict=True)
            )
            if agreeing >= min_agreeing:
                result[row, column] = np.mean([attention[b, row, column] for b in averaged])
    return result


def fill_boxes(mask):
    """Fill the box around each part of [rows, columns] that touches at sides or corners."""
    filled, seen = np.zeros_like(mask), np.zeros_like(mask)
    for start in np.argwhere(mask):
        if seen[tuple(start)]:
            continue
        part, todo = [], [tuple(start)]
        seen[tuple(start)] = True
        while todo:
            y, x = todo.pop()
            part.append((y, x))
            for v in range(max(y - 1, 0), min(y + 2, mask.shape[0])):
                for u in range(max(x - 1, 0), min(x + 2, mask.shape[1])):
                    if mask[v, u] and not seen[v, u]:
                        seen[v, u] = True
                        todo.append((v, u))
        ys, xs = zip(*part, strict=True)
        filled[min(ys) : max(ys) + 1, min(xs) : max(xs) + 1] = True
    return filled


def refine_scores(coarse, attention, rows):
    """TagCLIP's two products on [patches, classes], class by class, with masked attention."""
    refined = np.zeros_like(coarse)
    for c in range(coarse.shape[1]):
        first = attention @ coarse[:, c]
        if first.max() > first.min():
            first = (first - first.min()) / (first.max() - first.min())
            boxes = fill_boxes((first > first.mean()).reshape(rows, -1)).ravel()
        else:
            boxes = np.ones(len(first), dtype=bool)
        refined[:, c] = (attention * boxes[None, :]) @ coarse[:, c]
    return refined


def response_box(score, rows):
    """Where [patches] is over its middle, and (top, left, bottom, right) of that."""
    if score.max() > score.min():
        responds = (score > (score.min() + score.max()) / 2).reshape(rows, -1)
    else:
        responds = np.ones_like(score, dtype=bool).reshape(rows, -1)
    ys, xs = np.nonzero(responds)
    return responds.ravel(), (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)


def combine_looks(local, again, looked, weights):
    """Return scores [images, classes] of patches and, for classes with a crop, of the crop."""
    combined = local.copy()
    for place in zip(*np.nonzero(looked), strict=True):
        combined[place] = weights[0] * local[place] + weights[1] * again[place]
    return combined


def self_self_attention(query, key, value, scale):
    """Values of one head, [tokens, channels], mixed by the mean of the softmaxes of QQ, KK, VV."""
    mixed = np.zeros_like(value)
    for own in (query, key, value):
        for token, one in enumerate(own):
            scores = np.array([scale * (one @ other) for other in own])
            weights = np.exp(scores - scores.max())
            mixed[token] += weights @ value / weights.sum() / 3
    return mixed


def softmax(scores, temperature):
    """Over the first axis of [classes, height, width]."""
    weights = np.exp((scores - scores.max(axis=0)) / temperature)
    return weights / weights.sum(axis=0)


def fuse(diffusion, clip):
    """Fuse two distributions over the first axis, pixel by pixel, by their entropy."""
    fused = np.zeros_like(diffusion)
    for y, x in np.ndindex(diffusion.shape[1:]):
        p, q = diffusion[:, y, x], clip[:, y, x]
        weight = 1 / (1 + np.exp(entropy(p) - entropy(q)))
        fused[:, y, x] = weight * p + (1 - weight) * q
    return fused
