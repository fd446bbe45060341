"""The page of a batch: a file of HTML that shows and compares its jobs, by itself, in any browser.

Its thumbnails are within it, results and inputs are links. What is shown of a job is made when its status
changes, the page of all of them; page.html is its template, in which everything is escaped.
"""

import base64
import collections
import functools
import io
import math
import os
import pathlib
import time
import urllib.parse
from typing import NamedTuple

import jinja2

import nst.files
import nst.film
import nst.flags
from nst.pictures import find_image

SMALL_SIDE = 240  # pixels, of a thumbnail
TEMPLATE = pathlib.Path(__file__).with_suffix(".html")


class Shown(NamedTuple):
    """A picture: its name, the address of its file from the page, and itself, small, as one; None if it is not read."""

    name: str
    href: str
    thumbnail: str | None


def render(title, varying, costs, jobs):
    """The text of a page of jobs, see show_job; varying are names of settings, costs of columns."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    counts = collections.Counter(job["status"] for job in jobs)
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    return template.render(title=title, varying=varying, costs=costs, jobs=jobs, counts=counts, written=written)


def show_job(folder, settings, entry, varies):
    """A job as the page in that folder shows it, {name in page.html: value}.

    That is its entry of the report, what varies of it, its pictures as Shown, and where its folder and curve are.
    """
    output = pathlib.Path(settings.output_dir)
    most = None if entry["status"] == "waiting" else settings.max_pixels  # its inputs are looked at when it has begun
    result = find_result(output) if entry["status"] in ("done", "skipped", "stopped") else None
    curve = output / "costs.png"
    return {
        **entry,
        "varies": varies,
        "content": show(settings.content_image_filename, folder, most),
        "styles": [show(name, folder, most) for name in settings.style_image_filename],
        "path": result,
        "result": show(result, folder, math.inf) if result else None,
        "curve": address(curve, folder) if result and curve.exists() else None,
        "folder": plain(relative(output, folder)),
        "folder_href": address(output, folder) + "/",
    }


def show(name, folder, max_pixels):
    path = find_image(name)
    return Shown(plain(name), address(path, folder), max_pixels and thumbnail(path, max_pixels))


def address(path, folder):
    """Of a file, as a link on a page in the folder has it."""
    path = relative(path, folder)
    return path.as_uri() if path.is_absolute() else urllib.parse.quote(os.fsencode(path.as_posix()))


def relative(path, folder):
    """The path, from the folder on where that can be."""
    try:
        return pathlib.Path(os.path.relpath(path, folder))
    except ValueError:  # another drive
        return path.resolve()


def plain(name):
    """The name of a file in characters that a text can hold."""
    return os.fsencode(name).decode("utf-8", "replace")


def thumbnail(path, max_pixels):
    """A picture, or the first of a film, as a data: address; None where there is none, or none so small."""
    try:
        facts = path.stat()
        return make_thumbnail(path, max_pixels, facts.st_mtime_ns, facts.st_size)
    except (OSError, nst.files.InputError, nst.files.RunError):
        return None


@functools.lru_cache(maxsize=4000)  # of about 15 kB each
def make_thumbnail(path, max_pixels, changed, size):
    small, encoded = nst.film.first_picture(path, max_pixels), io.BytesIO()
    small.thumbnail((SMALL_SIDE, SMALL_SIDE))
    small.save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def find_result(output):
    """The path of the picture or film that a run left in its folder, by its settings.json; None for none."""
    names = (nst.flags.read_settings(output) or {}).get("results")
    path = names and output / pathlib.Path(names[0]).name
    return path if path and path.exists() else None
