"""The run: paints what a Job asks for.

This module imports TensorFlow, which takes seconds to start, so nst_main imports it only when there is a Job to paint.
"""

import contextlib
import functools

import tensorflow as tf

import nst.descent.sight
import nst.network.weights
import nst_utils
from nst.descent import optimizers
from nst.descent.scales import make_scale
from nst.descent.terms import layers_needed
from nst.errors import RunError
from nst.network import convolution, device
from nst.record import Record
from nst.settings import Settings


def paint(job, stop):
    """Paint the picture of a job: lines on the terminal, files in the output folder. Returns its last costs.

    stop.patient is set while a signal may wait for the end of the iteration; stop.signum is the signal that came.
    Raises InputError for weights of another network and for a folder that cannot be written in, RunError, WriteError,
    and KeyboardInterrupt if a signal came.
    """
    record = Record(job)
    paint_into(record, stop)
    return record.history.last


def paint_into(record, stop):
    """Paint the picture of the job of a record, a nst.record.Progress, which takes each Iterate; as paint does."""
    job = record.job
    with ready(job, stop) as (model, optimizer), record, recording(record, job, model, stop):
        scales = [
            make_scale(job.scene, shrink, epochs, job.settings.of_scale(k), model, stop.check)
            for k, (shrink, epochs) in enumerate(job.schedule)
        ]
        # L-BFGS has a thread, which would wait for ever if an exception kept the descent alive.
        with contextlib.closing(optimizers.descend(scales, optimizer, job.checkpoint)) as iterates:
            for iterate in iterates:
                record.add(iterate)
                if stop.signum:
                    break


# --- What every painter needs ---------------------------------------------------------------------


@contextlib.contextmanager
def ready(job, stop):
    """Lock the output folder while the body runs, and make stop patient. Yields (model, optimizer)."""
    settings = job.settings
    height, width = job.originals.content.size
    with shortage_explained("for the weights; close other programs"):
        in_bfloat16 = settings.precision == "bfloat16" or (settings.precision == "auto" and device.has_bfloat16())
        model = load_model(job.weights, layers_needed(settings), settings.pooling, settings.padding, in_bfloat16)
    if settings.optimizer == "adam":
        # With small weights the gradient would be lost in Adam's epsilon.
        weights = settings.alpha, settings.beta, settings.tv_weight, settings.light_weight
        weight = sum(weights) / (Settings.alpha + Settings.beta)
        optimizer = optimizers.adam(settings.learning_rate, optimizers.EPSILON * min(1, weight))
    else:
        optimizer = optimizers.lbfgs(-nst_utils.MEANS, 255 - nst_utils.MEANS)
    told = f"with a picture of {width} x {height}; lower --image_size"
    with job.claimed(), shortage_explained(told):
        stop.patient = True
        yield model, optimizer


@contextlib.contextmanager
def recording(record, job, model, stop):
    """Finish the record however the body ends: normally, by a signal, or by an error."""
    interrupted = False
    source = f"{job.weights.name}{nst.network.weights.remark(job.weights)}"
    numbers = ", in bfloat16" if convolution.is_narrow(model) else ""
    first = f"Painting with {model.name}, weights: {source}, on {device.name()}{numbers}"
    record.say(first, *could_be_faster(job.settings, model))
    try:
        yield
    except KeyboardInterrupt:  # between two windows
        if record.state is None:
            raise KeyboardInterrupt(f"before the first {record.counted} was finished") from None
        interrupted = True
    except RunError:  # a part of the input cannot be read
        record.end_badly(record.picture)
        raise
    except optimizers.Diverged as error:
        record.end_badly(error.picture)
        step_failed = job.settings.optimizer == "adam" and error.iteration >= 0
        lower = "--learning_rate" if step_failed else "--alpha, --beta, --tv_weight and --light_weight"
        raise RunError(f"{error}; lower {lower}. {record.kept}") from error
    stopped = interrupted or stop.signum is not None
    record.end(stopped)
    if stopped:
        raise KeyboardInterrupt(f"after {record.so_far}")


def could_be_faster(settings, model):
    """Lines that say why painting takes longer than it could here."""
    lines = [] if settings.device == "cpu" else device.unused_gpu()
    if not convolution.is_narrow(model) and not device.gpu() and (why := convolution.why_not_compiled()):
        lines.append(f"This TensorFlow cannot compile ({why}), so that painting takes up to twice as long")
    return lines


@functools.lru_cache(maxsize=1)
def load_model(source, layers, pooling, padding, in_bfloat16):
    """nst_utils.load_vgg_model, once for all jobs that follow each other with the same network.

    source is a nst.network.weights.Source. It has the SHA-256 of its file, so a file that changed is read again.
    """
    nst.descent.sight.CACHE.kept.clear()  # the cached graphs would keep the previous network in memory
    model = nst_utils.load_vgg_model(source.name, layers, pooling, padding)
    return convolution.narrow(model) if in_bfloat16 else model


@contextlib.contextmanager
def shortage_explained(where):
    """Turn the exceptions for a lack of memory into a RunError."""
    try:
        yield
    except (MemoryError, tf.errors.OpError) as error:
        if (said := device.shortage(error)) is None:
            raise
        raise RunError(f"out of memory {where}{said}") from error
