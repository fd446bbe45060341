"""The controls: several styles, layers, regions, smoothness, the start; each is held to what it means."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import nst.descent.scales
import nst.network.weights
import nst.network.windows
import nst_utils
import recipe
from nst.settings import Settings

HEIGHT, WIDTH = 150, 280  # small, and yet two windows where a test wants them


def picture(seed, height=HEIGHT, width=WIDTH):
    return nst_utils.reshape_and_normalize_image(recipe.picture(seed, height, width))


C, A, B, G = (picture(seed) for seed in (1, 2, 3, 4))
halves = np.repeat([[0] * 80 + [255] * 200], HEIGHT, axis=0)


def regions_of(mask):
    return {value: (mask == value).astype("float32") for value in np.unique(mask).tolist()}


def everywhere(value):
    return regions_of(np.full((HEIGHT, WIDTH), value))


@pytest.fixture(scope="module")
def model(inputs):
    """The thin VGG-19 with two content layers."""
    return nst_utils.load_vgg_model(inputs / "thin.mat", ("conv2_2", "conv4_2", *dict(nst_utils.STYLE_LAYERS)))


@pytest.fixture
def evaluate(model):
    """evaluate(styles, regions, **settings): the costs of G and their gradient, in numpy."""

    def run(styles, regions=None, of=G, **settings):
        cost = recipe.cost(model, C, styles, regions, **settings)
        assert cost.octaves[0][0].is_whole == (nst.network.windows.WHOLE_PIXELS >= HEIGHT * WIDTH)
        costs, gradient = cost(tf.constant(of))
        return {name: float(cost) for name, cost in costs.items()}, np.asarray(gradient)

    return run


def same(one, other, rtol=1e-5):
    for name in one[0]:
        assert one[0][name] == pytest.approx(other[0][name], rel=rtol)
    np.testing.assert_allclose(one[1], other[1], atol=rtol * np.abs(one[1]).max())


# --- Several styles -----------------------------------------------------------------------------------------


def test_a_style_of_weight_0_does_not_count(evaluate):
    same(evaluate([A, B], style_weights=(1, 0)), evaluate([A]))


def test_two_equal_styles_are_one(evaluate):
    same(evaluate([A, A], style_weights=(0.3, 0.7)), evaluate([A]))


def test_style_costs_add_up_by_weight(evaluate):
    a, b, both = evaluate([A]), evaluate([B]), evaluate([A, B], style_weights=(0.25, 0.75))
    assert a[0]["style"] != pytest.approx(b[0]["style"], rel=0.05)
    assert both[0]["style"] == pytest.approx(0.25 * a[0]["style"] + 0.75 * b[0]["style"], rel=1e-5)


def test_any_number_of_styles_takes_one_pass_forward_and_one_back(model):
    def convolutions(styles):
        ((sight, terms),) = recipe.cost(model, C, styles).octaves
        graph = sight.graphs.evaluate.get_concrete_function(tf.constant(G), terms, False, False).graph
        types = [operation.type for operation in graph.get_operations()]
        return types.count("Conv2D"), types.count("Conv2DBackpropInput")

    assert convolutions([A]) == convolutions([A, B, C]) == (13, 13)


def test_style_weights_are_normalized_and_equal_by_default(evaluate):
    same(evaluate([A, B], style_weights=(3, 1)), evaluate([A, B], style_weights=(0.75, 0.25)))
    same(evaluate([A, B]), evaluate([A, B], style_weights=(2, 2)))


def test_a_region_of_one_style_has_it_at_full_strength(evaluate):
    both = {**everywhere(0), **everywhere(255)}
    for weight in 0.5, 3:
        two = [(A, everywhere(0)), (A, everywhere(255))]
        one = evaluate([(A, both)], regions_of(halves))
        same(evaluate(two, regions_of(halves), style_weights=(0.5, weight)), one)


@pytest.mark.parametrize("scale, size", [(1.0, (31, 40)), (0.5, (16, 20)), (2.5, (78, 100))])
def test_style_scale_is_of_the_contents_long_side(prepared, scale, size):
    assert prepared(style_scale=(scale,)).scene.styles[0].size == size


def test_each_style_can_have_a_scale_and_layer_weights_of_its_own(prepared, evaluate, inputs):
    names = tuple(str(inputs / name) for name in ("style.png", "content.png"))
    layers = ("conv1_1:1,0", "conv4_1:0,2", "conv2_1:3")
    job = prepared(style_image_filename=names, style_scale=(1.0, 0.5), style_layers=layers)
    assert [style.size[1] for style in job.scene.styles] == [40, 20]
    first, second = job.settings.style_layer_weights
    assert first == (("conv1_1", 1), ("conv4_1", 0), ("conv2_1", 3))
    assert second == (("conv1_1", 0), ("conv4_1", 2), ("conv2_1", 3))
    pairs = [(name, (weight, other)) for (name, weight), (_, other) in zip(first, second, strict=True)]
    both = evaluate([A, B], style_layers=pairs, style_weights=(1, 3))[0]["style"]
    alone = [evaluate([S], style_layers=own)[0]["style"] for S, own in ((A, first), (B, second))]
    assert both == pytest.approx(alone[0] / 4 + alone[1] * 3 / 4, rel=1e-5)


@pytest.mark.parametrize("octaves", [1, 2])
def test_the_costs_of_layers_add_up_to_those_that_they_are_of(evaluate, octaves):
    content_layers = ("conv2_2", 0.5), ("conv4_2", 1)
    settings = {"style_weights": (1, 2), "content_layers": content_layers, "style_octaves": octaves}
    plain, gradient = evaluate([A, B], **settings)
    apart, same_gradient = evaluate([A, B], **settings, layer_costs=True)
    np.testing.assert_array_equal(gradient, same_gradient)
    assert {name: apart[name] for name in plain} == plain
    for cost, layers in ("content", content_layers), ("style", nst_utils.STYLE_LAYERS):
        parts = [apart[f"{cost}_{name}"] for name, _ in layers]
        assert min(parts) > 0 and sum(parts) == pytest.approx(plain[cost], rel=1e-5)


def test_what_each_layer_costs_is_a_column(paint_here, tmp_path):
    assert "style_conv1_1 cost = " in paint_here("--layer_costs", "--tv_weight", 1)[1]
    header, row, _ = (tmp_path / "output" / "costs.csv").read_text().splitlines()
    names = header.split(",")
    assert names[:5] == ["iteration", "total_cost", "content_cost", "style_cost", "content_conv4_2_cost"]
    values = dict(zip(names, map(float, row.split(",")), strict=True))
    styles = [values[f"style_{layer}_cost"] for layer, _ in nst_utils.STYLE_LAYERS]
    assert sum(styles) == pytest.approx(values["style_cost"], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_weights_that_are_scaled_together_change_nothing(paint_here, tmp_path, pixels, optimizer):
    flags = ("--epochs", 31, "--print_every", 30, "--optimizer", optimizer)
    assert paint_here(*flags)[0] == paint_here(*flags, "--alpha", 1e-6, "--beta", 4e-6, "--output_dir", "tiny")[0] == 0
    plain, tiny = (pixels(tmp_path / folder / "30.png") for folder in ("output", "tiny"))
    assert np.abs(plain - tiny).mean() < 2


# --- Layers -----------------------------------------------------------------------------------------------------


def test_layer_weights_scale_linearly(evaluate):
    def style_cost(*layers):
        return evaluate([A], style_layers=layers)[0]["style"]

    def content_cost(*layers):
        return evaluate([A], content_layers=layers)[0]["content"]

    for cost, one, other in (style_cost, "conv1_1", "conv4_1"), (content_cost, "conv2_2", "conv4_2"):
        alone = cost((one, 1)), cost((other, 1))
        assert cost((one, 0.5), (other, 3)) == pytest.approx(0.5 * alone[0] + 3 * alone[1], rel=1e-5)


def test_the_default_layers_are_the_papers():
    assert Settings().style_layer_weights == [nst_utils.STYLE_LAYERS]
    assert Settings().content_layer_weights == ((nst_utils.CONTENT_LAYER, 1),)
    mixed = Settings(style_layers=("conv1_2", "conv3_4:0.3"))
    assert mixed.style_layer_weights == [(("conv1_2", 0.5), ("conv3_4", 0.3))]


def test_max_pooling_takes_the_maximum(inputs):
    weights = nst.network.weights.read(inputs / "thin.mat")
    image = picture(1, 15, 20)
    seen = nst_utils.build_model(weights, ("conv1_2", "conv2_1"), pooling="max")(image)
    kernel, bias = weights["conv2_1"]
    pooled = tf.nn.max_pool2d(seen["conv1_2"], 2, 2, "SAME")
    np.testing.assert_allclose(seen["conv2_1"], tf.nn.relu(tf.nn.conv2d(pooled, kernel, 1, "SAME") + bias), rtol=1e-5)


@pytest.mark.parametrize("layer", ["conv1_1", "conv3_1"])
def test_a_normalized_gradient_has_the_norm_of_its_weight(model, evaluate, layer):
    """One style layer alone: the picture's gradient is that of the plain cost, over the L1 norm in the layer."""
    settings = {"alpha": 0, "beta": 40, "style_layers": ((layer, 0.5),)}
    _, plain = evaluate([A], **settings)
    a_G, G_S = tf.constant(model(G)[layer]), nst_utils.gram_per_position(model(A)[layer])
    with tf.GradientTape() as tape:
        tape.watch(a_G)
        J = 40 * 0.5 * nst_utils.compute_layer_style_cost(G_S, nst_utils.gram_per_position(a_G))
    norm = np.abs(tape.gradient(J, a_G)).sum()
    _, normalized = evaluate([A], **settings, normalize_gradients=True)
    np.testing.assert_allclose(normalized, plain * (40 * 0.5 / norm), atol=1e-5 * np.abs(normalized).max())


