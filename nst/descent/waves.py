"""The basis in which L-BFGS steps: cosine waves over the picture, of its light and of two differences of colour.

The gradient of a cost of the network is mostly grain: beside each stroke that would lower the cost it has many single
pixels. A step along it makes grain that later steps must remove. Here the waves are scaled, so that a step changes
long waves more than short ones, and light more than colour, as pictures do [Olah]. The cost has the same minima.

    [Olah]  Olah, Mordvintsev & Schubert 2017, Feature Visualization, Distill, doi 10.23915/distill.00007
"""

import numpy as np
import scipy.fft

FLAT = 0.07  # waves per pixel; the scale hardly changes below this frequency, and falls as 1 / frequency above
COLOUR = 0.6  # how far colour goes in a step in which light goes 1
LIGHT = np.ones((1, 3), "float32") / np.float32(np.sqrt(3))
COLOURS = np.float32([[1, 0, -1], [1, -2, 1]]) * np.float32(COLOUR) / np.sqrt(np.float32([[2], [6]]))


class Waves:
    """Pixels (1, n_H, n_W, 3) as the amplitudes (3 n_H n_W,) of scaled waves, and gradients of pixels as theirs.

    Random amplitudes of the light, together of length 1, change the pixels by about the length unit.
    """

    def __init__(self, shape, unit=1.0):
        _, n_H, n_W, _ = self.shape = shape
        squared = np.add.outer(*((np.arange(side, dtype="float32") / (2 * side)) ** 2 for side in (n_H, n_W)))
        scale = 1 / np.sqrt(squared + np.float32(FLAT**2))
        self.scale = (scale * np.float32(unit / np.sqrt(np.mean(scale**2))))[..., np.newaxis]

    def to_pixels(self, amplitudes):
        scaled = amplitudes.reshape(self.shape[1:]).astype("float32") * self.scale
        waves = scipy.fft.idctn(scaled, axes=(0, 1), norm="ortho", overwrite_x=True)
        return (waves[..., :1] @ LIGHT + waves[..., 1:] @ COLOURS)[np.newaxis]

    def gradient(self, of_pixels):
        """The gradient with respect to the amplitudes, from that with respect to the pixels."""
        of_pixels = of_pixels[0]
        # Less the first channel, a grey gradient has no colour at all: grey pictures stay grey.
        colours = (of_pixels - of_pixels[..., :1]) @ COLOURS.T
        waves = np.concatenate([of_pixels @ LIGHT.T, colours], 2)
        waves = scipy.fft.dctn(waves, axes=(0, 1), norm="ortho", overwrite_x=True)
        return (waves * self.scale).ravel().astype(float)
