"""The descent: lower the cost of a picture step by step, with Adam or L-BFGS, from coarse to fine.

descend() is a generator, so its caller decides what to print and what to save. It sees the cost only as a function of
the picture, and knows nothing about networks, flags or files.
"""

import concurrent.futures
import contextlib
import functools
import math
import queue
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf

from nst.descent.waves import Waves

LBFGS_BYTES = 1e9  # memory for the past steps of L-BFGS; for large pictures it remembers fewer
# Radians. The paper's cost at 200 x 150 after 20 epochs was 3190, and 2830 to 3190 with 1 / 20, 1 / 60 and 1 / 300, but
# 4930 with 1 / 3.
FIRST_STEP = 1 / 6
NEXT_STEP = 1 / 40  # after a coarser scale; the cost was 9170 after five epochs, 10800 with 1 / 100, 13800 with 1 / 6
EPSILON = 1e-8  # the default of TensorFlow 1; that of Keras is 1e-7
STEEPEST = 0.99  # a pixel starts at most this fraction of the way from the middle to a bound


class Scale(NamedTuple):
    """One picture size on the way from coarse to fine.

    start(G) returns the first picture (1, n_H, n_W, 3). G is the last picture of the scale before, or None.
    cost(start) returns the cost function, (G, gradient=True) -> ({"total": J, and its parts by name}, gradient of J).
    Its start is None, or, if needs_start, the first picture of a finer scale. The state then keeps it.
    changes() returns 1, or (1, n_H, n_W, 1): 1 for the pixels that the descent changes, and 0 for the others.
    """

    epochs: int
    start: Callable
    cost: Callable
    changes: Callable = lambda: 1
    needs_start: bool = False


class Iterate(NamedTuple):
    """The descent after one epoch.

    iteration counts from 0 through all scales, epoch from 0 within its scale. picture is G (1, n_H, n_W, 3). costs are
    the costs of G by name, as floats. state() returns the arrays that descend() resumes from; call it before the
    next Iterate is requested.
    """

    iteration: int
    scale: int
    epoch: int
    picture: np.ndarray | tf.Tensor
    costs: dict
    state: Callable[[], dict]


class Diverged(ArithmeticError):
    """The cost became nan or infinite in an iteration (-1: at the start of a scale); picture is G before that."""

    def __init__(self, iteration, picture):
        super().__init__(f"the cost is not finite at {'the start' if iteration < 0 else f'iteration {iteration}'}")
        self.iteration, self.picture = iteration, picture


def descend(scales, optimizer, state=None):
    """Minimise the cost of each scale in turn, and yield an Iterate for each epoch.

    An epoch is one evaluation of cost and gradient; the last epoch of a scale needs no gradient. optimizer is adam() or
    lbfgs(). With the state of an Iterate the descent resumes after that Iterate. Adam then yields the same as without
    the break. Raises Diverged if a cost is not finite.
    """
    iteration, first, picture = 0, 0, None
    if state:
        iteration, first, picture = int(state["iteration"]) + 1, int(state["scale"]), state["picture"]
    for k, scale in enumerate(scales[first:], first):
        resumed = state if state and k == first else None
        painted = picture is not None
        start = picture if resumed else scale.start(picture)
        kept = {}
        if scale.needs_start and k:  # an old checkpoint has no start
            kept = {"start": resumed.get("start", picture) if resumed else start}
        scale = scale._replace(cost=functools.partial(scale.cost, kept.get("start")))
        try:
            for epoch, picture, costs, arrays in optimizer(scale, start, resumed, painted):
                progress = {**kept, "scale": k, "epoch": epoch + 1, "iteration": iteration}
                yield Iterate(iteration, k, epoch, picture, costs, functools.partial(collect, arrays, progress))
                iteration += 1
        except Diverged as error:
            raise Diverged(iteration if error.iteration >= 0 else -1, error.picture) from error


def collect(arrays, progress):
    return {**arrays(), **progress}


def finite(costs, picture, iteration, before):
    """The costs of a picture as floats. Raises Diverged with before, the last good picture, if one is not finite.

    A picture that is not finite can have costs that are: ReLU turns nan into 0.
    """
    costs = {name: float(cost) for name, cost in costs.items()}
    if not (all(map(math.isfinite, costs.values())) and np.isfinite(picture).all()):
        raise Diverged(iteration, before)
    return costs


