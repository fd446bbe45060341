"""Makes a Job from Settings and checks everything that does not need TensorFlow.

Pictures are read, weights are found, and a checkpoint is compared with the settings and files of this run. A mistake is
an InputError.
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

import nst.files
import nst.pictures.ffmpeg
import nst.pictures.scene
from nst.errors import InputError, RunError
from nst.network import weights
from nst.pictures.originals import Originals, Reader, check_headers, read_originals
from nst.progress import History
from nst.recipe import comment, find_recipe, read_recipe
from nst.settings import CHANGEABLE, COARSEST_SIDE, FIELDS, FILES, OF_FILMS, PICTURES, RECIPE, RECIPE_FILE, Settings

CHECKPOINT, CURVE, COSTS, FRAMES = "checkpoint.npz", "costs.png", "costs.csv", "frames"  # in the output folder
NO_WEIGHTS = (
    "no trained weights: painting with random ones, which give colours and fine texture but no strokes;",
    f"{weights.HED_INSTALL}, or put a file into pretrained-model/ (README, Trained weights)",
)


@dataclasses.dataclass(frozen=True)
class Job:
    """A checked run: everything needed to paint one picture."""

    settings: Settings
    originals: Originals
    weights: weights.Source
    identity: dict  # everything that changes the result, {setting: value}
    checkpoint: dict | None  # to continue from
    notices: tuple  # lines that the user should read first
    stamp: tuple | None  # read_stamp() of the checkpoint, from before it was read

    painter = "nst.run"  # the module that paints it
    of_recipe = RECIPE - OF_FILMS  # names of the settings in its recipe
    of_identity = of_recipe - CHANGEABLE  # names of the settings in its identity

    @functools.cached_property
    def scene(self):
        return nst.pictures.scene.make_scene(self.originals, self.settings)

    @property
    def output(self):
        return pathlib.Path(self.settings.output_dir)

    @property
    def result(self):
        return result_path(self.settings)

    @property
    def animation(self):
        return self.result.with_suffix(f".{self.settings.animation}")

    def overwrites(self, path):
        """Whether a run of this program in the output folder can replace or remove the file at path."""
        names = {self.result.name, self.animation.name, CURVE, COSTS, CHECKPOINT, RECIPE_FILE}
        names |= set((find_recipe(self.output) or {}).get("results", ()))
        numbered = path.stem.isdecimal() and path.suffix == ".png"
        folder = self.output.resolve()
        is_frame = path.parent == folder / FRAMES and numbered
        return is_frame or (path.parent == folder and (path.name in names or numbered))

    @property
    def checkpoint_path(self):
        return self.output / CHECKPOINT

    @contextlib.contextmanager
    def claimed(self):
        """Lock the output folder while the body runs.

        Raises InputError if another run has it, or wrote the checkpoint after it was read.
        """
        with nst.files.claimed(self.output):
            if self.settings.resume and read_stamp(self.checkpoint_path) != self.stamp:
                raise InputError(f"{self.output}: another run continued it in the meantime; run the command again")
            yield

    @property
    def finished(self):
        """Whether nothing is left to do."""
        checkpoint, animation, epochs = self.checkpoint, self.settings.animation, [count for _, count in self.schedule]
        return (
            checkpoint is not None
            and bool(checkpoint["finished"])
            and spread(checkpoint["epochs"], len(epochs)) == epochs
            and self.result.exists()
            and checkpoint.get("dpi", 0) == self.settings.dpi
            and checkpoint.get("metadata", Settings.metadata) == self.settings.metadata
            and (animation == "none" or (checkpoint.get("animation") == animation and self.animation.exists()))
        )

    @property
    def last_costs(self):
        """{name: cost} of the checkpoint."""
        return History(self.checkpoint).last

    @property
    def recipe(self):
        """Everything needed to run this again, in JSON's types: settings, SHA-256 of the files, versions."""
        settings = {name: value for name, value in dataclasses.asdict(self.settings).items() if name in self.of_recipe}
        settings["weights"] = str(self.weights.name)  # not the default, which depends on the files that are there
        if settings["metadata"] == Settings.metadata:
            del settings["metadata"]  # most recipes are older than this setting
        if (epochs := [count for _, count in self.schedule]) != self.asked_epochs:
            settings["epochs"] = epochs
        named = [name for name in FILES if self.identity[name] and self.identity[name] not in weights.WORDS]
        digests = {name: self.identity[name] for name in named}
        return {"settings": settings, "sha256": digests, "versions": versions()}

    @property
    def comment(self):
        """What a file besides the pictures says of its making: the recipe without the names of folders, or ""."""
        return comment(self.recipe, self.settings)

    @property
    def asked_epochs(self):
        """[epochs of each scale], coarse to fine, as the settings have them."""
        count = self.settings.scales
        if not count:
            count = max(1, 1 + round(math.log2(max(self.originals.content.size) / COARSEST_SIDE)))
        return spread(self.settings.epochs, count)

    @property
    def schedule(self):
        """[(how many times smaller than the result, epochs) of each scale], coarse to fine.

        Scales that a resumed run has finished keep the epochs that they had.
        """
        epochs = self.asked_epochs
        if self.checkpoint:
            finished = int(self.checkpoint["scale"])
            epochs = spread(self.checkpoint["epochs"], len(epochs))[:finished] + epochs[finished:]
        return halving(epochs)


