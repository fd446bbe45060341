"""The cost of a picture and its gradient, for pictures of any size and as quickly as they are to be had.

build_cost() makes the function that the descent goes down. The formulas are nst_utils'; what is decided
here is how the network sees a picture: whole or in windows, and with which convolutions.

Both costs are means over positions (a Gram matrix per position is one too), so a large picture can go
through the network in windows, which overlap by what its deepest layer sees: a first pass adds up what
the costs are made of, a second sends their gradient back, window by window. What comes out is what the
whole picture would have given, but for rounding; memory is that of one window.
"""

import itertools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import nst_utils as nst
import nst_winograd

WHOLE_PIXELS = 2_000_000  # larger pictures are seen in windows, which cost a second forward pass,
WINDOW_PIXELS = 1_200_000  # of so many pixels at the most: about 1.5 GB
COMPILED_PIXELS = 2_000_000  # pixels times epochs from which it pays to compile Winograd's convolutions


def build_cost(model, content, style, alpha, beta, epochs):
    """The cost of a generated image: G -> ((J, J_content, J_style), gradient of J).

    model is nst_utils.load_vgg_model's; content, style and G are (1, n_H, n_W, 3), the gradient has G's
    shape. What the costs aim at, a_C and the Gram matrices of S, is computed here, once; each call of
    the result, of which about epochs are expected, runs the network once forward (twice where G is seen
    in windows) and once back.
    """
    size = content.shape[1:3]
    windows = cut_windows(size, model)
    network = choose_network(model, windows, epochs)
    a_C, a_C_stride = see_content(network, content, windows), stride(nst.CONTENT_LAYER)
    grams_S = see_style(model, style)

    def measure(image, core, a_C):
        """What the costs are made of, in a window of G and a_C: its core's share of J_content and the Gram matrices."""
        cores = {name: crop(a, core, name) for name, a in network(image).items()}
        shares = {name: share(a, size, name) for name, a in cores.items()}
        name = nst.CONTENT_LAYER
        J_content = nst.compute_content_cost(crop(a_C, core, name), cores[name]) * shares[name]
        return J_content, {name: nst.gram_per_position(cores[name]) * shares[name] for name in grams_S}

    def judge(J_content, grams_G):
        J_style = nst.compute_style_cost(grams_S, grams_G)
        return nst.total_cost(J_content, J_style, alpha, beta), J_content, J_style

    if len(windows) == 1:

        @tf.function(autograph=False)  # there is nothing to convert
        def evaluate(picture):
            with tf.GradientTape() as tape:
                tape.watch(picture)
                costs = judge(*measure(picture, windows[0].core, a_C))
            return costs, tape.gradient(costs[0], picture)

        return evaluate

    measure_window = tf.function(measure, autograph=False)

    @tf.function(autograph=False)
    def pull_back(image, core, a_C, upstream):
        with tf.GradientTape() as tape:
            tape.watch(image)
            measured = measure(image, core, a_C)
        return tape.gradient(measured, image, upstream)

    def evaluate_in_windows(picture):
        measured = add_up(measure_window(w.of(picture), tf.constant(w.core), w.of(a_C, a_C_stride)) for w in windows)
        with tf.GradientTape() as tape:
            tape.watch(measured)
            costs = judge(*measured)
        upstream = tape.gradient(costs[0], measured)
        gradient = np.zeros(picture.shape, "float32")
        for w in windows:
            w.of(gradient)[...] += pull_back(w.of(picture), tf.constant(w.core), w.of(a_C, a_C_stride), upstream)
        return costs, gradient

    return evaluate_in_windows


def choose_network(model, windows, epochs):
    """The model, or the same with Winograd's convolutions where they are sooner done, compilation included.

    Measured on two processor cores: the compilation takes about as long as Winograd's convolutions save
    on COMPILED_PIXELS. A GPU has good convolutions of its own.
    """
    pixels = epochs * sum((w.bottom - w.top) * (w.right - w.left) for w in windows)
    pays = pixels >= COMPILED_PIXELS and not tf.config.list_physical_devices("GPU")
    return nst_winograd.accelerate(model) if pays else model


# --- What the costs aim at --------------------------------------------------------------------------------


def see_content(network, content, windows):
    """a_C, (1, n_H, n_W, n_C)."""
    name = nst.CONTENT_LAYER

    @tf.function(autograph=False)
    def see(image, core):
        return crop(network(image)[name], core, name)

    a_C = np.empty((1, *layer_size(content.shape[1:3], name), network.output[name].shape[-1]), "float32")
    for w in windows:
        crop(a_C, w.core_in_picture(), name)[...] = see(w.of(content), tf.constant(w.core))
    return a_C if len(windows) > 1 else tf.constant(a_C)


def see_style(model, style):
    """{layer: Gram matrix per position} of S."""
    size = style.shape[1:3]
    windows = cut_windows(size, model)
    network = choose_network(model, windows, epochs=1)

    @tf.function(autograph=False)
    def see(image, core):
        activations = network(image)
        cores = {name: crop(activations[name], core, name) for name, _ in nst.STYLE_LAYERS}
        return {name: nst.gram_per_position(a) * share(a, size, name) for name, a in cores.items()}

    return add_up(see(w.of(style), tf.constant(w.core)) for w in windows)


def add_up(structures):
    """The sum of structures of tensors, all alike."""
    total = None
    for structure in structures:
        total = structure if total is None else tf.nest.map_structure(tf.add, total, structure)
    return total


# --- Windows ------------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """A part of a picture that goes through the network by itself: its rows top to bottom, columns left to right.

    Its core (top, bottom, left, right), in the window's own pixels, is what of it counts. The cores of a
    picture's windows cover it once; around each lies all that the network sees from there.
    """

    top: int
    bottom: int
    left: int
    right: int
    core: tuple

    def of(self, picture, stride=1):
        """The window's part of a picture (1, n_H, n_W, 3), or of an activation with a position for stride pixels."""
        return picture[:, slice_by(self.top, self.bottom, stride), slice_by(self.left, self.right, stride)]

    def core_in_picture(self):
        """The core in the picture's pixels."""
        top, bottom, left, right = self.core
        return self.top + top, self.top + bottom, self.left + left, self.left + right


def cut_windows(size, model):
    """The windows that a picture of size (n_H, n_W) goes through the model in, all of one size.

    One if the picture is small enough, otherwise those that have the fewest pixels in all.
    """
    grid, margin = look(model)
    if size[0] * size[1] <= WHOLE_PIXELS:
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
    """(1, 2, ..., as many parts as length can be cut in), and the size of each such part."""
    parts = np.arange(1, max(1, (length - 2 * margin) // grid) + 1)
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


def look(model):
    """(grid, margin): pixels for a position of the model's deepest layer, and how far it sees, in whole positions."""
    grid, margin = 1, 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.AveragePooling2D):
            grid *= 2
        elif isinstance(layer, keras.layers.Conv2D):
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


def share(core, size, name):
    """What part the positions of a core are of all that the layer has for a picture of that size."""
    n_H, n_W = layer_size(size, name)
    return tf.cast(tf.shape(core)[1] * tf.shape(core)[2], "float32") / (n_H * n_W)
