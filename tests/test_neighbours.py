"""The neighbour cost: which place of the style each place of the content takes, its cost, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import nst_utils
import recipe
from nst.descent import neighbours
from nst.descent.sight import Sight
from nst.descent.terms import layers_needed
from nst.network import convolution
from nst.settings import Settings

HEIGHT, WIDTH = 44, 61
ALONE = {"neighbour_share": (1.0,)}


def picture(seed, height=HEIGHT, width=WIDTH):
    return nst_utils.reshape_and_normalize_image(recipe.picture(seed, height, width))


C, S, B, G = (picture(seed) for seed in (1, 2, 3, 4))


@pytest.fixture(scope="module")
def model():
    layers = layers_needed(Settings(**ALONE))
    return nst_utils.build_model(recipe.kernels(width=0.125), layers, "max", "replicate")


def costs_of(cost, picture):
    return {name: float(J) for name, J in cost(tf.constant(picture))[0].items()}


# --- The formula and the search -----------------------------------------------------------------------------------


def test_the_cost_is_the_mean_square_over_the_variance():
    a_N, a_G = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 5)).astype("float32")
    cost = float(nst_utils.compute_neighbour_cost(a_N, a_G, 2.0, np.full((1, 3, 4, 1), 12**-0.5, "float32")))
    assert cost == pytest.approx(((a_N - a_G) ** 2).mean() / 2, rel=1e-5)
    T = np.zeros((1, 3, 4, 1), "float32")
    T[0, 1, 2] = 1
    cost = float(nst_utils.compute_neighbour_cost(a_N, a_G, 2.0, T))
    assert cost == pytest.approx(((a_N - a_G)[0, 1, 2] ** 2).mean() / 2, rel=1e-5)


def positions(rows, shares=None):
    """Positions whose only layer, conv1_1, has these activations."""
    a = tf.repeat(tf.repeat(tf.constant(rows, "float32")[tf.newaxis, tf.newaxis], 4, 1), 4, 2)
    shares = shares or {-1: np.ones(len(rows), "float32")}
    return neighbours.Positions(shares, {"conv1_1": a}, (1, len(rows)))


def found(content, styles, weights=(1,)):
    return neighbours.target_of(neighbours.find_matches(content, styles, weights), "conv1_1").numpy()[:, 0]


def test_each_position_gets_a_neighbour_by_cosine():
    style = positions([[9, 0, 0], [0, 1, 0], [0, 0, 4]])
    content = positions([[8, 1, 0], [0, 5, 1], [0, 0, 6], [9, 0, 1]])
    np.testing.assert_array_equal(found(content, [style]), [[9, 0, 0], [0, 1, 0], [0, 0, 4], [9, 0, 0]])


def test_a_region_finds_its_neighbours_in_the_region_of_its_name():
    left, right = np.float32([1, 1, 0, 0]), np.float32([0, 0, 1, 1])
    content = positions([[1, 0], [0, 1], [1, 0], [0, 1]], {7: left, 8: right})
    style = positions([[2, 0], [0, 2], [5, 0], [0, 5]], {7: left, 8: right})
    np.testing.assert_array_equal(found(content, [style]), [[2, 0], [0, 2], [5, 0], [0, 5]])


def test_a_region_without_a_style_stays_as_the_content():
    left, right = np.float32([1, 1, 0, 0]), np.float32([0, 0, 1, 1])
    content = positions([[1, 0], [0, 1], [3, 0], [0, 3]], {7: left, 8: right})
    styles = positions([[2, 0], [0, 2]], {7: left[:2]}), positions([[5, 0], [0, 5]], {8: left[:2]})
    np.testing.assert_array_equal(found(content, styles, (1, 0)), [[2, 0], [0, 2], [3, 0], [0, 3]])
    np.testing.assert_array_equal(found(content, styles[:1]), [[2, 0], [0, 2], [3, 0], [0, 3]])


def test_a_region_without_a_style_stays_as_the_content_itself():
    mixed, content = positions([[2, 0], [0, 2]]), positions([[1, 0], [0, 1]])
    (match,) = neighbours.find_matches(mixed, [content], (0,), lambda: content)
    assert match.style is content


def test_several_styles_are_not_scattered():
    rng = np.random.default_rng(4)
    content = positions(rng.uniform(0, 1, (400, 6)))
    styles = [positions(rng.uniform(0, 1, (50, 6))) for _ in range(2)]
    one, two = neighbours.find_matches(content, styles, (1, 1))
    assert one.share.sum() == pytest.approx(200, abs=20)
    assert np.abs(np.diff(two.share)).mean() < 0.25  # 0.5 if each position chose by itself


def test_several_styles_get_parts_of_the_content_by_their_weights():
    rng = np.random.default_rng(1)
    content = positions(rng.uniform(0, 1, (400, 6)))
    one, two = (positions(rng.uniform(low, low + 1, (50, 6))) for low in (0, 100))
    for weights, part in ((1, 1), 0.5), ((3, 1), 0.25), ((1, 0), 0):
        of_two = (found(content, [one, two], weights)[:, 0] > 50).mean()
        assert of_two == pytest.approx(part, abs=0.05)


def test_a_spot_that_is_like_everything_is_not_taken_everywhere():
    """Each position of the content has a spot of its own that is nearly as like as the plain spot."""
    own = np.eye(400)[:200] + np.eye(400)[200:] / 4
    content = positions(own + 0.15)
    style = positions(np.concatenate([own + 0.02, np.full((1, 400), 0.5)]))
    F, F_S = (
        neighbours.unit(tf.constant(rows, "float32")) for rows in (own + 0.15, [*(own + 0.02), np.full(400, 0.5)])
    )
    assert (tf.argmax(tf.matmul(F, F_S, transpose_b=True), 1).numpy() == 200).all()
    (match,) = neighbours.find_matches(content, [style], (1,))
    np.testing.assert_array_equal(match.index, np.arange(200))


def test_popularity_is_half_the_mean_cosine_of_the_hundredth_that_is_most_like():
    F, F_S = (np.random.default_rng(seed).normal(size=(n, 8)).astype("float32") for seed, n in ((1, 300), (2, 700)))
    expected = np.sort(F_S @ F.T, 1)[:, -3:].mean(1) / 2
    np.testing.assert_allclose(neighbours.popularity(tf.constant(F), tf.constant(F_S))[:, 0], expected, rtol=1e-4)


def test_products_are_computed_in_blocks_of_bounded_size(monkeypatch):
    monkeypatch.setattr(neighbours, "PRODUCTS", 100)
    F, other = (tf.constant(np.random.default_rng(n).normal(size=(n, 4)), "float32") for n in (30, 33))
    blocks = list(neighbours.products(F, other))
    assert max(tf.size(block) for block in blocks) <= 100
    np.testing.assert_allclose(tf.concat(blocks, 0), F.numpy() @ other.numpy().T, atol=1e-5)


def test_the_picture_so_far_is_searched_where_the_content_is_calm():
    content, so_far = np.full((2, 1, 60, 80, 3), 40, "float32")
    content[:, :, 40:], so_far[:] = recipe.picture(1, 60, 40), 100
    found = neighbours.searched(content, so_far)
    share = (found - content) / (so_far - content + 1e-9)
    assert share[0, :, :20] == pytest.approx(neighbours.SO_FAR, abs=1e-3)
    assert np.median(share[0, :, 50:]) < 0.1
    assert neighbours.searched(content, None) is content


def test_positions_side_by_side_take_positions_side_by_side():
    """Every position has a perfect twin somewhere, and a nearly perfect one in a piece that hangs together."""
    rng = np.random.default_rng(2)
    F = neighbours.unit(tf.constant(rng.normal(size=(64, 32)), "float32")).numpy()
    twins = rng.permutation(64)
    piece = neighbours.unit(tf.constant(F + rng.normal(0, 0.05, F.shape), "float32")).numpy()
    F_S = np.concatenate([F[twins], piece])
    nearest = np.argsort(twins)
    nearest[20] = 64 + 20  # here the piece is found first, and from here it grows
    everywhere = np.full(64, True)
    similarity, chosen = neighbours.coherent(F, F_S, np.arange(128), nearest, (1, 64), (1, 128), everywhere)
    np.testing.assert_array_equal(chosen, 64 + np.arange(64))
    np.testing.assert_allclose(similarity, (F * piece).sum(1), rtol=1e-5)
    assert 0.94 < similarity.mean() < 0.98
    # On a small grid coherence counts less.
    _, chosen = neighbours.coherent(F[:8], F_S, np.arange(128), nearest[:8], (1, 8), (1, 128), everywhere[:8])
    np.testing.assert_array_equal(chosen, nearest[:8])
    # A position of the style outside the region is never chosen.
    rows = np.flatnonzero(np.arange(128) != 64 + 30)
    fewer = np.where(nearest > 94, nearest - 1, nearest)
    _, chosen = neighbours.coherent(F, F_S[rows], rows, fewer, (1, 64), (1, 128), everywhere)
    np.testing.assert_array_equal(chosen[:30], 64 + np.arange(30))
    assert chosen[30] == nearest[30]
    # Positions of the content outside the region have no say.
    _, chosen = neighbours.coherent(F, F_S, np.arange(128), nearest, (1, 64), (1, 128), np.arange(64) > 20)
    np.testing.assert_array_equal(chosen, nearest)


def test_a_piece_of_the_style_is_found_whole_in_both_directions():
    """The content is a cut of the style, with noise. Half of its positions have a perfect twin somewhere else."""
    rng = np.random.default_rng(3)
    F_S = rng.normal(size=(70, 80, 16))
    F = F_S[2:22, 5:69] + rng.normal(0, 0.15, (20, 64, 16))
    F_S[50:60, :64] = rng.permutation(F.reshape(-1, 16))[:640].reshape(10, 64, 16)
    F, F_S = (neighbours.unit(tf.constant(rows.reshape(-1, 16), "float32")).numpy() for rows in (F, F_S))
    nearest = (F @ F_S.T).argmax(1)
    there = np.arange(70 * 80).reshape(70, 80)[2:22, 5:69].ravel()
    assert (nearest == there).mean() == pytest.approx(0.5, abs=0.01)
    everywhere = np.full(len(F), True)
    _, chosen = neighbours.coherent(F, F_S, np.arange(len(F_S)), nearest, (20, 64), (70, 80), everywhere)
    assert (chosen == there).mean() > 0.99


@pytest.mark.parametrize("size", [(16, 24), (13, 22), (1, 1), (9, 40)])
def test_activations_are_found_again_after_the_grid(model, size):
    seen = model(S[:, : size[0], : size[1]])
    for layer in neighbours.LAYERS:
        grid = neighbours.grid_size(size)
        again = neighbours.as_activation(neighbours.at_positions(seen[layer], layer, grid), layer, size)
        np.testing.assert_allclose(again, seen[layer], rtol=1e-5, atol=1e-4)


# --- The term -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1, 1), (3, 50), (17, 2)])
def test_a_picture_that_is_its_own_style_costs_nothing(model, size):
    image = S[:, : size[0], : size[1]]
    assert costs_of(recipe.cost(model, image, [image], **ALONE), image)["neighbours"] == pytest.approx(0, abs=1e-6)


def test_in_bfloat16_the_cost_is_nearly_the_same(model):
    """The activations stay in bfloat16; what is computed from them does not."""
    cost = recipe.cost(convolution.narrow(model), C, [S], neighbour_share=(0.3,))
    ((_, terms),) = cost.octaves
    assert {a_N.dtype for a_N in terms[-1].a_N.values()} == {tf.bfloat16}
    exact = costs_of(recipe.cost(model, C, [S], neighbour_share=(0.3,)), G)
    assert costs_of(cost, G)["neighbours"] == pytest.approx(exact["neighbours"], rel=0.02)
    _, gradient = cost(tf.constant(G))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_style_smaller_than_the_content_will_do(model):
    cost = recipe.cost(model, C, [S[:, :9, :7]], **ALONE)
    costs, gradient = cost(tf.constant(C))
    assert 0 < float(costs["total"]) < np.inf and np.isfinite(gradient).all() and gradient.shape == C.shape


@pytest.mark.parametrize("settings", [ALONE, {"neighbour_share": (0.3,), "style_octaves": 2, "tv_weight": 0.1}])
def test_the_gradient_is_that_of_the_cost(model, settings):
    cost = recipe.cost(model, C, [S], **settings)
    gradient = cost(tf.constant(G))[1].numpy()
    step = 0.02 * gradient / np.abs(gradient).max()
    up, down = (costs_of(cost, G + sign * step)["total"] for sign in (1, -1))
    assert up - down == pytest.approx(2 * float((gradient * step).sum()), rel=0.02)


def test_with_a_share_of_1_the_neighbour_cost_is_alone(model):
    one, other = (recipe.cost(model, C, [S], **ALONE, **more) for more in ({}, {"tv_weight": 3, "light_weight": 3}))
    costs, gradient = one(tf.constant(G))
    assert costs["total"] == costs["neighbours"] > 0
    assert costs_of(other, G) == {name: float(J) for name, J in costs.items()}
    np.testing.assert_array_equal(other(tf.constant(G))[1], gradient)
    beside = costs_of(recipe.cost(model, C, [S], neighbour_share=(0.5,), tv_weight=3, light_weight=3), G)
    assert {"tv", "light"} < set(beside)


def test_a_share_is_of_the_gradients_length_at_the_content(model):
    def gradient(**settings):
        return recipe.cost(model, C, [S], **settings)(tf.constant(C))[1].numpy()

    rest, both = gradient(), gradient(neighbour_share=(0.2,))
    assert np.linalg.norm(both - rest) == pytest.approx(0.25 * np.linalg.norm(rest), rel=0.02)


def test_windows_see_what_the_whole_picture_sees(model, see, monkeypatch):
    import nst.network.windows

    C, S, G = (picture(seed, 150, 280) for seed in (1, 2, 3))
    monkeypatch.setattr("nst.descent.terms.Neighbours.LONG_SIDE", 280)
    layers = {"content_layers": (("conv2_2", 1),), "style_layers": (("conv1_1", 1),)}
    results = []
    for way in ("plain", "windows"):
        see(way)
        cost = recipe.cost(model, C, [S], **layers, neighbour_share=(0.5,))
        assert cost.octaves[0][0].is_whole == (nst.network.windows.WHOLE_PIXELS > 1)
        costs, gradient = cost(tf.constant(G))
        results.append(({name: float(J) for name, J in costs.items()}, np.asarray(gradient)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    np.testing.assert_allclose(results[1][1], results[0][1], atol=1e-4 * np.abs(results[0][1]).max())


def test_in_bfloat16_windows_see_what_the_whole_picture_sees(model, see):
    """Its convolutions are layers of their own, and windows need margins for them too."""
    narrow, image, seen = convolution.narrow(model), tf.constant(picture(1, 150, 280)), []
    for way in ("plain", "windows"):
        see(way)
        sight = Sight(narrow, (150, 280))
        assert sight.is_whole == (way == "plain")
        seen.append(sight.look(image, neighbours.LAYERS))
    for layer in neighbours.LAYERS:
        whole, in_windows = (of[layer] for of in seen)
        assert whole.dtype == in_windows.dtype == "bfloat16"
        whole, in_windows = (np.asarray(a, "float32") for a in (whole, in_windows))
        np.testing.assert_allclose(in_windows, whole, atol=0.02 * whole.max())


def test_what_no_region_has_pulls_on_nothing(model):
    left = np.zeros((HEIGHT, WIDTH), "float32")
    left[:, :20] = 1
    regions = {3: left}
    costs, gradient = recipe.cost(model, C, [(S, {3: 1})], regions, **ALONE)(tf.constant(G))
    assert float(costs["neighbours"]) > 0
    assert np.abs(gradient[:, :, :20]).max() > 0 and not gradient[:, :, 20:].numpy().any()


def test_large_pictures_are_held_at_an_octave(model):
    class Sized:
        style_octaves, neighbour_share_here = 3, 0.1

    octaves = {
        side: list(neighbours_octaves(Sized, (side, side // 2))) for side in (64, 512, 640, 724, 725, 1024, 4000)
    }
    assert octaves == {64: [0], 512: [0], 640: [0], 724: [0], 725: [1], 1024: [1], 4000: [3]}


def neighbours_octaves(settings, size):
    from nst.descent.terms import Neighbours

    return Neighbours.octaves(settings, size)


# --- As a flag ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_run_paints_with_neighbours_scale_by_scale(paint_here, tmp_path, optimizer, pixels):
    flags = ("--neighbour_share", 1, 0.2, "--scales", 2, "--epochs", 4, "--print_every", 1, "--optimizer", optimizer)
    status, printed, told = paint_here(*flags)
    assert (status, told) == (0, "") and printed.count("neighbours cost") == 4 + 2
    rows = (tmp_path / "output" / "costs.csv").read_text().splitlines()
    assert rows[0] == "iteration,total_cost,content_cost,style_cost,neighbours_cost"
    assert all(map(float, rows[-1].split(",")[1:]))
    _, total, *_, of_neighbours = map(float, rows[1].split(","))
    assert total == of_neighbours  # alone on the coarse scale
    assert paint_here(*flags, "--output_dir", "again")[0] == 0
    again, result = (tmp_path / folder / "generated_image.jpg" for folder in ("again", "output"))
    assert again.read_bytes() == result.read_bytes()


@pytest.mark.parametrize("scales", [1, 2])
def test_a_run_with_neighbours_that_is_resumed_ends_in_the_same_bytes(paint_here, tmp_path, scales):
    """At the second scale the search looks at the picture that this scale started with."""
    flags, coarse = ("--neighbour_share", 0.3, "--scales", scales, "--print_every", 1), [2] * (scales - 1)
    assert paint_here(*flags, "--epochs", *coarse, 5, "--output_dir", "whole")[0] == 0
    assert paint_here(*flags, "--epochs", *coarse, 3)[0] == 0
    assert paint_here(*flags, "--epochs", *coarse, 5, "--resume")[0] == 0
    whole, resumed = (tmp_path / folder / "generated_image.jpg" for folder in ("whole", "output"))
    assert whole.read_bytes() == resumed.read_bytes()


def test_neighbours_work_with_masks_styles_colours_and_cut_outs(paint_here, tmp_path, inputs):
    mask = np.zeros((30, 40), "uint8")
    mask[:, 20:] = 255
    Image.fromarray(mask).save(tmp_path / "c.png")
    Image.fromarray(mask[:28, 2:38]).save(tmp_path / "s.png")
    image = Image.open(inputs / "content.png").convert("RGBA")
    image.putalpha(Image.fromarray(mask))
    image.save(tmp_path / "cut.png")
    flags = ("--neighbour_share", 1, 0.2, "--scales", 2, "--epochs", 2)
    styles = ("--style_image_filename", inputs / "style.png", inputs / "content.png")
    for more in (
        ("--content_mask", "c.png", "--style_mask", "s.png"),
        (*styles, "--style_weights", 1, 3, "--style_scale", 0.5, 1),
        ("--preserve_colors", "luminance"),
        ("--content_image_filename", "cut.png", "--output_format", "png"),
    ):
        assert paint_here(*flags, *more)[::2] == (0, ""), more
