"""The record of a run: its lines on the terminal, and the files that it leaves.

A Record takes what a descent yields and prints and saves it as it comes: pictures, costs, checkpoint. At
the end it draws the cost curve and makes the animation. Each picture carries the recipe it was made by.
"""

import contextlib
import csv
import io
import json
import math
import pathlib
import time

import numpy as np
import tensorflow as tf
import tqdm
from matplotlib.figure import Figure
from PIL import Image

import nst.colours
import nst.files
import nst.film
import nst.flags
import nst.settings
import nst_utils

CURVE, FRAMES = "costs.png", "frames"  # in the output folder
CHECKPOINT_SECONDS = 60  # a run that is killed loses no more than this, and an iteration


class Record(contextlib.ExitStack):
    """The record of a job: enter it, add() what the descent yields, then end() it."""

    unit, counted = "epoch", "iteration"

    def __init__(self, job):
        super().__init__()
        self.job, self.settings = job, job.settings
        self.epochs = [epochs for _, epochs in job.schedule]
        self.save_every = self.settings.save_every or self.settings.print_every
        self.scale, self.epoch, self.stalled = 0, -1, []  # stalled: what ended before its epochs were used up
        self.leftovers = []  # names of an earlier run's results, removed when there is something better
        self.history, self.names = [], []  # of [iteration, cost, ...], and of the costs
        self.iteration, self.picture, self.state = -1, None, None
        self.start = None  # a function that gives G before the first iteration
        if checkpoint := job.checkpoint:
            self.history, self.names = checkpoint["history"].tolist(), checkpoint["names"].tolist()
            # A run that was stopped behind its last iteration has its picture here, and none to come.
            self.iteration, self.picture = int(checkpoint["iteration"]), checkpoint["picture"]
            self.scale, self.epoch = int(checkpoint["scale"]), int(checkpoint["epoch"]) - 1
            self.state = checkpoint.copy
            stalled = json.loads(str(checkpoint.get("stalled", "[]")))
            self.stalled = [scale for scale in stalled if scale["scale"] <= self.scale]

    def __enter__(self):
        settings = self.settings
        earlier = None if self.job.checkpoint else nst.flags.read_settings(self.job.output)
        if earlier:
            names = [pathlib.Path(name).name for name in earlier.get("results", ())]
            self.leftovers = [name for name in names if name not in self.results]
        self.write_settings()
        if earlier:
            self.clear(earlier)
        self.saved_at = time.monotonic()
        done = self.iteration + 1
        left = sum(self.epochs[self.scale :]) - (self.epoch + 1)
        self.bar = self.enter_context(progress_bar(done + left, done, settings.quiet, self.unit))
        self.board = self.enter_context(tensorboard(settings.tensorboard)) if settings.tensorboard else None
        return self

    @property
    def results(self):
        """Names of the files that are no iterations, the picture or film first."""
        animation = [self.job.animation.name] if self.settings.animation != "none" else []
        return [self.job.result.name, *animation, CURVE]

    def write_settings(self):
        """settings.json; it names too what there is yet of an earlier run, for the next one to know."""
        told = {**self.job.recipe, "results": [*self.results, *self.leftovers]}
        nst.files.write_text(self.job.output / nst.settings.RECIPE_FILE, json.dumps(told, indent=2) + "\n")

    def clear(self, earlier):
        """Remove the iterations of an earlier run, or its frames, by its settings.json."""
        for folder, first in (self.job.output, 0), (self.job.output / FRAMES, 1):
            for path in folder.glob("*.png"):
                if path.stem.isdecimal() and is_of_run(path, earlier, first):
                    nst.files.remove(path)
        with contextlib.suppress(OSError):  # there are others in it, or it is not there
            (self.job.output / FRAMES).rmdir()

    def clear_leftovers(self):
        """Remove an earlier run's results, now that there are others."""
        for name in self.leftovers:
            nst.files.remove(self.job.output / name)
        if self.leftovers:
            self.leftovers = []
            self.write_settings()

    def note(self, i, costs):
        """Add to the history. A cost that is told from here on, or not any more, is nan where it is not known."""
        unknown = [name for name in costs if name not in self.names]
        self.names = [*self.names, *unknown]
        self.history = [[*row, *[math.nan] * len(unknown)] for row in self.history] if unknown else self.history
        self.history.append([i, *(costs.get(name, math.nan) for name in self.names)])

    def add(self, iterate):
        """Print and save an Iterate, if it is one of those, and a checkpoint last: what it says is done is saved."""
        if iterate.scale > self.scale:
            self.end_scale()
        i, self.scale, self.epoch, self.picture, costs, self.state = iterate
        self.iteration = i
        self.note(i, costs)
        saved = i % self.save_every == 0
        if i % self.settings.print_every == 0:
            self.say(f"Iteration {i} :", *(f"{name} cost = {value:.8g}" for name, value in costs.items()))
            self.write_costs()
        if saved:
            self.save_picture(self.job.output / f"{i}.png", self.picture)
        if self.board:
            self.board(i, costs, self.shown(self.picture) if saved else None)
        if saved or time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            self.save_checkpoint(finished=False)
        self.bar.set_postfix_str(f"cost {costs['total']:.4g}", refresh=False)
        self.bar.update()

    def end_scale(self):
        """Say and note it where a scale, L-BFGS's then, has ended before its epochs were used up."""
        done, of = self.epoch + 1, self.epochs[self.scale]
        if 0 < done < of:
            self.stalled.append({"scale": self.scale + 1, "epochs": done, "of": of})
            scale = f" on scale {self.scale + 1} of {len(self.epochs)}" if len(self.epochs) > 1 else ""
            self.say(f"No step lowers the cost any more{scale}: {done} of {of} epochs")
            self.bar.update(of - done)

    def end(self, stopped):
        """Save the result, the cost curve and the animation."""
        if not stopped:
            self.end_scale()
        self.save_picture(self.job.result, self.picture)
        if stopped:
            self.save_checkpoint(finished=False)
        elif self.iteration % self.save_every:
            self.save_picture(self.job.output / f"{self.iteration}.png", self.picture)
        recipe = json.dumps(self.job.recipe)
        draw_curve(self.job.output / CURVE, self.names, self.history, recipe)
        if self.settings.animation != "none":
            nst.film.write_animation(self.job.animation, self.job.canvas.image.size, self.frames(), recipe)
        self.clear_leftovers()
        if not stopped:
            self.save_checkpoint(finished=True)
            self.say(f"Painted {self.job.result}")

    def end_badly(self, picture):
        """Save the last good picture as the result."""
        if self.state is None:  # nothing of this run has been saved: a checkpoint there is another's, and its result
            nst.files.remove(self.job.checkpoint_path)
        self.save_picture(self.job.result, picture)

    @property
    def so_far(self):
        """Where a run was stopped, and what it left."""
        return f"iteration {self.iteration}: {self.job.result} has the picture so far"

    @property
    def kept(self):
        """What end_badly() left."""
        return f"{self.job.result} has the last good picture"

    @property
    def costs(self):
        """{name: cost} of the last iteration."""
        return dict(zip(self.names, self.history[-1][1:], strict=True))

    def say(self, *lines):
        """Print lines, above the progress bar if there is one."""
        if not self.settings.quiet:
            with tqdm.tqdm.external_write_mode():
                print(*lines, sep="\n", flush=True)

    def shown(self, picture):
        """The picture G as it is to be seen: on the canvas, with what is to be kept of its colours."""
        keep, canvas = self.settings.preserve_colors, self.job.canvas
        if keep not in ("luminance", "shapes") and not canvas.share:
            return picture
        pixels = np.asarray(picture)[0] + nst_utils.MEANS
        if keep in ("luminance", "shapes"):
            content = nst.files.resize_to_long_side(self.job.content.image, max(pixels.shape[:2]))
            pair = (content, pixels) if keep == "luminance" else (pixels, content)
            pixels = nst.colours.with_colours_of(*pair)
        return nst_utils.reshape_and_normalize_image(canvas.around(pixels))

    def save_picture(self, path, picture):
        recipe = {**self.job.recipe, "iteration": self.iteration}
        if self.stalled:
            recipe["stalled"] = self.stalled
        remarks = {"comment": json.dumps(recipe), "dpi": self.settings.dpi, "alpha": self.job.canvas.alpha}
        nst_utils.save_image(path, self.shown(picture), **remarks)

    def save_checkpoint(self, finished):
        facts = {"identity": json.dumps(self.job.identity), "names": self.names, "history": self.history}
        facts |= {
            "epochs": [of for _, of in self.job.schedule],
            "finished": finished,
            "animation": self.settings.animation,
            "dpi": self.settings.dpi,
            "stalled": json.dumps(self.stalled),
        }
        nst.files.write_arrays(self.job.checkpoint_path, {**self.state(), **facts})
        self.saved_at = time.monotonic()

    def write_costs(self):
        """costs.csv: those that were printed."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([self.counted, *(f"{name}_cost" for name in self.names)])
        rows.writerows([int(i), *("" if math.isnan(cost) else cost for cost in costs)] for i, *costs in self.printed())
        nst.files.write_text(self.job.output / "costs.csv", text.getvalue())

    def printed(self):
        return [row for row in self.history if row[0] % self.settings.print_every == 0]

    def frames(self):
        """Functions that give the pictures of the animation: G's start, those that were saved, and the result."""
        saved = [self.job.output / f"{i:.0f}.png" for i, *_ in self.history[:-1]]

        def frame(picture):
            return Image.fromarray(nst_utils.to_pixels(self.shown(picture)))

        return [
            lambda: frame(self.start()),
            *(lambda path=path: nst.files.read_image(path, math.inf) for path in saved if path.exists()),
            lambda: frame(self.picture),
        ]