def test_normalized_gradients_of_layers_add_up(evaluate):
    content_layers, style_layers = (("conv2_2", 0.5), ("conv4_2", 2)), (("conv2_1", 1), ("conv4_2", 0.3))
    settings = {"content_layers": content_layers, "style_layers": style_layers, "normalize_gradients": True}
    parts = [{"beta": 0, "content_layers": (layer,)} for layer in content_layers]
    parts += [{"alpha": 0, "style_layers": (layer,)} for layer in style_layers]
    together = evaluate([A], **settings)[1]
    apart = sum(evaluate([A], **{**settings, **part})[1] for part in parts)
    np.testing.assert_allclose(apart, together, atol=1e-5 * np.abs(together).max())


# --- Regions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "windows"])
def test_masks_of_one_region_are_no_mask(evaluate, see, way):
    see(way)
    same(evaluate([(A, everywhere(7))], everywhere(7)), evaluate([A]))


def test_regions_are_compared_each_to_its_own(model, evaluate):
    """In conv1_1, whose guides are the masks themselves: each region's Gram matrix by hand, its cost by its area."""
    style_regions = halves.T[:HEIGHT, :HEIGHT].copy()
    S = picture(5, HEIGHT, HEIGHT)
    costs, _ = evaluate([(S, regions_of(style_regions))], regions_of(halves), style_layers=(("conv1_1", 1),))
    expected = 0
    for region in (0, 255):
        grams = []
        for image, regions in (S, style_regions), (G, halves):
            F = model(image)["conv1_1"].numpy()[0][regions == region].astype(float)
            grams.append(F.T @ F / len(F))
        area = (halves == region).mean()
        expected += area * ((grams[0] - grams[1]) ** 2).sum() / (4 * len(grams[0]) ** 2)
    assert costs["style"] == pytest.approx(expected, rel=1e-4)


