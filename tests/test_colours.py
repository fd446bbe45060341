"""Whose colours a picture has: the content's hue or its light and dark kept, a content in its styles' colours."""

import colorsys

import numpy as np
import pytest
from PIL import Image

import nst.colours
import nst.pictures
import recipe


def test_luminance_keeps_the_contents_hue_and_as_much_of_its_chroma_as_fits(paint_here, tmp_path, inputs, pixels):
    flags = ("--preserve_colors", "luminance", "--scales", 2, "--print_every", 1, "--epochs", 8)
    assert paint_here(*flags)[0] == 0
    content, painted = pixels(inputs / "content.png"), pixels(tmp_path / "output" / "11.png")
    assert np.abs(painted - content).mean() > 3
    chroma, kept = content - nst.colours.luminance(content), painted - nst.colours.luminance(painted)
    share = (kept * chroma).sum(2, keepdims=True) / (chroma**2).sum(2, keepdims=True)
    assert np.abs(kept - share * chroma).max() < 1.5 and share.max() < 1.1
    fits = (painted.min(2) > 0) & (painted.max(2) < 254)
    assert np.abs(kept - chroma)[fits].max() <= 1 and fits.mean() > 0.5
    small = np.asarray(Image.open(inputs / "content.png").resize((20, 15), Image.Resampling.LANCZOS)).astype(int)
    first = pixels(tmp_path / "output" / "0.png")
    fits = (first.min(2) > 0) & (first.max(2) < 254)
    assert np.abs(np.diff(first, axis=2) - np.diff(small, axis=2))[fits].max() <= 1


def test_what_is_saturated_has_light_and_dark_too():
    """Red, blue, yellow and grey, under one ramp: where R, G and B moved alike, three of them would be flat."""
    content = np.array([[[255, 0, 0], [0, 0, 255], [255, 255, 0], [128, 128, 128]]]).repeat(40, 0)
    ramp = np.linspace(20, 235, 40).reshape(-1, 1, 1) * np.ones((1, 4, 3))
    result = nst.colours.with_colours_of(content, ramp)
    assert result.min() >= -1e-9 and result.max() <= 255 + 1e-9
    np.testing.assert_allclose(nst.colours.luminance(result), nst.colours.luminance(ramp))
    hues = [[colorsys.rgb_to_hsv(*np.clip(pixel, 0, 255) / 255)[0] for pixel in row[:3]] for row in result]
    np.testing.assert_allclose(hues, [[0, 2 / 3, 1 / 6]] * 40, atol=1e-6)


def test_shapes_is_the_contents_light_and_dark_in_painted_colours(paint_here, tmp_path, inputs, pixels):
    assert paint_here("--preserve_colors", "shapes", "--print_every", 1, "--epochs", 20)[0] == 0
    content, painted = pixels(inputs / "content.png"), pixels(tmp_path / "output" / "19.png")
    assert np.abs(nst.colours.luminance(painted) - nst.colours.luminance(content)).max() < 1.5
    assert np.abs(painted - content).mean() > 5


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_grey_pictures_give_a_grey_one(paint_here, tmp_path, inputs, pixels, optimizer):
    for name in "content", "style":
        Image.open(inputs / f"{name}.png").convert("L").save(tmp_path / f"grey-{name}.jpg")
    flags = ("--content_image_filename", "grey-content.jpg", "--optimizer", optimizer, "--scales", 2, "--epochs", 12)
    assert paint_here(*flags, "--style_image_filename", "grey-style.jpg", "--print_every", 17)[0] == 0
    for name in "0.png", "17.png":
        assert np.ptp(pixels(tmp_path / "output" / name), axis=2).max() <= 3
    assert np.abs(pixels(tmp_path / "output" / "17.png") - pixels(tmp_path / "grey-content.jpg")).mean() > 3
    assert paint_here(*flags, "--print_every", 17)[0] == 0  # in a style that has colours
    assert np.ptp(pixels(tmp_path / "output" / "17.png"), axis=2).mean() > 3


def test_luminance_is_painted_in_grey_of_the_contents_mean_and_deviation():
    content, style = (recipe.picture(seed, 30, 40).astype(float) for seed in (1, 2))
    grey, matched = nst.colours.paint_with("luminance", content, style)
    for image in grey, matched:
        assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    expected = content @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey[..., 0], expected)
    assert matched.mean() == pytest.approx(expected.mean()) and matched.std() == pytest.approx(expected.std())


