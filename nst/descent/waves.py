"""The basis in which L-BFGS steps: cosine waves over the picture, of its light and of two differences of colour.

The gradient of a cost of the network is mostly grain: beside each stroke that would lower the cost it has many single
pixels. A step along it makes grain that later steps must remove. Here the waves are scaled, so that a step changes
long waves more than short ones, and light more than colour, as pictures do [Olah]. The cost has the same minima.

    [Olah]  Olah, Mordvintsev & Schubert 2017, Feature Visualization, Distill, doi 10.23915/distill.00007
"""

import numpy as np
import scipy.fft

LOWEST = 0.07  # waves per pixel; longer waves are scaled like this one, because coarser scales have painted them
COLOUR = 0.6  # how far colour goes in a step in which light goes 1
# The rows are light, red against blue, and green against both.
OPPONENT = (np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])).astype("float32")


class Waves:
    """Pixels (1, n_H, n_W, 3) as the amplitudes (3 n_H n_W,) of scaled waves, and gradients of pixels as theirs.

    Amplitudes of length 1 in random directions change the pixels' light by length 1 too.
    """

    def __init__(self, shape):
        _, n_H, n_W, _ = self.shape = shape
        squared = np.add.outer(*((np.arange(side, dtype="float32") / (2 * side)) ** 2 for side in (n_H, n_W)))
        scale = 1 / np.sqrt(squared + LOWEST**2)  # 1 / frequency
        scale /= np.sqrt(np.mean(scale**2))
        self.scale = scale[..., np.newaxis] * np.float32([1, COLOUR, COLOUR])

    def to_pixels(self, amplitudes):
        scaled = amplitudes.reshape(self.shape[1:]).astype("float32") * self.scale
        return (scipy.fft.idctn(scaled, axes=(0, 1), norm="ortho", overwrite_x=True) @ OPPONENT)[np.newaxis]

    def gradient(self, of_pixels):
        """The gradient with respect to the amplitudes, from that with respect to the pixels."""
        waves = scipy.fft.dctn(of_pixels[0] @ OPPONENT.T, axes=(0, 1), norm="ortho", overwrite_x=True)
        return (waves * self.scale).ravel().astype(float)
