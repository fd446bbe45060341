"""The rows of a batch: the lines of a CSV file and the variants of --vary, each as checked Settings.

The header of the file names flags. An empty cell takes its value from the command line.
"""

import codecs
import csv
import dataclasses
import hashlib
import io
import itertools
import math
import os
import pathlib
import re
from typing import NamedTuple

import tqdm

import nst.job
from nst.errors import InputError, PictureError, reason
from nst.films.job import outline
from nst.flags import cell_words, join_values, parse_settings, value_type
from nst.settings import FIELDS, PICTURES, Settings

# Flags that a row cannot set.
OF_THE_COMMAND = ("batch", "vary", "shard", "report", "settings", "resume", "quiet", "device")
MOST_VARIANTS = 1000
LONGEST_NAME = 255  # bytes, of a folder


class Row(NamedTuple):
    """A job of the batch, with the line and the variant that it comes from."""

    line: int  # in the CSV file; without a file, the number of the variant
    where: str  # the line and the variant, for messages
    settings: Settings
    said: tuple  # names of the flags that its cells and its variant set
    repeated: bool  # whether an earlier row is the same job
    fault: str = ""  # why its pictures cannot be painted


def read_rows(command, argv):
    """The Rows of command.batch and command.vary, checked by the headers of their pictures, unless command.report.

    A picture that cannot be painted is the fault of its rows. Raises InputError, with a line for each mistake and each
    fault, if there is any other mistake, or if no row can be painted.
    """
    cells_of = read_cells(command.batch) if command.batch else [(0, {})]
    count = len(cells_of) * math.prod(len(values) for _, *values in command.vary)
    if command.vary and count > MOST_VARIANTS:
        raise InputError(
            f"argument --vary: {count:,} pictures are over the limit of {MOST_VARIANTS:,}; give fewer values"
        )
    variants = list(vary(command.vary))
    if both := variants[0][0].keys() & cells_of[0][1].keys():
        raise InputError(f"argument --vary: {min(both)} is a column of {command.batch} too; leave one of them out")
    rows, told, owners, coming = [], [], {}, {}
    # On a terminal, a bar shows how far the checks are if they take more than a second.
    quiet = {"disable": command.quiet or None, "leave": False, "delay": 1}
    asked = tqdm.tqdm([*itertools.product(cells_of, variants)], "Checking", unit=" jobs", **quiet)
    for number, ((line, cells), (changes, variant)) in enumerate(asked, 1):
        where = " with ".join([f"line {line}"] * bool(line) + [variant] * bool(variant))
        try:
            settings = row_settings(command, argv, cells, changes, variant)
            # Many systems ignore the case of a folder's name, and a batch must run on any system.
            folder = str(pathlib.Path(settings.output_dir).resolve()).casefold()
            if folder == str(pathlib.Path(command.output_dir).resolve()).casefold():
                raise InputError(f"its folder {settings.output_dir} is also the batch's folder; choose one inside it")
            said = (*(name for name, cell in cells.items() if cell), *changes)
            row = Row(line or number, where, settings, said, repeated=folder in owners)
            owner = owners.setdefault(folder, row)
            if owner.settings != settings:
                raise InputError(f"its folder {settings.output_dir} is used by {owner.where}; set another output_dir")
            if not row.repeated and not command.report:
                row = row._replace(fault=look(settings, coming))
            rows.append(row)
            error = row.fault
        except InputError as mistake:
            error = mistake
        if error:
            told.append(f"{command.batch or '--vary'} {where}: {error}")
    if len(rows) < len(asked) or all(row.fault for row in rows):
        raise InputError("\n".join(told))
    return rows


def look(settings, coming):
    """What is wrong with the pictures of a job, "" for nothing, by their headers. Its result is added to coming."""
    try:
        job, size = outline(settings, coming)
    except PictureError as error:
        coming[os.path.realpath(nst.job.result_path(settings))] = None
        return str(error)
    coming[os.path.realpath(job.result)] = size
    return ""


def read_cells(path):
    """The rows of a CSV file, [(line number, {flag: cell})]. Rows without a value are left out.

    Raises InputError if the file cannot be read, has a wrong header or has no rows.
    """
    text = read_table(path)
    # The names of flags have none of these characters, so the header tells which of them is between its cells.
    between = max(",;\t", key=text.strip().partition("\n")[0].count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"argument --batch: {path}: cannot be read ({reason(error)})") from error
    header, *rows = [(line, row) for line, row in rows if any(row)] or [(1, [])]
    names = [name for name in header[1] if name]
    check_names(names, f"argument --batch: {path}: column")
    if not rows:
        raise InputError(f"argument --batch: {path}: no jobs; it needs a header of flags and a row for each job")
    floats = [name for name in names if value_type(FIELDS[f"--{name}"])[0] is float]
    cells_of = []
    for line, row in rows:
        pairs = list(itertools.zip_longest(header[1], row, fillvalue=""))
        cells = {name: cell for name, cell in pairs if name}
        if any(cell for name, cell in pairs if not name):
            cells[""] = "something"
        if between != ",":  # such a spreadsheet can write 0,5 for 0.5
            cells |= {name: cells[name].replace(",", ".") for name in floats}
        cells_of.append((line, cells))
    return cells_of


