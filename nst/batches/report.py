"""The report of a batch: the status of each job in a CSV table and an HTML page, and a contact sheet of the results.

The table and the page are updated while the jobs run, and are complete files at any time. The longer they are, the
fewer jobs get an update of their own, so the work for a job does not grow with the number of jobs. The sheet is written
at the end. Each shard writes its own report, and gather() merges the tables.
"""

import collections
import contextlib
import csv
import io
import math
import pathlib
import sys
import time

import nst.batches.page
import nst.batches.sheet
import nst.files
from nst.errors import WriteError, with_path
from nst.settings import COST_NAMES, PICTURES

PICTURED = {"content_image_filename": "content", "style_image_filename": "style"}  # settings shown as pictures
COLUMNS = (
    *("line", *PICTURED, "output_dir", "status", "seconds"),
    *(f"{name}_cost" for name in COST_NAMES),
    "message",
)
# From one update of the table and the page to the next there are at least these seconds, and this share of the jobs.
SECONDS, SECONDS_PER_JOB, SHARE = 2, 0.05, 0.02
ENDED = ("done", "skipped", "stopped", "failed")  # a job that has not ended is waiting or running


class Report:
    """The report of rows, all or some of a batch's: name.csv, name.html and name.jpg in folder. batch is all rows."""

    def __init__(self, folder, name, batch, rows):
        self.folder, self.name, self.rows = folder, name, rows
        # Both are of the whole batch, so that all shards show the same settings under the same names.
        self.varying, self.labels = varying(batch), short_names(batch)
        self.entries, self.jobs = {}, {}  # {row: its entry in the table}, {row: its values on the page}
        self.noticed, self.unwritten, self.unsaved = set(), set(), False
        self.legend = {}  # {number on the sheet: the value that it stands for}
        self.updated_at, self.begun = -math.inf, math.inf  # when the last update was, and how many jobs began since
        for row in rows:
            self.note(row, as_entry(row, "waiting"))

    @property
    def table(self):
        return self.folder / f"{self.name}.csv"

    @property
    def page(self):
        return self.table.with_suffix(".html")

    @property
    def count(self):
        """{status: number of jobs} of the jobs that have ended."""
        ended = (entry["status"] for entry in self.entries.values() if entry["status"] in ENDED)
        return collections.Counter(ended)

    def add(self, row, status, costs=None, seconds=0, message=""):
        """Set the status of a row's job. If it begins, update the table and the page when it is time to.

        It begins when the job before has ended, so that both are in one update. What cannot be written is printed.
        """
        self.note(row, as_entry(row, status, costs, seconds, message))
        if status != "running":
            return
        self.begun += 1
        count, now = len(self.rows), time.monotonic()
        if now >= self.updated_at + max(SECONDS, SECONDS_PER_JOB * count) and self.begun >= SHARE * count:
            self.updated_at, self.begun = now, 0
            with self.failure_told("table and page"):
                self.write()

    def write(self):
        """Write the table and the page. Raises WriteError."""
        self.write_table()
        self.write_page()
        self.unsaved = False

    def note(self, row, entry):
        self.entries[row], self.unsaved = entry, True
        if entry["status"] != "waiting":  # the pictures of a waiting job are not read
            with self.failure_told("thumbnails"):
                nst.batches.page.write_thumbnails(self.page, row.settings, entry["status"])
        varies = {PICTURED.get(name, name): in_words(name, row.settings, self.labels) for name in self.varying}
        self.jobs[row] = nst.batches.page.show_job(self.page, row.settings, entry, varies, self.labels)

    @contextlib.contextmanager
    def failure_told(self, what):
        """Print an OSError of the body instead of raising it, so that the jobs continue.

        what is the part of the report that the body writes. If that fails, self.unwritten has it.
        """
        self.unwritten.add(what)
        try:
            yield
            self.unwritten.discard(what)
        except OSError as error:
            told = error if isinstance(error, WriteError) else f"{self.table}: {what}: {with_path(error)}"
            print(f"nst_main.py: error: {told}", file=sys.stderr)

    def write_table(self):
        """Write the table of the jobs that have ended. Raises WriteError."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(entry for entry in self.entries.values() if entry["status"] in ENDED)
        nst.files.write_text(self.table, text.getvalue())

    def write_page(self):
        """Write the page of all jobs. Raises WriteError."""
        varying = [PICTURED.get(name, name) for name in self.varying]
        costs = [name for name in COST_NAMES if any(entry[f"{name}_cost"] for entry in self.entries.values())]
        page = nst.batches.page.render(self.name, varying, costs, list(self.jobs.values()), self.legend)
        nst.files.write_text(self.page, page)

    def gather(self):
        """Read the status of the rows from the tables of the batch and its shards. The newest table wins."""
        found = {}
        paths = [*self.folder.glob("batch.csv"), *self.folder.glob("batch-*-of-*.csv")]
        for path in sorted(paths, key=lambda path: path.stat().st_mtime):
            with contextlib.suppress(OSError, ValueError, csv.Error), open(path, encoding="utf-8", newline="") as file:
                for entry in csv.DictReader(file, restval=""):
                    if is_entry(entry):
                        found[job_of(entry)] = dict.fromkeys(COLUMNS, "") | entry
        for row in self.rows:
            if entry := found.get(job_of(self.entries[row])):
                self.note(row, entry)

    def notice(self, lines):
        """Print lines on standard error, each only once in a batch."""
        for line in lines:
            if line not in self.noticed:
                print(f"nst_main.py: {line}", file=sys.stderr, flush=True)
        self.noticed.update(lines)

    def end(self, quiet):
        """Write the sheet and what is not yet written, and print the table unless quiet."""
        labels, self.legend = nst.batches.sheet.as_drawable([job["varies"] for job in self.jobs.values()])
        if self.unsaved or self.legend:
            with self.failure_told("table and page"):
                self.write()
        if self.rows:
            results = [job["path"] for job in self.jobs.values()]
            with self.failure_told("sheet"):
                nst.batches.sheet.write(self.table.with_suffix(".jpg"), labels, results)
        if quiet:
            return
        print(f"{'line':>5}  {'status':7}  {'seconds':>8}  {'total cost':>12}  folder")
        for entry in self.entries.values():
            if entry["status"] in ENDED:
                cost = f"{float(entry['total_cost']):.6g}" if entry["total_cost"] else ""
                start = f"{entry['line']:>5}  {entry['status']:7}  {entry['seconds']:>8}  {cost:>12}"
                print(f"{start}  {entry['output_dir']}")
        counts = ", ".join(f"{count} {status}" for status, count in self.count.items()) or "no jobs"
        print(f"{counts}: {self.table}", flush=True)


def as_entry(row, status, costs=None, seconds=0, message=""):
    """The entry of a row in the table, {column: text}."""
    entry = {
        "line": row.line,
        **{name: ";".join(as_tuple(getattr(row.settings, name))) for name in PICTURED},
        "output_dir": row.settings.output_dir,
        "status": status,
        "seconds": f"{seconds:.1f}" if status in ENDED else "",
        **{f"{name}_cost": (costs or {}).get(name, "") for name in COST_NAMES},
        "message": message,
    }
    return {column: nst.batches.page.plain(str(value)) for column, value in entry.items()}


def job_of(entry):
    """What tells the job of an entry from others. A row whose pictures or folder have changed is another job."""
    return tuple(entry[column] for column in ("line", *PICTURED, "output_dir"))


def is_entry(entry):
    """Whether an entry that was read from a table is valid. It can be an older one, without a cost of today's."""
    costs = {column for column in COLUMNS if column.endswith("_cost")}
    try:
        [float(entry[column] or 0) for column in costs & entry.keys()]
    except ValueError:
        return False
    return set(COLUMNS) - costs <= entry.keys() <= set(COLUMNS) and entry["status"] in ENDED


def varying(rows):
    """Names of the settings that rows set and that differ between rows. The pictures count as set."""
    said = dict.fromkeys(name for row in rows for name in (*row.said, *PICTURED) if name != "output_dir")
    return [name for name in said if len({getattr(row.settings, name) for row in rows}) > 1]


def short_names(rows):
    """{setting: {name of a picture that a row has: a label for it}}.

    The label is the name without its folder and extension, or the whole name where others would have the same label.
    """
    labels = {}
    for setting in PICTURES:
        names = {name for row in rows for name in as_tuple(getattr(row.settings, setting))}
        counts = collections.Counter(pathlib.Path(name).stem for name in names)
        stems = {name: pathlib.Path(name).stem for name in names}
        labels[setting] = {name: stem if counts[stem] == 1 else name for name, stem in stems.items()}
    return labels


def in_words(name, settings, labels):
    """The value of a setting as text; a picture by its label, as short_names gives it."""
    labels = labels.get(name, {})
    words = (f"{word:g}" if isinstance(word, float) else str(word) for word in as_tuple(getattr(settings, name)))
    return nst.batches.page.plain(" ".join(labels.get(word, word) for word in words))


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)
