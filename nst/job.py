"""From Settings to a Job: everything that can be checked before TensorFlow is there has been checked.

Pictures are opened and brought to their frame, masks are held to them, weights are found, a checkpoint is
held to what it was made with. What is wrong is told as InputError.
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
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageOps

import nst.files
import nst.weights
from nst.files import InputError, RunError
from nst.settings import COARSEST_SIDE, LONGEST_SIDE, RECIPE, Settings, read_recipe

IMAGES = pathlib.Path(__file__).resolve().parent.parent / "images"
PICTURES = ("content_image_filename", "style_image_filename", "init_image", "content_mask", "style_mask")
FILES = (*PICTURES, "weights")  # the settings that name files
CHECKPOINT = "checkpoint.npz"  # in the output folder
MOST_REGIONS = 16  # of a mask; a mask with more grey values has been smoothed or compressed
NO_WEIGHTS = f"""\
nst_main.py: no trained weights: painting with random ones, which give colours and fine texture but no strokes;
nst_main.py: {nst.weights.HED_INSTALL}, or put a file into pretrained-model/ (README, Trained weights)"""


class Picture(NamedTuple):
    """A picture in RGB, and its mask in grey, of the same size, or None."""

    image: Image.Image
    mask: Image.Image | None = None

    def resized(self, long_side):
        image = nst.files.resize_to_long_side(self.image, long_side)
        return Picture(image, self.mask and self.mask.resize(image.size, Image.Resampling.NEAREST))


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that has been checked: what nst.run needs to paint one picture."""

    settings: Settings
    content: Picture  # at the size of the result
    styles: tuple  # of Pictures, at their size beside it
    init: Picture | None  # where to start, at the content's size, if it is neither the content nor noise
    weights: nst.weights.Source
    identity: dict  # all that the result hangs on
    checkpoint: dict | None  # to go on from
    notices: tuple  # lines that the user should read before it begins

    @property
    def output(self):
        return pathlib.Path(self.settings.output_dir)

    @property
    def result(self):
        return self.output / "generated_image.jpg"

    @property
    def checkpoint_path(self):
        return self.output / CHECKPOINT

    @property
    def animation(self):
        return self.result.with_suffix(f".{self.settings.animation}")

    @property
    def finished(self):
        """Nothing is left to do."""
        checkpoint, animation = self.checkpoint, self.settings.animation
        return (
            checkpoint is not None
            and bool(checkpoint["finished"])
            and np.array_equal(np.atleast_1d(checkpoint["epochs"]), self.settings.epochs)
            and self.result.exists()
            and (animation == "none" or (checkpoint.get("animation") == animation and self.animation.exists()))
        )

    @property
    def last_costs(self):
        """{name: cost} where the checkpoint stands."""
        return dict(zip(self.checkpoint["names"].tolist(), self.checkpoint["history"][-1, 1:].tolist(), strict=True))

    @property
    def recipe(self):
        """What it takes to run it again, of JSON's types: settings, SHA-256 of the files, versions."""
        settings = {name: value for name, value in dataclasses.asdict(self.settings).items() if name in RECIPE}
        settings["weights"] = str(self.weights.name)  # whatever there is to be found then
        named = [name for name in FILES if self.identity[name] and self.identity[name] not in nst.weights.WORDS]
        digests = {name: self.identity[name] for name in named}
        return {"settings": settings, "sha256": digests, "versions": versions()}

    @property
    def schedule(self):
        """(how many times smaller than the result, epochs) of each scale, coarse to fine."""
        epochs, count = self.settings.epochs, self.settings.scales
        if not count:
            count = max(1, 1 + round(math.log2(max(self.content.image.size) / COARSEST_SIDE)))
        if len(epochs) == 1:
            epochs = [max(1, epochs[0] >> k) for k in range(count)]
        return [(2 ** (count - 1 - k), epochs[min(k, len(epochs) - 1)]) for k in range(count)]

    @property
    def style_weights(self):
        """One for each style."""
        return self.settings.style_weights or (1,) * len(self.styles)

    @property
    def content_layers(self):
        """(layer, weight) pairs."""
        return weigh(self.settings.content_layers, 1)

    @property
    def style_layers(self):
        """(layer, weight) pairs."""
        return weigh(self.settings.style_layers, 1 / len(self.settings.style_layers))


