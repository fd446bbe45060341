"""Any size: windows cover a picture as the network needs it, and every way of seeing one gives the same cost."""

import numpy as np
import pytest
import tensorflow as tf

import nst.descent.sight
import nst.network.windows
import nst_utils
import recipe
from nst.descent import optimizers

WAYS = ("plain", "winograd", "windows", "windows, winograd")


def pictures(height, width):
    sizes = (height, width), (height - 40, width + 30), (height, width)
    return [nst_utils.reshape_and_normalize_image(recipe.picture(seed, *size)) for seed, size in enumerate(sizes, 1)]


# --- windows ------------------------------------------------------------------------------------------------


def test_margin_is_what_the_deepest_layer_sees(thin_model):
    """Counted in the network itself: the pixels that conv5_1's middle position hangs on."""
    grid, margin = nst.network.windows.grid_and_margin(thin_model)
    image = tf.Variable(nst_utils.reshape_and_normalize_image(recipe.content(height=16 * 15, width=16)))
    with tf.GradientTape() as tape:
        seen = thin_model(image)["conv5_1"][:, 7]
    rows = np.flatnonzero(np.abs(tape.gradient(seen, image).numpy()).sum((0, 2, 3)))
    assert grid == 16 and margin - grid < 16 * 7 - rows.min() <= margin
    assert margin - grid < rows.max() - (16 * 8 - 1) <= margin


@pytest.mark.parametrize(
    "size",
    [(2400, 3200), (6000, 8000), (1000, 2001), (65500, 1366), (1366, 65500), (9459, 9459), (1415, 1415), (60, 50000)],
)
def test_windows_cover_a_picture_once_on_the_grid_with_their_margins(thin_model, size):
    grid, margin = nst.network.windows.grid_and_margin(thin_model)
    windows = nst.network.windows.cut_windows(size, thin_model)
    assert len(windows) > 1
    assert len({(w.bottom - w.top, w.right - w.left) for w in windows}) == 1
    covered = np.zeros(size, "uint8")
    for w in windows:
        assert (w.bottom - w.top) * (w.right - w.left) <= nst.network.windows.WINDOW_PIXELS
        top, bottom, left, right = w.core_in_picture()
        covered[top:bottom, left:right] += 1
        assert w.top % grid == w.left % grid == 0
        spans = (w.top, top, bottom, w.bottom, size[0]), (w.left, left, right, w.right, size[1])
        for start, core_start, core_end, end, length in spans:
            assert 0 <= start < end <= length and core_start % grid == 0
            assert core_start == start == 0 or core_start - start >= margin
            assert core_end == end == length or (end - core_end >= margin and core_end % grid == 0)
    assert (covered == 1).all()


def test_pictures_that_fit_are_seen_whole(thin_model):
    assert nst.network.windows.cut_windows((1200, 1600), thin_model) == [(0, 1200, 0, 1600, (0, 1200, 0, 1600))]


# --- the ways agree ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(320, 400), (301, 403), (517, 173), (150, 640)])
def test_windows_and_whole_give_the_same_cost_and_gradient(thin_model, see, height, width):
    C, S, G = pictures(height, width)
    results = []
    for way in ("plain", "windows"):
        see(way)
        assert (len(nst.network.windows.cut_windows((height, width), thin_model)) > 1) == (way == "windows")
        costs, gradient = recipe.cost(thin_model, C, [S])(tf.constant(G))
        results.append(([float(cost) for cost in costs.values()], np.asarray(gradient)))
    (whole, whole_gradient), (windows, windows_gradient) = results
    assert windows == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(windows_gradient, whole_gradient, atol=1e-5 * np.abs(whole_gradient).max())


