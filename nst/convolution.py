"""Convolutions that a processor does sooner than TensorFlow's: networks that are the same but for rounding.

    [Lavin]  Lavin & Gray 2016, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308

Both of their gradients are convolutions forward, of which Eigen does twice as many in a second.

accelerate() takes Winograd's, which lets a processor paint about twice as fast: VGG-19 in a quarter of the
products. The transforms are many small sums, which only pay when XLA fuses them: each convolution is
compiled by itself, once for all layers and pictures of its shape. (The whole step as one XLA program was
slower: XLA, which holds sums to be cheap, then works out the last transform again wherever its result is
used, and keeps what that takes in memory.)

turn() keeps TensorFlow's and needs no compilation.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

TILE = 4  # outputs of a tile along each side; it reads TILE + 2 inputs
BLOCK_BYTES = 80e6  # the most that the transformed tiles of one call may take


# --- The transforms [Lavin, section 4.1] -------------------------------------------------------------

# A tile of d (6 x 6) and a kernel g (3 x 3) give Y (4 x 4) = A^T [(G g G^T) * (B^T d B)] A: polynomials,
# multiplied by way of their values at six points, one of them infinity.
#
# The gradient of a convolution is one with each kernel turned by 180 degrees, and turning a polynomial
# round exchanges its values at x and 1 / x. These points are each other's inverses, so that one set of
# transformed kernels serves both ways; for the way back, TURNED is where each point's inverse stands.
POINTS = np.array([0, 1, -1, 2, 0.5])  # and infinity
TURNED = [5, 1, 2, 4, 3, 0]


def transforms():
    """B^T (6, 6), G (6, 3) and A^T (4, 6) for POINTS; what G leaves out of the values, B^T has."""
    powers = POINTS[:, np.newaxis] ** np.arange(TILE)
    G = np.vstack([powers[:, :3], [0, 0, 1]])
    A_T = np.column_stack([powers.T, [0, 0, 0, 1]])
    B_T = np.zeros((6, 6))
    for i, point in enumerate(POINTS):
        others = np.delete(POINTS, i)
        B_T[i, :5] = np.poly(others)[::-1] / np.prod(point - others)  # Lagrange's polynomials
    B_T[5] = np.poly(POINTS)[::-1]
    G[4] *= 4  # (1, 1/2, 1/4) becomes (4, 2, 1): the row of 2, turned round
    B_T[4] /= 4
    return B_T, G, A_T


B_T, G, A_T = transforms()


def transform_kernels(kernel):
    """(3, 3, in, out) -> (36, in, out): G g G^T of each pair of channels, a matrix for each of 6 x 6 points."""
    return tf.reshape(tf.einsum("ia,jb,abcd->ijcd", *(tf.constant(G, "float32"),) * 2, kernel), (36, *kernel.shape[2:]))


# --- The convolution ------------------------------------------------------------------------------------


def convolve(x, kernels, padding, turned=False, rows=None):
    """The 3 x 3 convolution of x (n_H, n_W, in) with so many zeros around it: (n_H + 2 padding - 2, ..., out).

    kernels are transform_kernels'. With turned they are turned by 180 degrees, their in and out exchanged:
    of a convolution with padding p, the one with 2 - p is then the gradient with respect to its input. With
    rows x has its padding above and below already, and rows of output are made. Shapes are static.
    """
    b_T, a_T = (B_T[TURNED], A_T[:, TURNED]) if turned else (B_T, A_T)
    height, width = rows or x.shape[0] + 2 * padding - 2, x.shape[1] + 2 * padding - 2
    down, across = -(-height // TILE), -(-width // TILE)  # tiles
    across |= 1  # with an odd number rows do not lie multiples of 4096 bytes apart, which a cache holds few of
    top = 0 if rows else padding
    below, right = TILE * down + 2 - top - x.shape[0], TILE * across + 2 - padding - x.shape[1]
    x = tf.pad(x, [[top, below], [padding, right], [0, 0]])

    rows_of_tiles = [x[i : i + TILE * down - 3 : TILE] for i in range(6)]
    # One sum a point, written out: six passes over the smallest of the arrays.
    values = tf.stack([tf.add_n([c * r for c, r in zip(row, rows_of_tiles, strict=True) if c]) for row in b_T])
    values = combine(b_T, [values[:, :, i : i + TILE * across - 3 : TILE] for i in range(6)], axis=1)

    values = tf.reshape(values, (36, down * across, x.shape[2]))
    products = tf.matmul(values, kernels, transpose_b=turned)

    products = tf.reshape(products, (6, 6, down, across, -1))
    columns = combine(a_T, tf.unstack(products, axis=1), axis=3)  # (6, down, across, 4, out)
    outputs = combine(a_T, tf.unstack(columns), axis=1)  # (down, 4, across, 4, out)
    return tf.reshape(outputs, (TILE * down, TILE * across, outputs.shape[4]))[:height, :width]


def combine(matrix, parts, axis):
    """The matrix applied to a list of tensors, its rows along a new axis: one loop of products when compiled."""
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
    """The layer: convolve's x, none of its output below zero."""
    return tf.nn.relu(convolve(x, kernels, padding, rows=rows) + bias)


