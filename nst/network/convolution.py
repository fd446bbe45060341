"""Convolutions that run faster on a CPU than TensorFlow's, with the same results except for rounding.

    [Lavin]  Lavin & Gray 2016, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308

accelerate() and turn() compute each gradient as a forward convolution, which Eigen runs twice as fast.

accelerate() uses Winograd's algorithm [Lavin]. VGG-19 then needs a quarter of the multiplications, and a CPU paints
about twice as fast. The transforms are many small sums, which are only fast if XLA fuses them. So each convolution is
compiled by itself, once for all layers and pictures of its shape. Compiling the whole step as one XLA program was
slower: XLA considers sums cheap, recomputes the last transform wherever its result is used, and keeps that
transform's inputs in memory.

turn() keeps TensorFlow's convolutions and needs no compilation.

narrow() computes in bfloat16, for processors that have instructions for it: half the memory, two or three digits.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from nst.errors import reason

TILE = 4  # outputs along each side of a tile; a tile reads TILE + 2 inputs
BLOCK_BYTES = 80e6  # limit for the transformed tiles of one call


# --- The transforms [Lavin, section 4.1] -------------------------------------------------------------

# A tile d (6 x 6) and a kernel g (3 x 3) give Y (4 x 4) = A^T [(G g G^T) * (B^T d B)] A. This multiplies polynomials
# through their values at six points, including infinity.
#
# The gradient of a convolution is a convolution with each kernel turned by 180 degrees. Turning a kernel reverses its
# polynomial, which exchanges the values at x and 1 / x. The inverse of each point is also a point, so the same
# transformed kernels serve the convolution and its gradient. TURNED holds the index of each point's inverse.
POINTS = np.array([0, 1, -1, 2, 0.5])  # and infinity
TURNED = [5, 1, 2, 4, 3, 0]


def transforms():
    """B^T (6, 6), G (6, 3) and A^T (4, 6) for POINTS. B^T contains the scale factors that G leaves out."""
    powers = POINTS[:, np.newaxis] ** np.arange(TILE)
    G = np.vstack([powers[:, :3], [0, 0, 1]])
    A_T = np.column_stack([powers.T, [0, 0, 0, 1]])
    B_T = np.zeros((6, 6))
    for i, point in enumerate(POINTS):
        others = np.delete(POINTS, i)
        B_T[i, :5] = np.poly(others)[::-1] / np.prod(point - others)  # Lagrange's polynomials
    B_T[5] = np.poly(POINTS)[::-1]
    G[4] *= 4  # (1, 1/2, 1/4) becomes (4, 2, 1), the reversed row of point 2
    B_T[4] /= 4
    return B_T, G, A_T


B_T, G, A_T = transforms()


def transform_kernels(kernel):
    """(3, 3, in, out) -> (36, in, out): G g G^T for each pair of channels, one matrix for each of 6 x 6 points."""
    return tf.reshape(tf.einsum("ia,jb,abcd->ijcd", *(tf.constant(G, "float32"),) * 2, kernel), (36, *kernel.shape[2:]))


# --- The convolution ------------------------------------------------------------------------------------


def convolve(x, kernels, padding, turned=False, rows=None):
    """The 3 x 3 convolution of x (n_H, n_W, in), zero-padded by padding: (n_H + 2 padding - 2, ..., out).

    kernels are from transform_kernels(). turned turns them by 180 degrees and exchanges in and out. With padding 2 - p,
    the result is then the gradient, with respect to the input, of a convolution with padding p. With rows, x already
    has its padding above and below, and the output has that many rows. Shapes are static.
    """
    b_T, a_T = (B_T[TURNED], A_T[:, TURNED]) if turned else (B_T, A_T)
    height, width = rows or x.shape[0] + 2 * padding - 2, x.shape[1] + 2 * padding - 2
    down, across = -(-height // TILE), -(-width // TILE)  # tiles
    across |= 1  # odd, so that rows do not lie multiples of 4096 bytes apart: a cache holds few such rows
    top = 0 if rows else padding
    below, right = TILE * down + 2 - top - x.shape[0], TILE * across + 2 - padding - x.shape[1]
    x = tf.pad(x, [[top, below], [padding, right], [0, 0]])

    rows_of_tiles = [x[i : i + TILE * down - 3 : TILE] for i in range(6)]
    # One explicit sum per point: this makes six passes, but over the smallest array.
    values = tf.stack([tf.add_n([c * r for c, r in zip(row, rows_of_tiles, strict=True) if c]) for row in b_T])
    values = combine(b_T, [values[:, :, i : i + TILE * across - 3 : TILE] for i in range(6)], axis=1)

    values = tf.reshape(values, (36, down * across, x.shape[2]))
    products = tf.matmul(values, kernels, transpose_b=turned)

    products = tf.reshape(products, (6, 6, down, across, -1))
    columns = combine(a_T, tf.unstack(products, axis=1), axis=3)  # (6, down, across, 4, out)
    outputs = combine(a_T, tf.unstack(columns), axis=1)  # (down, 4, across, 4, out)
    return tf.reshape(outputs, (TILE * down, TILE * across, outputs.shape[4]))[:height, :width]


def combine(matrix, parts, axis):
    """Multiply the matrix by a list of tensors, with its rows along the new axis. XLA compiles this to one loop."""
    shape = [1] * (len(parts[0].shape) + 1)
    shape[axis] = len(matrix)
    return tf.add_n(
        [
            tf.constant(column.reshape(shape), "float32") * tf.expand_dims(part, axis)
            for column, part in zip(matrix.T, parts, strict=True)
        ]
    )


@tf.function(jit_compile=True, autograph=False)
def forward(x, kernels, bias, padding, rows=None):
    """The layer: convolve(x) plus bias, then ReLU."""
    return tf.nn.relu(convolve(x, kernels, padding, rows=rows) + bias)


@tf.function(jit_compile=True, autograph=False)
def backward(upstream, is_on, kernels, padding, rows=None):
    """The gradient of forward() with respect to x. upstream is that with respect to its output; is_on is output > 0."""
    return convolve(tf.where(is_on, upstream, 0), kernels, padding, turned=True, rows=rows)


@functools.lru_cache(maxsize=1)
def why_not_compiled():
    """Why this TensorFlow cannot compile, as some of its builds cannot; None if it can."""
    try:
        forward(tf.zeros((TILE, TILE, 1)), tf.zeros((36, 1, 1)), tf.zeros(1), 1)
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.OpError as error:
        return reason(error)
    return None


def in_blocks(function, inputs, *parameters, padding, channels):
    """Apply function to inputs (n_H, n_W, n_C), in blocks of rows if all tiles would take more than BLOCK_BYTES.

    channels is the larger number of the convolution's input and output channels.
    """
    height, width = (side + 2 * padding - 2 for side in inputs[0].shape[:2])
    row_bytes = 36 * 4 * channels * (-(-width // TILE) | 1)
    blocks = min(-(-height // TILE), int(-(-height * row_bytes // (TILE * BLOCK_BYTES))))
    if blocks == 1:
        return function(*inputs, *parameters, padding)
    rows = TILE * -(-height // (TILE * blocks))  # the same in each block, so that one program serves all

    def block(x, start):
        """The rows that a block of output reads, with zeros beyond the picture's edge."""
        first, end = start - padding, start - padding + rows + 2
        above, below = max(0, -first), max(0, end - x.shape[0])
        part = x[first + above : end]
        return tf.pad(part, [[above, below], [0, 0], [0, 0]]) if above or below else part  # most blocks need no copy

    starts = range(0, height, rows)
    outputs = [function(*(block(x, start) for x in inputs), *parameters, padding, rows) for start in starts]
    return tf.concat(outputs, 0)[:height]


