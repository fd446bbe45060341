"""Neighbours: the search for the position of a style that is most like each position of the content.

Positions are those of a grid, STRIDE pixels apart, and are compared by the activations of all LAYERS together.

    [NNST]  Kolkin, Kucera, Paris, Sykora, Shechtman & Shakhnarovich 2022, Neural Neighbor Style Transfer,
            arXiv 2203.13215
    [Li]    Li & Wand 2016, Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis,
            arXiv 1601.04589
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nst.network.windows import layer_size, stride

LAYERS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3"),
)
STRIDE = 4  # pixels between two positions
BLOCK = 2048  # positions of the content that are compared at a time, which bounds the memory
ROUNDS = 200  # of giving each of several styles its part of the content


class Positions(NamedTuple):
    """The n positions of a picture.

    activations are {layer: (n, k k, n_C)}: a layer with more positions than the grid has k x k of them in each, and
    shares are {region: (n,)}, how far the positions belong to regions.
    """

    activations: dict
    shares: dict

    @property
    def hypercolumns(self):
        """(n, all channels), centred and of unit length, each layer's activations divided by its n_C [NNST]."""
        F = tf.concat([tf.reduce_mean(a, 1) / a.shape[2] for a in self.activations.values()], 1)
        F = F - tf.reduce_mean(F, 0)
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
    activations = {layer: at_positions(tf.convert_to_tensor(seen[layer]), layer, grid) for layer in LAYERS}

    def share_at(share):
        if np.ndim(share) == 0:
            return np.ones(grid[0] * grid[1], "float32")
        pooled = tf.nn.avg_pool2d(share[np.newaxis, ..., np.newaxis], STRIDE, STRIDE, "SAME")
        return pooled.numpy().ravel()

    return Positions(activations, {name: share_at(share) for name, share in picture.regions.items()})


def targets_of(content, styles, weights):
    """{layer: (n, k k, n_C)}: for each position of the content the activations of its nearest neighbour.

    content and each of the styles are Positions. In each region only the styles that have it count, and several
    styles get parts of the content in proportion to their weights. Where regions overlap, their targets are mixed.
    """
    found = {layer: 0.0 for layer in LAYERS}
    total = np.maximum(sum(content.shares.values()), 1e-6)
    for region, share in content.shares.items():
        having = [(style, weight) for style, weight in zip(styles, weights, strict=True) if region in style.shares]
        having = [(style, weight) for style, weight in having if weight and style.shares[region].any()]
        if not having:
            continue
        nearest = [neighbours(content.hypercolumns, style, region) for style, _ in having]
        chosen = divide([similarity for similarity, _ in nearest], [weight for _, weight in having], share)
        for layer in LAYERS:
            target = sum(
                (chosen == k)[:, np.newaxis, np.newaxis] * tf.gather(style.activations[layer], index)
                for k, ((style, _), (_, index)) in enumerate(zip(having, nearest, strict=True))
            )
            found[layer] = found[layer] + (share / total)[:, np.newaxis, np.newaxis] * target
    return found


def neighbours(F, style, region):
    """(similarity (n,), index (n,)) of the style's nearest position in a region, by cosine, for each row of F."""
    there = style.shares[region]
    index = np.flatnonzero(there >= min(0.5, there.max()))
    F_S = tf.gather(style.hypercolumns, index)
    similarity, nearest = [], []
    for start in range(0, F.shape[0], BLOCK):
        cosines = tf.matmul(F[start : start + BLOCK], F_S, transpose_b=True)
        similarity.append(tf.reduce_max(cosines, 1).numpy())
        nearest.append(index[tf.argmax(cosines, 1).numpy()])
    return np.concatenate(similarity), np.concatenate(nearest)


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
