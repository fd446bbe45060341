"""From Settings to a Job whose content may be a film: prepare() is the way in for nst_main and for batches."""

import dataclasses
import importlib.util
import types

import nst.job
from nst.errors import InputError
from nst.job import Job
from nst.pictures import video
from nst.pictures.originals import find_image
from nst.settings import CHANGEABLE, RECIPE, Settings


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


def prepare(settings, coming=types.MappingProxyType({})):
    """The checked FilmJob or Job of the settings, as nst.job.prepare makes it; with the same errors."""
    name = settings.content_image_filename
    film = name and video.find_film(find_image(name), settings.frames, settings.max_pixels)
    if not film:
        if settings.frames:
            raise InputError(f"argument --frames: {name} is not a film")
        return nst.job.prepare(settings, coming)
    check_film(settings, film)
    _, first = next(film.images())
    files = video.pictures_in(film.path) if film.kind == "folder" else [film.path]
    job = nst.job.prepare(settings, coming, given={name: (first, files)}, kind=FilmJob, film=film)
    return dataclasses.replace(job, notices=(*job.notices, *(f"nst_main.py: {line}" for line in video.left_out(film))))


def check_film(settings, film):
    """Raises InputError if a setting has no meaning for a film, or if OpenCV is missing."""
    for name in ("animation", "tensorboard", "output_format", "save_every", "dpi"):
        if getattr(settings, name) != getattr(Settings, name):
            raise InputError(f"argument --{name}: is only for pictures, and {film.path} is a film")
    if not importlib.util.find_spec("cv2"):
        raise InputError(f"{film.path}: a film needs OpenCV for its motion; pip install -r requirements-film.txt")
