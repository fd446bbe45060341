"""Many pictures in one command: a job for each row of a CSV file and for each variant of --vary.

The header of the file names flags. An empty cell takes its value from the command line. All rows are checked before
the first job is painted. TensorFlow starts once, and later jobs reuse what was loaded and compiled for earlier ones.
No two jobs write the same file, so several machines can share a batch: each paints one shard of the rows.
"""

import csv
import dataclasses
import itertools
import math
import os
import pathlib
import re
import sys
import time
from typing import NamedTuple

import nst.files
from nst.batches.report import Report
from nst.errors import InputError, PrintError, RunError, WriteError, reason, with_path
from nst.films.job import prepare
from nst.flags import cell_words, join_values, parse_settings
from nst.settings import FIELDS, PICTURES, Settings

OF_THE_COMMAND = ("batch", "vary", "shard", "report", "settings", "resume", "quiet")  # flags that a row cannot set
MOST_VARIANTS = 1000


class Row(NamedTuple):
    """A job of the batch, with the line and the variant that it comes from."""

    line: int  # in the CSV file; without a file, the number of the variant
    where: str  # the line and the variant, for messages
    settings: Settings
    said: tuple  # names of the flags that its cells and its variant set
    repeated: bool  # whether an earlier row is the same job


def run(command, argv, stop, start):
    """Paint the jobs of command.batch and command.vary, and return the exit status.

    command is the Settings of argv. start() starts TensorFlow and returns the function that paints a job. If a job
    fails, the next one runs. With command.report, run() only merges the reports of the shards. Raises InputError
    before the first job, with a line for each mistake in the rows, and KeyboardInterrupt if a signal came.
    """
    rows = read_rows(command, argv)
    shard, of = map(int, command.shard.split("/"))
    name = "batch" if of == 1 else f"batch-{shard}-of-{of}"
    report = Report(pathlib.Path(command.output_dir), name, rows, rows[shard - 1 :: of])
    if command.batch and pathlib.Path(command.batch).resolve() == report.table.resolve():
        raise InputError(f"argument --batch: the report would replace {command.batch}; name another --output_dir")
    with nst.files.locked(report.folder, f".{name}.csv.lock"):
        if command.report:
            report.gather()
        else:
            paint = start() if report.rows else None
        report.write()
        try:
            for number, row in enumerate(() if command.report else report.rows, 1):
                paint_row(row, f"Job {number} of {len(report.rows)}, {row.where}", paint, report, stop)
        finally:
            report.end(command.quiet)
    painted = report.count["done"] + report.count["skipped"]
    return 0 if painted == len(report.rows) and not report.unwritten else 1


def paint_row(row, title, paint, report, stop):
    """Paint the job of a row and report its status. A repeated or finished job is skipped."""
    settings, started, stop.patient, begun = row.settings, time.monotonic(), False, False
    if stop.signum:
        raise KeyboardInterrupt("between two jobs; --resume continues")
    try:
        job = None if row.repeated else prepare(settings)
        if job is None or job.finished:
            report.add(row, "skipped", job and job.last_costs)
            return
        if not settings.quiet:
            print(f"{title}: {job.output}", flush=True)
            report.notice(job.notices)
        report.add(row, "running")
        begun = True
        costs = paint(job, stop)
    except KeyboardInterrupt as interrupt:
        if begun:
            report.add(row, "stopped", seconds=time.monotonic() - started)
        raise KeyboardInterrupt(*(interrupt.args or ["before a job's first iteration; --resume continues"])) from None
    except PrintError:
        raise
    except Exception as error:
        message = message_of(error)
        print(f"nst_main.py: error: {row.where}: {message}", file=sys.stderr)
        report.add(row, "failed", seconds=time.monotonic() - started, message=message)
    else:
        report.add(row, "done", costs, time.monotonic() - started)


def message_of(error):
    """The text of an exception for the report: one line."""
    if isinstance(error, InputError | RunError | WriteError):
        return str(error)
    return f"{type(error).__name__}: {with_path(error) if isinstance(error, OSError) else reason(error)}"


# --- The rows -------------------------------------------------------------------------------------------------


def read_rows(command, argv):
    """The checked Rows of command.batch and command.vary. Raises InputError with a line for each mistake.

    Without command.report it checks the inputs of each job too.
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
    rows, faults, owners, coming = [], [], {}, {}
    for number, ((line, cells), (changes, variant)) in enumerate(itertools.product(cells_of, variants), 1):
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
                job = prepare(settings, coming)
                coming[os.path.realpath(job.result)] = job.originals.canvas.size[::-1]
            rows.append(row)
        except InputError as error:
            faults.append(f"{command.batch or '--vary'} {where}: {error}")
    if faults:
        raise InputError("\n".join(faults))
    return rows


def read_cells(path):
    """The rows of a CSV file, [(line number, {flag: cell})].

    Raises InputError if the file cannot be read, has a wrong header or has no rows.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            names = reader.fieldnames or ()
            rows = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"argument --batch: {path}: cannot be read ({reason(error)})") from error
    check_names(names, f"argument --batch: {path}: column")
    if not rows:
        raise InputError(f"argument --batch: {path}: no jobs; it needs a header of flags and a row for each job")
    return rows


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
    if None in cells:
        raise InputError("it has more cells than the header")
    cells = {name: cell.strip() for name, cell in cells.items() if cell and cell.strip()}
    given = cells | changes
    words = [word for name, cell in given.items() for word in cell_words(name, cell)]
    of_all = tuple(f"--{name}" for name in ("batch", "vary", "shard", "report"))
    settings = parse_settings([word for word in join_values(argv) if word.partition("=")[0] not in of_all], words)
    folder = pathlib.Path(settings.output_dir)
    if command.batch and "output_dir" not in given:
        content = pathlib.Path(settings.content_image_filename).stem
        styles = "+".join(pathlib.Path(name).stem for name in settings.style_image_filename)
        folder = folder / f"{content}-{styles}"
    settings = dataclasses.replace(settings, output_dir=str(folder / variant))
    if command.tensorboard and "tensorboard" not in given:
        path = pathlib.Path(settings.output_dir)
        folder = pathlib.Path(command.tensorboard, *(part for part in path.parts if part not in ("..", path.anchor)))
        settings = dataclasses.replace(settings, tensorboard=str(folder))
    return settings
