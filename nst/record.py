"""The record of a run: its lines on the terminal, and its files in the output folder.

A Record takes what a descent yields, and prints and saves it as the run proceeds: pictures, costs, checkpoint. At the
end it draws the curve of the costs and makes the animation. The record of a film (nst.films.record) is made of the same
parts: Folder, save_picture, write_checkpoint.
"""

import contextlib
import io
import json
import math
import pathlib
import time

import numpy as np
import tensorflow as tf
from PIL import Image

import nst.files
import nst_utils
from nst.descent.scales import at, first_picture
from nst.errors import WriteError, reason
from nst.job import COSTS, CURVE, FRAMES
from nst.pictures import decode, encode
from nst.pictures.animation import write_animation
from nst.progress import Progress, as_lines, say
from nst.recipe import comment, find_recipe, is_of_run, mark_of
from nst.settings import RECIPE_FILE

CHECKPOINT_SECONDS = 60  # a run that is killed loses at most this much work, and an iteration


class Record(Progress):
    """The record of a picture: lines on the terminal, and files in the output folder."""

    def __init__(self, job):
        super().__init__(job)
        self.save_every = self.settings.save_every or self.settings.print_every
        self.folder = Folder(job, [CURVE] if self.settings.animation == "none" else [job.animation.name, CURVE])

    def __enter__(self):
        self.saved_at = time.monotonic()
        board = self.settings.tensorboard
        self.board = self.enter_context(tensorboard(board)) if board else None
        return super().__enter__()

    def add(self, iterate):
        """Print and save an Iterate, if it is due. The checkpoint comes last: what it records is on disk then."""
        self.folder.begin()
        super().add(iterate)
        is_saved = self.iteration % self.save_every == 0
        if self.iteration % self.settings.print_every == 0:
            self.say(f"Iteration {self.iteration} :", *as_lines(iterate.costs))
            self.write_costs()
        if is_saved:
            self.folder.attempt(self.save_picture, self.job.output / f"{self.iteration}.png", self.picture)
        if self.board:
            self.board(self.iteration, iterate.costs, self.shown(self.picture) if is_saved else None)
        if is_saved or time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            self.save_checkpoint(finished=False)

    def end(self, stopped):
        """Save the result, the curve of the costs and the animation; stopped says that the run was interrupted."""
        self.folder.begin()
        self.folder.refused.clear()
        super().end(stopped)
        self.save_picture(self.job.result, self.picture)
        if stopped:
            self.save_checkpoint(finished=False)
        elif self.iteration % self.save_every:
            self.folder.attempt(self.save_picture, self.job.output / f"{self.iteration}.png", self.picture)
        self.write_costs()
        self.folder.attempt(draw_curve, self.job.output / CURVE, self.history, self.job.comment)
        if self.settings.animation != "none":
            height, width = self.job.originals.canvas.size
            more = (width, height), self.animated(), self.job.comment
            self.folder.attempt(write_animation, self.job.animation, *more)
        self.folder.end()
        if not stopped:
            self.save_checkpoint(finished=True)
            self.say(f"Painted {self.job.result}")

    def write_costs(self):
        costs = self.job.output / COSTS
        self.folder.attempt(self.history.write, costs, self.counted, self.settings.print_every)

    def end_badly(self, picture):
        """Save the last good picture as the result, if there is one besides the start."""
        if self.state:
            self.folder.begin()
            self.save_picture(self.job.result, picture)

    @property
    def so_far(self):
        """Where the run stopped, and what it saved."""
        return f"iteration {self.iteration}: {self.job.result} has the picture so far, and --resume continues it"

    @property
    def kept(self):
        """What end_badly() saved."""
        return f"{self.job.result} has the last good picture" if self.state else "Nothing was written"

    def shown(self, picture):
        return shown(picture, self.job.originals.canvas, self.settings)

    def save_picture(self, path, picture):
        save_picture(path, picture, self.job.originals.canvas, self.settings, self.recipe)

    def save_checkpoint(self, finished):
        facts = {"finished": finished, "stalled": json.dumps(self.stalled)}
        write_checkpoint(self.job, self.state(), self.history, facts)
        self.saved_at = time.monotonic()

    def animated(self):
        """Functions that return the pictures of the animation: the start, the saved pictures and the result."""
        saved = [self.job.output / f"{i:.0f}.png" for i, *_ in self.history.rows[:-1]]
        saved = [path for path in saved if path.exists() and is_of_run(path, self.job.recipe, 0)]

        def drawn(picture):
            return Image.fromarray(nst_utils.to_pixels(self.shown(picture)))

        return [
            lambda: drawn(first_picture(at(self.job.scene, self.job.schedule[0][0]), None, self.settings)),
            *(lambda path=path: decode.read_image(path, math.inf) for path in saved),
            lambda: drawn(self.picture),
        ]


# --- The parts of a record ------------------------------------------------------------------------