class WinogradConv2D(keras.layers.Layer):
    """A 3 x 3 keras.layers.Conv2D with ReLU for a single picture, computed by Winograd's algorithm.

    It has the padding of the Conv2D, "same" or "valid". The picture's shape must be known when the layer is called.
    """

    def __init__(self, convolution):
        super().__init__(name=convolution.name, trainable=False)
        self.kernels = transform_kernels(convolution.kernel)
        self.bias = tf.convert_to_tensor(convolution.bias)
        self.padding = 1 if convolution.padding == "same" else 0
        self.compute_output_shape = convolution.compute_output_shape

    def call(self, inputs):
        channels = max(self.kernels.shape[1:])

        @tf.custom_gradient
        def convolution(x):
            y = in_blocks(forward, [x[0]], self.kernels, self.bias, padding=self.padding, channels=channels)
            is_on = y > 0  # the gradient needs only this, which takes a quarter of y's memory

            def gradient(upstream):
                inputs = [upstream[0], is_on]
                dx = in_blocks(backward, inputs, self.kernels, padding=2 - self.padding, channels=channels)
                return dx[tf.newaxis]

            return y[tf.newaxis], gradient

        return convolution(inputs)


def is_accelerated(model):
    """Whether a model is one of accelerate(), whose pictures must have a known shape."""
    return any(isinstance(layer, WinogradConv2D) for layer in model.layers)


