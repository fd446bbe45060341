"""Neighbours: the search for the position of a style that is most like each position of the content.

Positions are those of a grid, STRIDE pixels apart, and are compared by the activations of all LAYERS together.

    [NNST]  Kolkin, Kucera, Paris, Sykora, Shechtman & Shakhnarovich 2022, Neural Neighbor Style Transfer,
            arXiv 2203.13215
    [Li]    Li & Wand 2016, Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis,
            arXiv 1601.04589
    [Halko] Halko, Martinsson & Tropp 2011, Finding Structure with Randomness, SIAM Review 53
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nst.network.convolution import is_narrow
from nst.network.windows import layer_size, stride

LAYERS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3"),
)
STRIDE = 4  # pixels between two positions
DIRECTIONS = 128  # of the hypercolumns, in which positions are compared
BLOCK = 512  # positions of the content that are compared at a time, which bounds the memory
ROUNDS = 200  # of giving each of several styles its part of the content


class Positions(NamedTuple):
    """The n positions of a picture."""

    shares: dict  # {region: (n,)}: how far they belong to it
    seen: dict  # the picture's activations, {layer: (1, n_H, n_W, n_C)}, in the network's precision
    grid: tuple  # (n_H, n_W) of the positions

    def activations(self, layer):
        """(n, k k, n_C): a layer with more positions than the grid has k x k of them in each."""
        return at_positions(tf.cast(self.seen[layer], "float32"), layer, self.grid)

    def hypercolumns(self):
        """For each layer its part (n, n_C) of the hypercolumns, centred: the activations divided by n_C [NNST].

        All parts together take half as much memory as the layers, so they are made one by one.
        """
        for layer, a in self.seen.items():
            F = tf.reduce_mean(self.activations(layer), 1) / a.shape[3]
            yield F - tf.reduce_mean(F, 0)


def unit(F):
    """The rows of F, (n, n_C), at unit length."""
    return F * tf.math.rsqrt(tf.maximum(tf.reduce_sum(F * F, 1, keepdims=True), 1e-12))


def grid_size(size):
    """(n_H, n_W) of the grid of a picture of size (n_H, n_W)."""
    return tuple(-(-side // STRIDE) for side in size)


def at_positions(a, layer, grid):
    """A layer's activation (1, n_H, n_W, n_C) as (n, k k, n_C) for the n positions of a grid (n_H, n_W).

    Activations of a layer with fewer positions than the grid are repeated; at odd edges the last ones are.
    """
    if (fewer := stride(layer) // STRIDE) > 1:
        a = tf.repeat(tf.repeat(a, fewer, 1), fewer, 2)[:, : grid[0], : grid[1]]
    k = max(1, STRIDE // stride(layer))
    down, across = grid[0] * k - a.shape[1], grid[1] * k - a.shape[2]
    a = tf.concat([a, tf.repeat(a[:, -1:], down, 1)], 1)
    a = tf.concat([a, tf.repeat(a[:, :, -1:], across, 2)], 2)
    blocks = tf.reshape(a, (grid[0], k, grid[1], k, a.shape[3]))
    return tf.reshape(tf.transpose(blocks, (0, 2, 1, 3, 4)), (grid[0] * grid[1], k * k, a.shape[3]))


def as_activation(found, layer, size):
    """The way back: (n, k k, n_C) as the activation (1, n_H, n_W, n_C) that the layer has for a picture of a size.

    For a layer with fewer positions than the grid it is the mean of those that fall into one.
    """
    grid, k, channels = grid_size(size), max(1, STRIDE // stride(layer)), found.shape[2]
    blocks = tf.reshape(found, (*grid, k, k, channels))
    a = tf.reshape(tf.transpose(blocks, (0, 2, 1, 3, 4)), (1, grid[0] * k, grid[1] * k, channels))
    if (fewer := stride(layer) // STRIDE) > 1:
        a = tf.nn.avg_pool2d(a, fewer, fewer, "SAME")
    n_H, n_W = layer_size(size, layer)
    return a[:, :n_H, :n_W]


def positions_of(picture, sight):
    """The Positions of a Picture with a mean-subtracted image (1, n_H, n_W, 3)."""
    grid = grid_size(picture.image.shape[1:3])
    seen = sight.look(tf.convert_to_tensor(picture.image), LAYERS)
    if is_narrow(sight.model):  # nothing is lost: this is how they were computed
        seen = {layer: tf.cast(a, "bfloat16") for layer, a in seen.items()}

    def share_at(share):
        if np.ndim(share) == 0:
            return np.ones(grid[0] * grid[1], "float32")
        pooled = tf.nn.avg_pool2d(share[np.newaxis, ..., np.newaxis], STRIDE, STRIDE, "SAME")
        return pooled.numpy().ravel()

    shares = {name: share_at(share) for name, share in picture.regions.items()}
    return Positions(shares, seen, grid)


class Match(NamedTuple):
    """The nearest neighbours that one region of the content has in one style."""

    style: Positions
    index: np.ndarray  # (n,): the number of a position of the style for each of the content
    share: np.ndarray  # (n,), 0 to 1: how far it is the target; all matches together have 1 where regions are


def find_matches(content, styles, weights):
    """The Matches of a content with its styles, all Positions.

    In each region only the styles that have it count, and several styles get parts of the content in proportion to
    their weights. A region without a style, or with styles of weight 0, stays as the content. Where regions overlap,
    their targets are mixed.
    """
    matches = []
    total = np.maximum(sum(content.shares.values()), 1e-6)
    for region, share in content.shares.items():
        having = [(style, weight) for style, weight in zip(styles, weights, strict=True) if region in style.shares]
        having = [(style, weight) for style, weight in having if weight and style.shares[region].any()]
        if not having:
            matches.append(Match(content, np.arange(len(share)), share / total))
            continue
        nearest = [neighbours(content, style, region) for style, _ in having]
        chosen = divide([similarity for similarity, _ in nearest], [weight for _, weight in having], share)
        for k, ((style, _), (_, index)) in enumerate(zip(having, nearest, strict=True)):
            matches.append(Match(style, index, share / total * (chosen == k)))
    return matches


def target_of(matches, layer):
    """(n, k k, n_C): for each position of the content the activations of its nearest neighbour."""
    targets = (
        match.share[:, np.newaxis, np.newaxis] * tf.gather(match.style.activations(layer), match.index)
        for match in matches
    )
    return sum(targets, 0.0)


def neighbours(content, style, region):
    """(similarity (n,), index (n,)) of the style's nearest position in a region, for each position of the content.

    The similarity is the cosine in the main directions of the style.
    """
    there = style.shares[region]
    index = np.flatnonzero(there >= min(0.5, there.max()))
    parts = [tf.gather(part, index) for part in style.hypercolumns()]
    Q = main_directions(parts)
    F, F_S = unit(product(content.hypercolumns(), Q)), unit(product(parts, Q))
    del parts
    similarity, nearest = [], []
    for start in range(0, F.shape[0], BLOCK):
        cosines = tf.matmul(F[start : start + BLOCK], F_S, transpose_b=True)
        similarity.append(tf.reduce_max(cosines, 1).numpy())
        nearest.append(index[tf.argmax(cosines, 1).numpy()])
    return np.concatenate(similarity), np.concatenate(nearest)


def product(parts, Q):
    """F Q (n, m), of F in parts [(n, n_C)] and Q (all channels, m)."""
    total, start = 0.0, 0
    for part in parts:
        total += tf.matmul(part, Q[start : start + part.shape[1]])
        start += part.shape[1]
    return total


def main_directions(parts):
    """(all channels, DIRECTIONS): orthonormal directions that hold nearly as much of F as so few can [Halko].

    F has its rows at unit length here. It is in parts, [(n, n_C)].

    Measured with a painting at 512 pixels: 128 of the 2 688 directions hold 97 % (of F's squares). The search then
    takes a fifth of the time, and 85 of 100 positions find the same neighbour. The mean cosine falls by 0.0005.
    """
    squares = sum(tf.reduce_sum(part * part, 1, keepdims=True) for part in parts)
    channels = sum(part.shape[1] for part in parts)
    Q = tf.random.stateless_normal((channels, min(DIRECTIONS, channels)), (0, 0))
    for _ in range(2):
        Y = product(parts, Q) / tf.maximum(squares, 1e-12)
        Q = tf.concat([tf.matmul(part, Y, transpose_a=True) for part in parts], 0)
        with tf.device("CPU"):  # it is small, and a GPU would need another library for it
            Q = tf.linalg.qr(Q)[0]
    return Q


def divide(similarities, weights, share):
    """(n,): the number of the style that each position takes, so that styles get parts in proportion to weights.

    A style that has less than its part gets a bonus in the comparison, until the parts fit.
    """
    if len(weights) == 1:
        return np.zeros(len(share), int)
    similarities, parts = np.array(similarities), np.array(weights) / sum(weights)
    bonus = np.zeros(len(parts))
    for k in range(ROUNDS):
        chosen = (similarities + bonus[:, np.newaxis]).argmax(0)
        has = np.array([share[chosen == style].sum() for style in range(len(parts))]) / max(share.sum(), 1e-6)
        bonus += (parts - has) * 0.5 / (1 + k / 10)
    return chosen