def test_a_style_in_one_region_leaves_the_other_alone(evaluate):
    """Two styles, each in a region of its own, and all the weight on the left one."""
    left, right, both = everywhere(0), everywhere(255), regions_of(halves)
    settings = {"alpha": 0, "style_layers": (("conv1_1", 1),)}  # a layer that sees one pixel around
    styles = [(A, left), (B, right)]
    costs, gradient = evaluate(styles, both, **settings, style_weights=(1, 0))
    assert costs["style"] > 0 and np.abs(gradient[:, :, :80]).max() > 0
    assert not gradient[:, :, 81:].any()
    other = G.copy()
    other[:, :, 81:] = C[:, :, 81:]
    assert evaluate(styles, both, other, **settings, style_weights=(1, 0))[0]["style"] == costs["style"]
    assert evaluate(styles, both, **settings, style_weights=(0, 0))[0]["style"] == 0


def test_guides_shrink_with_the_layers_and_have_unit_length():
    guides = nst_utils.guide(halves == 0, ("conv1_1", "conv2_1", "conv5_1"))
    assert {name: T.shape[1:3] for name, T in guides.items()} == {
        "conv1_1": (150, 280),
        "conv2_1": (75, 140),
        "conv5_1": (10, 18),
    }
    for T in guides.values():
        assert np.square(T).sum() == pytest.approx(1, rel=1e-5)
        assert T[0, 0, 0, 0] > 0 and T[0, 0, -1, 0] == 0