@functools.lru_cache(maxsize=1)
def accelerate(model):
    """The model of load_vgg_model with Winograd's convolutions after the first, which has too few channels to gain."""

    def replace(layer):
        gains = isinstance(layer, keras.layers.Conv2D) and layer.kernel.shape[2] > 3
        return WinogradConv2D(layer) if gains else layer

    return keras.models.clone_model(model, clone_function=replace)


class TurnedConv2D(keras.layers.Layer):
    """A keras.layers.Conv2D with ReLU and padding "valid" that computes its gradient as a forward convolution."""

    def __init__(self, convolution):
        super().__init__(name=convolution.name, trainable=False)
        self.kernel, self.bias = map(tf.convert_to_tensor, (convolution.kernel, convolution.bias))
        self.turned = tf.transpose(self.kernel[::-1, ::-1], [0, 1, 3, 2])
        self.compute_output_shape = convolution.compute_output_shape

    def call(self, inputs):
        @tf.custom_gradient
        def convolution(x):
            y = tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "VALID") + self.bias)
            around = [[0, 0], *([side - 1] * 2 for side in self.kernel.shape[:2]), [0, 0]]

            def gradient(upstream):
                return tf.nn.conv2d(tf.where(y > 0, upstream, 0), self.turned, 1, around)

            return y, gradient

        return convolution(inputs)


@functools.lru_cache(maxsize=1)
def turn(model):
    """The model of load_vgg_model with turned convolutions, or unchanged if it pads with zeros.

    This keeps the pictures of the paper's settings the same to the last bit.
    """
    turning = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.padding == "valid"]
    if not turning:
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: TurnedConv2D(layer) if layer in turning else layer
    )


# --- In bfloat16 ----------------------------------------------------------------------------------------


class NarrowConv2D(keras.layers.Layer):
    """A 3 x 3 keras.layers.Conv2D with ReLU that computes in bfloat16; it also computes its gradient forward.

    With exact, it computes in float32, and only its result is rounded.
    """

    def __init__(self, convolution, exact):
        super().__init__(name=convolution.name, trainable=False, dtype="bfloat16", autocast=False)
        self.computed_in = tf.float32 if exact else tf.bfloat16
        self.kernel, self.bias = (tf.cast(array, self.computed_in) for array in (convolution.kernel, convolution.bias))
        self.turned = tf.transpose(self.kernel[::-1, ::-1], [0, 1, 3, 2])
        self.around = 1 if convolution.padding == "same" else 0  # rows and columns of zeros
        self.shape_of = convolution.compute_output_shape

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.shape_of(inputs.shape), dtype="bfloat16")

    def call(self, inputs):
        def convolved(x, kernel, around):
            return tf.nn.conv2d(tf.cast(x, self.computed_in), kernel, 1, [[0, 0], [around] * 2, [around] * 2, [0, 0]])

        @tf.custom_gradient
        def convolution(x):
            y = tf.cast(tf.nn.relu(convolved(x, self.kernel, self.around) + self.bias), "bfloat16")

            def gradient(upstream):
                upstream = tf.where(y > 0, upstream, tf.zeros_like(upstream))
                return tf.cast(convolved(upstream, self.turned, 2 - self.around), x.dtype)

            return y, gradient

        return convolution(inputs)


def narrow(model):
    """The model of load_vgg_model in bfloat16. The first convolution is exact: else levels of the picture were lost."""
    first = next(layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D))

    def replace(layer):
        if isinstance(layer, keras.layers.Conv2D):
            return NarrowConv2D(layer, exact=layer.name == first)
        reads_picture = isinstance(layer, keras.layers.InputLayer) or layer.name.startswith(first)
        return layer if reads_picture else type(layer).from_config({**layer.get_config(), "dtype": "bfloat16"})

    return keras.models.clone_model(model, clone_function=replace)


def is_narrow(model):
    """Whether a model is one of narrow()."""
    return any(isinstance(layer, NarrowConv2D) for layer in model.layers)