def result_path(settings):
    """The path of a picture's result."""
    return pathlib.Path(settings.output_dir, f"generated_image.{settings.output_format}")


def halving(epochs):
    """[(shrink, epochs)] of [epochs of each scale], coarse to fine, each scale half as large as the next."""
    return [(2 ** (len(epochs) - 1 - k), count) for k, count in enumerate(epochs)]


def spread(epochs, count):
    """[epochs of each of count scales] of --epochs: one number is for the coarsest scale, each finer one gets half."""
    epochs = [int(number) for number in np.ravel(epochs)]
    if len(epochs) == 1:
        return [max(1, epochs[0] >> k) for k in range(count)]
    return [epochs[min(k, len(epochs) - 1)] for k in range(count)]


# --- Checking -------------------------------------------------------------------------------------


def prepare(settings, given=types.MappingProxyType({}), kind=Job, **more):
    """The checked Job of the settings, or a job of another kind with more fields. For given see Reader.

    Raises InputError for a user's mistake, except inside weights files, which are read later, and RunError
    if the memory is too small for the pictures.
    """
    try:
        return check(settings, Reader(settings.max_pixels, given), kind, more)
    except MemoryError as error:
        raise RunError("out of memory; give smaller pictures, or lower --image_size and --style_scale") from error


def outline(settings, reader, kind=Job, **more):
    """(a Job without its pictures, the size (width, height) of its result), checked by the headers of its pictures.

    Raises InputError as prepare does, and PictureError for a picture that cannot be painted. What only the pixels
    tell is left to prepare.
    """
    size = check_headers(settings, reader)
    source = weights.find(settings.weights)
    check_tools(settings)
    job = kind(settings, None, source, {}, None, (), None, **more)
    check_inputs(job, reader)
    if settings.settings or settings.resume:  # only then: it reads all files to their end
        identity = identify(settings, reader, source)
        if settings.settings:
            check_files(settings, identity)
        if settings.resume:
            checkpoint = find_checkpoint(job.checkpoint_path, {name: identity[name] for name in kind.of_identity})
            if settings.scales:  # otherwise the pixels tell how many: what is painted can be a part of the content
                check_epochs(dataclasses.replace(job, checkpoint=checkpoint))
    return job, size


def check(settings, reader, kind, more):
    originals = read_originals(settings, reader)
    source = weights.find(settings.weights)
    identity = identify(settings, reader, source)
    # The format matters only for transparent results, because a JPEG shows them over white.
    identity["output_format"] = settings.output_format if originals.canvas.alpha else Settings.output_format
    identity = {name: value for name, value in identity.items() if name in {*kind.of_identity, "output_format"}}
    if settings.settings:
        check_files(settings, identity)
    check_tools(settings)
    notices = originals.notices
    if source.name == "random" and not settings.weights:
        notices += NO_WEIGHTS
    path = pathlib.Path(settings.output_dir, CHECKPOINT)
    stamp, checkpoint = (read_stamp(path), find_checkpoint(path, identity)) if settings.resume else (None, None)
    job = kind(settings, originals, source, identity, checkpoint, notices, stamp, **more)
    check_inputs(job, reader)
    check_epochs(job)
    return job


