"""Neighbours: the search for the position of a style that is most like each position of the content.

Positions are those of a grid, STRIDE pixels apart, and are compared by the activations of all LAYERS together. Adjacent
positions get adjacent neighbours if these are nearly as similar, so that whole strokes are found. Popular positions of
the style count as less similar. Where the content is calm, the search continues the picture so far.

    [NNST]      Kolkin, Kucera, Paris, Sykora, Shechtman & Shakhnarovich 2022, Neural Neighbor Style Transfer,
                arXiv 2203.13215
    [Li]        Li & Wand 2016, Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis,
                arXiv 1601.04589
    [Ashikhmin] Ashikhmin 2001, Synthesizing Natural Textures, I3D
    [Besag]     Besag 1986, On the Statistical Analysis of Dirty Pictures, Journal of the Royal Statistical Society B 48
    [Conneau]   Conneau, Lample, Ranzato, Denoyer & Jégou 2018, Word Translation without Parallel Data,
                arXiv 1710.04087
    [Halko]     Halko, Martinsson & Tropp 2011, Finding Structure with Randomness, SIAM Review 53
"""

from typing import NamedTuple

import numpy as np
import scipy.ndimage
import tensorflow as tf

from nst.network.windows import layer_size, stride
from nst.pictures.colours import luminance

LAYERS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3"),
)
STRIDE = 4  # pixels between two positions
DIRECTIONS = 128  # of the hypercolumns, in which positions are compared
PRODUCTS = 2**23  # similarities that are computed at a time, which bounds the memory
SO_FAR = 0.6  # the fraction of the picture so far in what is searched, where the content is calm
CALM = 10  # levels: the standard deviation of luminance at which this fraction is halved
POPULAR = 0.01  # the fraction of the content's positions, those most similar, over which popularity is averaged
COHERENCE = 0.1  # similarity that an adjacent neighbour is worth
LOSS = 0.1  # similarity that is given up for adjacent neighbours at most; cosines have a deviation of about 0.1
FULL_SIDE = 64  # positions: on a grid with a shorter long side, COHERENCE is less in proportion
SWEEPS = 40  # through all positions, at most
AROUND = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]
EVEN = 2  # positions, the standard deviation over which similarities are smoothed before styles are compared
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

    def share_at(share):
        if np.ndim(share) == 0:
            return np.ones(grid[0] * grid[1], "float32")
        pooled = tf.nn.avg_pool2d(share[np.newaxis, ..., np.newaxis], STRIDE, STRIDE, "SAME")
        return pooled.numpy().ravel()

    shares = {name: share_at(share) for name, share in picture.regions.items()}
    return Positions(shares, seen, grid)


def searched(content, so_far):
    """The image whose neighbours are searched: the content, and where it is calm mostly the picture so far.

    So the strokes of the picture so far continue in a sky, and a face keeps its features. Both are mean-subtracted
    (1, n_H, n_W, 3), and so is the result; so_far can be None.
    """
    if so_far is None:
        return content
    Y = luminance(content)[0, ..., 0]
    mean, mean_square = (scipy.ndimage.gaussian_filter(values, STRIDE, mode="nearest") for values in (Y, Y * Y))
    variance = np.maximum(mean_square - mean**2, 0)
    share = np.float32(SO_FAR / (1 + variance / CALM**2))[np.newaxis, ..., np.newaxis]
    return (1 - share) * content + share * so_far


class Match(NamedTuple):
    """The nearest neighbours that one region of the content has in one style."""

    style: Positions
    index: np.ndarray  # (n,): the number of a position of the style for each of the content
    share: np.ndarray  # (n,), 0 to 1: how far it is the target; all matches together have 1 where regions are


def find_matches(content, styles, weights, unmixed=None):
    """The Matches of a content with its styles, all Positions.

    In each region only the styles that have it count, and several styles get parts of the content in proportion to
    their weights. A region without a style, or with styles of weight 0, stays as the content. Where regions overlap,
    their targets are mixed. If content is mixed with the picture so far, unmixed() returns the Positions of the content
    alone.
    """
    matches = []
    total = np.maximum(sum(content.shares.values()), 1e-6)
    for region, share in content.shares.items():
        having = [(style, weight) for style, weight in zip(styles, weights, strict=True) if region in style.shares]
        having = [(style, weight) for style, weight in having if weight and style.shares[region].any()]
        if not having:
            matches.append(Match(unmixed() if unmixed else content, np.arange(len(share)), share / total))
            continue
        nearest = [neighbours(content, style, region) for style, _ in having]
        # Smoothed, so that adjacent positions get the same style and its pieces stay whole.
        similarities = [
            scipy.ndimage.gaussian_filter(similarity.reshape(content.grid), EVEN).ravel() for similarity, _ in nearest
        ]
        chosen = divide(similarities, [weight for _, weight in having], share)
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
    """(similarity (n,), index (n,)) of a near position of the style in a region, for each position of the content.

    The similarity is the cosine in the main directions of the style, minus the popularity.
    """
    there = style.shares[region]
    index = np.flatnonzero(there >= min(0.5, there.max()))
    parts = [tf.gather(part, index) for part in style.hypercolumns()]
    Q = main_directions(parts)
    F, F_S = unit(product(content.hypercolumns(), Q)), unit(product(parts, Q))
    del parts
    inside = content.shares[region] > 0
    if not inside.any():  # a thin region can vanish at a coarse octave
        return np.zeros(len(inside)), np.full(len(inside), index[0])
    popular = popularity(tf.boolean_mask(F, inside), F_S)
    # One more direction, so that the product is the similarity.
    F, F_S = tf.concat([F, tf.ones_like(F[:, :1])], 1), tf.concat([F_S, -popular], 1)
    nearest = [tf.argmax(block, 1).numpy() for block in products(F, F_S)]
    return coherent(F.numpy(), F_S.numpy(), index, np.concatenate(nearest), content.grid, style.grid, inside)