@tf.function(jit_compile=True, autograph=False)
def backward(upstream, is_on, kernels, padding, rows=None):
    """Its gradient with respect to x, of the gradient with respect to its output and where that is above zero."""
    return convolve(tf.where(is_on, upstream, 0), kernels, padding, turned=True, rows=rows)


def in_blocks(function, inputs, *parameters, padding, channels):
    """function of whole inputs (n_H, n_W, n_C), in blocks of rows where the tiles of all would be too many bytes.

    channels are the most on either side of the convolution.
    """
    height, width = (side + 2 * padding - 2 for side in inputs[0].shape[:2])
    row_bytes = 36 * 4 * channels * (-(-width // TILE) | 1)
    blocks = min(-(-height // TILE), int(-(-height * row_bytes // (TILE * BLOCK_BYTES))))
    if blocks == 1:
        return function(*inputs, *parameters, padding)
    rows = TILE * -(-height // (TILE * blocks))  # the same in each block: one program for all

    def block(x, start):
        """The rows that a block of output reads, zeros where the picture ends."""
        first, end = start - padding, start - padding + rows + 2
        above, below = max(0, -first), max(0, end - x.shape[0])
        part = x[first + above : end]
        return tf.pad(part, [[above, below], [0, 0], [0, 0]]) if above or below else part  # most need no copy

    starts = range(0, height, rows)
    outputs = [function(*(block(x, start) for x in inputs), *parameters, padding, rows) for start in starts]
    return tf.concat(outputs, 0)[:height]


class WinogradConv2D(keras.layers.Layer):
    """What a 3 x 3 keras.layers.Conv2D with ReLU gives of one picture, by Winograd's algorithm.

    Its padding is the Conv2D's, "same" or "valid". The shape of the picture must be known when it is called.
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
            is_on = y > 0  # all that the gradient needs: a quarter of the memory that y would hold

            def gradient(upstream):
                inputs = [upstream[0], is_on]
                dx = in_blocks(backward, inputs, self.kernels, padding=2 - self.padding, channels=channels)
                return dx[tf.newaxis]

            return y[tf.newaxis], gradient

        return convolution(inputs)


@functools.lru_cache(maxsize=1)
def accelerate(model):
    """load_vgg_model's model with Winograd's convolutions behind the first, which has too few channels to gain."""

    def replace(layer):
        gains = isinstance(layer, keras.layers.Conv2D) and layer.kernel.shape[2] > 3
        return WinogradConv2D(layer) if gains else layer

    return keras.models.clone_model(model, clone_function=replace)


class TurnedConv2D(keras.layers.Layer):
    """What a keras.layers.Conv2D with ReLU and padding "valid" gives, its gradient a convolution forward."""

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
    """load_vgg_model's model with turned convolutions; as it is where it pads with zeros.

    The paper's pictures stay so what they were, to the last bit.
    """
    turning = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.padding == "valid"]
    if not turning:
        return model
    return keras.models.clone_model(
        model, clone_function=lambda layer: TurnedConv2D(layer) if layer in turning else layer
    )
