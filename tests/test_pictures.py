"""Pictures as arrays: the mean, the frame, the start and what is saved."""

import numpy as np
import pytest
from PIL import Image

import nst.pictures.resize
import nst_utils
import recipe


def test_normalizing_takes_the_rgb_mean_off():
    image = nst_utils.reshape_and_normalize_image(np.full((2, 3, 3), 100, "uint8"))
    assert image.shape == (1, 2, 3, 3) and image.dtype == np.float32
    np.testing.assert_allclose(image[0, 0, 0], [100 - 123.68, 100 - 116.779, 100 - 103.939], rtol=1e-5)


def test_saving_brings_every_pixel_value_back(tmp_path, pixels):
    values = np.arange(256, dtype="uint8").reshape(16, 16, 1).repeat(3, -1)
    nst_utils.save_image(tmp_path / "all.png", nst_utils.reshape_and_normalize_image(values))
    np.testing.assert_array_equal(pixels(tmp_path / "all.png"), values)


def test_saving_clips_to_valid_pixels(tmp_path, pixels):
    nst_utils.save_image(tmp_path / "far.png", np.array([[[[-500.0] * 3, [500.0] * 3]]]))
    assert pixels(tmp_path / "far.png").tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize(
    "size, long_side, expected",
    [
        ((400, 300), 400, (400, 300)),
        ((300, 400), 200, (150, 200)),
        ((1000, 3), 100, (100, 1)),
        ((40, 30), 400, (400, 300)),
    ],
)
def test_long_side_is_set_and_aspect_ratio_kept(size, long_side, expected):
    assert nst.pictures.resize.resize_to_long_side(Image.new("RGB", size), long_side).size == expected


def test_a_picture_of_the_right_size_passes_untouched():
    image = Image.fromarray(recipe.content())
    assert np.array_equal(nst.pictures.resize.resize_to_long_side(image, 400), recipe.content())


def test_noise_is_seeded_and_mixed_by_the_ratio():
    C = nst_utils.reshape_and_normalize_image(recipe.content(height=30, width=40))
    half = nst_utils.generate_noise_image(C, 0.5, seed=1)
    np.testing.assert_array_equal(half, nst_utils.generate_noise_image(C, 0.5, seed=1))
    assert (half != nst_utils.generate_noise_image(C, 0.5, seed=2)).any()
    np.testing.assert_array_equal(nst_utils.generate_noise_image(C, 0), C)
    noise = nst_utils.generate_noise_image(C, 1)
    assert -20 <= noise.min() < -19.9 and 19.9 < noise.max() <= 20
    np.testing.assert_allclose(half, 0.5 * nst_utils.generate_noise_image(C, 1, seed=1) + 0.5 * C, rtol=1e-5, atol=1e-4)
