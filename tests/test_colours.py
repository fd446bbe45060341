"""Whose colours a picture has: the content's hue or its light and dark kept, a content in its styles' colours."""

import colorsys

import numpy as np
import pytest
from PIL import Image

import nst.pictures.colours
import recipe
from nst.pictures.masks import EVERYWHERE
from nst.pictures.originals import Canvas, Originals, Picture
from nst.pictures.resize import resize
from nst.pictures.scene import make_scene
from nst.settings import Settings


def test_luminance_keeps_the_contents_hue_and_as_much_of_its_chroma_as_fits(paint_here, tmp_path, inputs, pixels):
    flags = ("--preserve_colors", "luminance", "--scales", 2, "--print_every", 1, "--epochs", 8)
    assert paint_here(*flags)[0] == 0
    content, painted = pixels(inputs / "content.png"), pixels(tmp_path / "output" / "11.png")
    assert np.abs(painted - content).mean() > 3
    chroma, kept = content - nst.pictures.colours.luminance(content), painted - nst.pictures.colours.luminance(painted)
    share = (kept * chroma).sum(2, keepdims=True) / (chroma**2).sum(2, keepdims=True)
    assert np.abs(kept - share * chroma).max() < 1.5 and share.max() < 1.1
    fits = (painted.min(2) > 0) & (painted.max(2) < 254)
    assert np.abs(kept - chroma)[fits].max() <= 1 and fits.mean() > 0.5
    small = resize(content, (15, 20))
    first = pixels(tmp_path / "output" / "0.png")
    fits = (first.min(2) > 0) & (first.max(2) < 254)
    assert np.abs(np.diff(first, axis=2) - np.diff(small, axis=2))[fits].max() <= 1


def test_what_is_saturated_has_light_and_dark_too():
    """Red, blue, yellow and grey, under one ramp: where R, G and B moved alike, three of them would be flat."""
    content = np.array([[[255, 0, 0], [0, 0, 255], [255, 255, 0], [128, 128, 128]]]).repeat(40, 0)
    ramp = np.linspace(20, 235, 40).reshape(-1, 1, 1) * np.ones((1, 4, 3))
    result = nst.pictures.colours.with_colours_of(content, ramp)
    assert result.min() >= -1e-9 and result.max() <= 255 + 1e-9
    np.testing.assert_allclose(nst.pictures.colours.luminance(result), nst.pictures.colours.luminance(ramp))
    hues = [[colorsys.rgb_to_hsv(*np.clip(pixel, 0, 255) / 255)[0] for pixel in row[:3]] for row in result]
    np.testing.assert_allclose(hues, [[0, 2 / 3, 1 / 6]] * 40, atol=1e-6)


def test_shapes_is_the_contents_light_and_dark_in_painted_colours(paint_here, tmp_path, inputs, pixels):
    assert paint_here("--preserve_colors", "shapes", "--print_every", 1, "--epochs", 20)[0] == 0
    content, painted = pixels(inputs / "content.png"), pixels(tmp_path / "output" / "19.png")
    assert np.abs(nst.pictures.colours.luminance(painted) - nst.pictures.colours.luminance(content)).max() < 1.5
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


def scene_of(content, *styles, **settings):
    """The Scene of arrays, or of Pictures, with these settings."""
    content, *styles = (
        picture if isinstance(picture, Picture) else Picture(np.float32(picture), {EVERYWHERE: 1})
        for picture in (content, *styles)
    )
    originals = Originals(content, tuple(styles), None, Canvas(content.image, (0, 0, *content.size[::-1])))
    return make_scene(originals, Settings(style_image_filename=("s.png",) * len(styles), **settings))


def test_luminance_is_painted_in_grey_of_the_contents_mean_and_deviation():
    content, style = (recipe.picture(seed, 30, 40).astype(float) for seed in (1, 2))
    scene = scene_of(content, style, preserve_colors="luminance")
    grey, matched = scene.content.image, scene.styles[0].image
    for image in grey, matched:
        assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    expected = content @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey[..., 0], expected, rtol=1e-5)
    assert matched.mean() == pytest.approx(expected.mean(), rel=1e-4)
    assert matched.std() == pytest.approx(expected.std(), rel=1e-4)


