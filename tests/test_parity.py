"""The original TensorFlow 1 program's own numbers, followed at full width."""

import json
import pathlib

import numpy as np
import pytest

import nst.network.windows
import nst_utils
import recipe
from nst.descent import optimizers

ORIGINAL = json.loads(pathlib.Path(__file__).with_name("parity.json").read_text())


def descent(model, size=(300, 400), epochs=20):
    height, width = size
    C = nst_utils.reshape_and_normalize_image(recipe.content(height=height, width=width))
    S = nst_utils.reshape_and_normalize_image(recipe.style(height=height, width=width))
    cost = recipe.cost(model, C, [S], evaluations=epochs, alpha=ORIGINAL["alpha"], beta=ORIGINAL["beta"])
    start = nst_utils.generate_noise_image(C, ORIGINAL["noise_ratio"])
    scale = optimizers.Scale(epochs, lambda _: start, lambda _: cost)
    for iterate in optimizers.descend([scale], optimizers.adam(ORIGINAL["learning_rate"])):
        yield iterate.iteration, *iterate.costs.values(), iterate.picture


@pytest.fixture(scope="module")
def full_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "vgg.mat"
    recipe.write_mat(path, recipe.kernels())
    return nst_utils.load_vgg_model(path)


@pytest.mark.slow
def test_costs_and_picture_follow_the_original(full_model, see, tmp_path, pixels):
    see("winograd")
    for ours, original in zip(descent(full_model), ORIGINAL["iteration, total, content, style"], strict=True):
        assert ours[:4] == pytest.approx(original, rel=1e-4)
    nst_utils.save_image(tmp_path / "final.png", ours[-1])
    np.testing.assert_allclose(pixels(tmp_path / "final.png").mean((0, 1)), ORIGINAL["final_png_mean"], atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("way, epochs", [("plain", 5), ("windows", 2)])
def test_costs_follow_the_original_however_it_is_seen(full_model, see, monkeypatch, way, epochs):
    see(way)
    monkeypatch.setattr(nst.network.windows, "WINDOW_PIXELS", 100_000)  # of 120 000: as few windows as there can be
    assert (len(nst.network.windows.cut_windows((300, 400), full_model)) > 1) == (way == "windows")
    originals = ORIGINAL["iteration, total, content, style"][:epochs]
    for ours, original in zip(descent(full_model, epochs=epochs), originals, strict=True):
        assert ours[:4] == pytest.approx(original, rel=1e-4)


def test_both_mat_layouts_give_identical_costs(tmp_path):
    costs = []
    for layout in ("current", "beta16"):
        recipe.write_mat(tmp_path / f"{layout}.mat", recipe.kernels(width=0.125), layout)
        model = nst_utils.load_vgg_model(tmp_path / f"{layout}.mat")
        costs.append([iterate[:4] for iterate in descent(model, size=(30, 40), epochs=3)])
    assert costs[0] == costs[1]
