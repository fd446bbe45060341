"""Whose colours a picture has: the content's hue or its light and dark kept, a content in its styles' colours."""

import colorsys

import numpy as np
import pytest
import scipy.ndimage
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
    first, second, of_right = map(colours.palette, styles)
    of_left = colours.mean_of([(3, first), (1, second)])
    np.testing.assert_allclose(of_left.mean, (3 * first.mean + second.mean) / 4)
    for part, expected in (result[:, :18], of_left), (result[:, 22:], of_right):
        seen = colours.palette(part)
        assert seen.mean @ colours.LUMINANCE == pytest.approx(expected.mean @ colours.LUMINANCE, abs=0.5)
        assert colours.deviation(seen.covariance) == pytest.approx(colours.deviation(expected.covariance), rel=0.06)
    for columns in (slice(0, 18), slice(22, 40)):
        Y, Y_C = (colours.luminance(image[:, columns]).ravel() for image in (result, content))
        assert np.corrcoef(Y, Y_C)[0, 1] > 0.999


def test_a_bright_region_gets_the_mean_of_its_style():
    """It is brighter than what is around it, so that its fine light has a mean of its own."""
    colours = nst.pictures.colours
    content, style = (np.float32(recipe.picture(seed, 60, 80)) for seed in (1, 2))
    bright = scipy.ndimage.uniform_filter(colours.luminance(content)[..., 0], 9)
    region = np.float32(bright > np.quantile(bright, 0.7))
    of_content = Picture(content, {"A": region, "B": 1 - region})
    scene = scene_of(of_content, Picture(style, {"A": 1}), recolor_content=True)
    assert colours.two_scales(colours.luminance(content))[1][region == 1].mean() > 2
    Y = colours.luminance(scene.content.image)[region == 1]
    assert Y.mean() == pytest.approx(colours.luminance(style).mean(), abs=1)


def test_a_style_of_two_colours_that_are_equally_light_leaves_light_and_dark():
    """The variance of its luminance is 0, or by rounding less."""
    content, colours = recipe.picture(1, 30, 40), np.array([[128, 128, 128], [131, 149, 12]])
    for seed in range(5):
        style = np.random.default_rng(seed).permutation(np.repeat(colours, 600, 0)).reshape(30, 40, 3)
        result = scene_of(content, style, recolor_content=True).content.image
        assert np.isfinite(result).all() and result.std() > 10


def test_a_house_in_front_of_a_bright_sky_keeps_its_own_light_and_dark():
    """The style has little contrast between broad areas and much within them: the content gets both."""
    colours = nst.pictures.colours
    rng = np.random.default_rng(0)
    fine = np.repeat(np.where(rng.random((80, 80, 1)) < 0.5, -1, 1), 3, 2)
    house = np.s_[10:70, 20:60]
    sky_and_house = np.full((80, 80, 3), 220.0)
    sky_and_house[house] = 80 + 15 * fine[house]
    low = np.full((80, 80, 3), 110.0)
    low[:, :40] = 90
    result = scene_of(sky_and_house, low + 25 * fine, recolor_content=True).content.image
    Y, Y_S = (colours.luminance(image) for image in (result, low + 25 * fine))
    assert Y.std() == pytest.approx(Y_S.std(), rel=0.05)
    share, share_C = (light[house].std() / light.std() for light in (Y, colours.luminance(sky_and_house)))
    assert share > 2.5 * share_C


def test_broad_light_keeps_edges_and_fine_light_is_what_is_left():
    colours = nst.pictures.colours
    Y = np.repeat([[40.0] * 40 + [200.0] * 40], 80, 0)[..., np.newaxis]
    texture = 6 * (-1) ** np.arange(80)[:, np.newaxis, np.newaxis]
    broad, fine = colours.two_scales(Y + texture)
    np.testing.assert_allclose(broad + fine, Y + texture)
    error = np.abs(broad - Y)
    assert error.max() < 25 and error.mean() < 3  # a mean over the same radius is 75 and 6 off
    away = np.abs(np.arange(80) - 39.5) > 12
    assert np.abs(fine - texture)[:, away].max() < 3


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
        for colour, share in (blue, 0.9), (yellow, 0.9), (orange, 0.6):
            here = chroma(result[np.abs(Y - colour @ colours.LUMINANCE).argmin()])
            assert here @ chroma(colour) / (chroma(colour) ** 2).sum() > share


