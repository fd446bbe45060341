"""Where to paint: what masks and transparency say, in every way that people draw them."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter

import nst.descent.scales
import nst.pictures.masks
import nst.pictures.originals
import nst_utils
import recipe
from nst.errors import InputError
from nst.pictures.masks import EVERYWHERE

HALVES = Image.fromarray(np.repeat([[0] * 83 + [200] * 77], 120, axis=0).astype("uint8"))
SLOPE = Image.fromarray(np.repeat([np.linspace(0, 255, 160)], 120, axis=0).astype("uint8"))

KERNELS = recipe.kernels(width=0.125)


def split(mask):
    shares, told = nst.pictures.masks.split(mask, "m.png")
    return {value: np.asarray(share, int) for value, share in shares.items()}, told


@pytest.mark.parametrize("values", [[7], [0, 200], [0, 1, 2, 3], list(range(0, 240, 16))])
def test_a_mask_of_plain_areas_has_a_region_for_each_value(values):
    mask = np.repeat([np.repeat(values, 6)], 40, axis=0).astype("uint8")
    shares, told = split(Image.fromarray(mask))
    assert sorted(shares) == values and not told
    for value, share in shares.items():
        np.testing.assert_array_equal(share, 255 * (mask == value))


def test_a_smoothed_or_compressed_mask_has_the_regions_that_were_drawn(tmp_path):
    HALVES.save(tmp_path / "m.jpg", quality=30)
    noise = np.random.default_rng(0).integers(-6, 7, (120, 160))
    noisy = np.clip(np.asarray(HALVES, int) + np.where(np.abs(np.arange(160) - 80) < 20, noise, 0), 0, 255)
    for mask in HALVES.filter(ImageFilter.GaussianBlur(4)), Image.open(tmp_path / "m.jpg"), noisy.astype("uint8"):
        shares, (line,) = split(mask if isinstance(mask, Image.Image) else Image.fromarray(mask))
        low, high = sorted(shares)
        assert low <= 2 and 198 <= high <= 202
        assert line.startswith("m.png: its ") and line.endswith(
            f"grey values are taken for 2 regions, of {low}, {high}"
        )
        assert (shares[low][:, :60] == 255).all() and (shares[high][:, 100:] == 255).all()
        assert np.abs(shares[low] + shares[high] - 255).max() <= 1


def test_a_soft_edge_and_a_slope_blend():
    shares, _ = split(HALVES.filter(ImageFilter.GaussianBlur(4)))
    across = shares[200][60]
    assert (np.diff(across) >= 0).all() and ((across > 0) & (across < 255)).sum() >= 8
    shares, _ = split(SLOPE)
    assert sorted(shares) == [0, 255]
    np.testing.assert_allclose(shares[255][0, 16:144], np.linspace(0, 255, 160)[16:144], atol=16)


LEFT, RIGHT = np.s_[:, :20], np.s_[:, 20:]


def halves(left, right, kind="uint8"):
    """A drawing of 40 x 30 whose left and right halves have these values."""
    drawing = np.zeros((30, 40, *np.shape(left)), kind)
    drawing[LEFT], drawing[RIGHT] = left, right
    return Image.fromarray(drawing)


@pytest.mark.parametrize(
    "drawing, told",
    [
        (halves((255, 0, 0, 0), (255, 0, 0, 255)), "drawn in transparency: what is opaque counts as white"),
        (halves((0, 0, 0, 0), (0, 0, 0, 255)), "drawn in transparency: what is opaque counts as white"),
        (halves((255, 255, 255, 0), (255, 255, 255, 255)), "drawn in transparency: what is opaque counts as white"),
        (halves(0, 1), "the numbers 0, 1 are read as grey values 0, 255"),
        (halves(0, 1, "uint16"), "the numbers 0, 1 are read as grey values 0, 255"),
        (halves(0, 7, "uint16"), "the numbers 0, 7 are read as grey values 0, 255"),
        (halves((0, 0, 0), (0, 130, 0)), r"colours are read as grey values: (0, 0, 0) as 0, (0, 130, 0) as 255"),
    ],
)
def test_what_a_mask_alone_was_meant_to_say_is_read_and_told(prepared, tmp_path, drawing, told):
    """Its right half is what is painted."""
    drawing.save(tmp_path / "m.png")
    job = prepared(content_mask=str(tmp_path / "m.png"))
    (share,) = job.scene.content.regions.values()
    assert (share[:, 21:] == 1).all() and (share[:, :19] == 0).all()
    assert [line.removeprefix(f"{tmp_path}/m.png: ") for line in job.notices] == [told]


@pytest.mark.parametrize(
    "contents, styles, levels",
    [
        (halves((255, 0, 0), (0, 130, 0)), halves((0, 130, 0), (255, 0, 0)), (255, 0)),  # both are of grey 76
        (halves(1, 2), halves(2, 0), (128, 255)),
        (halves(3, 12, "uint16"), halves(12, 3, "uint16"), (0, 255)),
        (halves((9, 9, 9, 0), (9, 9, 9, 255)), halves((0, 9, 9, 255), (0, 9, 9, 0)), (0, 255)),
    ],
)
def test_one_colour_or_number_is_one_region_in_all_masks(prepared, tmp_path, contents, styles, levels):
    contents.save(tmp_path / "c.png")
    styles.resize((36, 28), Image.Resampling.NEAREST).save(tmp_path / "s.png")
    job = prepared(content_mask=str(tmp_path / "c.png"), style_mask=(str(tmp_path / "s.png"),))
    content, (style,) = job.scene.content.regions, job.scene.styles
    for level, here, there in zip(levels, (LEFT, RIGHT), (np.s_[:, 19:], np.s_[:, :17]), strict=True):
        if level in style.regions:
            assert content[level][here].mean() > 0.9 and style.regions[level][there].mean() > 0.9
    assert set(content) == set(style.regions) <= set(levels)


def test_a_jpeg_of_a_coloured_mask_has_the_colours_that_were_drawn(tmp_path):
    drawing = halves((255, 0, 0), (0, 130, 0)).resize((400, 300), Image.Resampling.NEAREST)
    drawing.save(tmp_path / "m.jpg", quality=80)
    with Image.open(tmp_path / "m.jpg") as image:
        (mask,), (told,) = nst.pictures.masks.as_masks([nst.pictures.masks.drawn(image)], ["m.jpg"], as_regions=True)
    assert set(np.unique(mask)) == {0, 255} and told.endswith("(0, 129, 0) as 0, (254, 0, 0) as 255")


def test_too_many_areas_are_refused():
    mask = np.repeat([np.repeat(np.arange(40) * 6, 4)], 120, axis=0).astype("uint8")
    with pytest.raises(InputError, match=r"m\.png: areas of 40 grey values, and a mask may have 16"):
        split(Image.fromarray(mask))


def test_a_styles_regions_are_found_near_the_contents(masks, prepared, inputs):
    Image.fromarray(np.repeat([[4] * 18 + [190] * 18], 28, axis=0).astype("uint8")).save(masks / "near.png")
    job = prepared(content_mask=str(masks / "c.png"), style_mask=(str(masks / "near.png"),))
    assert sorted(job.scene.styles[0].regions) == sorted(job.scene.content.regions) == [0, 200] and not job.notices


@pytest.fixture
def masks(tmp_path):
    """Masks of the content, black to the left and white to the right, and for the style, and a third region."""
    for name, (width, height) in {"c": (40, 30), "s": (36, 28)}.items():
        mask = np.zeros((height, width), "uint8")
        mask[:, width // 2 :] = 200
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        Image.fromarray(mask // 200 * 255).save(tmp_path / f"{name}-white.png")
        mask[: height // 2, width // 2 :] = 100
        Image.fromarray(mask).save(tmp_path / f"{name}3.png")
    return tmp_path


@pytest.mark.parametrize("size", [(75, 100), (1200, 1600)])
def test_a_mask_of_another_size_than_its_picture_has_smooth_edges(tmp_path, prepared, size):
    """A disc, drawn smaller or larger than the content, of 300 x 400: its edge runs through grey, not in steps."""
    Image.fromarray(recipe.content(height=300, width=400)).save(tmp_path / "c.png")
    y, x = np.mgrid[: size[0], : size[1]] / size[0]
    disc = 255 * ((y - 0.5) ** 2 + (x - 0.66) ** 2 < 0.16)
    Image.fromarray(disc.astype("uint8")).save(tmp_path / "m.png")
    job = prepared(content_image_filename=str(tmp_path / "c.png"), content_mask=str(tmp_path / "m.png"))
    (share,) = job.scene.content.regions.values()
    assert ((share > 0.01) & (share < 0.99)).sum() > 700  # the edge is 750 pixels long
    assert share.mean() == pytest.approx(disc.mean() / 255, rel=0.2)


# --- A content mask alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_what_is_black_stays_the_photograph_to_the_bit(paint_here, masks, inputs, pixels, optimizer):
    flags = ("--content_mask", "c-white.png", "--output_format", "png", "--optimizer", optimizer, "--scales", 2)
    assert paint_here(*flags, "--epochs", 4, "--print_every", 1)[::2] == (0, "")
    content = pixels(inputs / "content.png")
    for name in "4.png", "generated_image.png":
        painted = pixels(masks / "output" / name)
        np.testing.assert_array_equal(painted[:, :20], content[:, :20])
        assert np.abs(painted - content)[:, 20:].mean() > 3
    assert pixels(masks / "output" / "0.png").shape == (15, 20, 3)
    assert paint_here(*flags, "--epochs", 8, "--print_every", 1, "--resume")[0] == 0


def test_grey_is_painted_by_its_share():
    content, painted = np.full((2, 4, 3), 100, "float32"), np.full((2, 4, 3), 200.0)
    share = np.float32([[0, 0.2, 0.4, 1]] * 2)
    content = nst.pictures.originals.Picture(content, {EVERYWHERE: share})
    canvas, _ = nst.pictures.originals.make_canvas(content, None)
    np.testing.assert_allclose(canvas.lay(painted)[0, :, 0], [100, 120, 140, 200], rtol=1e-6)


def test_only_what_is_painted_and_some_pixels_around_it_are_computed(prepared, tmp_path):
    content, mask = tmp_path / "large.png", np.zeros((300, 400), "uint8")
    Image.fromarray(recipe.content(height=300, width=400)).save(content)
    mask[100:150, 300:350] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    job = prepared(content_image_filename=str(content), content_mask=str(tmp_path / "mask.png"))
    around = nst.pictures.originals.CONTEXT
    assert job.originals.canvas.box == (300 - around, 100 - around, 400, 150 + around)
    assert job.scene.content.size == (50 + 2 * around, 100 + around)
    assert job.scene.styles[0].size[1] == 400  # as beside the whole content


def test_what_is_not_painted_pulls_on_no_cost():
    C, S, G = (nst_utils.reshape_and_normalize_image(recipe.picture(seed, 60, 80)) for seed in (1, 2, 3))
    there = np.zeros((60, 80), "float32")
    there[:, :40] = 1
    layers = (("conv1_1", 1),)
    model = nst_utils.build_model(KERNELS, ("conv1_1",))
    settings = {"content_layers": layers, "style_layers": layers}
    cost = recipe.cost(model, C, [S], {EVERYWHERE: there}, **settings)
    costs, gradient = cost(tf.constant(G))
    assert np.abs(gradient[:, :, :40]).min(axis=3).any() and not np.asarray(gradient)[:, :, 40:].any()
    G[:, :, 41:] = C[:, :, 41:]  # a layer that sees one pixel around
    others, _ = cost(tf.constant(G))
    assert {name: float(J) for name, J in others.items()} == {name: float(J) for name, J in costs.items()}
    alone = recipe.cost(model, C[:, :, :39], [S], **settings)(tf.constant(G[:, :, :39]))[0]
    for name, J in alone.items():
        assert float(J) == pytest.approx(float(costs[name]), rel=0.05), name


@pytest.mark.parametrize("init", ["noise", "style", "random"])
def test_outside_the_mask_the_network_sees_the_content(prepared, masks, inputs, init):
    """From the first iteration on, at every scale: what lies beside the painting is the photograph, not noise."""
    job = prepared(content_mask=str(masks / "c-white.png"), init=init, recolor_content=True)
    C = nst_utils.reshape_and_normalize_image(Image.open(inputs / "content.png"))
    coarse, fine = (nst.descent.scales.make_scale(job.scene, k, 1, job.settings, None, None) for k in (2, 1))
    start = coarse.start(None)
    small = job.scene.at(2).map(nst_utils.reshape_and_normalize_image)
    np.testing.assert_array_equal(start[:, :, :9], small.content.image[:, :, :9])  # the edge is soft there
    assert np.abs(start - small.content.image)[:, :, 10:].mean() > 3
    finer = fine.start(start)
    np.testing.assert_allclose(finer[:, :, :20], C[:, :, :20], atol=1e-4)
    assert np.abs(finer - C)[:, :, 20:].mean() > 3
    changes = fine.changes()  # by L-BFGS, whose waves go over the edge
    assert changes.shape == (1, 30, 40, 1) and not changes[:, :, :20].any() and changes[:, :, 20:].all()


def test_an_area_that_vanishes_at_a_coarse_scale_is_painted_there(prepared, tmp_path):
    mask = np.full((30, 40), 255, "uint8")
    mask[0, 0] = 0
    Image.fromarray(mask).save(tmp_path / "dot.png")
    job = prepared(content_mask=str(tmp_path / "dot.png"))
    coarse, fine = (nst.descent.scales.make_scale(job.scene, k, 1, job.settings, None, None) for k in (4, 1))
    assert coarse.changes() == 1 and fine.changes().sum() == 30 * 40 - 1


# --- A style mask alone -----------------------------------------------------------------------------------------


def test_a_style_is_what_its_mask_shows_of_it():
    """In conv1_1: what is masked away, and the edge to it, may be anything."""
    C, S, G = (nst_utils.reshape_and_normalize_image(recipe.picture(seed, 60, 80)) for seed in (1, 2, 3))
    there = np.zeros((60, 80), "float32")
    there[10:50, 10:70] = 1
    model = nst_utils.build_model(KERNELS, ("conv1_1",))
    layers = (("conv1_1", 1),)

    def style_cost(style):
        cost = recipe.cost(model, C, [style], alpha=0, content_layers=layers, style_layers=layers)
        return float(cost(tf.constant(G))[0]["style"])

    masked = style_cost((S, {EVERYWHERE: there}))
    framed = np.full_like(S, 100)
    framed[:, 9:51, 9:71] = S[:, 9:51, 9:71]
    assert style_cost((framed, {EVERYWHERE: there})) == pytest.approx(masked, rel=1e-6)
    assert style_cost(S) != pytest.approx(masked, rel=1e-3)


def test_a_style_mask_alone_is_painted_with(paint_here, masks, pixels):
    paint_here("--output_dir", "whole")
    assert paint_here("--style_mask", "s-white.png")[::2] == (0, "")
    assert (pixels(masks / "output" / "2.png") != pixels(masks / "whole" / "2.png")).any()


@pytest.mark.parametrize("flags", [["--recolor_content", "true"], ["--preserve_colors", "histogram"], []])
def test_a_style_mask_that_is_white_changes_no_byte(paint_here, masks, pixels, flags):
    Image.new("L", (36, 28), 255).save(masks / "white.png")
    assert paint_here(*flags, "--output_dir", "plain")[0] == 0
    assert paint_here(*flags, "--style_mask", masks / "white.png")[0] == 0  # (images/ has one of this name)
    np.testing.assert_array_equal(pixels(masks / "output" / "2.png"), pixels(masks / "plain" / "2.png"))


# --- Both -------------------------------------------------------------------------------------------------------


def test_a_region_that_no_style_has_stays_the_photograph_and_is_told(paint_here, masks, inputs, pixels):
    status, _, told = paint_here("--content_mask", "c3.png", "--style_mask", "s.png", "--epochs", 5)
    assert status == 0
    assert told == "nst_main.py: c3.png: no style has grey value 100: what it covers stays as it is\n"
    content, painted = pixels(inputs / "content.png"), pixels(masks / "output" / "4.png")
    np.testing.assert_array_equal(painted[:15, 20:], content[:15, 20:])
    for rest in np.s_[:, :20], np.s_[15:, 20:]:
        assert np.abs(painted - content)[rest].mean() > 3


def test_a_styles_region_that_the_content_has_not_is_left_out(paint_here, masks):
    assert paint_here("--content_mask", "c.png", "--style_mask", "s3.png")[::2] == (0, "")


# --- Transparency -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_a_cut_out_stays_one(paint_here, tmp_path, suffix):
    image = Image.fromarray(recipe.content(height=30, width=40))
    alpha = np.zeros((30, 40), "uint8")
    alpha[5:25, 10:30], alpha[:, 0] = 255, 90
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "cut.png")
    flags = ("--content_image_filename", "cut.png", "--output_format", suffix)
    assert paint_here(*flags)[::2] == (0, "")
    for name in f"generated_image.{suffix}", "2.png":
        with Image.open(tmp_path / "output" / name) as result:
            assert result.mode == "RGBA"
            np.testing.assert_array_equal(np.asarray(result)[..., 3], alpha)
    status, _, told = paint_here(*flags[:2], "--resume")
    assert status == 2 and f"was made with another --output_format ({suffix}, now jpg)" in told


def test_a_soft_edge_looks_over_white_as_it_was_painted(paint_here, tmp_path, inputs, pixels):
    """Pixels that are partly transparent are painted over white; the file has their colours without it."""
    image = Image.fromarray(recipe.content(height=30, width=40))
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 40).astype("uint8"), (30, 1))))
    image.save(tmp_path / "soft.png")
    flags = ("--content_image_filename", "soft.png", "--output_format", "png", "--epochs", 1)
    assert paint_here(*flags, "--learning_rate", 1e-9, "--noise_ratio", 0)[::2] == (0, "")
    result = pixels(tmp_path / "output" / "generated_image.png").astype(int)
    there = np.s_[:, 12:, :3]
    assert np.abs(result[there] - np.asarray(image, int)[there]).max() <= 6


def test_a_jpeg_of_a_cut_out_is_over_white(prepared, tmp_path):
    image = Image.fromarray(recipe.content(height=30, width=40))
    image.putalpha(0)
    image.save(tmp_path / "gone.png")
    job = prepared(content_image_filename=str(tmp_path / "gone.png"))
    assert job.originals.canvas.alpha is None and job.scene.content.regions == {EVERYWHERE: 1}
    assert set(np.unique(job.scene.content.image)) == {255}
    with pytest.raises(InputError, match=r"gone\.png: nothing of it is left to paint"):
        prepared(content_image_filename=str(tmp_path / "gone.png"), output_format="png")
