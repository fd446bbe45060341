"""Many pictures in one command: the rows of a CSV file, each a job.

The header names flags; what a row leaves empty is as the command line says. All rows are checked before
the first is painted. TensorFlow starts once, and what was loaded and compiled for one job serves the next.
Jobs share no file, so machines can share a batch, each with a shard of its rows.
"""

import collections
import csv
import dataclasses
import io
import os
import pathlib
import sys
import time
from typing import NamedTuple

import nst.files
from nst.files import InputError, reason
from nst.job import prepare
from nst.settings import FIELDS, Settings, cell_words, parse_settings

OF_THE_COMMAND = ("batch", "shard", "settings", "resume", "quiet")  # flags that are no row's
COSTS = ("total", "content", "style", "tv")
COLUMNS = (
    *("line", "content_image_filename", "style_image_filename", "output_dir", "status", "seconds"),
    *(f"{name}_cost" for name in COSTS),
    "message",
)


class Row(NamedTuple):
    """A job of the batch: its line in the file, its settings, and whether an earlier row is the same job."""

    line: int
    settings: Settings
    repeated: bool


def run(command, argv, stop, import_run):
    """Paint the jobs of command.batch, command being the Settings of argv; returns the exit status.

    A job that fails is told and the next one runs. Raises InputError, with a line for each fault of the
    file, before anything is painted, and KeyboardInterrupt where stop says so.
    """
    rows = read_rows(command, argv)
    shard, of = map(int, command.shard.split("/"))
    rows = rows[shard - 1 :: of]
    name = "batch.csv" if of == 1 else f"batch-{shard}-of-{of}.csv"
    report = Report(pathlib.Path(command.output_dir, name))
    with nst.files.locked(report.path.parent, f".{name}.lock"):
        paint = import_run().paint if rows else None
        report.write()
        try:
            for number, row in enumerate(rows, 1):
                paint_row(row, f"Job {number} of {len(rows)}, line {row.line}", paint, report, stop)
        finally:
            if not command.quiet:
                report.tell()
    return 1 if report.count["failed"] or report.unwritten else 0


def paint_row(row, title, paint, report, stop):
    """Paint a row's job, if it is to be painted, and report it."""
    settings, started, stop.patient = row.settings, time.monotonic(), False
    try:
        if stop.signum:
            raise KeyboardInterrupt("between two jobs; --resume goes on")
        job = None if row.repeated else prepare(settings)
        if job is None or job.finished:
            report.add(row, "skipped", job and job.last_costs)
            return
        if not settings.quiet:
            print(f"{title}: {job.output}", flush=True)
            report.notice(job.notices)
        costs = paint(job, stop)
    except KeyboardInterrupt as interrupt:
        report.add(row, "stopped", seconds=time.monotonic() - started)
        raise KeyboardInterrupt(*(interrupt.args or ["before a job's first iteration; --resume goes on"])) from None
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, nst.files.WriteError):
            raise  # the standard output's
        known = isinstance(error, InputError | nst.files.RunError | nst.files.WriteError)
        message = str(error) if known else f"{type(error).__name__}: {reason(error)}"
        print(f"nst_main.py: error: line {row.line}: {message}", file=sys.stderr)
        report.add(row, "failed", seconds=time.monotonic() - started, message=message)
    else:
        report.add(row, "done", costs, time.monotonic() - started)


# --- The file -------------------------------------------------------------------------------------------------


def read_rows(command, argv):
    """The Rows of command.batch. Raises InputError, with a line for each fault, unless all can be painted."""
    rows, faults, owners, coming = [], [], {}, {}
    for line, cells in read_cells(command.batch):
        try:
            settings = row_settings(command, argv, cells)
            # Folders whose names differ in case alone are one on many systems, and a batch is for any.
            folder = str(pathlib.Path(settings.output_dir).resolve()).casefold()
            if folder == str(pathlib.Path(command.output_dir).resolve()).casefold():
                raise InputError(f"its folder {settings.output_dir} is the batch's own; give it one below")
            owner = owners.setdefault(folder, Row(line, settings, False))
            repeated = owner.line != line
            if repeated and owner.settings != settings:
                raise InputError(f"its folder {settings.output_dir} is line {owner.line}'s too; give it an output_dir")
            if not repeated:
                job = prepare(settings, coming)
                coming[os.path.realpath(job.result)] = job.frame.image.size
            rows.append(Row(line, settings, repeated))
        except InputError as error:
            faults.append(f"{command.batch} line {line}: {error}")
    if faults:
        raise InputError("\n".join(faults))
    return rows