def weigh(layers, default):
    """(("conv4_2", 0.5), ...) of ("conv4_2:0.5", ...)."""
    pairs = (layer.partition(":") for layer in layers)
    return tuple((name, float(weight) if colon else default) for name, colon, weight in pairs)


def prepare(settings):
    """The Job of the settings.

    Raises InputError for what a user can have got wrong, the inside of weights excepted, and RunError
    where memory is too short for the pictures.
    """
    try:
        return check(settings)
    except MemoryError as error:
        raise RunError("out of memory; give smaller pictures, or lower --image_size and --style_scale") from error


def check(settings):
    content, styles = open_pictures(settings)
    init = open_init(settings, content, styles)
    weights = nst.weights.find(settings.weights)
    identity = identify(settings, weights)
    if settings.settings:
        check_files(settings, identity)
    check_tools(settings)
    checkpoint, notices = None, ()
    if weights.name == "random" and not settings.weights:
        notices = (NO_WEIGHTS,)
    if settings.resume:
        path = pathlib.Path(settings.output_dir, CHECKPOINT)
        checkpoint = find_checkpoint(path, identity, max(settings.epochs))
    return Job(settings, content, styles, init, weights, identity, checkpoint, notices)


# --- Pictures -------------------------------------------------------------------------------------


def find_image(name):
    """The path of a picture: a bare name is looked for in images/, then as a path."""
    return nst.files.locate(name, IMAGES)


def open_pictures(settings):
    """The content in its frame, and the styles at style_scale times its long side, as Pictures with their masks."""
    content = nst.files.read_image(find_image(settings.content_image_filename))
    styles = [nst.files.read_image(find_image(name)) for name in settings.style_image_filename]
    content_mask = open_mask(settings.content_mask, content)
    mask_names = settings.style_mask or ("",) * len(styles)
    style_masks = [open_mask(name, style) for name, style in zip(mask_names, styles, strict=True)]
    long_side = settings.image_size or max(content.size)
    style_side = max(1, round(long_side * settings.style_scale))
    check_size("--image_size: a result", content, long_side)
    for style in styles:
        check_size("--style_scale: a style", style, style_side)
    if content_mask:
        match_regions(settings, content_mask, style_masks)
    content = Picture(content, content_mask).resized(long_side)
    styles = tuple(Picture(*pair).resized(style_side) for pair in zip(styles, style_masks, strict=True))
    if content_mask:
        lost = regions_of(content.mask) - set().union(*(regions_of(style.mask) for style in styles))
        if lost:
            raise InputError(
                f"arguments --image_size and --style_scale: at this size nothing is left of the styles' regions of"
                f" grey value {min(lost)}; ask for more"
            )
    return content, styles


def check_size(what, image, long_side):
    width, height = nst.files.size_with_long_side(image.size, long_side)
    if width * height > nst.files.MOST_PIXELS or long_side > LONGEST_SIDE:
        raise InputError(
            f"argument {what} of {width} x {height} is over the {nst.files.MOST_PIXELS:,} pixels,"
            f" or {LONGEST_SIDE:,} a side, that can be written and read again; ask for less"
        )


def open_mask(name, picture):
    """The mask of a picture as a Pillow image in grey; None for no name."""
    if not name:
        return None
    mask = nst.files.read_image(find_image(name)).convert("L")
    stretch = mask.width * picture.height / (mask.height * picture.width)
    if not 0.98 < stretch < 1.02:
        sizes = " and ".join(f"{image.width} x {image.height}" for image in (mask, picture))
        raise InputError(f"{name}: a mask has the shape of its picture, these are {sizes}")
    count = len(regions_of(mask))
    if count > MOST_REGIONS:
        raise InputError(
            f"{name}: {count} grey values, and a mask may have {MOST_REGIONS};"
            " draw it without smoothing and save it as PNG"
        )
    return mask


