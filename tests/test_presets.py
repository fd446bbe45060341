"""The presets, and what they are made of: epochs by scale, padding, moments, octaves; each held to what it means."""

import csv
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import nst.flags
import nst.network.weights
import nst.network.windows
import nst.settings
import nst_utils
import recipe
from nst.descent import optimizers
from nst.descent.scales import make_scale
from nst.presets import PRESETS

HEIGHT, WIDTH = 150, 170  # small, and yet two windows where a test wants them


def picture(seed, height=HEIGHT, width=WIDTH):
    return nst_utils.reshape_and_normalize_image(recipe.picture(seed, height, width))


C, S, G = (picture(seed) for seed in (1, 2, 4))


def load(inputs, layers=("conv4_2", *dict(nst_utils.STYLE_LAYERS)), padding="replicate"):
    return nst_utils.load_vgg_model(inputs / "thin.mat", layers, padding=padding)


def evaluate(model, of=G, styles=(S,), regions=None, **settings):
    content = C[:, : of.shape[1], : of.shape[2]]
    costs, gradient = recipe.cost(model, content, styles, regions, **settings)(tf.constant(of))
    return {name: float(cost) for name, cost in costs.items()}, np.asarray(gradient)


# --- Presets --------------------------------------------------------------------------------------------------


def settings_in(folder):
    return json.loads((folder / "settings.json").read_text())["settings"]


@pytest.mark.parametrize("name", ["quick", "fine"])
def test_a_preset_is_its_flags_spelled_out(paint_here, tmp_path, name, pixels):
    small = ("--epochs", 3, 2, 1)
    assert paint_here("--preset", name, *small, "--output_dir", "preset")[0] == 0
    assert paint_here(*PRESETS[name].split(), *small, "--output_dir", "flags")[0] == 0
    assert settings_in(tmp_path / "preset") == settings_in(tmp_path / "flags")
    one, other = (pixels(tmp_path / folder / "generated_image.jpg") for folder in ("preset", "flags"))
    np.testing.assert_array_equal(one, other)


def test_explicit_flags_win_over_a_preset_wherever_they_stand():
    fine = nst.flags.parse_settings(["--preset", "fine"])
    for words in (["--preset", "fine", "--alpha", "3"], ["--alpha=3", "--preset=fine"]):
        settings = nst.flags.parse_settings(words)
        assert settings.alpha == 3 and settings.tv_weight == fine.tv_weight > 0


def test_a_start_wins_over_that_of_a_preset_and_of_a_recipe(paint_here, tmp_path):
    for start in ("--init", "style"), ("--noise_ratio", 0.3):
        assert paint_here(*start)[0] == 0
        for before in ["--preset", "fine"], ["--settings", str(tmp_path / "output" / "settings.json")]:
            settings = nst.flags.parse_settings([*before, "--init_image", "great_wave.jpg"])
            assert (settings.init_image, settings.init) == ("great_wave.jpg", "noise")
            settings = nst.flags.parse_settings([*before, "--init", "content"])
            assert (settings.init, settings.noise_ratio) == ("content", nst.settings.Settings.noise_ratio)
    assert paint_here("--init_image", "great_wave.jpg", "--output_dir", "started")[0] == 0
    recipe = ["--settings", str(tmp_path / "started" / "settings.json")]
    for init in "content", "noise":
        settings = nst.flags.parse_settings([*recipe, "--init", init])
        assert (settings.init_image, settings.init) == ("", init)
    assert nst.flags.parse_settings(["--preset", "fine", "--init", "noise"]).noise_ratio == 0.1


def test_original_is_the_defaults():
    assert nst.flags.parse_settings(["--preset", "original"]) == nst.settings.Settings()


def test_a_preset_wins_over_a_recipe_and_a_flag_over_both(paint_here, tmp_path):
    paint_here("--beta", 70, "--alpha", 5)
    words = ["--settings", str(tmp_path / "output" / "settings.json"), "--preset", "fine", "--epochs", "9"]
    settings = nst.flags.parse_settings(words)
    assert (settings.beta, settings.epochs) == (70, (9,))
    assert settings.alpha == nst.flags.parse_settings(["--preset", "fine"]).alpha
    settings = nst.flags.parse_settings([*words[:2], "--preset", "original"])
    assert (settings.beta, settings.alpha) == (70, nst.settings.Settings.alpha)