def test_histogram_gives_the_contents_mean_and_covariance():
    content, style = (recipe.picture(seed, 30, 40).astype(float) for seed in (1, 2))
    scene = scene_of(content, style, preserve_colors="histogram")
    np.testing.assert_array_equal(scene.content.image, np.float32(content))
    C, S = (image.reshape(-1, 3) for image in (content, scene.styles[0].image))
    np.testing.assert_allclose(S.mean(0), C.mean(0), rtol=1e-3)
    np.testing.assert_allclose(np.cov(S.T), np.cov(C.T), rtol=2e-3)


@pytest.mark.parametrize("how", ["luminance", "histogram"])
def test_colours_that_a_mask_or_transparency_hides_do_not_count(how):
    """The left half is dark and shown, the right half is white and hidden: the style becomes as dark as the left."""
    content = recipe.picture(1, 30, 40) // 3
    content[:, 20:] = 255
    share = np.repeat([[1.0] * 20 + [0.0] * 20], 30, 0).astype("float32")
    shown = Picture(np.float32(content), {EVERYWHERE: share})
    (style,) = scene_of(shown, recipe.picture(2, 28, 36), preserve_colors=how).styles
    expected = nst.pictures.colours.luminance(content[:, :20]).mean()
    assert nst.pictures.colours.luminance(style.image).mean() == pytest.approx(expected, abs=2)