def check_epochs(job):
    """Raises InputError if the checkpoint of a job has more epochs than the job asks for."""
    checkpoint = job.checkpoint
    if checkpoint and checkpoint["epoch"] > job.schedule[int(checkpoint["scale"])][1]:
        raise InputError(
            f"argument --epochs: {job.checkpoint_path} has finished {checkpoint['epoch']} of them already;"
            " give as many or more, or leave --resume out to start from the beginning"
        )


def check_inputs(job, reader):
    """Raises InputError if the run would replace or remove one of its own inputs."""
    inputs = [(name, path) for name in PICTURES for path in reader.files(getattr(job.settings, name))]
    if job.weights.path:
        inputs.append(("weights", job.weights.path))
    for name, path in inputs:
        # A link is an input by its own name and by that of its file.
        if job.overwrites(path.parent.resolve() / path.name) or job.overwrites(path.resolve()):
            raise InputError(f"argument --{name}: this run would replace or remove {path}; name another --output_dir")


def identify(settings, reader, source):
    """{setting: value} of all settings, in JSON's types, with files by their SHA-256."""
    identity = {field.name: getattr(settings, field.name) for field in FIELDS.values()}
    for field in PICTURES:
        names = identity[field]
        identity[field] = reader.digest(names) if isinstance(names, str) else list(map(reader.digest, names))
    identity["weights"] = source.sha256 or source.name
    return json.loads(json.dumps(identity))


def check_files(settings, identity):
    """Raises InputError if a file that the recipe of --settings names has changed since."""
    recipe = read_recipe(settings.settings)
    for name in FILES:
        used, then = getattr(settings, name), recipe["settings"].get(name)
        used = list(used) if isinstance(used, tuple) else used
        if used == then and recipe["sha256"].get(name, "") not in (identity[name], ""):
            raise InputError(
                f"argument --settings: {settings.settings} was made with a different file for --{name}"
                f" ({used or 'the default'}); put that file back, or name the one that you want"
            )


def check_tools(settings):
    """Raises InputError if a package or program is missing that the settings need."""
    if settings.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise InputError("argument --tensorboard: needs the package tensorboard; pip install tensorboard")
    if settings.animation == "mp4" and (missing := nst.pictures.ffmpeg.shortage()):
        raise InputError(f"argument --animation mp4: needs {missing}; or ask for a gif")


@functools.cache
def versions():
    """{package: version} of Python and the packages that compute a result."""
    found = {"python": platform.python_version()}
    for name in (
        "tensorflow",
        "keras",
        "numpy",
        "scipy",
        "pillow",
        "pillow-heif",
        "tifffile",
        "opencv-python-headless",
    ):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # tensorflow has other names too
            found[name] = importlib.metadata.version(name)
    return found


def read_stamp(path):
    """(time of the last change, size) of a file; None if there is none."""
    with contextlib.suppress(OSError):
        facts = path.stat()
        return facts.st_mtime_ns, facts.st_size


def find_checkpoint(path, identity):
    """The checkpoint at a path, or None if there is none. Raises InputError if it belongs to another run."""
    if not os.path.exists(path):  # noqa: PTH110 (Path's own can raise)
        return None
    checkpoint = nst.files.read_arrays(path)
    if "identity" not in checkpoint:
        raise InputError(f"{path}: not a checkpoint of this program; remove it")
    made_with = json.loads(str(checkpoint["identity"]))
    for name, value in identity.items():
        # An old checkpoint can lack a setting, or hold one value where there are now several.
        then = made_with.get(name, FIELDS[f"--{name}"].default)
        if isinstance(value, list):
            then = list(np.atleast_1d(then).tolist())
        if then != value:
            before, now = as_told(name, then), as_told(name, value)
            what = f"a different file for --{name}" if before == now else f"another --{name} ({before}, now {now})"
            raise InputError(
                f"argument --resume: {path} was made with {what};"
                " give the same, or leave --resume out to start from the beginning"
            )
    return checkpoint


def as_told(name, value):
    """A value of an identity as text for a message."""
    if value == weights.HED_SHA256:
        return "hed"
    if name in FILES and value not in weights.WORDS:
        return "a file" if value else "none"
    return " ".join(map(str, value)) if isinstance(value, list) else value