class FilmRecord(Record):
    """The record of a film: its frames as they come, and the film of them at the end."""

    unit = counted = "frame"

    def __init__(self, job):
        super().__init__(job)
        self.epochs, self.scale, self.epoch = [len(job.film.chosen)], 0, self.iteration
        self.folder = job.output / FRAMES

    def __enter__(self):
        super().__enter__()
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise nst.files.WriteError(f"{self.folder}: cannot be made ({nst.files.reason(error)})") from error
        return self

    @property
    def results(self):
        return [self.job.result.name]

    def add_frame(self, number, job, picture, costs, state):
        """Print and save a finished frame; job is the frame's own, state what the next one goes on from beside it."""
        self.job, self.iteration, self.epoch, self.picture = job, number, number, picture
        progress = {"iteration": number, "scale": 0, "epoch": 0}
        self.state = lambda: {"picture": np.asarray(picture), **state, **progress}
        self.note(number, {**costs, "temporal": costs.get("temporal", 0.0)})
        self.save_picture(self.frame_path(number), picture)
        self.save_checkpoint(finished=False)
        if number % self.settings.print_every == 0:
            self.say(
                f"Frame {number + 1} of {self.epochs[0]} :", *(f"{name} cost = {costs[name]:.8g}" for name in costs)
            )
            self.write_costs()
        self.bar.set_postfix_str(f"cost {costs['total']:.4g}", refresh=False)
        self.bar.update()

    def frame_path(self, number):
        return self.folder / f"{number + 1:06d}.png"

    def end(self, stopped):
        """Write the film of the frames that there are."""
        count = self.iteration + 1
        frames = (nst.files.read_image(self.frame_path(i), math.inf) for i in range(count))
        with nst.files.whole_path(self.job.result) as part:
            size, film = self.job.canvas.image.size, self.job.film
            nst.film.encode(part, size, frames, count, film.rate, json.dumps(self.job.recipe))
            nst.film.add_sound(part, film, count)
        self.clear_leftovers()
        if not stopped:
            self.write_costs()
            self.save_checkpoint(finished=True)
            self.say(f"Painted {self.job.result}")

    def end_badly(self, picture):
        """Write the film so far; a frame's last picture is not one of it."""
        if self.iteration >= 0:
            self.end(stopped=True)

    @property
    def so_far(self):
        return f"frame {self.iteration + 1}: {self.job.result} has the film so far"

    @property
    def kept(self):
        return f"{self.job.result} has the film so far" if self.iteration >= 0 else "No frame was finished"