def read_cells(path):
    """(line number, {flag's name: cell}) of each row of a CSV file. Raises InputError where it is none."""
    allowed = [field.name for field in FIELDS.values() if field.name not in OF_THE_COMMAND]
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            names = reader.fieldnames or ()
            rows = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"argument --batch: {path}: cannot be read ({reason(error)})") from error
    if unknown := [name for name in names if name not in allowed]:
        raise InputError(
            f"argument --batch: {path}: its header has {unknown[0]!r}, which is none of {', '.join(allowed)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"argument --batch: {path}: its header has {max(names, key=names.count)!r} twice")
    if not rows:
        raise InputError(f"argument --batch: {path}: no jobs; it needs a header of flags and a row for each job")
    return rows


def row_settings(command, argv, cells):
    """The Settings of a row: the command's, but for what the row's cells say."""
    if None in cells:
        raise InputError("it has more cells than the header")
    cells = {name: cell.strip() for name, cell in cells.items() if cell and cell.strip()}
    words = [word for name, cell in cells.items() for word in cell_words(name, cell)]
    settings = parse_settings(argv, [*words, "--batch=", "--shard=1/1"])
    if "output_dir" not in cells:
        content = pathlib.Path(settings.content_image_filename).stem
        styles = "+".join(pathlib.Path(name).stem for name in settings.style_image_filename)
        folder = pathlib.Path(command.output_dir, f"{content}-{styles}")
        settings = dataclasses.replace(settings, output_dir=str(folder))
    if command.tensorboard and "tensorboard" not in cells:
        path = pathlib.Path(settings.output_dir)
        folder = pathlib.Path(command.tensorboard, *(part for part in path.parts if part not in ("..", path.anchor)))
        settings = dataclasses.replace(settings, tensorboard=str(folder))
    return settings


# --- The report -----------------------------------------------------------------------------------------------


class Report:
    """What became of each job, written to a CSV file as it comes, and what has been said already."""

    def __init__(self, path):
        self.path, self.entries, self.count, self.unwritten = path, [], collections.Counter(), False
        self.noticed = set()

    def add(self, row, status, costs=None, seconds=0, message=""):
        settings, costs = row.settings, costs or {}
        self.count[status] += 1
        self.entries.append(
            {
                "line": row.line,
                "content_image_filename": settings.content_image_filename,
                "style_image_filename": ";".join(settings.style_image_filename),
                "output_dir": settings.output_dir,
                "status": status,
                "seconds": f"{seconds:.1f}",
                **{f"{name}_cost": costs.get(name, "") for name in COSTS},
                "message": message,
            }
        )
        try:
            self.write()
        except nst.files.WriteError as error:  # no reason to lose the jobs too
            self.unwritten = True
            print(f"nst_main.py: error: {error}", file=sys.stderr)

    def write(self):
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self.entries)
        nst.files.write_text(self.path, text.getvalue())
        self.unwritten = False

    def notice(self, lines):
        """Print lines, each once in a batch."""
        for line in lines:
            if line not in self.noticed:
                print(line, file=sys.stderr, flush=True)
        self.noticed.update(lines)

    def tell(self):
        """Print it as a table."""
        print(f"{'line':>5}  {'status':7}  {'seconds':>8}  {'total cost':>12}  folder")
        for entry in self.entries:
            cost = f"{entry['total_cost']:.6g}" if entry["total_cost"] != "" else ""
            print(f"{entry['line']:5}  {entry['status']:7}  {entry['seconds']:>8}  {cost:>12}  {entry['output_dir']}")
        counts = ", ".join(f"{count} {status}" for status, count in self.count.items()) or "no jobs"
        print(f"{counts}: {self.path}", flush=True)