def test_a_row_of_a_batch_has_a_preset_and_flags_of_its_own(command, paint_here, tmp_path):
    rows = "output_dir,preset,alpha,epochs\none,fine,,3;2\ntwo,quick,7,2;1\nthree,,,4\n"
    (tmp_path / "batch.csv").write_text(rows)
    assert paint_here("--batch", "batch.csv", "--preset", "quick", "--tv_weight", 3, "--epochs", 1, "--quiet")[0] == 0
    one, two, three = (settings_in(tmp_path / name) for name in ("one", "two", "three"))
    assert one["epochs"] == [3, 2] and two["epochs"] == [2, 1] and three["epochs"] == [4]
    assert two["alpha"] == 7 and one["tv_weight"] == two["tv_weight"] == three["tv_weight"] == 3
    assert one["style_cost"] == three["style_cost"] == "moments"
    with (tmp_path / "output" / "batch.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done"] * 3


# --- Scales and epochs ----------------------------------------------------------------------------------------


def test_epochs_are_for_the_scales_from_coarse_to_fine(paint_here, tmp_path, pixels):
    flags = ("--optimizer", "lbfgs", "--scales", 3, "--epochs", 4, 2, "--print_every", 1)
    assert paint_here(*flags)[1].count("total cost") == 4 + 2 + 2
    sizes = [pixels(tmp_path / "output" / f"{i}.png").shape[:2] for i in range(8)]
    assert sizes == [(8, 10)] * 4 + [(15, 20)] * 2 + [(30, 40)] * 2


@pytest.mark.parametrize(
    "side, epochs, schedule",
    [
        (512, (9, 5, 2), [(8, 9), (4, 5), (2, 2), (1, 2)]),
        (400, (9, 5, 2), [(8, 9), (4, 5), (2, 2), (1, 2)]),
        (2000, (9, 5, 2), [(32, 9), (16, 5), (8, 2), (4, 2), (2, 2), (1, 2)]),
        (150, (9, 5, 2), [(2, 9), (1, 5)]),
        (60, (9, 5, 2), [(1, 9)]),
        (500, (20,), [(8, 20), (4, 10), (2, 5), (1, 2)]),
    ],
)
def test_scales_0_begins_at_about_64_pixels(prepared, side, epochs, schedule):
    assert prepared(image_size=side, scales=0, epochs=epochs).schedule == schedule


def test_more_epochs_lengthen_the_finest_scale_of_a_finished_run(paint_here, tmp_path):
    flags = ("--scales", 2, "--epochs")
    paint_here(*flags, 5, 3, "--output_dir", "whole")
    paint_here(*flags, 5, 1)
    assert "Finished already" in paint_here(*flags, 5, 1, "--resume")[1]
    assert paint_here(*flags, 9, 3, "--resume")[0] == 0  # the coarse scale is behind, and what is asked of it too
    whole, lengthened = (tmp_path / folder / "generated_image.jpg" for folder in ("whole", "output"))
    assert whole.read_bytes() == lengthened.read_bytes()  # the recipe in it says 5 and 3 as well
    assert "Finished already" in paint_here(*flags, 9, 3, "--resume")[1]
    status, _, told = paint_here(*flags, 5, 2, "--resume")
    assert status == 2 and "has finished 3 of them already" in told


def test_an_older_checkpoint_with_one_number_of_epochs_is_finished_too(paint_here, tmp_path):
    paint_here("--epochs", 3)
    path = tmp_path / "output" / "checkpoint.npz"
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "epochs": 3})
    assert "Finished already" in paint_here("--epochs", 3, "--resume")[1]


def test_lbfgs_says_where_no_step_lowers_the_cost_any_more(paint_here, tmp_path, inputs):
    """A cost that is 0 everywhere: there is nowhere to go."""
    flags = ("--alpha", 0, "--style_layers", "conv1_1:0", "--optimizer", "lbfgs", "--epochs", 30, "--print_every", 50)
    status, printed, _ = paint_here(*flags)
    assert status == 0
    (done,) = re.findall(r"^No further step lowers the cost: stopped after (\d+) of 30 epochs$", printed, re.MULTILINE)
    with Image.open(tmp_path / "output" / "generated_image.jpg") as result:
        comment = json.loads(result.info["comment"])
    assert comment["stalled"] == [{"scale": 1, "epochs": int(done), "of": 30}]
    assert "No further step" not in paint_here("--optimizer", "lbfgs", "--epochs", 3)[1]


