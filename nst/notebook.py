"""paint(): the program for notebooks and other Python programs.

Its keywords are the flags. They become words of a command line, and nst.flags makes Settings of these, so names,
defaults, presets and checks are those of the command. A picture that is in memory gets a name, by which the job's
Reader finds it. Nothing is written to disk.
"""

import contextlib
import dataclasses
import inspect
import os
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image

import nst.job
from nst.errors import InputError, RunError
from nst.films.job import find_film
from nst.flags import parse_settings, to_words, value_type
from nst.job import Job
from nst.pictures import arrays
from nst.settings import FIELDS, OF_FILMS, PICTURES
from nst.start import start
from nst.stop import Stop

# Flags of the command alone: they name files that it writes, or ask for many pictures.
OF_COMMAND = {"output_dir", "save_every", "animation", "tensorboard", "quiet", "resume", "frames", *OF_FILMS}
OF_COMMAND |= {"batch", "vary", "shard", "report"}


@dataclasses.dataclass(frozen=True)
class JobInMemory(Job):
    """A checked run that writes no file. callback is that of paint(), or None."""

    callback: Callable | None

    painter = "nst.memory"

    def overwrites(self, path):
        return False

    def claimed(self):
        return contextlib.nullcontext()


def paint(content_image_filename=None, style_image_filename=None, *, progress=True, callback=None, **flags):
    """Paint the content of one picture in the style of another, and return it in memory, a nst.memory.Result.

        from nst import paint
        result = paint("chelsea.jpg", "starry_night.jpg", preset="quick")
        result.image

    The keywords are the flags of nst_main.py, with their defaults; docs/reference.md lists them. A flag of several
    values takes a list. A picture or a mask is a path, a Pillow image, or an array (n_H, n_W), (n_H, n_W, 3) or
    (n_H, n_W, 4) with uint8 of 0 to 255, floats of 0 to 1, or bools. No file is written.

    progress    show a progress bar and some lines
    callback    is called after each iteration: callback(iteration, costs, picture). iteration counts from 0, costs is
                {name: cost}, and picture() returns the picture so far as a Pillow image

    Raises InputError for a mistake and RunError if the run fails (both of nst.errors), with the command's line, and
    KeyboardInterrupt if it is interrupted. The result of the latter two is the picture so far, or None.
    """
    flags = {"content_image_filename": content_image_filename, "style_image_filename": style_image_filename, **flags}
    try:
        job = prepare(flags, progress, callback)
        if job.notices:
            warnings.warn("\n".join(job.notices), stacklevel=2)
        with Stop() as stop:
            stop.patient = True  # an import of TensorFlow that is interrupted cannot be repeated
            paint_job = start(job.settings.device)
            stop.check()
            return paint_job(job, stop)
    except (InputError, RunError, KeyboardInterrupt) as error:
        error.result = getattr(error, "result", None)
        raise error.with_traceback(None) from None  # the line says it all


def prepare(flags, progress, callback):
    """The JobInMemory of {flag: value}. Raises InputError and RunError as nst.job.prepare does."""
    given = {}
    words = to_words({flag: as_text(flag, value, given) for flag, value in flags.items() if value is not None})
    settings = dataclasses.replace(parse_settings([], words), quiet=not progress)
    content = settings.content_image_filename
    if content not in given and find_film(settings):
        raise InputError(f"{content}: a film; paint() paints pictures, and nst_main.py paints films")
    return nst.job.prepare(settings, given, JobInMemory, callback=callback)


def as_text(flag, value, given):
    """The value of a flag as text, or as a list of texts. A picture in memory is added to given, see Reader."""
    if f"--{flag}" not in FIELDS:
        raise InputError(f"unrecognized arguments: --{flag}")
    if flag in OF_COMMAND:
        raise InputError(f"argument --{flag}: is only for nst_main.py; paint() paints one picture and writes no file")
    if flag in PICTURES:
        if isinstance(value, list | tuple):
            value = [as_name(f"{flag}[{k}]", one, given) for k, one in enumerate(value)]
        else:
            value = as_name(flag, value, given)
    elif isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        if not value_type(FIELDS[f"--{flag}"])[1]:
            raise InputError(f"argument --{flag}: takes one value, not a list")
        return list(value)
    return value


def as_name(place, picture, given):
    """The path of a picture, or the name under which it is added to given; place is what the user calls it."""
    if isinstance(picture, str | os.PathLike):
        return os.fsdecode(picture)
    if not isinstance(picture, Image.Image):
        if not hasattr(picture, "__array__"):
            kind = type(picture).__name__
            raise InputError(f"argument --{place}: a picture is a path, a Pillow image or an array, not a {kind}")
        picture = arrays.as_image(np.asarray(picture), f"argument --{place}")
    name = f"{place} (in memory)"
    given[name] = picture, []
    return name


def signature():
    """That of paint() with a keyword for each flag, for help() and for a notebook's completion."""
    either, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    own = inspect.signature(paint).parameters
    first, more = [], [own["progress"], own["callback"]]
    for field in FIELDS.values():
        if field.name in PICTURES[:2]:
            first.append(inspect.Parameter(field.name, either, default=field.default))
        elif field.name not in OF_COMMAND:
            more.append(inspect.Parameter(field.name, keyword, default=field.default))
    return inspect.Signature([*first, *more])


paint.__signature__ = signature()
