"""The run: paints what a Job asks for.

A Job is made, and checked, by nst.job; nst_main imports this module when there is one: TensorFlow, which
takes seconds to start, is behind it.
"""

import contextlib
import functools
import importlib
import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

import nst.colours
import nst.cost
import nst.descent
import nst.files
import nst.graphs
import nst_utils
from nst.files import RunError
from nst.record import FilmRecord, Record
from nst.settings import Settings

SAME_SCENE = 0.3  # of a frame must be there in the one before
SETTLING = 4  # frames until what has come into sight is held to what was painted there
DRIVER = pathlib.Path("/proc/driver/nvidia/gpus")  # where Linux tells of NVIDIA's


@functools.lru_cache(maxsize=1)
def load_vgg_model(*what):
    """nst_utils.load_vgg_model, once for all jobs of a batch that follow each other with the same network."""
    nst.graphs.view_of.cache_clear()  # its graphs hold on to the network before
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
        if settings.optimizer == "adam":
            # Weights that are small together would have the gradient drown in it.
            weight = (settings.alpha + settings.beta + settings.tv_weight) / (Settings.alpha + Settings.beta)
            optimizer = nst.descent.adam(settings.learning_rate, nst.descent.EPSILON * min(1, weight))
        else:
            optimizer = nst.descent.lbfgs(-nst_utils.MEANS, 255 - nst_utils.MEANS)
        stop.patient = True
        with (FilmRecord if job.film else Record)(job) as record:
            record.say(f"Painting with {model.name}, weights: {job.weights.name}, on {processor()}", *unused_gpu())
            try:
                (paint_film if job.film else paint_picture)(job, model, optimizer, record, stop)
            except KeyboardInterrupt:  # between two windows
                if record.state is None:
                    raise KeyboardInterrupt(f"before the first {record.counted} was finished") from None
            except RunError:  # of a frame that cannot be read
                record.end_badly(record.picture)
                raise
            except nst.descent.Diverged as error:
                record.end_badly(error.picture)
                step_failed = settings.optimizer == "adam" and error.iteration >= 0
                lower = "--learning_rate" if step_failed else "--alpha, --beta and --tv_weight"
                raise RunError(f"{error}; lower {lower}. {record.kept}") from error
            stopped = stop.signum is not None
            record.end(stopped)
    if stopped:
        raise KeyboardInterrupt(f"after {record.so_far}, and --resume goes on with it")
    return record.costs


def paint_picture(job, model, optimizer, record, stop):
    """The descent of a picture, through all its scales, recorded."""
    scales = [make_scale(shrink, epochs, job, model, stop.check) for shrink, epochs in job.schedule]
    record.start = lambda: scales[0].start(None)
    for iterate in nst.descent.descend(scales, optimizer, job.checkpoint):
        record.add(iterate)
        if stop.signum:
            break


def paint_film(job, model, optimizer, record, stop):
    """A descent for each frame: the first of a scene as a picture's, the others from the one before.

    That is carried along the motion, after Ruder, Dosovitskiy & Brox 2016, see nst.flow. Where the motion can be
    trusted little may change. With too little trust it is another scene.
    """
    flow = importlib.import_module("nst.flow")  # with OpenCV, which only films need
    done, G, before = record.iteration, record.picture, None  # the job of the frame before
    # How long each pixel has been painted, 0 to 1, and the number of the scene's first frame.
    settled, scene = (job.checkpoint["settled"], int(job.checkpoint.get("scene", 0))) if job.checkpoint else (None, 0)
    first = job.of_frame(next(job.film.frames(scene))[1]).content
    for number, image in job.film.frames(max(0, done)):
        of_frame = job.of_frame(image, first)
        if number > done:
            carried = None
            if before is not None:
                here, there = (np.asarray(frame.content.image) for frame in (of_frame, before))
                back = flow.flow(here, there)
                trusted = flow.trust(back, flow.flow(there, here))
                if trusted.mean() >= SAME_SCENE:
                    settled = trusted * np.clip(flow.look_up(settled, back), 0, 1)
                    contents = map(paint_content, (before, of_frame))
                    start = flow.start_from(np.asarray(G)[0], *contents, back, trusted, texture(of_frame, number))
                    carried = Carried(start, settled)
            if carried:
                epochs = job.settings.frame_epochs
                schedule = [(2 ** (len(epochs) - 1 - k), of) for k, of in enumerate(epochs)]
            else:
                of_frame, scene = job.of_frame(image), number
                first, schedule = of_frame.content, job.schedule
                settled = np.ones(first.image.size[::-1], "float32")
            frames = len(job.film.chosen) if carried else 1
            scales = [make_scale(*scale, of_frame, model, stop.check, carried, frames) for scale in schedule]
            for iterate in nst.descent.descend(scales, optimizer):
                stop.check()
                G, costs = iterate.picture, iterate.costs
            settled = np.minimum(settled + 1 / SETTLING, 1)
            record.add_frame(number, of_frame, G, costs, {"settled": settled, "scene": scene})
            if stop.signum:
                break
        before = of_frame


