"""The run: paints what a Job asks for.

A Job is made, and checked, by nst.job; nst_main imports this module when there is one: TensorFlow, which
takes seconds to start, is behind it.
"""

import contextlib
import functools
import os
import pathlib

import numpy as np
import tensorflow as tf

import nst.colours
import nst.cost
import nst.descent
import nst.files
import nst_utils
from nst.files import RunError
from nst.record import Record
from nst.settings import Settings

DRIVER = pathlib.Path("/proc/driver/nvidia/gpus")  # where Linux tells of NVIDIA's


@functools.lru_cache(maxsize=1)
def load_vgg_model(*what):
    """nst_utils.load_vgg_model, once for all jobs of a batch that follow each other with the same network."""
    nst.cost.frame_of.cache_clear()  # its graphs hold on to the network before
    return nst_utils.load_vgg_model(*what)


def paint(job, stop):
    """Paint one picture as the job says: lines on the terminal, files in the output folder. Returns its last costs.

    stop.patient is set while a signal may wait for the iteration's end; stop.signum tells that one came.
    Raises InputError for weights that are none and a folder that cannot be written in, RunError, WriteError,
    and KeyboardInterrupt where a signal came.
    """
    settings = job.settings
    layers = tuple(name for name, _ in (*job.content_layers, *job.style_layers[0]))
    with shortage_told("for the weights; close what else needs it"):
        model = load_vgg_model(job.weights.name, layers, settings.pooling, settings.padding)
    size = f"{job.content.image.width} x {job.content.image.height}"
    with nst.files.claimed(job.output), shortage_told(f"with a picture of {size}; lower --image_size"):
        scales = [make_scale(shrink, epochs, job, model, stop.check) for shrink, epochs in job.schedule]
        if settings.optimizer == "adam":
            # Weights that are small together would have the gradient drown in it.
            weight = (settings.alpha + settings.beta + settings.tv_weight) / (Settings.alpha + Settings.beta)
            optimizer = nst.descent.adam(settings.learning_rate, nst.descent.EPSILON * min(1, weight))
        else:
            optimizer = nst.descent.lbfgs(-nst_utils.MEANS, 255 - nst_utils.MEANS)
        stop.patient = True
        with Record(job) as record:
            record.say(f"Painting with {model.name}, weights: {job.weights.name}, on {processor()}", *unused_gpu())
            try:
                for iterate in nst.descent.descend(scales, optimizer, job.checkpoint):
                    record.add(iterate)
                    if stop.signum:
                        break
            except KeyboardInterrupt:  # between two windows
                if record.state is None:
                    raise
            except nst.descent.Diverged as error:
                record.end_badly(error.picture)
                step_failed = settings.optimizer == "adam" and error.iteration >= 0
                lower = "--learning_rate" if step_failed else "--alpha, --beta and --tv_weight"
                raise RunError(f"{error}; lower {lower}. {job.result} has the last good picture") from error
            stopped = stop.signum is not None
            record.end(lambda: scales[0].start(None), stopped)
    if stopped:
        raise KeyboardInterrupt(
            f"after iteration {record.iteration}: {job.result} has the picture so far, and --resume goes on with it"
        )
    return record.costs


@contextlib.contextmanager
def shortage_told(where):
    """RunError for the ways in which memory gives out."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise RunError(f"out of memory {where}") from error


def processor():
    """What TensorFlow computes on, in words."""
    if gpus := tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpus[0])
        return (
            f"{len(gpus)} x {details.get('device_name', 'GPU')}"
            if len(gpus) > 1
            else details.get("device_name", "a GPU")
        )
    given = tf.config.threading.get_intra_op_parallelism_threads()
    threads = given or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    return f"{threads} processor thread{'s' if threads > 1 else ''}"


def unused_gpu():
    """A line for who has a GPU that TensorFlow does not see; none for others."""
    there = DRIVER.is_dir() and any(DRIVER.iterdir())
    return ("A GPU is there and not used; pip install 'tensorflow[and-cuda]'",) * (
        there and not tf.config.list_physical_devices("GPU")
    )


def make_scale(shrink, epochs, job, model, pause):
    """A scale of the descent, so many times smaller than the job's pictures; pause is nst.cost's."""
    settings = job.settings

    def at_scale(picture):
        return picture.resized(max(1, round(max(picture.image.size) / shrink)))

    def arrays(content, *others):
        """The pictures in the colours to paint with, mean-subtracted."""
        images = [np.asarray(picture.image) for picture in (content, *others)]
        return map(nst_utils.reshape_and_normalize_image, nst.colours.paint_with(settings.preserve_colors, *images))

    def start(coarser):
        return in_grey(first_picture(coarser)) if job.grey else first_picture(coarser)

    def first_picture(coarser):
        content = at_scale(job.content)
        if coarser is None and job.init:
            return list(arrays(content, at_scale(job.init)))[1]
        (C,) = arrays(content)
        if coarser is None:
            noise_ratio = {"content": 0, "random": 1}.get(settings.init, settings.noise_ratio)
            return nst_utils.generate_noise_image(C, noise_ratio, settings.seed)
        return nst_utils.generate_finer_image(coarser, C)

    def cost():
        content, *styles = map(at_scale, (job.content, *job.styles))
        C, *S = arrays(content, *styles)
        regions, *style_regions = (shares(picture.regions) for picture in (content, *styles))
        terms = nst.cost.Terms(
            alpha=settings.alpha,
            beta=settings.beta,
            content_layers=job.content_layers,
            style_layers=mean_weights(job.style_layers),
            style_cost=settings.style_cost,
            style_octaves=settings.style_octaves,
            tv_weight=settings.tv_weight,
            normalize_gradients=settings.normalize_gradients,
            layer_costs=settings.layer_costs,
            grey=job.grey,
        )
        styles = list(map(nst.cost.Style, S, job.style_weights, style_regions, job.style_layers))
        return nst.cost.Cost(model, C, styles, terms, epochs, regions, pause)

    return nst.descent.Scale(epochs, start, cost)


def shares(regions):
    """A Picture's regions as nst.cost has them."""
    return regions and {name: np.asarray(share, "float32") / 255 for name, share in regions.items()}


def mean_weights(layers):
    """Of (layer, weight) pairs for each style the mean over styles."""
    return tuple((pairs[0][0], float(np.mean([weight for _, weight in pairs]))) for pairs in zip(*layers, strict=True))


def in_grey(image):
    """A mean-subtracted (1, n_H, n_W, 3) image without its colours."""
    return np.repeat((image + nst_utils.MEANS).mean(3, keepdims=True), 3, 3) - nst_utils.MEANS