@pytest.mark.parametrize("normalize", [False, True])
def test_windows_and_whole_agree_with_every_control(evaluate, see, normalize):
    layers = {"content_layers": (("conv2_2", 0.5), ("conv4_2", 1)), "style_layers": (("conv2_1", 1), ("conv4_2", 2))}
    settings = {"alpha": 3, "beta": 50, "tv_weight": 0.1, "normalize_gradients": normalize, **layers}
    styles, results = [(A, regions_of(halves)), (B, everywhere(0))], []
    for way in ("plain", "windows"):
        see(way)
        results.append(evaluate(styles, regions_of(halves), **settings, style_weights=(0.6, 0.4)))
    same(*results)


# --- Smoothness -------------------------------------------------------------------------------------------------


def test_total_variation_of_a_constant_is_0_and_of_a_ramp_its_square():
    assert float(nst_utils.total_variation(tf.fill((1, 5, 7, 3), 50.0))) == 0
    ramp = tf.ones((1, 5, 1, 3)) * tf.reshape(3.0 * tf.range(7.0), (1, 1, 7, 1))
    assert float(nst_utils.total_variation(ramp)) == pytest.approx(3 * 3**2 * 6 / 7)
    assert float(nst_utils.total_variation(tf.tile(ramp, (1, 4, 1, 1)))) == pytest.approx(3 * 3**2 * 6 / 7)


def test_total_variation_joins_the_cost_and_its_gradient(evaluate):
    (without, gradient), (with_it, both) = evaluate([A]), evaluate([A], tv_weight=2.5)
    assert list(with_it) == [*without, "tv"]
    assert with_it["tv"] == pytest.approx(float(nst_utils.total_variation(tf.constant(G))), rel=1e-5)
    assert with_it["total"] == pytest.approx(without["total"] + 2.5 * with_it["tv"], rel=1e-6)
    pixel = G[0, 60, 60, 1] * 4 - G[0, 59, 60, 1] - G[0, 61, 60, 1] - G[0, 60, 59, 1] - G[0, 60, 61, 1]
    assert (both - gradient)[0, 60, 60, 1] == pytest.approx(2.5 * 2 * pixel / (HEIGHT * WIDTH), rel=1e-3, abs=1e-6)


def test_a_run_with_total_variation_tells_its_cost(paint_here, tmp_path):
    assert "tv cost = " in paint_here("--tv_weight", 3, "--epochs", 1)[1]
    header, row = (tmp_path / "output" / "costs.csv").read_text().splitlines()
    assert header == "iteration,total_cost,content_cost,style_cost,tv_cost"
    total, content, style, tv = map(float, row.split(",")[1:])
    assert total == pytest.approx(10 * content + 40 * style + 3 * tv, rel=1e-6)


