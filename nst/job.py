"""From Settings to a Job: everything that can be checked before TensorFlow is there has been checked.

Pictures are opened (nst.pictures), weights are found, a checkpoint is held to what it was made with. What is wrong
is told as InputError.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import pathlib
import platform
import types

import numpy as np

import nst.colours
import nst.files
import nst.film
import nst.masks
import nst.weights
from nst.files import InputError, RunError
from nst.flags import read_recipe
from nst.pictures import Picture, Source, each, find_film, open_init, open_pictures
from nst.settings import COARSEST_SIDE, FIELDS, FILES, OF_FILMS, PICTURES, RECIPE, Settings

CHECKPOINT = "checkpoint.npz"  # in the output folder
NO_WEIGHTS = f"""\
nst_main.py: no trained weights: painting with random ones, which give colours and fine texture but no strokes;
nst_main.py: {nst.weights.HED_INSTALL}, or put a file into pretrained-model/ (README, Trained weights)"""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that has been checked: what nst.run needs to paint one picture."""

    settings: Settings
    canvas: nst.masks.Canvas  # the content at the size of the result
    content: Picture  # what of it is painted
    styles: tuple  # of Pictures, at their size beside it
    film: nst.film.Film | None  # whose frames are painted; content is the first of them
    init: Picture | None  # where to start, at the content's size, if it is neither the content nor noise
    weights: nst.weights.Source
    identity: dict  # all that the result hangs on
    checkpoint: dict | None  # to go on from
    notices: tuple  # lines that the user should read before it begins
    first: Picture | None = None  # frame of a film's scene, whose colours decide for all of it

    def of_frame(self, image, first=None):
        """The job of a frame of the film; first is what the first frame of its scene has as content, if another."""
        image = nst.files.resize_to_long_side(image, max(self.canvas.image.size))
        content = self.content._replace(image=image.crop(self.canvas.box))
        return dataclasses.replace(self, canvas=self.canvas._replace(image=image), content=content, first=first)

    @property
    def output(self):
        return pathlib.Path(self.settings.output_dir)

    @property
    def result(self):
        name = "generated_video.mp4" if self.film else f"generated_image.{self.settings.output_format}"
        return self.output / name

    @property
    def checkpoint_path(self):
        return self.output / CHECKPOINT

    @property
    def animation(self):
        return self.result.with_suffix(f".{self.settings.animation}")

    @property
    def finished(self):
        """Nothing is left to do."""
        checkpoint, animation, epochs = self.checkpoint, self.settings.animation, [of for _, of in self.schedule]
        return (
            checkpoint is not None
            and bool(checkpoint["finished"])
            and spread(checkpoint["epochs"], len(epochs)) == epochs
            and self.result.exists()
            and checkpoint.get("dpi", 0) == self.settings.dpi
            and (animation == "none" or (checkpoint.get("animation") == animation and self.animation.exists()))
        )

    @property
    def last_costs(self):
        """{name: cost} where the checkpoint stands."""
        return dict(zip(self.checkpoint["names"].tolist(), self.checkpoint["history"][-1, 1:].tolist(), strict=True))

    @property
    def recipe(self):
        """What it takes to run it again, of JSON's types: settings, SHA-256 of the files, versions."""
        names = RECIPE if self.film else RECIPE - OF_FILMS
        settings = {name: value for name, value in dataclasses.asdict(self.settings).items() if name in names}
        settings["weights"] = str(self.weights.name)  # whatever there is to be found then
        if (epochs := [of for _, of in self.schedule]) != self.asked_epochs:
            settings["epochs"] = epochs
        named = [name for name in FILES if self.identity[name] and self.identity[name] not in nst.weights.WORDS]
        digests = {name: self.identity[name] for name in named}
        return {"settings": settings, "sha256": digests, "versions": versions()}

    @property
    def asked_epochs(self):
        """Of each scale, coarse to fine."""
        count = self.settings.scales
        if not count:
            count = max(1, 1 + round(math.log2(max(self.content.image.size) / COARSEST_SIDE)))
        return spread(self.settings.epochs, count)

    @property
    def schedule(self):
        """(how many times smaller than the result, epochs) of each scale, coarse to fine; behind, as they were."""
        epochs = self.asked_epochs
        if self.checkpoint:
            behind = int(self.checkpoint["scale"])
            epochs = spread(self.checkpoint["epochs"], len(epochs))[:behind] + epochs[behind:]
        return [(2 ** (len(epochs) - 1 - k), of) for k, of in enumerate(epochs)]

    @functools.cached_property
    def painted_from(self):
        """The content in the colours that it is painted from."""
        if not self.settings.recolor_content or self.settings.preserve_colors in ("luminance", "histogram"):
            return self.content
        found = nst.colours.recoloring(self.first or self.content, self.styles, self.style_weights)
        return nst.colours.recolored(self.content, found)

    @functools.cached_property
    def grey(self):
        """All its pictures are grey, and so is what is painted of them."""
        pictures = (self.painted_from, *self.styles, *([self.init] if self.init else []))
        return all(nst.colours.is_grey(picture.image) for picture in pictures)

    @property
    def style_weights(self):
        """One for each style."""
        return self.settings.style_weights or (1,) * len(self.styles)

    @property
    def content_layers(self):
        """(layer, weight) pairs."""
        return weigh(self.settings.content_layers, 1, 0)

    @property
    def style_layers(self):
        """(layer, weight) pairs for each style."""
        layers = self.settings.style_layers
        return [weigh(layers, 1 / len(layers), k) for k in range(len(self.styles))]


