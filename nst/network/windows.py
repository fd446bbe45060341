"""Windows: how a large picture is cut into parts, and where these parts are in the network's layers.

Windows lie on the grid of the network's poolings, so that each pooling takes the same pixels as in the whole picture.
They overlap by what the deepest layer sees, so that the activations in a window's core are those of the whole picture.
"""

import itertools
import re
from typing import NamedTuple

import keras
import numpy as np

# Larger pictures are seen in windows, which takes a second pass forward. Whole, quick takes 5.9 GB at 1600 x 1200.
WHOLE_PIXELS = 2_000_000
WINDOW_PIXELS = 600_000  # of a window at most
CONVOLUTION = re.compile(r"conv\d_\d")


class Window(NamedTuple):
    """A part of a picture that goes through the network by itself: rows top to bottom, columns left to right.

    Only its core counts, (top, bottom, left, right) in the window's own pixels. The cores of a picture's windows
    cover the picture once, and around each core the window has all that the network sees from there.
    """

    top: int
    bottom: int
    left: int
    right: int
    core: tuple

    def of(self, picture, stride=1):
        """The window's part of a picture (1, n_H, n_W, 3), or of an activation with one position per stride pixels."""
        return picture[:, slice_by(self.top, self.bottom, stride), slice_by(self.left, self.right, stride)]

    def of_layers(self, arrays):
        """{layer: the window's part} of {layer: activation or None}."""
        return {name: a if a is None else self.of(a, stride(name)) for name, a in arrays.items()}

    def core_in_picture(self):
        """The core (top, bottom, left, right) in the picture's pixels."""
        top, bottom, left, right = self.core
        return self.top + top, self.top + bottom, self.left + left, self.left + right


def most_pixels(size):
    """The most pixels that are seen whole, in a job whose content has this size (n_H, n_W).

    If it is too large to be seen whole, its coarser scales and octaves would need the memory that windows save.
    """
    return WHOLE_PIXELS if size[0] * size[1] <= WHOLE_PIXELS else WINDOW_PIXELS


def cut_windows(size, model, whole=None):
    """The Windows, all of one size, in which a picture of size (n_H, n_W) goes through the model.

    A picture of at most whole pixels, by default WHOLE_PIXELS, is one window. A larger one gets the windows that have
    the fewest pixels together.
    """
    grid, margin = grid_and_margin(model)
    if size[0] * size[1] <= (WHOLE_PIXELS if whole is None else whole):
        parts = 1, 1
    else:
        (down, rows), (across, columns) = (part_sizes(length, grid, margin) for length in size)
        pixels = np.outer(rows, columns)
        total = pixels * np.outer(down, across)
        best = np.where(pixels <= WINDOW_PIXELS, total, total.max() + 1).argmin()
        parts = [chosen + 1 for chosen in np.unravel_index(best, total.shape)]
    spans = (split(length, count, grid, margin) for length, count in zip(size, parts, strict=True))
    return [
        Window(top, bottom, left, right, (*rows, *columns))
        for (top, bottom, *rows), (left, right, *columns) in itertools.product(*spans)
    ]


def part_sizes(length, grid, margin):
    """(the numbers of parts that a length can be cut into: 1, 2, ...; the size of a part for each)."""
    parts = np.arange(1, max(1, (length - 2 * margin) // grid) + 1, dtype="int64")  # products exceed 2^31
    return parts, length - (parts - 1) * step_between(length, parts, grid, margin)


def step_between(length, parts, grid, margin):
    """Pixels from one part's start to the next one's."""
    return (length - 2 * margin) // (parts * grid) * grid


def split(length, parts, grid, margin):
    """length pixels in parts of one size: [(start, end, start of core, end of core)], the core as seen from the start.

    Starts and cores lie on the grid, so that the network's poolings fall as in the whole picture. An end
    need not: what the poolings make of it is seen from the margin only.
    """
    step = step_between(length, parts, grid, margin)
    starts = [i * step for i in range(parts)]
    size = length - starts[-1]
    edges = [0, *(start + margin for start in starts[1:]), length]
    return [(start, start + size, edges[i] - start, edges[i + 1] - start) for i, start in enumerate(starts)]


def grid_and_margin(model):
    """(grid, margin): pixels for a position of the model's deepest layer, and how far it sees, in whole positions."""
    grid, margin = 1, 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.AveragePooling2D | keras.layers.MaxPooling2D):
            grid *= 2
        elif CONVOLUTION.fullmatch(layer.name):  # by name: not all of nst.network.convolution are Keras' own
            margin += grid  # a kernel of 3 x 3 sees one position around
    return grid, -(-margin // grid) * grid


def stride(name):
    """Pixels for a position of a layer, along each side: VGG-19 halves the picture between its blocks."""
    return 2 ** (int(name[4]) - 1)


def layer_size(size, name):
    """(n_H, n_W) of a layer's activation of a picture of that size."""
    return tuple(-(-side // stride(name)) for side in size)


def slice_by(start, end, stride):
    """The positions from one pixel to another, where there is one for stride pixels."""
    return slice(-(-start // stride), -(-end // stride))


def crop(activation, core, name):
    """The core (top, bottom, left, right), in pixels, of a layer's activation (1, n_H, n_W, n_C)."""
    return activation[:, slice_by(core[0], core[1], stride(name)), slice_by(core[2], core[3], stride(name))]