def test_histogram_gives_the_contents_mean_and_covariance():
    content, style = (recipe.picture(seed, 30, 40).astype(float) for seed in (1, 2))
    kept, matched = nst.colours.paint_with("histogram", content, style)
    assert kept is content and matched.shape == style.shape
    C, S = (image.reshape(-1, 3) for image in (content, matched))
    np.testing.assert_allclose(S.mean(0), C.mean(0), rtol=1e-3)
    np.testing.assert_allclose(np.cov(S.T), np.cov(C.T), rtol=1e-3)


def test_a_content_is_recoloured_to_its_styles_mean_and_covariance_in_each_region():
    """The halves have a style of their own, the left one two; what no style has keeps its colours."""
    content, *styles = (recipe.picture(seed, 30, 40) // 3 + 80 for seed in (1, 2, 3, 4))
    left = Image.fromarray(np.repeat([[255] * 18 + [0] * 22], 30, 0).astype("uint8"))
    right = Image.fromarray(np.repeat([[0] * 22 + [255] * 18], 30, 0).astype("uint8"))
    everywhere = Image.new("L", (40, 30), 255)
    pictures = [
        nst.pictures.Picture(Image.fromarray(image), {name: everywhere})
        for name, image in zip("AAB", styles, strict=True)
    ]
    of_content = nst.pictures.Picture(Image.fromarray(content), {"A": left, "B": right})
    found = nst.colours.recoloring(of_content, pictures, (3, 1, 1))
    result = np.asarray(nst.colours.recolored(of_content, found).image)
    assert (result[:, 18:22] == content[:, 18:22]).all()
    means, covariances = zip(*map(nst.colours.moments, styles), strict=True)
    of_left = (3 * means[0] + means[1]) / 4, (3 * covariances[0] + covariances[1]) / 4
    for part, (mean, covariance) in (result[:, :18], of_left), (result[:, 22:], (means[2], covariances[2])):
        seen_mean, seen_covariance = nst.colours.moments(part)
        np.testing.assert_allclose(seen_mean, mean, atol=0.5)
        np.testing.assert_allclose(seen_covariance, covariance, atol=0.08 * covariance.max())


def test_a_photograph_in_grey_is_recoloured_without_its_noise():
    noise = np.random.default_rng(0).normal(0, 1, (60, 80, 3))
    grey = np.linspace(40, 200, 80)[np.newaxis, :, np.newaxis] + noise
    style = recipe.picture(2, 60, 80)
    content = nst.pictures.Picture(Image.fromarray(np.rint(grey).astype("uint8")))
    found = nst.colours.recoloring(content, [nst.pictures.Picture(Image.fromarray(style))], (1,))
    result = np.asarray(nst.colours.recolored(content, found).image).astype(float)
    assert np.abs(result.mean((0, 1)) - style.mean((0, 1))).max() < 1
    spread = np.std(result, axis=0).max() / style.std()  # along a column nothing but noise differs
    assert spread < 1 / nst.colours.NOISE + 0.05


def test_a_recoloured_content_is_painted_as_if_it_had_come_in_these_colours(paint_here, tmp_path, prepared, pixels):
    assert paint_here("--recolor_content", "true", "--init", "content", "--scales", 2)[0] == 0
    result = pixels(tmp_path / "output" / "generated_image.jpg")
    prepared(recolor_content=True).painted_from.image.save(tmp_path / "recoloured.png")
    flags = ("--content_image_filename", "recoloured.png", "--init", "content", "--scales", 2)
    assert paint_here(*flags)[0] == 0
    assert (pixels(tmp_path / "output" / "generated_image.jpg") == result).all()
    for how in "luminance", "histogram":  # the styles get the content's then
        job = prepared(recolor_content=True, preserve_colors=how)
        assert job.painted_from is job.content


def test_a_style_without_colours_is_matched_as_far_as_it_goes():
    content = recipe.picture(1, 30, 40).astype(float)
    for grey in np.full((30, 40, 3), 99.0), np.repeat(recipe.picture(2, 30, 40)[..., :1], 3, axis=2):
        for how in "luminance", "histogram":
            matched = nst.colours.paint_with(how, content, grey)[1]
            assert np.isfinite(matched).all()
            assert matched.mean() == pytest.approx(nst.colours.paint_with(how, content)[0].mean(), rel=1e-3)