def spread(epochs, count):
    """[epochs of each of so many scales] of --epochs: one number is the coarsest's, and halves."""
    epochs = [int(of) for of in np.ravel(epochs)]
    if len(epochs) == 1:
        return [max(1, epochs[0] >> k) for k in range(count)]
    return [epochs[min(k, len(epochs) - 1)] for k in range(count)]


def weigh(layers, default, k):
    """(("conv4_2", 0.5), ...) of ("conv4_2:0.5", ...), the k-th weight where there are several."""
    parsed = ((name, colon, weights.split(",")) for name, colon, weights in (layer.partition(":") for layer in layers))
    return tuple((name, float(each(weights, k + 1)[k]) if colon else default) for name, colon, weights in parsed)


def prepare(settings, coming=types.MappingProxyType({})):
    """The Job of the settings; coming has the sizes of pictures that are not there yet, by their resolved path.

    Raises InputError for what a user can have got wrong, the inside of weights excepted, and RunError
    where memory is too short for the pictures.
    """
    try:
        return check(settings, Source(settings.max_pixels, coming))
    except MemoryError as error:
        raise RunError("out of memory; give smaller pictures, or lower --image_size and --style_scale") from error


def check(settings, source):
    film = find_film(settings)
    canvas, content, styles, notices = open_pictures(settings, source, film)
    init = open_init(settings, source, canvas, styles)
    weights = nst.weights.find(settings.weights)
    identity = identify(settings, source, weights)
    # It shapes a cut-out, which a JPEG has over white.
    identity["output_format"] = settings.output_format if canvas.alpha else Settings.output_format
    if film:  # which is not lengthened
        identity["epochs"] = list(settings.epochs)
    else:
        identity = {name: value for name, value in identity.items() if name not in OF_FILMS}
    if settings.settings:
        check_files(settings, identity)
    check_tools(settings)
    notices = tuple(f"nst_main.py: {line}" for line in notices)
    if weights.name == "random" and not settings.weights:
        notices += (NO_WEIGHTS,)
    checkpoint = None
    if settings.resume:
        path = pathlib.Path(settings.output_dir, CHECKPOINT)
        checkpoint = find_checkpoint(path, identity)
    job = Job(settings, canvas, content, styles, film, init, weights, identity, checkpoint, notices)
    if checkpoint and checkpoint["epoch"] > job.schedule[int(checkpoint["scale"])][1]:
        raise InputError(
            f"argument --epochs: {path} has {checkpoint['epoch']} of them behind it already;"
            " give as many or more, or leave --resume out to start anew"
        )
    return job


# --- Weights, and what a run hangs on ---------------------------------------------------------------


def identify(settings, source, weights):
    """All that the result hangs on, as {setting: value} of JSON's types, pictures and weights by their SHA-256."""
    identity = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["shapes_result"]
    }
    for field in PICTURES:
        names = identity[field]
        identity[field] = source.digest(names) if isinstance(names, str) else list(map(source.digest, names))
    identity["weights"] = weights.sha256 or weights.name
    return json.loads(json.dumps(identity))


def check_files(settings, identity):
    """Raises InputError where a file that the recipe of --settings names is another one now."""
    recipe = read_recipe(settings.settings)
    for name in FILES:
        used, then = getattr(settings, name), recipe["settings"].get(name)
        used = list(used) if isinstance(used, tuple) else used
        if used == then and recipe["sha256"].get(name, "") not in (identity[name], ""):
            raise InputError(
                f"argument --settings: {settings.settings} was made with another file as --{name}"
                f" ({used or 'where it is looked for'}); put that one there, or name one that you want instead"
            )


def check_tools(settings):
    """Raises InputError where something is missing that is needed for what has been asked for."""
    if settings.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise InputError("argument --tensorboard: needs the package of that name; pip install tensorboard")
    if settings.animation == "mp4" and not nst.film.has_ffmpeg():
        raise InputError("argument --animation mp4: needs ffmpeg; install it, or ask for a gif")


@functools.cache
def versions():
    """{package: version} of what a result can hang on."""
    found = {"python": platform.python_version()}
    for name in ("tensorflow", "keras", "numpy", "scipy", "pillow", "pillow-heif", "tifffile"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # tensorflow has other names too
            found[name] = importlib.metadata.version(name)
    return found


def find_checkpoint(path, identity):
    """The checkpoint of --resume, or None where there is none. Raises InputError where it is another run's."""
    if not os.path.exists(path):  # noqa: PTH110 (Path's own can raise)
        return None
    checkpoint = nst.files.read_arrays(path)
    if "identity" not in checkpoint:
        raise InputError(f"{path}: not a checkpoint of this program; remove it")
    made_with = json.loads(str(checkpoint["identity"]))
    for name, value in identity.items():
        # A checkpoint can be older than a setting, or than its taking several values.
        then = made_with.get(name, FIELDS[f"--{name}"].default)
        if isinstance(value, list):
            then = list(np.atleast_1d(then).tolist())
        if then != value:
            before, now = as_told(name, then), as_told(name, value)
            what = f"another file as --{name}" if before == now else f"another --{name} ({before}, now {now})"
            raise InputError(
                f"argument --resume: {path} was made with {what}; give the same, or leave --resume out to start anew"
            )
    return checkpoint


def as_told(name, value):
    """A value of an identity in words that a user knows."""
    if value == nst.weights.HED_SHA256:
        return "hed"
    if name in FILES and value not in nst.weights.WORDS:
        return "a file" if value else "none"
    return " ".join(map(str, value)) if isinstance(value, list) else value