def read_table(path):
    """The text of a CSV file as spreadsheets save it: in UTF-8, in UTF-16 or in Windows' western characters."""
    try:
        content = pathlib.Path(path).read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = content.decode("utf-16")
        else:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = content.decode("cp1252")
    except OSError as error:
        raise InputError(f"argument --batch: {path}: cannot be read ({reason(error)})") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or content.startswith(b"PK"):  # a workbook is a zip file
        raise InputError(f"argument --batch: {path}: not a table as text; save it as CSV UTF-8 from the spreadsheet")
    return text


def check_names(names, told):
    """Raises InputError if a name is not a flag that a job can set, or appears twice. The message starts with told."""
    allowed = [field.name for field in FIELDS.values() if field.name not in OF_THE_COMMAND]
    if unknown := [name for name in names if name not in allowed]:
        raise InputError(f"{told} {unknown[0]!r} is not a flag that a job can set; use one of {', '.join(allowed)}")
    if len(set(names)) < len(names):
        raise InputError(f"{told} {max(names, key=names.count)!r} appears twice; remove one")


def vary(asked):
    """Yield ({flag: cell}, name of the folder) for each combination of the values of --vary.

    asked is [(flag, value, ...)]. Raises InputError if a flag cannot vary or has no values, or if a flag or
    a value appears twice.
    """
    check_names([name for name, *_ in asked], "argument --vary:")
    axes = []
    for name, *values in asked:
        if name == "output_dir":
            raise InputError("argument --vary: output_dir cannot vary; each variant gets a folder in --output_dir")
        if not values or len(set(values)) < len(values):
            twice = f"has {max(values, key=values.count)!r} twice" if values else "has no values"
            raise InputError(f"argument --vary: {name} {twice}; give it each value once")
        axes.append([(name, value, slug) for value, slug in zip(values, slugs(name, values), strict=True)])
    for variant in itertools.product(*axes):
        yield {name: value for name, value, _ in variant}, ",".join(f"{name}={slug}" for name, _, slug in variant)


def slugs(name, values):
    """The text for each value of a flag in the name of a folder; for a picture, its name without the extension.

    If two texts are equal, ignoring case, each text gets a number.
    """
    parts = [[pathlib.Path(part).stem if name in PICTURES else part for part in value.split(";")] for value in values]
    found = [re.sub(r"[^\w.+-]+", "_", "+".join(part.strip() for part in value)) for value in parts]
    alike = len({slug.casefold() for slug in found}) < len(found)
    return [f"{number}-{slug}" for number, slug in enumerate(found, 1)] if alike else found


def row_settings(command, argv, cells, changes, variant):
    """The Settings of a row: those of the command, overridden by the row's cells and by its variant.

    Raises InputError if there are more cells than flags in the header, or if a value is wrong.
    """
    cells = {name: cell for name, cell in cells.items() if cell}
    if "" in cells:
        raise InputError("it has more cells than the header")
    given = cells | changes
    words = [word for name, cell in given.items() for word in cell_words(name, cell)]
    of_all = tuple(f"--{name}" for name in ("batch", "vary", "shard", "report"))
    settings = parse_settings([word for word in join_values(argv) if word.partition("=")[0] not in of_all], words)
    folder = pathlib.Path(settings.output_dir)
    if command.batch and "output_dir" not in given:
        content = pathlib.Path(settings.content_image_filename).stem
        styles = "+".join(pathlib.Path(name).stem for name in settings.style_image_filename)
        folder = folder / shortened(f"{content}-{styles}")
    settings = dataclasses.replace(settings, output_dir=str(folder / shortened(variant)))
    if command.tensorboard and "tensorboard" not in given:
        path = pathlib.Path(settings.output_dir)
        folder = pathlib.Path(command.tensorboard, *(part for part in path.parts if part not in ("..", path.anchor)))
        settings = dataclasses.replace(settings, tensorboard=str(folder))
    return settings


def shortened(name):
    """A name for a folder that file systems accept. A longer one is cut, and ends in letters that only it has."""
    encoded = os.fsencode(name)
    if len(encoded) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: LONGEST_NAME - 1 - len(digest)].decode("utf-8", "ignore") + "-" + digest
