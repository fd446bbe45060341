"""The formulas: against the course's published values, and against an independent VGG-19 in numpy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import nst.network.weights
import nst_utils
import recipe

# The course's tensors are drawn by tf.random.normal, whose numbers on a CPU differ from those behind the
# published values in the fourth digit: the published values are met to that digit, and the formula, by
# numpy on the very same tensors, to 5e-4.


@pytest.fixture
def seeded_pair():
    """The two activations of the course's exercises, (1, 1, 4, 4, 3)."""
    tf.random.set_seed(1)
    return [tf.random.normal([1, 1, 4, 4, 3], mean=1, stddev=4) for _ in range(2)]


def test_content_cost_is_the_courses(seeded_pair):
    assert float(nst_utils.compute_content_cost(*seeded_pair)) == pytest.approx(7.0568767, abs=5e-4)


def layer_style_cost(a_S, a_G):
    """The cost of two activations, from their Gram matrices as a run compares them."""
    return float(nst_utils.compute_layer_style_cost(*map(nst_utils.gram_per_position, (a_S, a_G))))


def test_layer_style_cost_is_the_courses(seeded_pair):
    a_S, a_G = (a[0] for a in seeded_pair)
    cost = layer_style_cost(a_S, a_G)
    assert cost == pytest.approx(14.01649, rel=2e-4)
    F_S, F_G = (a.numpy().reshape(16, 3).astype(float) for a in (a_S, a_G))
    assert cost == pytest.approx(((F_S.T @ F_S - F_G.T @ F_G) ** 2).sum() / (4 * 3**2 * 16**2), abs=5e-4)


def test_gram_matrix_is_the_courses():
    tf.random.set_seed(1)
    A = tf.random.normal([3, 2], mean=1, stddev=4)
    gram = nst_utils.gram_matrix(A).numpy()
    published = [[63.193, -26.730, -7.732], [-26.730, 12.775, -2.516], [-7.732, -2.516, 23.747]]
    np.testing.assert_allclose(gram, published, atol=2e-4 * 63.193)
    np.testing.assert_allclose(gram, A.numpy().astype(float) @ A.numpy().astype(float).T, atol=5e-4)


def test_total_cost_is_the_courses():
    rng = np.random.RandomState(3)
    assert nst_utils.total_cost(rng.randn(), rng.randn()) == pytest.approx(35.34667875478276, abs=1e-12)


def test_layer_style_cost_is_the_formula_where_sizes_agree():
    a_S, a_G = np.random.default_rng(0).normal(size=(2, 1, 5, 7, 4)).astype("float32")
    G_S, G_G = (a.reshape(35, 4).T @ a.reshape(35, 4) for a in (a_S, a_G))
    formula = ((G_S - G_G) ** 2).sum() / (4 * 4**2 * 35**2)
    assert layer_style_cost(a_S, a_G) == pytest.approx(formula, rel=1e-5)


def test_a_style_laid_out_twice_costs_as_much_as_once():
    a_S, a_G = np.random.default_rng(0).normal(size=(2, 1, 5, 7, 4)).astype("float32")
    twice = np.concatenate([a_S, a_S], axis=1)
    assert layer_style_cost(twice, a_G) == pytest.approx(layer_style_cost(a_S, a_G), rel=1e-5)


def test_style_cost_is_the_weighted_sum_of_its_layers():
    names = [name for name, _ in nst_utils.STYLE_LAYERS]
    grams_S, grams_G = (
        {
            name: tf.constant(gram)
            for name, gram in zip(names, np.random.default_rng(seed).normal(size=(5, 3, 3)), strict=True)
        }
        for seed in (0, 1)
    )
    expected = sum(0.2 * ((grams_S[name] - grams_G[name]).numpy() ** 2).sum() / 36 for name in names)
    assert float(nst_utils.compute_style_cost(grams_S, grams_G)) == pytest.approx(expected)


# --- the whole cost once more, in numpy and float64 ------------------------------------------------


def pool(a):
    """2 x 2 average pooling of (n_H, n_W, n_C), 'same': at an odd edge the mean of what is there."""
    sums, counts = (
        np.add.reduceat(np.add.reduceat(x, range(0, x.shape[0], 2), 0), range(0, x.shape[1], 2), 1)
        for x in (a, np.ones_like(a))
    )
    return sums / counts


def activations(weights, picture):
    """{layer: (n_H, n_W, n_C)} by scipy.ndimage's correlation, channel by channel."""
    a, out = picture.astype(float), {}
    for name in nst.network.weights.VGG19.convolutions[:13]:
        if name.endswith("_1") and name != "conv1_1":
            a = pool(a)
        kernel, bias = weights[name]
        planes = [
            sum(
                ndimage.correlate(a[..., i], kernel[..., i, o].astype(float), mode="constant")
                for i in range(a.shape[-1])
            )
            for o in range(kernel.shape[-1])
        ]
        a = out[name] = np.maximum(np.stack(planes, -1) + bias, 0)
    return out


def numpy_cost(weights, C, S, G):
    a_C, a_S, a_G = (activations(weights, image) for image in (C, S, G))
    J_content = ((a_C["conv4_2"] - a_G["conv4_2"]) ** 2).sum() / (4 * a_G["conv4_2"].size)
    J_style = 0
    for name in ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"):
        F_S, F_G = (a[name].reshape(-1, a[name].shape[-1]) for a in (a_S, a_G))
        gram_S, gram_G = F_S.T @ F_S / len(F_S), F_G.T @ F_G / len(F_G)
        J_style += 0.2 * ((gram_S - gram_G) ** 2).sum() / (4 * F_G.shape[1] ** 2)
    return 10 * J_content + 40 * J_style, J_content, J_style


@pytest.fixture(scope="module")
def small():
    """A VGG-19 of 4 to 32 channels, and C, S and G of 13 x 10, 11 x 12 and 13 x 10 pixels."""
    weights = recipe.kernels(width=1 / 16)
    C, S, G = (
        nst_utils.reshape_and_normalize_image(recipe.picture(seed, height, width))
        for seed, height, width in ((1, 10, 13), (2, 12, 11), (3, 10, 13))
    )
    model = nst_utils.build_model(weights, ("conv4_2", *dict(nst_utils.STYLE_LAYERS)))
    costs, gradient = recipe.cost(model, C, [S])(tf.constant(G))
    return weights, (C[0], S[0], G[0]), [float(cost) for cost in costs.values()], gradient.numpy()[0]


def test_costs_agree_with_numpy(small):
    weights, images, costs, _ = small
    assert costs == pytest.approx(numpy_cost(weights, *images), rel=1e-4)


def test_gradient_agrees_with_finite_differences_in_numpy(small):
    weights, (C, S, G), _, gradient = small
    for y, x, channel in [(0, 0, 0), (4, 6, 1), (9, 12, 2), (5, 0, 1)]:
        step = np.zeros_like(G, float)
        step[y, x, channel] = 1e-3
        up, down = (numpy_cost(weights, C, S, G.astype(float) + sign * step)[0] for sign in (1, -1))
        assert gradient[y, x, channel] == pytest.approx((up - down) / 2e-3, rel=1e-3)
