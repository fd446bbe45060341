"""The page of a batch: an HTML file to view and compare the jobs in any browser.

The page links to the results and inputs, and to their thumbnails, which are files in a folder beside it: each is
written once, however often the page is. show_job() prepares the values of a job when its status changes, and render()
makes the page from all of them. page.html is the template, with page.css and page.js; every value is escaped.
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
from PIL import Image

import nst.files
from nst.errors import InputError, RunError
from nst.pictures.originals import find_image
from nst.pictures.video import first_picture
from nst.recipe import find_recipe

INPUT_SIDE, RESULT_SIDE = 240, 640  # pixels: the longer side of a thumbnail
FOLDER, TEMPLATE = pathlib.Path(__file__).parent, "page.html"
INPUTS = ("content", "style")  # what a job's pictures are called on the page


class Shown(NamedTuple):
    """A picture on the page: the name of its file, a short label, and links to the file and to its thumbnail.

    Without a thumbnail, that link and its size are None.
    """

    name: str
    label: str
    href: str
    thumbnail: str | None
    size: tuple | None  # width, height


def render(title, varying, costs, jobs, legend):
    """The page as text.

    jobs are the dicts of show_job; varying and costs name the settings and costs to show. legend is {number: value} of
    the values that the contact sheet has as numbers.
    """
    loader = jinja2.FileSystemLoader(FOLDER)
    template = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(TEMPLATE)
    pictures = [name for name in varying if name in INPUTS]
    heading = heading_of(jobs, pictures)
    sortable = ["line", *varying, "status", "seconds", *(f"{name} cost" for name in costs)]
    jobs = [{**job, "by": {name: key(job, name) for name in sortable}} for job in jobs]
    return template.render(
        title=title,
        written=time.strftime("%Y-%m-%d %H:%M:%S"),
        counts=collections.Counter(job["status"] for job in jobs),
        legend=legend,
        jobs=jobs,
        varying=varying,
        costs=costs,
        sortable=sortable,
        groupable=[[name] for name in varying] + [pictures] * (len(pictures) > 1),
        heading=heading,
        groups=grouped(jobs, heading),
        inputs=inputs_of(jobs),
        shared=[name for name in INPUTS if jobs and name not in varying],
    )


def heading_of(jobs, pictures):
    """Names of the settings that the page's groups are made by, of pictures, which are those of INPUTS that vary.

    A heading is worth its place if it stands, on average, over at least two results.
    """
    for names in (pictures, pictures[:1], pictures[1:]):
        if names and 2 * len(grouped(jobs, names)) <= len(jobs):
            return names
    return []


def grouped(jobs, names):
    """The jobs in lists whose values of the settings are the same."""
    groups = {}
    for job in jobs:
        groups.setdefault(tuple(job["varies"][name] for name in names), []).append(job)
    return list(groups.values())


def key(job, name):
    """The text of a job by which the page sorts and groups."""
    return str(job["varies"][name] if name in job["varies"] else job[name.replace(" ", "_")])


def inputs_of(jobs):
    """{link to an input: its Shown}, with its thumbnail, which the job that the input is shown for may not have yet."""
    every = [shown for job in jobs for shown in (job["content"], *job["styles"])]
    return {shown.href: shown for shown in sorted(every, key=lambda shown: shown.thumbnail is not None)}


def show_job(page, settings, entry, varies, labels):
    """The values of a job for page.html, {name: value}; page is the path of the page.

    They are its entry in the report, the settings that vary (varies), its pictures as Shown, the path of its result,
    and links to its folder and its curve. labels are those of nst.batches.report.short_names.
    """
    output, folder, status = pathlib.Path(settings.output_dir), page.parent, entry["status"]
    result, curve = find_result(output, status), output / "costs.png"

    def show(name, label, side=INPUT_SIDE):
        path = find_image(name)
        small = small_path(path, page, side)
        size = size_of(small) if status != "waiting" else None
        thumbnail = address(small, folder) if size else None
        return Shown(plain(name), plain(label), address(path, folder), thumbnail, size)

    content = show(settings.content_image_filename, labels["content_image_filename"][settings.content_image_filename])
    styles = [show(name, labels["style_image_filename"][name]) for name in settings.style_image_filename]
    others = "".join(f", {name} {value}" for name, value in varies.items() if name not in INPUTS)
    return {
        **entry,
        "varies": varies,
        "content": content,
        "styles": styles,
        "caption": f"{content.label} in the style of {' and '.join(style.label for style in styles)}{others}",
        "find": " ".join([content.name, *(style.name for style in styles), status]),  # beside what is seen
        "path": result,
        "result": show(result, result.name, RESULT_SIDE) if result else None,
        "curve": address(curve, folder) if result and curve.exists() else None,
        "folder": plain(relative(output, folder)),
        "folder_href": address(output, folder) + "/",
    }


def size_of(path):
    """(width, height) of a thumbnail; None if there is none."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:
        return None


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


def small_path(path, page, side):
    """The path of a picture's thumbnail, in a folder beside the page; side is its longer side."""
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
    return page.with_name(f"{page.stem}_files") / f"{name}-{side}.jpg"


def write_thumbnails(page, settings, status):
    """Write the thumbnails of a job's pictures, or of a film's first frame, where they are not up to date.

    A file that cannot be read gets none, nor does an input of more than max_pixels. Raises OSError.
    """
    names = settings.content_image_filename, *settings.style_image_filename
    pictures = [(find_image(name), settings.max_pixels, INPUT_SIDE) for name in names]
    if result := find_result(pathlib.Path(settings.output_dir), status):
        pictures.append((result, math.inf, RESULT_SIDE))
    for path, max_pixels, side in pictures:
        small = small_path(path, page, side)
        try:
            changed = path.stat().st_mtime_ns
            if small.exists() and small.stat().st_mtime_ns == changed:
                continue
            image, encoded = first_picture(path, max_pixels), io.BytesIO()
        except (OSError, InputError, RunError):
            nst.files.remove(small)  # of what was there before
            continue
        image.thumbnail((side, side))
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