def is_of_run(path, recipe, first):
    """Whether a numbered picture is an iteration of the run with that recipe, the first having that number."""
    try:
        its = json.loads(nst.files.read_comment(path))
        settings = {name: its["settings"].get(name) for name in recipe["settings"]}
        changes = dict.fromkeys(nst.settings.CHANGEABLE)  # when the run is resumed
        alike = {**settings, **changes} == {**recipe["settings"], **changes}
        return alike and its["sha256"] == recipe["sha256"] and its["iteration"] == int(path.stem) - first
    except (nst.files.InputError, ValueError, KeyError, TypeError, AttributeError):
        return False


def progress_bar(count, done, quiet, unit):
    """A live line on a terminal; nothing elsewhere."""
    return tqdm.tqdm(
        total=count,
        initial=done,
        disable=quiet or None,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s, {rate_inv_fmt}, {remaining} left{postfix}",
    )


@contextlib.contextmanager
def tensorboard(folder):
    """A function that writes an iteration's costs, and its picture or None, for TensorBoard to show."""

    @contextlib.contextmanager
    def failures_told():
        try:
            yield
        except tf.errors.OpError as error:
            raise nst.files.WriteError(f"{folder}: cannot be written ({nst.files.reason(error)})") from error

    def write(i, costs, picture):
        with failures_told(), writer.as_default(step=i):
            for name, cost in costs.items():
                tf.summary.scalar(f"{name}_cost", cost)
            if picture is not None:
                tf.summary.image("generated_image", nst_utils.to_pixels(picture)[np.newaxis])

    with failures_told():
        writer = tf.summary.create_file_writer(folder)
    try:
        yield write
    finally:
        with failures_told():
            writer.close()


def draw_curve(path, names, history, comment=""):
    """The costs against the iteration, as a PNG."""
    iterations, *costs = np.transpose(history)
    figure = Figure(figsize=(6, 4), dpi=120)
    figure.subplots_adjust(left=0.12, bottom=0.12, right=0.97, top=0.97)
    axes = figure.add_subplot(xlabel="iteration", ylabel="cost", yscale="log")
    for name, values in zip(names, costs, strict=True):
        shown = np.where(values > 0, values, np.nan)  # a cost of 0 has no logarithm
        axes.plot(iterations, shown, label=name, marker="." if len(values) < 30 else None)
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={nst.files.COMMENT: comment})
    with nst.files.whole_file(path) as file:
        file.write(drawn.getbuffer())