def test_a_finer_scale_begins_with_a_smaller_step():
    """What a coarser scale has painted is not to be painted anew."""

    slope = np.random.default_rng(0).standard_normal((1, 8, 8, 3), "float32")

    def far(picture, gradient=True):
        return {"total": tf.reduce_sum(picture * slope)}, tf.constant(slope)

    start = np.zeros((1, 8, 8, 3), "float32")
    scales = [optimizers.Scale(2, lambda _: start, lambda _: far) for _ in range(2)]
    low, high = np.float32([-100] * 3), np.float32([155] * 3)
    steps = [i.picture for i in optimizers.descend(scales, optimizers.lbfgs(low, high)) if i.epoch == 0]
    moved = [float(np.sqrt(np.mean(step**2))) for step in steps]
    assert moved[1] / moved[0] == pytest.approx(optimizers.NEXT_STEP / optimizers.FIRST_STEP, rel=0.1)


# --- Padding --------------------------------------------------------------------------------------------------


def test_replicate_padding_lets_the_edge_go_on(inputs):
    kernel, bias = nst.network.weights.read(inputs / "thin.mat")["conv1_1"]
    image = picture(1, 5, 6)
    replicated = tf.constant(np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)], "edge"))
    expected = tf.nn.relu(tf.nn.conv2d(replicated, kernel, 1, "VALID") + bias)
    np.testing.assert_allclose(load(inputs, ("conv1_1",))(image)["conv1_1"], expected, atol=1e-3)


def test_a_plain_picture_has_no_edge_with_replicate_padding(inputs):
    plain = np.full((1, 48, 64, 3), 40, "float32")
    for padding in ("zeros", "replicate"):
        a = load(inputs, padding=padding)(plain)["conv5_1"].numpy()
        np.testing.assert_equal(np.ptp(a, axis=(1, 2)).max() > 1e-3 * np.abs(a).max(), padding == "zeros")


@pytest.mark.parametrize("way, masked", [("windows", False), ("windows", True), ("windows, winograd", True)])
def test_with_all_of_a_preset_windows_and_winograd_agree_with_the_whole(inputs, see, monkeypatch, way, masked):
    style_layers = nst_utils.STYLE_LAYERS[:4]  # without the deepest, which sees farther than a window
    model = load(inputs, ("conv4_2", *dict(style_layers)))
    settings = {"tv_weight": 0.2, "style_cost": "moments", "style_octaves": 3, "style_layers": style_layers}
    left = np.repeat([[1] * 80 + [0] * 90], HEIGHT, axis=0).astype("float32")
    regions = {0: left, 255: 1 - left} if masked else None
    styles = [(S, regions)]
    see("plain")
    costs, gradient = evaluate(model, styles=styles, regions=regions, alpha=100, **settings)
    see(way)
    monkeypatch.setattr(nst.network.windows, "WINDOW_PIXELS", 25_000)
    assert not recipe.cost(model, C, styles, regions, **settings).octaves[0][0].is_whole
    others, other = evaluate(model, styles=styles, regions=regions, alpha=100, **settings)
    assert others == pytest.approx(costs, rel=1e-4)
    np.testing.assert_allclose(other, gradient, atol=1e-4 * np.abs(gradient).max())


def test_an_octave_of_a_picture_in_windows_is_seen_in_windows_too(inputs, monkeypatch):
    layers = ("conv1_1", 1), ("conv2_1", 1)
    model = load(inputs, dict(layers))
    monkeypatch.setattr(nst.network.windows, "WINDOW_PIXELS", 4_000)
    for whole, alone in (30_000, True), (20_000, False):  # the picture has 25 500 pixels, its octave a quarter
        monkeypatch.setattr(nst.network.windows, "WHOLE_PIXELS", whole)
        cost = recipe.cost(model, C, [S], content_layers=layers[:1], style_layers=layers, style_octaves=2)
        assert [sight.is_whole for sight, _ in cost.octaves] == [alone, alone]


