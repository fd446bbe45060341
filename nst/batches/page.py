"""The page of a batch: one HTML file to view and compare the jobs in any browser.

The page contains the thumbnails, and links to the results and inputs. show_job() prepares the values of a job when its
status changes, and render() makes the page from all of them. page.html is the template, and every value is escaped.
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

from nst.errors import InputError, RunError
from nst.flags import find_recipe
from nst.pictures.originals import find_image
from nst.pictures.video import first_picture

SMALL_SIDE = 240  # pixels: the longer side of a thumbnail
TEMPLATE = pathlib.Path(__file__).with_suffix(".html")


class Shown(NamedTuple):
    """A picture on the page: its name, the link to its file, and its thumbnail as a data: URL, or None."""

    name: str
    href: str
    thumbnail: str | None


def render(title, varying, costs, jobs):
    """The page as text. jobs are the dicts of show_job; varying and costs name the settings and costs to show."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    counts = collections.Counter(job["status"] for job in jobs)
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    return template.render(title=title, varying=varying, costs=costs, jobs=jobs, counts=counts, written=written)


def show_job(folder, settings, entry, varies):
    """The values of a job for page.html, {name: value}; the page is in folder.

    They are its entry in the report, the settings that vary (varies), its pictures as Shown, the path of its result,
    and links to its folder and its curve.
    """
    output = pathlib.Path(settings.output_dir)
    most = None if entry["status"] == "waiting" else settings.max_pixels  # the inputs of a waiting job are not read
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
    """The link to a file, on a page in the folder."""
    path = relative(path, folder)
    return path.as_uri() if path.is_absolute() else urllib.parse.quote(os.fsencode(path.as_posix()))


def relative(path, folder):
    """The path relative to the folder, or the absolute path if that is impossible."""
    try:
        return pathlib.Path(os.path.relpath(path, folder))
    except ValueError:  # on another drive
        return path.resolve()


def plain(name):
    """The name of a file as UTF-8 text; bytes that are not UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def thumbnail(path, max_pixels):
    """The thumbnail of a picture, or of a film's first frame, as a data: URL.

    It is None if the file cannot be read, or if the picture has more than max_pixels.
    """
    try:
        facts = path.stat()
        return make_thumbnail(path, max_pixels, facts.st_mtime_ns, facts.st_size)
    except (OSError, InputError, RunError):
        return None


@functools.lru_cache(maxsize=4000)  # about 15 kB each
def make_thumbnail(path, max_pixels, changed, size):
    small, encoded = first_picture(path, max_pixels), io.BytesIO()
    small.thumbnail((SMALL_SIDE, SMALL_SIDE))
    small.save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def find_result(output):
    """The path of the picture or film that the settings.json in a run's folder names; None if there is none."""
    names = (find_recipe(output) or {}).get("results")
    path = names and output / pathlib.Path(names[0]).name
    return path if path and path.exists() else None