def test_a_content_is_recoloured_by_luminance_in_each_region():
    """Light stays light, and has the colours that its styles have at this luminance.

    The halves have a style of their own, the left one two; what no style has keeps its colours."""
    content, *styles = (recipe.picture(seed, 30, 40) // 3 + 80 for seed in (1, 2, 3, 4))
    left, right = (np.repeat([half], 30, 0).astype("float32") for half in ([1] * 18 + [0] * 22, [0] * 22 + [1] * 18))
    pictures = [Picture(np.float32(image), {name: 1}) for name, image in zip("AAB", styles, strict=True)]
    of_content = Picture(np.float32(content), {"A": left, "B": right})
    scene = scene_of(of_content, *pictures, recolor_content=True, style_weights=(3, 1, 1))
    result = scene.content.image
    assert (result[:, 18:22] == content[:, 18:22]).all()
    colours = nst.pictures.colours
    means, covariances, _ = zip(*map(colours.moments, styles), strict=True)
    of_left = (3 * means[0] + means[1]) / 4, (3 * covariances[0] + covariances[1]) / 4
    for part, (mean, covariance) in (result[:, :18], of_left), (result[:, 22:], (means[2], covariances[2])):
        seen_mean, seen, _ = colours.moments(part)
        light = colours.LUMINANCE
        assert seen_mean @ light == pytest.approx(mean @ light, abs=0.5)
        assert light @ seen @ light == pytest.approx(light @ covariance @ light, rel=0.06)
    for columns in (slice(0, 18), slice(22, 40)):
        Y, Y_C = (colours.luminance(image[:, columns]).ravel() for image in (result, content))
        assert np.corrcoef(Y, Y_C)[0, 1] > 0.999


def chroma(colour):
    return colour - colour @ nst.pictures.colours.LUMINANCE


def test_each_luminance_gets_the_stronger_colour_that_its_style_has_there(monkeypatch):
    """Dark blue, light yellow, and between them orange and grey-blue in equal parts, whose mean is a grey."""
    blue, yellow, orange, opposite = np.array([[10, 20, 90], [250, 240, 120], [230, 100, 20], [100, 130, 150]])
    style = np.repeat([blue, orange, opposite, yellow], 100, 0).reshape(20, 20, 3)
    ramp = np.repeat(np.linspace(0, 255, 60), 3).reshape(1, 60, 3).repeat(20, 0)
    colours = nst.pictures.colours
    for hues in 0, 0.5:
        monkeypatch.setattr(colours, "HUES", hues)
        result = scene_of(ramp, style, recolor_content=True).content.image[0]
        Y = colours.luminance(result)[:, 0]
        for colour, share in (blue, 0.9), (yellow, 0.9), (orange, 0.3):
            here = chroma(result[np.abs(Y - colour @ colours.LUMINANCE).argmin()])
            assert here @ chroma(colour) / (chroma(colour) ** 2).sum() > share
    photograph = recipe.picture(1, 30, 40)

    def spread(hues):
        monkeypatch.setattr(colours, "HUES", hues)
        change = scene_of(photograph, recipe.picture(2, 30, 40), recolor_content=True).content.image
        return np.trace(colours.by_luminance(colours.moments(change))[2].covariance)

    assert spread(0) < spread(0.2) < spread(1)


def test_the_contrast_of_a_photograph_in_fog_is_raised_within_bounds():
    fog = 128 + (recipe.picture(1, 30, 40).astype(float) - 128) / 40
    style = recipe.picture(2, 30, 40)
    result = scene_of(fog, style, recolor_content=True).content.image
    gain = nst.pictures.colours.luminance(result).std() / nst.pictures.colours.luminance(fog).std()
    assert 2 < gain < 1.001 * nst.pictures.colours.MOST_GAIN


def test_a_style_of_one_colour_leaves_light_and_dark(paint_here, tmp_path, pixels):
    content = recipe.content(height=48, width=64)
    Image.fromarray(content).save(tmp_path / "c.png")
    Image.new("RGB", (40, 40), (200, 40, 40)).save(tmp_path / "red.png")
    flags = "--content_image_filename", tmp_path / "c.png", "--style_image_filename", tmp_path / "red.png"
    assert paint_here("--preset", "quick", "--epochs", 8, "--image_size", 64, *flags)[0] == 0
    result = pixels(tmp_path / "output" / "generated_image.jpg")
    Y, Y_C = (nst.pictures.colours.luminance(image).ravel() for image in (result, content))
    assert np.corrcoef(Y, Y_C)[0, 1] > 0.8 and Y.std() > 0.3 * Y_C.std()
    assert (result[..., 0] > result[..., 1]).mean() > 0.95  # red everywhere


def test_a_style_of_one_colour_stays_in_its_regions():
    """The content that stands for it has no other regions, where it would count beside their own style."""
    content, style = (np.float32(recipe.picture(seed, 30, 40)) for seed in (1, 2))
    left = np.repeat([[1] * 20 + [0] * 20], 30, 0).astype("float32")
    of_content = Picture(content, {"A": left, "B": 1 - left})
    of_one_colour = Picture(np.full((30, 40, 3), 90, "float32"), {"A": 1})
    scene = scene_of(of_content, of_one_colour, Picture(style, {"B": 1}), recolor_content=True)
    assert [set(picture.regions) for picture in scene.styles] == [{"A"}, {"B"}]
    assert (scene.styles[0].image == scene.content.image).all() and (scene.styles[0].regions["A"] == left).all()


def test_a_photograph_in_grey_is_recoloured_without_its_noise():
    noise = np.random.default_rng(0).normal(0, 1, (60, 80, 3))
    grey = np.rint(np.linspace(40, 200, 80)[np.newaxis, :, np.newaxis] + noise)
    style = recipe.picture(2, 60, 80)
    result = scene_of(grey, style, recolor_content=True).content.image
    assert np.abs(result.mean((0, 1)) - style.mean((0, 1))).max() < 1
    spread = np.std(result, axis=0).max() / style.std()  # within a column only the noise differs
    assert spread < 1 / nst.pictures.colours.NOISE + 0.05


def test_a_recoloured_content_has_no_part_in_luminance_and_histogram(prepared):
    """The styles get the content's colours then."""
    for how in "luminance", "histogram":
        with_it, without = (prepared(recolor_content=on, preserve_colors=how).scene for on in (True, False))
        np.testing.assert_array_equal(with_it.content.image, without.content.image)


def test_a_style_without_colours_is_matched_as_far_as_it_goes():
    content = recipe.picture(1, 30, 40).astype(float)
    for grey in np.full((30, 40, 3), 99.0), np.repeat(recipe.picture(2, 30, 40)[..., :1], 3, axis=2):
        for how in "luminance", "histogram":
            scene = scene_of(content, grey, preserve_colors=how)
            matched = scene.styles[0].image
            assert np.isfinite(matched).all()
            assert matched.mean() == pytest.approx(scene.content.image.mean(), rel=1e-3)
