"""What became of the jobs of a batch: a table in CSV, a page to look at and a sheet of the results.

The table and the page are written as the jobs come, each whole at every moment, the sheet at the end. Shards have
their own, which gather() brings together.
"""

import collections
import contextlib
import csv
import io
import pathlib
import sys

import nst.files
import nst.page
import nst.sheet
from nst.settings import PICTURES

COSTS = ("total", "content", "style", "tv", "temporal")
PICTURED = {"content_image_filename": "content", "style_image_filename": "style"}  # which are shown as pictures
COLUMNS = (
    *("line", *PICTURED, "output_dir", "status", "seconds"),
    *(f"{name}_cost" for name in COSTS),
    "message",
)
ENDED = ("done", "skipped", "stopped", "failed")  # and before that a job is waiting or running


class Report:
    """The report of the rows, some or all of the batch's, and what has been said already."""

    def __init__(self, folder, name, batch, rows):
        self.folder, self.name, self.rows = folder, name, rows
        self.varying = varying(batch)  # also where a shard's rows are alike
        self.entries, self.jobs = {}, {}  # of each row, for the table and for the page
        for row in rows:
            self.note(row, as_entry(row, "waiting"))
        self.noticed, self.unwritten, self.unsaved = set(), set(), False

    @property
    def table(self):
        return self.folder / f"{self.name}.csv"

    @property
    def count(self):
        """{status: how many} of the jobs that have ended."""
        ended = (entry["status"] for entry in self.entries.values() if entry["status"] in ENDED)
        return collections.Counter(ended)

    def add(self, row, status, costs=None, seconds=0, message=""):
        """Note and write what became of a row's job."""
        self.note(row, as_entry(row, status, costs, seconds, message))
        self.unsaved = status == "skipped"  # those come by the hundred, and the next one is written with them
        if not self.unsaved:
            with self.failure_told("table and page"):
                if status in ENDED:
                    self.write_table()
                self.write_page()

    def write(self):
        """Write the table and the page. Raises nst.files.WriteError."""
        self.write_table()
        self.write_page()

    def note(self, row, entry):
        self.entries[row] = entry
        varies = {PICTURED.get(name, name): in_words(name, row.settings) for name in self.varying}
        self.jobs[row] = nst.page.show_job(self.folder, row.settings, entry, varies)

    @contextlib.contextmanager
    def failure_told(self, what):
        """A report that cannot be written is no reason to lose the jobs too; unwritten knows what is not."""
        self.unwritten.add(what)
        try:
            yield
            self.unwritten.discard(what)
        except nst.files.WriteError as error:
            print(f"nst_main.py: error: {error}", file=sys.stderr)

    def write_table(self):
        """Of the jobs that have ended."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(entry for entry in self.entries.values() if entry["status"] in ENDED)
        nst.files.write_text(self.table, text.getvalue())

    def write_page(self):
        """Of all jobs."""
        varying = [name for name in self.varying if name not in PICTURED]
        costs = [name for name in COSTS if any(entry[f"{name}_cost"] for entry in self.entries.values())]
        page = nst.page.render(self.name, varying, costs, list(self.jobs.values()))
        nst.files.write_text(self.table.with_suffix(".html"), page)

    def gather(self):
        """Take in what the tables of the batch and of its shards in the folder say of the rows, the newest last."""
        found = {}
        paths = [*self.folder.glob("batch.csv"), *self.folder.glob("batch-*-of-*.csv")]
        for path in sorted(paths, key=lambda path: path.stat().st_mtime):
            with contextlib.suppress(OSError, ValueError, csv.Error), open(path, encoding="utf-8", newline="") as file:
                for entry in csv.DictReader(file, restval=""):
                    if is_entry(entry):
                        found[entry["line"], entry["output_dir"]] = entry
        for row in self.rows:
            if entry := found.get((str(row.line), nst.page.plain(row.settings.output_dir))):
                self.note(row, entry)

    def notice(self, lines):
        """Print lines, each once in a batch."""
        for line in lines:
            if line not in self.noticed:
                print(line, file=sys.stderr, flush=True)
        self.noticed.update(lines)

    def end(self, quiet):
        """Write all, the sheet too, and print the table."""
        if self.unsaved:
            with self.failure_told("table and page"):
                self.write()
        if self.rows:
            labels, results = zip(*((job["varies"], job["path"]) for job in self.jobs.values()), strict=True)
            with self.failure_told("sheet"):
                nst.sheet.write(self.table.with_suffix(".jpg"), labels, results)
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
    """{column: text} of a row of the table."""
    entry = {
        "line": row.line,
        **{name: ";".join(several(getattr(row.settings, name))) for name in PICTURED},
        "output_dir": row.settings.output_dir,
        "status": status,
        "seconds": f"{seconds:.1f}" if status in ENDED else "",
        **{f"{name}_cost": (costs or {}).get(name, "") for name in COSTS},
        "message": message,
    }
    return {column: nst.page.plain(str(value)) for column, value in entry.items()}


def is_entry(entry):
    """Whether a row of a table is of as_entry's kind; who edits a table by hand may leave another."""
    try:
        [float(entry[column] or 0) for column in COLUMNS if column.endswith("cost")]
        return entry.keys() == set(COLUMNS) and entry["status"] in ENDED
    except (KeyError, ValueError):
        return False


def varying(rows):
    """Names of the settings that the rows give and that differ between them."""
    said = dict.fromkeys(name for row in rows for name in (*row.said, *PICTURED) if name != "output_dir")
    return [name for name in said if len({getattr(row.settings, name) for row in rows}) > 1]


def in_words(name, settings):
    """The value of a setting as one reads it."""
    words = (f"{word:g}" if isinstance(word, float) else str(word) for word in several(getattr(settings, name)))
    return nst.page.plain(" ".join(pathlib.Path(word).stem if name in PICTURES else word for word in words))


def several(value):
    return value if isinstance(value, tuple) else (value,)