class Folder:
    """The output folder of a job: its settings.json, and the files that earlier runs left there.

    others are the names of the job's files that are neither numbered pictures nor the result.
    """

    def __init__(self, job, others=()):
        self.job, self.results = job, [job.result.name, *others]
        self.leftovers = []  # names of an earlier run's results, which are removed when there are new ones
        self.has_begun, self.refused = False, set()

    def attempt(self, write, path, *words):
        """write(path, *words), which writes or removes a file that the run can do without.

        If another program holds the file, as on Windows a spreadsheet does, a line says so. The file is left alone then
        until self.refused is cleared, because each attempt waits for the other program.
        """
        if path in self.refused:
            return
        try:
            write(path, *words)
        except WriteError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            say(f"{error}; the run continues", quiet=self.job.settings.quiet)
            self.refused.add(path)

    def begin(self):
        """Write settings.json and remove the numbered pictures of an earlier run, unless this run continues it.

        It is called when there is something to save: a run that fails at its start changes nothing.
        """
        if self.has_begun:
            return
        self.has_begun, earlier = True, find_recipe(self.job.output)
        if earlier:
            names = [pathlib.Path(name).name for name in earlier.get("results", ())]
            self.leftovers = [name for name in names if name not in self.results]
        self.write_settings()
        if earlier and not self.job.checkpoint:
            self.clear(earlier)

    def write_settings(self):
        """Write settings.json. It lists an earlier run's results too, as long as they exist, for the next run."""
        content = {**self.job.recipe, "results": [*self.results, *self.leftovers]}
        nst.files.write_text(self.job.output / RECIPE_FILE, json.dumps(content, indent=2) + "\n")

    def clear(self, earlier):
        """Remove the iterations or frames of the run whose recipe is earlier."""
        for folder, first in (self.job.output, 0), (self.job.output / FRAMES, 1):
            for path in folder.glob("*.png"):
                if path.stem.isdecimal() and is_of_run(path, earlier, first):
                    self.attempt(nst.files.remove, path)
        with contextlib.suppress(OSError):  # it holds other files, or does not exist
            (self.job.output / FRAMES).rmdir()

    def end(self):
        """Remove an earlier run's results, now that there are new ones."""
        for name in self.leftovers:
            self.attempt(nst.files.remove, self.job.output / name)
        if self.leftovers:
            self.leftovers = [name for name in self.leftovers if self.job.output / name in self.refused]
            self.write_settings()


def shown(picture, canvas, settings):
    """G as the user sees it, laid on its canvas, with the colours to preserve; mean-subtracted like G."""
    keep = settings.preserve_colors
    if keep not in ("luminance", "shapes") and canvas.share is None:
        return picture
    laid = canvas.lay(np.asarray(picture)[0] + nst_utils.MEANS, keep)
    return nst_utils.reshape_and_normalize_image(laid)


def save_picture(path, picture, canvas, settings, recipe):
    """Write G as the user sees it, with its remarks()."""
    its_remarks = remarks(canvas, settings, recipe)
    if settings.metadata == "none" and path.stem.isdecimal():
        its_remarks["mark"] = mark_of(recipe)
    nst_utils.save_image(path, shown(picture, canvas, settings), **its_remarks)


def remarks(canvas, settings, recipe):
    """The remarks of nst.pictures.encode.write_image: the recipe, and what a result keeps of the content's EXIF."""
    told = {"dpi": settings.dpi, "alpha": canvas.alpha}
    if settings.metadata == "recipe":
        told |= {"comment": comment(recipe, settings), "kept": canvas.kept}
    return told


def write_checkpoint(job, state, history, facts):
    """Write the checkpoint of a job: the arrays that its descent continues from, its history, and further facts."""
    facts = {
        "identity": json.dumps(job.identity),
        "names": history.names,
        "history": history.rows,
        "epochs": [epochs for _, epochs in job.schedule],
        "animation": job.settings.animation,
        "dpi": job.settings.dpi,
        "metadata": job.settings.metadata,
        **facts,
    }
    nst.files.write_arrays(job.checkpoint_path, {**state, **facts})


# --- TensorBoard, the curve ------------------------------------------------------------------------


@contextlib.contextmanager
def tensorboard(folder):
    """A function that writes an iteration's costs, and its picture or None, for TensorBoard."""

    @contextlib.contextmanager
    def failures_told():
        try:
            yield
        except tf.errors.OpError as error:
            raise WriteError(f"{folder}: cannot be written ({reason(error)})") from error

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


def draw_curve(path, history, comment=""):
    """Draw the costs of a History against the iteration, as a PNG."""
    iterations, *costs = np.transpose(history.rows)
    from matplotlib.figure import Figure  # here, because it takes a quarter of a second to load

    figure = Figure(figsize=(6, 4), dpi=120)
    figure.subplots_adjust(left=0.12, bottom=0.12, right=0.97, top=0.97)
    axes = figure.add_subplot(xlabel="iteration", ylabel="cost", yscale="log")
    for name, values in zip(history.names, costs, strict=True):
        positive = np.where(values > 0, values, np.nan)  # a cost of 0 has no logarithm
        axes.plot(iterations, positive, label=name, marker="." if len(values) < 30 else None)
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={encode.COMMENT: comment} if comment else {})
    with nst.files.whole_file(path) as file:
        file.write(drawn.getbuffer())
