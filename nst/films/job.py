"""From Settings to a Job whose content may be a film: prepare() is the way in for nst_main and for batches."""

import dataclasses
import importlib.util
import types

import nst.job
from nst.errors import InputError, reason
from nst.job import Job
from nst.pictures import ffmpeg, video
from nst.pictures.originals import Reader, find_image
from nst.settings import CHANGEABLE, RECIPE, Settings

OPENCV = "pip install -r requirements-film.txt"
SMALLEST_SIDE = 12  # pixels: in fewer no motion can be found


@dataclasses.dataclass(frozen=True)
class FilmJob(Job):
    """A checked run that paints a film. Its originals have the first of the chosen frames as content."""

    film: video.Film

    painter = "nst.films.painting"
    of_recipe = RECIPE
    of_identity = (RECIPE - CHANGEABLE) | {"epochs"}  # a film cannot get more epochs afterwards

    @property
    def result(self):
        return self.output / "generated_video.mp4"

    @property
    def finished(self):
        return super().finished and self.checkpoint.get("fps", Settings.fps) == self.settings.fps


def prepare(settings):
    """The checked FilmJob or Job of the settings, as nst.job.prepare makes it; with the same errors."""
    if not (film := find_film(settings)):
        return nst.job.prepare(settings)
    _, first = next(film.images())
    given = {settings.content_image_filename: (first, files_of(film))}
    job = nst.job.prepare(settings, given, FilmJob, film=film)
    height, width = job.originals.content.size
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"{film.path}: frames painted at {width} x {height} are too small to find motion in;"
            f" at least {SMALLEST_SIDE} pixels a side are needed"
        )
    return dataclasses.replace(job, notices=(*job.notices, *video.left_out(film)))


def outline(settings, coming=types.MappingProxyType({})):
    """The outline of the FilmJob or Job of the settings, as nst.job.outline makes it. For coming see Reader."""
    if not (film := find_film(settings)):
        return nst.job.outline(settings, Reader(settings.max_pixels, coming=coming))
    given = {settings.content_image_filename: (film, files_of(film))}
    return nst.job.outline(settings, Reader(settings.max_pixels, given, coming), FilmJob, film=film)


def find_film(settings):
    """The film that the settings ask for, or None if their content is a picture. Raises InputError."""
    name = settings.content_image_filename
    film = name and video.find_film(find_image(name), settings.frames, settings.max_pixels, settings.fps)
    if film:
        check_film(settings, film)
    elif settings.frames:
        raise InputError(f"argument --frames: {name} is not a film")
    return film


def files_of(film):
    return video.pictures_in(film.path) if film.kind == "folder" else [film.path]


def check_film(settings, film):
    """Raises InputError if a setting has no meaning for a film, or if something is missing to paint it."""
    for name in ("animation", "tensorboard", "output_format", "save_every", "dpi"):
        if getattr(settings, name) != getattr(Settings, name):
            raise InputError(f"argument --{name}: is only for pictures, and {film.path} is a film")
    if settings.fps != Settings.fps and film.kind != "folder":
        raise InputError(f"argument --fps: is only for a folder of pictures; {film.path} has a rate of its own")
    if not importlib.util.find_spec("cv2"):
        raise InputError(f"{film.path}: a film needs OpenCV for its motion; {OPENCV}")
    try:
        importlib.import_module("cv2")
    except ImportError as error:  # it is there, but not what it needs of the system, such as libGL
        raise InputError(
            f"{film.path}: OpenCV, which finds the motion of a film, does not start ({reason(error)});"
            f" pip uninstall opencv-python, then {OPENCV}"
        ) from error
    if missing := ffmpeg.shortage():
        raise InputError(f"{film.path}: a film needs {missing}")
