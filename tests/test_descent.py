"""The descent: L-BFGS and coarse to fine lower the cost, count epochs alike, and go on when stopped."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import nst_utils
import recipe
from nst.descent import optimizers


@pytest.fixture(scope="module")
def picture_and_cost(thin_model):
    """The start C of a descent, and the cost of it on the thin network."""
    C, S = (nst_utils.reshape_and_normalize_image(recipe.picture(seed, 30, 40)) for seed in (1, 2))
    return C, recipe.cost(thin_model, C, [S])


def run(picture_and_cost, optimizer, epochs, state=None):
    start, cost = picture_and_cost
    return list(optimizers.descend([optimizers.Scale(epochs, lambda _: start, lambda _: cost)], optimizer, state))


def bounded():
    return optimizers.lbfgs(-nst_utils.MEANS, 255 - nst_utils.MEANS)


def test_lbfgs_needs_fewer_epochs_than_adam(picture_and_cost):
    adam = run(picture_and_cost, optimizers.adam(2.0), 40)
    lbfgs = run(picture_and_cost, bounded(), 20)
    assert [iterate.iteration for iterate in lbfgs] == list(range(20))
    assert lbfgs[-1].costs["total"] < adam[-1].costs["total"]


def test_lbfgs_never_yields_a_worse_picture_and_its_costs_are_the_pictures(picture_and_cost):
    totals = []
    _, cost = picture_and_cost
    for iterate in run(picture_and_cost, bounded(), 12):
        totals.append(iterate.costs["total"])
        costs, _ = cost(tf.constant(iterate.picture))
        assert iterate.costs["total"] == pytest.approx(float(costs["total"]), rel=1e-6)
        assert (iterate.picture >= -nst_utils.MEANS - 1e-3).all() and (
            iterate.picture <= 255 - nst_utils.MEANS + 1e-3
        ).all()
    assert totals == sorted(totals, reverse=True) and totals[-1] < totals[0]


@pytest.mark.parametrize("optimizer", [optimizers.adam(2.0), bounded()], ids=["adam", "lbfgs"])
def test_an_epoch_is_one_evaluation_and_one_for_the_start(picture_and_cost, optimizer):
    start, cost = picture_and_cost
    calls = []

    def counted(picture, gradient=True):
        calls.append(1)
        return cost(picture, gradient)

    assert len(run((start, counted), optimizer, 5)) == 5
    assert len(calls) == 6


def test_lbfgs_goes_on_from_its_best_picture(picture_and_cost):
    first = run(picture_and_cost, bounded(), 6)[-1]
    rest = run(picture_and_cost, bounded(), 12, first.state())
    assert [iterate.iteration for iterate in rest] == list(range(6, 12))
    assert rest[0].costs["total"] <= first.costs["total"] and rest[-1].costs["total"] < first.costs["total"]


def test_lbfgs_ends_by_itself_where_no_step_lowers_the_cost():
    def flat(picture, gradient=True):
        return {"total": tf.reduce_sum(picture * 0) + 1}, picture * 0

    start = np.zeros((1, 2, 2, 3), "float32")
    (iterate,) = run((start, flat), bounded(), 50)
    assert iterate.costs == {"total": 1} and np.array_equal(iterate.picture, start)


def test_what_fails_within_scipy_is_raised_and_does_not_hang(picture_and_cost, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("scipy's own")

    monkeypatch.setattr(optimizers.scipy.optimize, "minimize", fails)
    with pytest.raises(RuntimeError, match="scipy's own"):
        run(picture_and_cost, bounded(), 3)


@pytest.mark.parametrize("optimizer", [optimizers.adam(2.0), bounded()], ids=["adam", "lbfgs"])
def test_a_cost_that_is_not_finite_ends_with_the_last_good_picture(picture_and_cost, optimizer):
    start, cost = picture_and_cost
    seen = []

    def breaks(picture, gradient=True):
        costs, gradient = cost(picture, gradient)
        seen.append(picture.numpy())
        return ({**costs, "total": costs["total"] * np.inf} if len(seen) == 4 else costs), gradient

    with pytest.raises(optimizers.Diverged) as error:
        run((start, breaks), optimizer, 10)
    assert error.value.iteration == 2
    assert any(np.array_equal(np.asarray(error.value.picture), picture) for picture in seen[:3])


@pytest.mark.parametrize("optimizer", [optimizers.adam(2.0), bounded()], ids=["adam", "lbfgs"])
def test_a_picture_that_is_not_finite_ends_the_descent_whatever_it_costs(optimizer):
    def hides(picture, gradient=True):
        return {"total": tf.constant(1.0)}, picture * np.nan

    start = np.zeros((1, 4, 4, 3), "float32")
    with pytest.raises(optimizers.Diverged) as error:
        run((start, hides), optimizer, 5)
    np.testing.assert_allclose(error.value.picture, start, atol=1e-4)


def test_a_finer_start_keeps_the_coarse_picture_and_adds_the_contents_detail():
    C = nst_utils.reshape_and_normalize_image(recipe.content(height=48, width=64))
    small = nst_utils.reshape_and_normalize_image(
        np.asarray(Image.fromarray(recipe.content(height=48, width=64)).resize((32, 24)))
    )
    finer = nst_utils.generate_finer_image(small, C)
    assert finer.shape == C.shape
    enlarged = tf.image.resize(small, (48, 64), "bicubic").numpy()
    assert np.abs(finer - C).mean() < 0.3 * np.abs(enlarged - C).mean()
    shifted = nst_utils.generate_finer_image(small + 30, C)
    np.testing.assert_allclose(shifted - finer, 30, atol=1e-2)


# --- as flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_scales_paint_from_coarse_to_fine_with_half_the_epochs_each(paint_here, tmp_path, optimizer):
    flags = ("--optimizer", optimizer, "--scales", 3, "--epochs", 8, "--print_every", 1)
    assert paint_here(*flags)[0] == 0
    sizes = []
    for i in range(8 + 4 + 2):
        with Image.open(tmp_path / "output" / f"{i}.png") as picture:
            sizes.append(picture.size)
    assert sizes == [(10, 8)] * 8 + [(20, 15)] * 4 + [(40, 30)] * 2
    assert not (tmp_path / "output" / "14.png").exists()
    with Image.open(tmp_path / "output" / "generated_image.jpg") as result:
        assert result.size == (40, 30)


def test_scales_lower_the_cost_more_than_their_last_epochs_alone(paint_here, tmp_path):
    def last_cost(folder):
        return float((tmp_path / folder / "costs.csv").read_text().splitlines()[-1].split(",")[1])

    paint_here("--optimizer", "lbfgs", "--scales", 3, "--epochs", 20, "--print_every", 1, "--output_dir", "scales")
    paint_here("--optimizer", "lbfgs", "--epochs", 5, "--print_every", 1, "--output_dir", "alone")
    assert last_cost("scales") < last_cost("alone")


@pytest.mark.parametrize("stop_after", [3, 7, 8, 11, 13])
def test_a_descent_stopped_in_any_scale_goes_on_to_the_same_pictures(thin_model, stop_after):
    def scale(k, epochs):
        C, S = (nst_utils.reshape_and_normalize_image(recipe.picture(seed, 12 * 2**k, 16 * 2**k)) for seed in (1, 2))
        start = lambda coarser: C if coarser is None else nst_utils.generate_finer_image(coarser, C)  # noqa: E731
        cost = recipe.cost(thin_model, C, [S], evaluations=epochs)
        return optimizers.Scale(epochs, start, lambda _: cost)

    scales = [scale(0, 8), scale(1, 4), scale(2, 2)]
    whole = [(i.iteration, i.costs["total"]) for i in optimizers.descend(scales, optimizers.adam(2.0))]
    assert [iteration for iteration, _ in whole] == list(range(14))
    for iterate in optimizers.descend(scales, optimizers.adam(2.0)):
        if iterate.iteration == stop_after:
            state = iterate.state()
            break
    rest = [(i.iteration, i.costs["total"]) for i in optimizers.descend(scales, optimizers.adam(2.0), state)]
    assert rest == whole[stop_after + 1 :]


def test_a_finer_scale_keeps_what_it_started_with(picture_and_cost):
    C, cost = picture_and_cost
    given = []

    def cost_with(start):
        given.append(start)
        return cost

    scale = optimizers.Scale(3, lambda coarser: C if coarser is None else coarser + 1, cost_with, needs_start=True)
    iterates = optimizers.descend([scale, scale], optimizers.adam(2.0))
    states, pictures = zip(*((iterate.state(), iterate.picture) for iterate in iterates), strict=True)
    assert given.pop(0) is None and "start" not in states[2]
    np.testing.assert_array_equal(given.pop(), pictures[2] + 1)
    old = {name: value for name, value in states[4].items() if name != "start"}  # of an older version
    for state, expected in (states[4], pictures[2] + 1), (old, pictures[4]):
        list(optimizers.descend([scale, scale], optimizers.adam(2.0), state))
        np.testing.assert_array_equal(given.pop(), expected)


def test_an_lbfgs_run_is_resumed_to_its_end(paint_here, tmp_path):
    paint_here("--optimizer", "lbfgs", "--epochs", 4)
    assert paint_here("--optimizer", "lbfgs", "--epochs", 9, "--resume")[0] == 0
    rows = (tmp_path / "output" / "costs.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["0", "2", "4", "6", "8"]


def test_a_run_killed_before_its_result_was_saved_saves_it_when_resumed(paint_here, tmp_path, monkeypatch):
    paint_here("--epochs", 3)
    whole = (tmp_path / "output" / "generated_image.jpg").read_bytes()
    save = nst_utils.save_image

    def killed(path, *words, **remarks):
        if path.suffix == ".jpg":
            raise SystemExit
        save(path, *words, **remarks)

    monkeypatch.setattr(nst_utils, "save_image", killed)
    with pytest.raises(SystemExit):
        paint_here("--epochs", 3, "--output_dir", "other")
    monkeypatch.setattr(nst_utils, "save_image", save)
    assert paint_here("--epochs", 3, "--output_dir", "other", "--resume")[0] == 0
    assert (tmp_path / "other" / "generated_image.jpg").read_bytes() == whole
