"""Many pictures in one command: a job for each row of a CSV file and for each variant of --vary.

All rows are checked before the first job is painted. TensorFlow starts once, and later jobs reuse what was loaded and
compiled for earlier ones. No two jobs write the same file, so several machines can share a batch: each paints one
shard of the rows.
"""

import pathlib
import sys
import time

import nst.files
from nst.batches.report import Report
from nst.batches.rows import read_rows
from nst.errors import InputError, PrintError, RunError, WriteError, reason, with_path
from nst.films.job import prepare


def run(command, argv, stop, start):
    """Paint the jobs of command.batch and command.vary, and return the exit status.

    command is the Settings of argv. start(device) starts TensorFlow and returns the function that paints a job. If a
    job fails, the next one runs. With command.report, run() only merges the reports of the shards. Raises InputError
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
            for row in (row for row in report.rows if row.fault):
                tell(row, row.fault, report)
            paint = start(command.device) if report.rows else None
        report.write()
        try:
            for number, row in enumerate(() if command.report else report.rows, 1):
                paint_row(row, f"Job {number} of {len(report.rows)}, {row.where}", paint, report, stop)
        finally:
            stop.patient = False  # there is no iteration to wait for
            try:
                report.end(command.quiet)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("while the report was written; --report writes it again") from None
    painted = report.count["done"] + report.count["skipped"]
    return 0 if painted == len(report.rows) and not report.unwritten else 1


def paint_row(row, title, paint, report, stop):
    """Paint the job of a row and report its status. A repeated or finished job is skipped."""
    settings, started, stop.patient, begun = row.settings, time.monotonic(), False, False
    if stop.signum:
        raise KeyboardInterrupt("between two jobs; --resume continues")
    if row.fault:  # it was told before
        return
    try:
        job = None if row.repeated else prepare(settings)
        if job is None or job.finished:
            if not settings.quiet:
                print(f"{title}: {'finished already' if job else 'the same as an earlier one'}", flush=True)
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
        tell(row, message_of(error), report, time.monotonic() - started)
    else:
        report.add(row, "done", costs, time.monotonic() - started)


def tell(row, message, report, seconds=0):
    """Report a job that failed."""
    print(f"nst_main.py: error: {row.where}: {message}", file=sys.stderr, flush=True)
    report.add(row, "failed", seconds=seconds, message=message)


def message_of(error):
    """The text of an exception for the report: one line."""
    if isinstance(error, InputError | RunError | WriteError):
        return str(error)
    return f"{type(error).__name__}: {with_path(error) if isinstance(error, OSError) else reason(error)}"
