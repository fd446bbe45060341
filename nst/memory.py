"""The record of a picture that stays in memory, and the result that paint() of nst.notebook makes of it."""

import dataclasses
import functools
import pathlib

import numpy as np
from PIL import Image

import nst.run
import nst_utils
from nst.errors import InputError
from nst.pictures import encode
from nst.progress import Progress
from nst.record import remarks, shown
from nst.settings import Settings


def paint(job, stop):
    """Paint the picture of a nst.notebook.JobInMemory and return its Result. Raises what nst.run.paint does.

    An exception that comes after the first iteration has the Result so far as its result.
    """
    record = Memory(job)
    try:
        nst.run.paint_into(record, stop)
    except BaseException as error:
        error.result = record.result()
        raise
    return record.result()


@dataclasses.dataclass(repr=False, eq=False)
class Result:
    """A painted picture. A notebook shows it.

    pixels      uint8 (n_H, n_W, 3): the picture, over white if it is transparent; save() writes them
    image       the picture as a Pillow image: RGB, or RGBA if it is transparent
    costs       a dict for every --print_every-th iteration, and for the last one: its number as "iteration", and the
                costs after it as "total" (J), "content" (J_content), "style" (J_style), ...
    settings    the Settings, with the flags of the preset
    remarks     what save() writes beside the pixels
    """

    pixels: np.ndarray
    costs: list
    settings: Settings
    remarks: dict

    @functools.cached_property
    def image(self):
        return as_image(self.pixels, self.remarks["alpha"])

    def __repr__(self):
        height, width = self.pixels.shape[:2]
        last = self.costs[-1]
        return f"<a picture of {width} x {height}, cost {last['total']:.4g} after iteration {last['iteration']}>"

    def _repr_png_(self):
        return self.image._repr_png_()

    def save(self, path):
        """Write the picture as the command does: in the format of the suffix, and with its recipe in it.

        Raises InputError for a suffix that is not of JPEG, PNG, TIFF or WebP, and WriteError.
        """
        path = pathlib.Path(path)
        if path.suffix.lower() not in encode.SUFFIXES:
            raise InputError(f"{path}: its format is not known; give a name that ends in {', '.join(encode.SUFFIXES)}")
        encode.write_image(path, self.pixels, **self.remarks)


class Memory(Progress):
    """The record of a picture that stays in memory. It calls the job's callback after each iteration."""

    hidden = False

    def add(self, iterate):
        super().add(iterate)
        if self.job.callback:
            self.job.callback(self.iteration, iterate.costs, functools.partial(image_of, self.job, self.picture))

    def end_badly(self, picture):
        """Keep the last good picture."""
        self.picture = picture

    @property
    def so_far(self):
        return f"iteration {self.iteration}: the picture so far is the result of this exception"

    @property
    def kept(self):
        return "The last good picture is the result of this exception" if self.state else "Nothing was painted"

    def result(self):
        """The Result so far, or None before the first iteration."""
        if not self.state:
            return None
        canvas, every, rows = self.job.originals.canvas, self.settings.print_every, self.history.rows
        costs = [row for row in rows[:-1] if row[0] % every == 0] + rows[-1:]
        return Result(
            pixels_of(self.job, self.picture),
            [{"iteration": int(row[0]), **self.history.costs_of(row)} for row in costs],
            self.settings,
            remarks(canvas, self.settings, self.recipe),
        )


def pixels_of(job, picture):
    """G as the user sees it, uint8 (n_H, n_W, 3)."""
    return nst_utils.to_pixels(shown(picture, job.originals.canvas, job.settings))


def image_of(job, picture):
    """G as the user sees it, as a Pillow image."""
    return as_image(pixels_of(job, picture), job.originals.canvas.alpha)


def as_image(pixels, alpha):
    image = Image.fromarray(pixels)
    return encode.with_alpha(image, alpha) if alpha else image