class Carried(NamedTuple):
    """What a frame is painted from (n_H, n_W, 3), and for each pixel, 0 to 1, how much it is to stay (n_H, n_W)."""

    image: np.ndarray
    settled: np.ndarray

    def at(self, size):
        """The same at another size (n_H, n_W), by averages."""
        return Carried(*(nst_utils.resize(part, size, "area") for part in self))


def paint_content(job):
    content = np.asarray(job.painted_from.image)
    return nst.colours.paint_with(job.settings.preserve_colors, content)[0].astype("float32")


def texture(job, number):
    """The first style, filling the frame, from another place for each number."""
    size = job.content.image.size
    style = ImageOps.fit(job.styles[0].image, size, Image.Resampling.LANCZOS)
    shift = np.random.default_rng((job.settings.seed, number)).integers(size[::-1])
    content = (job.first or job.content).image
    painted = nst.colours.paint_with(job.settings.preserve_colors, np.asarray(content), np.asarray(style))[1]
    return np.roll(painted, shift, (0, 1)).astype("float32")


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
        # TensorFlow computes on the first, whatever others there are.
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "a GPU")
    given = tf.config.threading.get_intra_op_parallelism_threads()
    threads = given or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    return f"{threads} processor thread{'s' if threads > 1 else ''}"


def unused_gpu():
    """[A line for who has a GPU that TensorFlow does not see]; nothing for others."""
    if DRIVER.is_dir() and any(DRIVER.iterdir()) and not tf.config.list_physical_devices("GPU"):
        return ["A GPU is there and not used; pip install 'tensorflow[and-cuda]'"]
    return []


def make_scale(shrink, epochs, job, model, pause, carried=None, frames=1):
    """A scale of the descent, so many times smaller than the job's pictures; pause is nst.cost's.

    Of a film's frame carried is what it goes on from, and frames how many like it there are.
    """
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
        content = at_scale(job.painted_from)
        if coarser is None and job.init and not carried:
            return list(arrays(content, at_scale(job.init)))[1]
        (C,) = arrays(content)
        if carried:
            size = C.shape[1:3]
            start = carried.at(size).image[np.newaxis]
            if coarser is None:
                return start
            return start + nst_utils.resize(
                coarser - nst_utils.resize(start, coarser.shape[1:3], "area"), size, "bicubic"
            )
        if coarser is None:
            noise_ratio = {"content": 0, "random": 1}.get(settings.init, settings.noise_ratio)
            return nst_utils.generate_noise_image(C, noise_ratio, settings.seed)
        return nst_utils.generate_finer_image(coarser, C)

    def cost():
        content, *styles = map(at_scale, (job.painted_from, *job.styles))
        (C,) = arrays(content)
        _, *S = arrays(at_scale(job.first) if job.first else content, *styles)
        regions, *style_regions = (shares(picture.regions) for picture in (content, *styles))
        terms = nst.cost.Terms(
            alpha=settings.alpha,
            beta=settings.beta,
            content_layers=job.content_layers,
            style_layers=mean_weights(job.style_layers),
            style_cost=settings.style_cost,
            style_octaves=settings.style_octaves,
            tv_weight=settings.tv_weight,
            temporal_weight=settings.temporal_weight,
            normalize_gradients=settings.normalize_gradients,
            layer_costs=settings.layer_costs,
            grey=job.grey,
        )
        before = carried and carried.at(C.shape[1:3])
        before = before and (before.image[np.newaxis], before.settled[np.newaxis, ..., np.newaxis])
        styles = list(map(nst.cost.Style, S, job.style_weights, style_regions, job.style_layers))
        return nst.cost.Cost(model, C, styles, terms, epochs * frames, regions, pause, before)

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