def regions_of(mask):
    return set(np.unique(mask).tolist())


def match_regions(settings, content_mask, style_masks):
    """Raises InputError unless each region of the content has a style, and each of a style is one of the content's."""
    wanted, offered = regions_of(content_mask), set()
    for name, mask in zip(settings.style_mask, style_masks, strict=True):
        regions = regions_of(mask)
        offered |= regions
        if extra := sorted(regions - wanted):
            raise InputError(
                f"{name}: its region of grey value {extra[0]} is not in {settings.content_mask},"
                f" which has {', '.join(map(str, sorted(wanted)))}"
            )
    if missing := sorted(wanted - offered):
        raise InputError(
            f"{settings.content_mask}: its region of grey value {missing[0]} has no style;"
            f" the style masks have {', '.join(map(str, sorted(offered)))}"
        )


def open_init(settings, content, styles):
    """The picture to start from, cut to fill the content's frame; None where the start is content or noise."""
    if settings.init_image:
        image = nst.files.read_image(find_image(settings.init_image))
    elif settings.init == "style":
        image = styles[0].image
    else:
        return None
    return Picture(ImageOps.fit(image, content.image.size, Image.Resampling.LANCZOS))


# --- Weights, and what a run hangs on ---------------------------------------------------------------


def identify(settings, weights):
    """All that the result hangs on, as {setting: value} of JSON's types, pictures and weights by their SHA-256."""
    identity = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["shapes_result"]
    }

    def digest(name):
        return nst.files.sha256(find_image(name)) if name else ""

    for field in PICTURES:
        names = identity[field]
        identity[field] = digest(names) if isinstance(names, str) else [digest(name) for name in names]
    if settings.scales != 1:
        identity["epochs"] = settings.epochs  # they divide the work between the scales
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
    if settings.animation == "mp4":
        try:
            imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise InputError("argument --animation mp4: needs ffmpeg; install it, or ask for a gif") from error


@functools.cache
def versions():
    """{package: version} of what a result can hang on."""
    found = {"python": platform.python_version()}
    for name in ("tensorflow", "keras", "numpy", "scipy", "pillow", "pillow-heif", "tifffile"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # tensorflow has other names too
            found[name] = importlib.metadata.version(name)
    return found


def find_checkpoint(path, identity, epochs):
    """The checkpoint of --resume, or None where there is none. Raises InputError where it is another run's."""
    if not os.path.exists(path):  # noqa: PTH110 (Path's own can raise)
        return None
    checkpoint = nst.files.read_arrays(path)
    if "identity" not in checkpoint:
        raise InputError(f"{path}: not a checkpoint of this program; remove it")
    made_with = json.loads(str(checkpoint["identity"]))
    for name, value in identity.items():
        if made_with.get(name) != value:
            before, now = as_told(name, made_with.get(name)), as_told(name, value)
            what = f"another file as --{name}" if before == now else f"another --{name} ({before}, now {now})"
            raise InputError(
                f"argument --resume: {path} was made with {what}; give the same, or leave --resume out to start anew"
            )
    if checkpoint["epoch"] > epochs:
        raise InputError(
            f"argument --epochs: {path} has {checkpoint['epoch']} of them behind it already;"
            " give as many or more, or leave --resume out to start anew"
        )
    return checkpoint


def as_told(name, value):
    """A value of an identity in words that a user knows."""
    if value == nst.weights.HED_SHA256:
        return "hed"
    if name in FILES and value not in nst.weights.WORDS:
        return "a file" if value else "none"
    return " ".join(map(str, value)) if isinstance(value, list) else value
