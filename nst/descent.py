"""The descent: from a start to pictures of ever lower cost, by Adam or by L-BFGS, from coarse to fine.

descend() is a generator: whoever calls it decides what to print and what to keep. It knows the cost as
a function of the picture, and nothing of networks, flags or files.
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

LBFGS_BYTES = 1e9  # what L-BFGS may keep of its past; large pictures make it remember fewer steps
FIRST_STEP = 1 / 6  # radians, about 20 grey levels; with 1 / 300 and with 1 / 1.5 the cost was behind for 20 epochs
NEXT_STEP = 1 / 40  # where a coarser scale has painted already: three epochs later the cost was 0.46 of 1 / 6's
EPSILON = 1e-8  # TensorFlow 1's; Keras has 1e-7
STEEPEST = 0.99  # of the way from the middle to a bound, where a pixel may start


class Scale(NamedTuple):
    """One size of picture on the way from coarse to fine.

    start(G) makes its first picture (1, n_H, n_W, 3) of the last one of the scale before, or of None;
    cost() makes its cost, a function (G, gradient=True) -> ({"total": J, and what it is made of}, gradient of J).
    """

    epochs: int
    start: Callable
    cost: Callable


class Iterate(NamedTuple):
    """One state of the descent. state is its own until the next one is asked for.

    iteration counts from 0 through all scales, epoch in its scale; picture is G (1, n_H, n_W, 3); costs
    are G's, by name, as floats; state() gives the arrays that descend() goes on from.
    """

    iteration: int
    scale: int
    epoch: int
    picture: np.ndarray | tf.Tensor
    costs: dict
    state: Callable[[], dict]


class Diverged(ArithmeticError):
    """The cost became nan or infinite in an iteration (-1: where a scale starts); picture is G before it."""

    def __init__(self, iteration, picture):
        super().__init__(f"the cost is not finite at {'the start' if iteration < 0 else f'iteration {iteration}'}")
        self.iteration, self.picture = iteration, picture


def descend(scales, optimizer, state=None):
    """Minimise the cost of each of the scales in turn; yields an Iterate for each epoch. Raises Diverged.

    An epoch is one evaluation of cost and gradient, but for the last gradient, which leads nowhere.
    optimizer is adam() or lbfgs(). With the state of an Iterate the descent goes on behind that one; with
    Adam it yields what it would have yielded.
    """
    iteration, first, picture = 0, 0, None
    if state:
        iteration, first, picture = int(state["iteration"]) + 1, int(state["scale"]), state["picture"]
    for k, scale in enumerate(scales[first:], first):
        resumed = state if state and k == first else None
        painted = picture is not None
        start = picture if resumed else scale.start(picture)
        try:
            for epoch, picture, costs, arrays in optimizer(scale.cost(), start, scale.epochs, resumed, painted):
                progress = {"scale": k, "epoch": epoch + 1, "iteration": iteration}
                yield Iterate(iteration, k, epoch, picture, costs, functools.partial(collect, arrays, progress))
                iteration += 1
        except Diverged as error:
            raise Diverged(iteration if error.iteration >= 0 else -1, error.picture) from error


def collect(arrays, progress):
    return {**arrays(), **progress}


def finite(costs, iteration, picture):
    """The costs as floats. Raises Diverged, with the last good picture, where they are none."""
    costs = {name: float(cost) for name, cost in costs.items()}
    if not all(map(math.isfinite, costs.values())):
        raise Diverged(iteration, picture)
    return costs


def adam(learning_rate, epsilon=EPSILON):
    """Adam as an optimizer for descend().

    The start is evaluated as well: what one evaluation finds is the cost of the picture that is yielded
    and the gradient of the next update, so nothing is computed for printing alone. An evaluation that is
    broken off is taken up again: the state says whether its update has been made.
    """

    def minimize(cost, start, epochs, state, painted):
        picture = tf.Variable(start)
        optimizer = keras.optimizers.Adam(learning_rate, epsilon=epsilon)
        optimizer.build([picture])
        variables = {"picture": picture, **{f"adam_{i}": v for i, v in enumerate(optimizer.variables)}}
        done = updates = 0
        if state:
            for name, variable in variables.items():
                variable.assign(state[name])
            done = int(state["epoch"])
            updates = int(state.get("updates", done))  # of this scale
        before = start

        def arrays():
            return {**{name: variable.numpy() for name, variable in variables.items()}, "updates": updates}

        for epoch in range(updates - 1, epochs):  # from the start, or what is there of the picture
            costs, gradient = cost(picture, gradient=epoch < epochs - 1)
            costs = finite(costs, epoch if epoch >= done else -1, before)
            if epoch >= done:
                before = tf.identity(picture)
                yield epoch, before, costs, arrays
            if gradient is not None:
                optimizer.apply_gradients([(gradient, picture)])
                updates += 1

    return minimize


def lbfgs(low, high):
    """L-BFGS as an optimizer for descend(), its pixels bounded by low and high, (3,) each.

    What L-BFGS moves is an angle for each pixel, whose sine says where it is from low to high. scipy's
    own bounds would do as well, but it turns them into gigabytes of Python numbers for a large picture.
    Each epoch yields the best picture so far. What L-BFGS has learnt of the curvature is not part of its
    state: resumed, it goes on from that picture but not to the same bytes.
    """
    middle, half = (high + low) / 2, (high - low) / 2

    def minimize(cost, start, epochs, state, painted):
        shape = start.shape
        # L-BFGS begins with a step of length 1; in these units the angles' root mean square is then the step.
        unit = (NEXT_STEP if painted else FIRST_STEP) * math.sqrt(start.size)
        done = int(state["epoch"]) if state else 0
        best, best_costs, times = start, None, None
        within = np.clip((start - middle) / half, -STEEPEST, STEEPEST)  # at the very bounds the sine is flat
        points = evaluations(
            np.arcsin(within, dtype=float).ravel() / unit,
            maxcor=int(np.clip(LBFGS_BYTES / (16 * start.size), 2, 10)),
        )
        del start, within
        with contextlib.closing(points):
            answer = None
            for epoch in range(done - 1, epochs):  # the start is evaluated too, as in Adam's descent
                try:
                    angles = (points.send(answer) * unit).astype("float32").reshape(shape)
                except StopIteration:  # no step lowers the cost any more
                    if epoch == done:  # nor did one of the start's
                        yield epoch, best, best_costs, functools.partial(dict, picture=best)
                    return
                picture = middle + half * np.sin(angles)
                costs, gradient = cost(tf.constant(picture), gradient=epoch < epochs - 1)
                costs = finite(costs, epoch, best)
                if gradient is not None:
                    slope = (np.asarray(gradient) * half * np.cos(angles)).ravel() * float(unit)
                    if times is None:  # scipy's first step is of the gradient's length, and at the most 1
                        length = np.linalg.norm(slope)
                        times = 1 / length if 0 < length < 1 else 1
                    answer = costs["total"] * times, slope * times
                if best_costs is None or costs["total"] < best_costs["total"]:
                    best, best_costs = picture, costs
                if epoch >= done:
                    yield epoch, best, best_costs, functools.partial(dict, picture=best)

    return minimize


def evaluations(x0, maxcor):
    """scipy's L-BFGS turned inside out: a generator of the points that it asks the cost of.

    It is sent (cost, gradient) of each. scipy would have the cost as a function to call; here it calls
    one, in a thread of its own, that hands the question over and waits for the answer. A point is valid
    until then.
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
        worker.result()  # what failed in the thread fails here
