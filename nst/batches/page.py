"""The page of a batch: an HTML file to view and compare the jobs in any browser.

The page links to the results and inputs, and to their thumbnails, which are files in a folder beside it: each is
written once, however often the page is. show_job() prepares the values of a job when its status changes, and render()
makes the page from all of them. page.html is the template, and every value is escaped.
"""

import collections
import hashlib
import io
import math
import os
import pathlib
import time
import urllib.parse
from typing import NamedTuple

import jinja2

import nst.files
from nst.errors import InputError, RunError
from nst.pictures.originals import find_image
from nst.pictures.video import first_picture
from nst.recipe import find_recipe

SMALL_SIDE = 240  # pixels: the longer side of a thumbnail
TEMPLATE = pathlib.Path(__file__).with_suffix(".html")


class Shown(NamedTuple):
    """A picture on the page: its name, the link to its file, and the link to its thumbnail, or None."""

    name: str
    href: str
    thumbnail: str | None


def render(title, varying, costs, jobs, legend):
    """The page as text.

    jobs are the dicts of show_job; varying and costs name the settings and costs to show. legend is {number: value} of
    the values that the contact sheet has as numbers.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    counts = collections.Counter(job["status"] for job in jobs)
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    return template.render(
        title=title, varying=varying, costs=costs, jobs=jobs, counts=counts, written=written, legend=legend
    )


def show_job(page, settings, entry, varies):
    """The values of a job for page.html, {name: value}; page is the path of the page.

    They are its entry in the report, the settings that vary (varies), its pictures as Shown, the path of its result,
    and links to its folder and its curve.
    """
    output, folder, status = pathlib.Path(settings.output_dir), page.parent, entry["status"]
    result, curve = find_result(output, status), output / "costs.png"

    def show(name):
        path, small = find_image(name), small_path(find_image(name), page)
        has_thumbnail = status != "waiting" and small.exists()
        return Shown(plain(name), address(path, folder), address(small, folder) if has_thumbnail else None)

    return {
        **entry,
        "varies": varies,
        "content": show(settings.content_image_filename),
        "styles": [show(name) for name in settings.style_image_filename],
        "path": result,
        "result": show(result) if result else None,
        "curve": address(curve, folder) if result and curve.exists() else None,
        "folder": plain(relative(output, folder)),
        "folder_href": address(output, folder) + "/",
    }


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


def small_path(path, page):
    """The path of a picture's thumbnail, in a folder beside the page."""
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
    return page.with_name(f"{page.stem}_files") / f"{name}.jpg"


def write_thumbnails(page, settings, status):
    """Write the thumbnails of a job's pictures, or of a film's first frame, where they are not up to date.

    A file that cannot be read gets none, nor does an input of more than max_pixels. Raises OSError.
    """
    names = settings.content_image_filename, *settings.style_image_filename
    pictures = [(find_image(name), settings.max_pixels) for name in names]
    if result := find_result(pathlib.Path(settings.output_dir), status):
        pictures.append((result, math.inf))
    for path, max_pixels in pictures:
        small = small_path(path, page)
        try:
            changed = path.stat().st_mtime_ns
            if small.exists() and small.stat().st_mtime_ns == changed:
                continue
            image, encoded = first_picture(path, max_pixels), io.BytesIO()
        except (OSError, InputError, RunError):
            nst.files.remove(small)  # of what was there before
            continue
        image.thumbnail((SMALL_SIDE, SMALL_SIDE))
        image.save(encoded, "JPEG", quality=85, comment=b"")
        small.parent.mkdir(exist_ok=True)
        with nst.files.whole_file(small) as file:
            file.write(encoded.getvalue())
        os.utime(small, ns=(changed, changed))  # which tells whether it is up to date


def find_result(output, status):
    """The path of the picture or film that the settings.json in a run's folder names; None if it is not painted."""
    if status not in ("done", "skipped", "stopped"):
        return None
    names = (find_recipe(output) or {}).get("results")
    path = names and output / pathlib.Path(names[0]).name
    return path if path and path.exists() else None
