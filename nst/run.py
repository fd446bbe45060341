"""The run: paints what a Job asks for.

A Job is made, and checked, by nst.job; nst_main imports this module when there is one: TensorFlow, which
takes seconds to start, is behind it.
"""

import contextlib
import functools

import numpy as np
import tensorflow as tf

import nst.colours
import nst.cost
import nst.descent
import nst.files
import nst_utils
from nst.files import RunError
from nst.record import Record


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
    layers = tuple(name for name, _ in (*job.content_layers, *job.style_layers))
    with shortage_told("for the weights; close what else needs it"):
        model = load_vgg_model(job.weights.name, layers, settings.pooling, settings.padding)
    size = f"{job.content.image.width} x {job.content.image.height}"
    with nst.files.claimed(job.output), shortage_told(f"with a picture of {size}; lower --image_size"):
        scales = [make_scale(shrink, epochs, job, model) for shrink, epochs in job.schedule]
        if settings.optimizer == "adam":
            optimizer = nst.descent.adam(settings.learning_rate)
        else:
            optimizer = nst.descent.lbfgs(-nst_utils.MEANS, 255 - nst_utils.MEANS)
        stop.patient = True
        with Record(job) as record:
            record.say(f"Painting with {model.name}, weights: {job.weights.name}")
            try:
                for iterate in nst.descent.descend(scales, optimizer, job.checkpoint):
                    record.add(iterate)
                    if stop.signum:
                        break
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


def make_scale(shrink, epochs, job, model):
    """A scale of the descent, so many times smaller than the job's pictures."""
    settings = job.settings

    def at_scale(picture):
        return picture.resized(max(1, round(max(picture.image.size) / shrink)))

    def arrays(content, *others):
        """The pictures in the colours to paint with, mean-subtracted."""
        images = [np.asarray(picture.image) for picture in (content, *others)]
        return map(nst_utils.reshape_and_normalize_image, nst.colours.paint_with(settings.preserve_colors, *images))

    def start(coarser):
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
        regions, *style_regions = (picture.mask and np.asarray(picture.mask) for picture in (content, *styles))
        terms = nst.cost.Terms(
            alpha=settings.alpha,
            beta=settings.beta,
            content_layers=job.content_layers,
            style_layers=job.style_layers,
            style_cost=settings.style_cost,
            style_octaves=settings.style_octaves,
            tv_weight=settings.tv_weight,
            normalize_gradients=settings.normalize_gradients,
        )
        styles = list(map(nst.cost.Style, S, job.style_weights, style_regions))
        return nst.cost.Cost(model, C, styles, terms, epochs, regions)

    return nst.descent.Scale(epochs, start, cost)
