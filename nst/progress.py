"""How far a run is: its bar and its lines on the terminal, and the costs so far."""

import contextlib
import csv
import importlib
import io
import json
import math
import warnings

import tqdm

import nst.files


class Progress(contextlib.ExitStack):
    """How far the painting of a picture is: enter it, add() each Iterate of the descent, then end() it.

    It has the costs so far and the last Iterate, and shows a bar and lines. What else is kept of the picture is up to
    its subclasses, which have so_far and kept, texts for the end of an error, and end_badly(picture).
    """

    counted = "iteration"
    hidden = None  # whether its bar is hidden, see progress_bar

    def __init__(self, job):
        super().__init__()
        self.job, self.settings = job, job.settings
        self.epochs = [epochs for _, epochs in job.schedule]
        self.history = History(job.checkpoint)
        self.scale, self.epoch, self.stalled = 0, -1, []  # stalled: scales that stopped before using all their epochs
        self.iteration, self.picture, self.state = -1, None, None
        if checkpoint := job.checkpoint:
            # If all iterations are done, no Iterate will come: the picture is that of the checkpoint.
            self.iteration, self.picture = int(checkpoint["iteration"]), checkpoint["picture"]
            self.scale, self.epoch = int(checkpoint["scale"]), int(checkpoint["epoch"]) - 1
            self.state = checkpoint.copy
            stalled = json.loads(str(checkpoint.get("stalled", "[]")))
            self.stalled = [scale for scale in stalled if scale["scale"] <= self.scale]

    def __enter__(self):
        done = self.iteration + 1
        left = sum(self.epochs[self.scale :]) - (self.epoch + 1)
        self.bar = self.enter_context(progress_bar(done + left, done, "epoch", self.settings.quiet or self.hidden))
        return self

    def add(self, iterate):
        """Take the next Iterate."""
        if iterate.scale > self.scale:
            self.end_scale()
        self.iteration, self.scale, self.epoch, self.picture, costs, self.state = iterate
        self.history.add(self.iteration, costs)
        self.bar.set_postfix_str(f"cost {costs['total']:.4g}", refresh=False)
        self.bar.update()

    def end_scale(self):
        """Note and report if the scale stopped before using all its epochs, as L-BFGS can."""
        done, of = self.epoch + 1, self.epochs[self.scale]
        if 0 < done < of:
            self.stalled.append({"scale": self.scale + 1, "epochs": done, "of": of})
            scale = f" on scale {self.scale + 1} of {len(self.epochs)}" if len(self.epochs) > 1 else ""
            self.say(f"No further step lowers the cost{scale}: stopped after {done} of {of} epochs")
            self.bar.update(of - done)

    def end(self, stopped):
        """Take the end of the descent; stopped says that the run was interrupted."""
        if not stopped:
            self.end_scale()

    @property
    def recipe(self):
        """The recipe of the picture so far."""
        stalled = {"stalled": self.stalled} if self.stalled else {}
        return {**self.job.recipe, "iteration": self.iteration, **stalled}

    def say(self, *lines):
        say(*lines, quiet=self.settings.quiet)


class History:
    """The costs of a run: names, and rows of [number of the iteration or frame, cost, ...]."""

    def __init__(self, checkpoint=None):
        self.names = checkpoint["names"].tolist() if checkpoint else []
        self.rows = checkpoint["history"].tolist() if checkpoint else []

    def add(self, number, costs):
        """Add a row. A cost that a row does not have is nan there."""
        unknown = [name for name in costs if name not in self.names]
        self.names = [*self.names, *unknown]
        self.rows = [[*row, *[math.nan] * len(unknown)] for row in self.rows] if unknown else self.rows
        self.rows.append([number, *(costs.get(name, math.nan) for name in self.names)])

    @property
    def last(self):
        """{name: cost} of the last row."""
        return self.costs_of(self.rows[-1])

    def costs_of(self, row):
        """{name: cost} of a row; a cost that it does not have is left out."""
        return {name: cost for name, cost in zip(self.names, row[1:], strict=True) if not math.isnan(cost)}

    def write(self, path, counted, every):
        """Write the rows whose number is a multiple of every as CSV; counted is the heading of the numbers."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([counted, *(f"{name}_cost" for name in self.names)])
        for number, *costs in self.rows:
            if number % every == 0:
                rows.writerow([int(number), *("" if math.isnan(cost) else cost for cost in costs)])
        nst.files.write_text(path, text.getvalue())


def say(*lines, quiet):
    """Print lines, above the progress bar if there is one."""
    if not quiet:
        with tqdm.tqdm.external_write_mode():
            print(*lines, sep="\n", flush=True)


def as_lines(costs):
    return [f"{name} cost = {value:.8g}" for name, value in costs.items()]


def progress_bar(count, done, unit, hidden):
    """A progress bar, also in a notebook; hidden is True, False, or None for a bar only on a terminal."""
    with warnings.catch_warnings():  # without ipywidgets a notebook shows a bar of text
        warnings.simplefilter("ignore", tqdm.TqdmWarning)
        bar = importlib.import_module("tqdm.auto").tqdm
    return bar(
        total=count,
        initial=done,
        disable=hidden,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s, {rate_inv_fmt}, {remaining} left{postfix}",
    )