def adam(learning_rate, epsilon=EPSILON):
    """Adam as an optimizer for descend().

    The start is evaluated too. Each evaluation gives the cost of the picture that is yielded and the gradient for the
    next update, so nothing is computed only for printing. A resumed run repeats the evaluation that was interrupted;
    the state says whether its update has been made.
    """

    def minimize(scale, start, state, painted):
        cost, epochs, picture = scale.cost(), scale.epochs, tf.Variable(start)
        optimizer = keras.optimizers.Adam(learning_rate, epsilon=epsilon)
        optimizer.build([picture])
        variables = {"picture": picture, **{f"adam_{i}": v for i, v in enumerate(optimizer.variables)}}
        done = updates = 0
        if state:
            for name, variable in variables.items():
                variable.assign(state[name])
            done = int(state["epoch"])
            updates = int(state.get("updates", done))  # made in this scale
        before = start

        def arrays():
            return {**{name: variable.numpy() for name, variable in variables.items()}, "updates": updates}

        for epoch in range(updates - 1, epochs):  # from the start, or from the resumed picture
            costs, gradient = cost(picture, gradient=epoch < epochs - 1)
            costs = finite(costs, picture.numpy(), epoch if epoch >= done else -1, before)
            if epoch >= done:
                before = tf.identity(picture)
                yield epoch, before, costs, arrays
            if gradient is not None:
                optimizer.apply_gradients([(gradient, picture)])
                updates += 1

    return minimize


def lbfgs(low, high):
    """L-BFGS as an optimizer for descend(), with pixels bounded by low and high, (3,) each.

    Each pixel has an angle, whose sine is the pixel's position between low and high. scipy could only bound its own
    variables, and these are not the pixels but Waves of the angles. Each epoch yields the best picture so far. The
    state does not contain the curvature that L-BFGS has learnt: a resumed run continues from the best picture, but not
    to the same bytes.
    """
    middle, half = (high + low) / 2, (high - low) / 2

    def minimize(scale, start, state, painted):
        cost, epochs, changes = scale.cost(), scale.epochs, scale.changes()
        # The first step of L-BFGS has length 1. Random steps of this length change the angles by this unit.
        unit = (NEXT_STEP if painted else FIRST_STEP) * math.sqrt(start.size)
        done = int(state["epoch"]) if state else 0
        best, best_costs, times = start, None, None
        within = np.clip((start - middle) / half, -STEEPEST, STEEPEST)  # at a bound the sine is flat
        first = np.arcsin(within, dtype="float32")
        waves = Waves(start.shape, unit)
        points = evaluations(np.zeros(start.size), maxcor=int(np.clip(LBFGS_BYTES / (16 * start.size), 2, 10)))
        del start, within
        with contextlib.closing(points):
            answer = None
            for epoch in range(done - 1, epochs):  # the start is evaluated too, as with Adam
                try:
                    angles = first + waves.to_pixels(points.send(answer)) * changes
                except StopIteration:  # no step lowers the cost any further
                    if epoch == done:  # not even the first step did
                        yield epoch, best, best_costs, functools.partial(dict, picture=best)
                    return
                picture = middle + half * np.sin(angles)
                costs, gradient = cost(tf.constant(picture), gradient=epoch < epochs - 1)
                costs = finite(costs, picture, epoch, best)
                if gradient is not None:
                    slope = waves.gradient(np.asarray(gradient) * half * np.cos(angles))
                    if times is None:  # scipy's first step has the gradient's length, at most 1; this makes it 1
                        length = np.linalg.norm(slope)
                        times = 1 / length if 0 < length < 1 else 1
                    slope *= times
                    answer = costs["total"] * times, slope
                del angles, gradient  # L-BFGS needs much memory for a large picture
                if best_costs is None or costs["total"] < best_costs["total"]:
                    best, best_costs = picture, costs
                if epoch >= done:
                    yield epoch, best, best_costs, functools.partial(dict, picture=best)

    return minimize


def evaluations(x0, maxcor):
    """scipy's L-BFGS as a generator: it yields points, and must be sent (cost, gradient) of each.

    x0 is the first point (n,); maxcor is the number of steps that L-BFGS remembers. scipy needs a cost function to
    call. So scipy runs in a thread of its own; the function that it calls passes each point on and waits for the
    answer. A point is valid until its answer is sent.
    """
    questions, answers = queue.SimpleQueue(), queue.SimpleQueue()

    class Closed(Exception):
        pass

    gradient = None

    def ask(x):
        nonlocal gradient
        questions.put(x)
        answer = answers.get()
        if answer is None:
            raise Closed
        cost, gradient = answer
        return cost

    def work():
        options = {"maxcor": maxcor, "ftol": 0, "gtol": 0, "maxiter": 10**9, "maxfun": 10**9}
        try:
            scipy.optimize.minimize(ask, x0, jac=lambda x: gradient, method="L-BFGS-B", options=options)
        except Closed:
            pass
        finally:
            questions.put(None)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        try:
            while (x := questions.get()) is not None:
                answers.put((yield x))
        finally:
            answers.put(None)
        worker.result()  # raises here what the thread raised