def test_all_ways_agree_over_ten_iterations(thin_model, see):
    C, S, G = pictures(240, 230)
    costs = {}
    for way in WAYS:
        see(way)
        scale = optimizers.Scale(10, lambda _: G, lambda _: recipe.cost(thin_model, C, [S], evaluations=10))
        costs[way] = [list(iterate.costs.values()) for iterate in optimizers.descend([scale], optimizers.adam(2.0))]
    assert costs["plain"][-1][0] < costs["plain"][0][0]
    for way in WAYS[1:]:
        np.testing.assert_allclose(costs[way], costs["plain"], rtol=1e-4)


def test_compiling_is_chosen_by_pixels_and_epochs(thin_model, monkeypatch):
    windows = nst.network.windows.cut_windows((300, 400), thin_model)
    assert nst.descent.sight.choose_network(thin_model, windows, 10) is thin_model
    assert nst.descent.sight.choose_network(thin_model, windows, 200) is not thin_model
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    assert nst.descent.sight.choose_network(thin_model, windows, 200) is thin_model


# --- The graphs that are kept -----------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch):
    """A Cache of graphs that are new to it."""
    monkeypatch.setattr(nst.descent.sight, "CACHE", nst.descent.sight.Cache())
    return nst.descent.sight.CACHE


def test_a_graph_is_weighed_by_its_operations_and_its_styles_statistics(thin_model, cache):
    """TensorFlow counts a few operations more: those that return the results."""
    C, *_ = pictures(70, 40)
    assert cache.get(thin_model, None).bytes == 0
    recipe.cost(thin_model, C, [C])(tf.constant(C))
    (graphs,) = cache.kept.values()
    counted = [graphs.look, graphs.evaluate]
    traces = [trace for of in counted for trace in of._list_all_concrete_functions()]
    operations = sum(len(trace.graph.get_operations()) for trace in traces)
    assert graphs.operations == pytest.approx(operations, rel=0.03) and operations > 500
    channels = [thin_model.output[name].shape[-1] for name, _ in nst_utils.STYLE_LAYERS]
    assert graphs.bytes == graphs.operations * nst.descent.sight.OPERATION_BYTES + 4 * sum(n * n for n in channels)


def test_pictures_of_all_sizes_share_graphs_unless_convolutions_need_a_size(thin_model, cache, monkeypatch):
    def traced(evaluations):
        for size in (60, 40), (16, 16):
            C = nst_utils.reshape_and_normalize_image(recipe.picture(1, *size))
            recipe.cost(thin_model, C, [C], evaluations=evaluations)(tf.constant(C))
        return [len(graphs.evaluate._list_all_concrete_functions()) for graphs in cache.kept.values()]

    assert traced(1) == [1]
    monkeypatch.setattr(nst.descent.sight, "COMPILED_PIXELS", 0)
    assert traced(100) == [1, 1, 1]  # Winograd's, for each size


def test_graphs_are_kept_by_memory_not_by_count(cache, monkeypatch):
    """Jobs with four shapes of content in turn need about forty sizes of 14 MB, and trace each once."""
    monkeypatch.setattr(nst.descent.sight.Graphs, "bytes", 14_000_000)
    sizes = [(100 + n, 80) for n in range(40)]
    first = [cache.get("network", size) for size in sizes]
    assert [cache.get("network", size) for size in sizes] == first
    monkeypatch.setattr(nst.descent.sight, "CACHE_BYTES", 42_000_000)
    cache.get("network", sizes[37])  # used again, so that others go first
    assert [size for _, size in cache.kept] == [sizes[38], sizes[39], sizes[37]]
    assert cache.get("network", sizes[38]) is first[38] and cache.get("network", sizes[0]) is not first[0]


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_run_in_windows_leaves_what_any_run_leaves(paint_here, see, tmp_path, optimizer):
    see("windows")
    flags = ("--image_size", 300, "--epochs", 2, "--scales", 2, "--optimizer", optimizer, "--print_every", 1)
    assert paint_here(*flags)[0] == 0
    names = {path.name for path in (tmp_path / "output").iterdir()}
    assert names >= {"0.png", "1.png", "2.png", "generated_image.jpg", "costs.csv", "checkpoint.npz", "costs.png"}