def test_hues_of_one_luminance_become_those_that_the_style_has_there(monkeypatch):
    """Dark parts of the style are grey and light ones red or blue: so a red roof is red and a blue sky blue, if light.

    The photograph has both, and something dark in the same two hues, with a green cast and less contrast.
    """
    colours = nst.pictures.colours
    red, blue = (chroma(np.array(colour, float)) for colour in ([200, 80, 60], [60, 120, 210]))
    photograph, style = (
        np.stack([level + share * hue for level, share in parts for hue in (red, blue)]).reshape(2, 2, 3)
        for parts in ([(100, 0.3), (140, 0.3)], [(40, 0), (200, 0.6)])
    )
    photograph = photograph + chroma(np.array([0, 20, 0]))
    photograph, style = (image.repeat(10, 0).repeat(10, 1) for image in (photograph, style))

    def hue(hues):
        """How much of red minus blue a dark and a light part have."""
        monkeypatch.setattr(colours, "HUES", hues)
        result = scene_of(photograph, style, recolor_content=True).content.image
        difference = result[::10, 0] - result[::10, 10]
        return difference @ (red - blue) / ((red - blue) ** 2).sum()

    dark, light = hue(1)
    assert abs(dark) < 0.05 and light == pytest.approx(0.6, abs=0.06)
    assert hue(0.5) == pytest.approx([dark / 2, light / 2], abs=1e-3)


def test_a_hue_makes_no_colour_greyer_than_the_mean_of_its_luminance():
    """The style is mostly orange and partly blue: a sky that is bluer than the houses stays as orange as the mean."""
    colours = nst.pictures.colours
    warm, cold = np.array([0.7, -0.2, -0.8]), np.array([-0.7, 0.2, 0.8])
    columns = [128 + length * hue for length, hue in ((20, warm), (20, cold))]
    photograph = np.stack(columns).reshape(1, 2, 3).repeat(20, 0).repeat(10, 1)
    style = np.stack([120 + 90 * warm] * 15 + [120 + 60 * cold] * 5).reshape(1, 20, 3).repeat(20, 0)
    style = style + np.arange(-20, 20, 2)[:, np.newaxis, np.newaxis]  # it has light and dark
    result = scene_of(photograph, style, recolor_content=True).content.image[10]
    mean, _ = colours.palette(style).chroma()
    orange = mean[120] / np.linalg.norm(mean[120])
    houses, sky = (chroma(result[column]) @ orange for column in (2, 17))
    assert houses > 1.2 * sky and sky == pytest.approx(np.linalg.norm(mean[120]), rel=0.1)
    Recolouring = colours.Recolouring  # one by which each hue is kept, and the mean is (8, 0, 0)
    chromas = np.tile([8.0, 0, 0], (256, 1))
    keeps = np.stack([np.tile(row, (256, 1)) for row in ([0.0, 0, 0], *np.eye(3))])
    change = Recolouring(np.ones(2), (0, 0), 0, chromas, keeps)
    for hue, expected in ((5, 13), (-5, 8), (-8, 8), (-12, 4), (-30, -14)):
        even_out = -hue * colours.LUMINANCE[0] / colours.LUMINANCE[2]  # of the luminance
        image = np.array([[[100.0 + hue, 100, 100 + even_out]]])
        assert change(image)[0, 0, 0] - 100 == pytest.approx(expected, abs=1e-3)


def test_a_transport_turns_one_covariance_into_another_as_directly_as_it_can():
    colours = nst.pictures.colours
    a, b = (np.cov(np.random.default_rng(seed).normal(size=(3, 9))) for seed in (1, 2))
    T = colours.transport(a, b)
    np.testing.assert_allclose(T @ a @ T.T, b, rtol=1e-6)
    np.testing.assert_allclose(T, T.T)
    assert np.linalg.eigvalsh(T).min() > 0  # no colour is turned into its opposite
    several = colours.transport(np.stack([np.eye(2), 4 * np.eye(2)]), np.stack([np.diag([4, 900]), np.zeros((2, 2))]))
    np.testing.assert_allclose(several, [np.diag([2, colours.MOST_GAIN]), np.zeros((2, 2))], atol=1e-9)


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
    assert np.abs(result.mean((0, 1)) - style.mean((0, 1))).max() < 2
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