def products(F, other):
    """F other^T (n, n_other), in blocks of rows."""
    rows = max(1, PRODUCTS // other.shape[0])
    for start in range(0, F.shape[0], rows):
        yield tf.matmul(F[start : start + rows], other, transpose_b=True)


def popularity(F, F_S):
    """(n_S, 1): half the mean cosine of each position of the style to the content's positions most similar to it.

    Without it a few plain spots of the style would be the nearest of nearly everything [Conneau]. The whole mean brings
    stray pieces into calm skies and onto faces.
    """
    k = max(1, round(POPULAR * F.shape[0]))
    means = [tf.reduce_mean(tf.math.top_k(block, k).values, 1, keepdims=True) for block in products(F_S, F)]
    return tf.concat(means, 0) / 2


def coherent(F, F_S, index, nearest, grid, grid_S, inside):
    """(similarity (n,), index (n,)): positions of the style that are nearly the nearest, and adjacent if they can be.

    The similarity is F (n, m) times F_S (n_S, m). index (n_S,) is the number of each row of F_S in the style's grid;
    nearest (n,) is the row of F_S that is nearest to each row of F; inside (n,) says which positions count.

    It maximises, by iterated conditional modes [Besag], the sum of the similarities, plus COHERENCE for each pair of
    adjacent positions whose neighbours are adjacent in the same way. The candidates of a position are its nearest
    neighbour, its present one, and those that continue the neighbours of the eight positions around it [Ashikhmin],
    unless more than LOSS of similarity would be lost. A quarter of the positions is updated at a time, so that no two
    adjacent ones change together.
    """
    coherence = COHERENCE * min(1, max(grid) / FULL_SIDE)
    row = np.full(grid_S[0] * grid_S[1] + 1, -1)  # the last is for the position -1, which is none
    row[index] = np.arange(len(index))
    least = np.einsum("nm,nm->n", F, F_S[nearest]) - LOSS
    first, chosen = index[nearest], np.where(inside, index[nearest], -1)
    y, x = np.divmod(np.arange(len(F)), grid[1])
    quarters = [np.flatnonzero(inside & (y % 2 * 2 + x % 2 == quarter)) for quarter in range(4)]
    for _ in range(SWEEPS):
        before = chosen.copy()
        for here in quarters:
            around = np.array([continued(chosen, grid, grid_S, away, here) for away in AROUND])
            candidates = np.concatenate([[chosen[here], first[here]], around])
            rows = row[candidates]
            similarities = np.einsum("knm,nm->kn", F_S[rows], F[here])
            agreeing = (candidates[:, np.newaxis] == around).sum(1)
            possible = (rows >= 0) & (similarities >= least[here])
            best = np.where(possible, similarities + coherence * agreeing, -np.inf).argmax(0)[np.newaxis]
            chosen[here] = np.take_along_axis(candidates, best, 0)[0]
        if (chosen == before).all():
            break
    chosen = np.where(inside, chosen, first)
    return np.einsum("nm,nm->n", F, F_S[row[chosen]]), chosen


def continued(index, grid, grid_S, away, here):
    """For each position p of here, the style's position that continues the neighbour of p + away; -1 if none does.

    index (n,) is the number of each position's neighbour in the style's grid, or -1; the continuation is
    index[p + away] - away.
    """
    down, across = away
    y, x = np.divmod(here, grid[1])
    y, x = y + down, x + across
    there = (y >= 0) & (y < grid[0]) & (x >= 0) & (x < grid[1])
    neighbour = index[np.where(there, y * grid[1] + x, 0)]
    there &= neighbour >= 0
    y, x = np.divmod(neighbour, grid_S[1])
    y, x = y - down, x - across
    there &= (y >= 0) & (y < grid_S[0]) & (x >= 0) & (x < grid_S[1])
    return np.where(there, y * grid_S[1] + x, -1)


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
