"""The waves in which L-BFGS steps: a change of variables that can be undone, with its own gradient."""

import numpy as np
import pytest

from nst.descent.waves import COLOUR, Waves

SHAPES = [(1, 1, 1, 3), (1, 1, 9, 3), (1, 12, 7, 3), (1, 64, 64, 3)]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


def test_the_gradient_is_that_of_the_pixels(shape):
    """For a linear change of variables to_pixels, <to_pixels(x), y> = <x, gradient(y)>."""
    rng, waves = np.random.default_rng(0), Waves(shape)
    x, y = rng.standard_normal(np.prod(shape)), rng.standard_normal(shape).astype("float32")
    assert np.vdot(waves.to_pixels(x), y) == pytest.approx(np.vdot(x, waves.gradient(y)), rel=1e-4, abs=1e-4)


def test_every_picture_can_be_reached(shape):
    size = int(np.prod(shape))
    assert size > 300 or np.linalg.matrix_rank([Waves(shape).to_pixels(x).ravel() for x in np.eye(size)]) == size


def test_long_waves_go_further_than_short_ones_and_light_than_colour():
    shape, grey = (1, 64, 64, 3), np.ones(3, "float32")
    down = np.arange(64)[:, np.newaxis, np.newaxis]
    long, short = (np.cos(np.pi * (down + 0.5) * k / 64) * np.ones((1, 64, 64, 3)) for k in (2, 60))

    def step(of_pixels):
        """How far a step of length 1 down this gradient goes along it."""
        waves, direction = Waves(shape), of_pixels.astype("float32") / np.linalg.norm(of_pixels)
        return np.vdot(waves.to_pixels(waves.gradient(direction)), direction)

    assert step(long * grey) > 20 * step(short * grey)
    assert step(long * [1, 0, -1]) == pytest.approx(COLOUR**2 * step(long * grey), rel=1e-3)
    noise = np.random.default_rng(0).standard_normal((1, 64, 64, 1))
    assert step(noise * grey) == pytest.approx(1, rel=0.1)


def test_a_grey_gradient_makes_a_step_that_is_grey_to_the_bit(shape):
    waves, grey = Waves(shape), np.random.default_rng(0).standard_normal(shape).astype("float32")
    grey[...] = grey.mean(3, keepdims=True)
    pixels = waves.to_pixels(waves.gradient(grey))
    np.testing.assert_array_equal(pixels, np.repeat(pixels[..., :1], 3, 3))