def test_the_coarse_scales_of_a_picture_in_windows_are_seen_in_windows_too(inputs, prepared, monkeypatch):
    layers = ("conv1_1:1", "conv2_1:1")
    job = prepared(scales=2, content_layers=layers[:1], style_layers=layers)  # 40 x 30 and 20 x 15
    model = load(inputs, ("conv1_1", "conv2_1"))
    monkeypatch.setattr(nst.network.windows, "WINDOW_PIXELS", 200)
    for whole, alone in (1_200, True), (1_100, False):
        monkeypatch.setattr(nst.network.windows, "WHOLE_PIXELS", whole)
        seen = []
        for k, (shrink, epochs) in enumerate(job.schedule):
            scale = make_scale(job.scene, shrink, epochs, job.settings.of_scale(k), model, lambda: None)
            seen.append(scale.cost(None).octaves[0][0].is_whole)
        assert seen == [alone, alone]


# --- The style's cost -----------------------------------------------------------------------------------------


def test_moments_compare_means_and_covariances():
    a_S, a_G = np.random.default_rng(0).normal(1, 2, size=(2, 35, 4))
    by_numpy = np.mean((a_S.mean(0) - a_G.mean(0)) ** 2)
    by_numpy += ((np.cov(a_S.T, bias=True) - np.cov(a_G.T, bias=True)) ** 2).sum() / (4 * 4**2)
    moments = [(tf.constant(a.T @ a / 35), tf.constant(a.mean(0))) for a in (a_S, a_G)]
    assert float(nst_utils.compare_moments(*moments)) == pytest.approx(by_numpy)


def test_moments_tell_a_mean_from_a_covariance():
    """Two activations of one Gram matrix: of the value 1 everywhere, and of 1 and -1."""
    even, mixed = np.ones((1, 1, 8, 1), "float32"), np.float32([1, -1] * 4).reshape(1, 1, 8, 1)
    pairs = [(nst_utils.gram_per_position(a), nst_utils.mean_per_position(a)) for a in (even, mixed)]
    assert float(nst_utils.compute_layer_style_cost(pairs[0][0], pairs[1][0])) == 0
    assert float(nst_utils.compare_moments(*pairs)) == pytest.approx(1 + 1 / 4)


def test_in_a_region_that_is_the_whole_picture_the_mean_is_the_mean():
    a = tf.constant(np.random.default_rng(0).normal(size=(1, 6, 8, 4)).astype("float32"))
    T = nst_utils.guide(np.ones((6, 8)), ["conv1_1"])["conv1_1"]
    np.testing.assert_allclose(nst_utils.mean_per_position(a, T), nst_utils.mean_per_position(a), rtol=1e-5)


def test_octaves_are_the_mean_of_the_costs_at_halved_sizes(inputs):
    model = load(inputs)
    half = [tf.nn.avg_pool2d(image, 2, 2, "SAME").numpy() for image in (C, S, G)]
    (whole, _), (both, gradient) = (evaluate(model, style_octaves=n) for n in (1, 2))
    costs, _ = recipe.cost(model, half[0], [half[1]])(tf.constant(half[2]))
    assert both["content"] == pytest.approx(whole["content"])
    assert both["style"] == pytest.approx((whole["style"] + float(costs["style"])) / 2, rel=1e-5)
    assert both["total"] == pytest.approx(10 * both["content"] + 40 * both["style"], rel=1e-5)
    # The gradient, held to what the cost does a small step down it.
    step = 0.02 * gradient / np.abs(gradient).max()
    (above, _), (below, _) = (evaluate(model, G + sign * step, style_octaves=2) for sign in (1, -1))
    assert above["total"] - below["total"] == pytest.approx(2 * (gradient * step).sum(), rel=0.02)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 14)])
def test_octaves_of_any_small_picture(inputs, size):
    small = G[:, : size[0], : size[1]]
    costs, gradient = evaluate(load(inputs), small, style_octaves=5, style_cost="moments")
    assert np.isfinite(costs["total"]) and np.isfinite(gradient).all() and gradient.shape == (1, *size, 3)


def test_each_lever_paints_another_picture_and_resume_knows_it(paint_here, tmp_path, pixels):
    paint_here("--epochs", 2)
    plain = pixels(tmp_path / "output" / "generated_image.jpg")
    for flag, value in ("--padding", "replicate"), ("--style_cost", "moments"), ("--style_octaves", 2):
        status, _, told = paint_here("--epochs", 2, flag, value, "--resume")
        assert status == 2 and f"was made with another {flag}" in told
        assert paint_here("--epochs", 2, flag, value, "--output_dir", "other")[0] == 0
        assert (pixels(tmp_path / "other" / "generated_image.jpg") != plain).any()