# --- Light and dark ---------------------------------------------------------------------------------------------


def test_the_light_cost_of_a_brighter_picture_is_the_square_of_the_difference():
    for size in ((1, 48, 64, 3), (1, 3, 5, 3), (1, 1, 1, 3), (1, 200, 31, 3)):
        dark, light = (nst_utils.broad_luminance(tf.fill(size, value)) for value in (20.0, 23.0))
        assert float(nst_utils.compute_light_cost(dark, light)) == pytest.approx(9, rel=1e-5)


def test_the_light_cost_sees_where_light_is_and_neither_strokes_nor_colours():
    """Of light that moves to the other half, of stripes of 2 pixels (a square has 16), and of red for green."""
    even = np.full((1, 256, 256, 3), 100, "float32")
    moved, striped, coloured = even.copy(), even.copy(), even.copy()
    moved[:, :128] += 10
    moved[:, 128:] -= 10
    striped[:, ::4], striped[:, 1::4], striped[:, 2::4], striped[:, 3::4] = 110, 110, 90, 90
    coloured += np.float32([30 / 0.299, -30 / 0.587, 0])
    Y_C, *others = (nst_utils.broad_luminance(tf.constant(image)) for image in (even, moved, striped, coloured))
    moved, striped, coloured = (float(nst_utils.compute_light_cost(Y_C, Y_G)) for Y_G in others)
    assert moved == pytest.approx(100, rel=0.1) and striped < 0.1 and coloured < 1e-4


def test_light_joins_the_cost_and_its_gradient(evaluate):
    (without, gradient), (with_it, both) = evaluate([A]), evaluate([A], light_weight=2.5)
    assert list(with_it) == [*without, "light"] and with_it["light"] > 0
    assert with_it["total"] == pytest.approx(without["total"] + 2.5 * with_it["light"], rel=1e-6)
    of_light = both - gradient
    step = 0.1 * of_light / np.abs(of_light).max()
    up, down = (evaluate([A], of=G + sign * step, light_weight=2.5)[0]["light"] for sign in (1, -1))
    assert 2.5 * (up - down) == pytest.approx(2 * float((of_light * step).sum()), rel=0.02)
    assert evaluate([A], of=C, light_weight=2.5)[0]["light"] == 0


def test_a_run_tells_its_light_cost(paint_here):
    assert "light cost = " in paint_here("--light_weight", 3, "--epochs", 1)[1]


# --- The start --------------------------------------------------------------------------------------------------


def start(job):
    return nst.descent.scales.make_scale(job.scene, 1, 1, job.settings, model=None, pause=None).start(None)


def test_init_says_where_the_picture_starts(prepared, inputs, tmp_path):
    C = nst_utils.reshape_and_normalize_image(Image.open(inputs / "content.png"))
    np.testing.assert_array_equal(start(prepared(init="content", noise_ratio=0)), C)
    np.testing.assert_array_equal(start(prepared(init="content")), C)
    np.testing.assert_array_equal(start(prepared()), nst_utils.generate_noise_image(C, 0.6, 0))
    np.testing.assert_array_equal(start(prepared(init="random")), nst_utils.generate_noise_image(C, 1, 0))
    Image.new("RGB", (100, 100), (10, 200, 30)).save(tmp_path / "green.png")
    green = start(prepared(init_image=str(tmp_path / "green.png")))
    np.testing.assert_array_equal(green[0, 0, 0] + nst_utils.MEANS, [10, 200, 30])
    style = start(prepared(init="style"))
    assert green.shape == style.shape == C.shape
    styled, plain = (nst_utils.to_pixels(image).astype(int) for image in (style, C))
    shown = np.asarray(Image.open(inputs / "style.png").resize((40, 31), Image.Resampling.LANCZOS))[:30]
    assert np.abs(styled - shown).mean() < np.abs(styled - plain).mean() / 5
