"""The record of a film: its frames as they are painted, and the video of them at the end."""

import contextlib
import math

import numpy as np

import nst.files
import nst.progress
import nst.record
from nst.errors import WriteError, reason
from nst.job import COSTS, FRAMES
from nst.pictures import decode, video


class FilmRecord(contextlib.ExitStack):
    """The record of a FilmJob: enter it, add() each frame, then end() it."""

    counted = "frame"

    def __init__(self, job):
        super().__init__()
        self.job, self.settings, self.count = job, job.settings, len(job.film.chosen)
        self.folder, self.history = nst.record.Folder(job), nst.progress.History(job.checkpoint)
        self.frames = job.output / FRAMES
        self.number, self.picture, self.state = -1, None, None
        if checkpoint := job.checkpoint:
            self.number, self.picture, self.state = int(checkpoint["iteration"]), checkpoint["picture"], checkpoint

    def __enter__(self):
        bar = nst.progress.progress_bar(self.count, self.number + 1, "frame", self.settings.quiet or None)
        self.bar = self.enter_context(bar)
        return self

    def add(self, number, canvas, picture, costs, state):
        """Print and save a frame. state are the arrays that the next frame continues from, besides the picture."""
        self.begin()
        self.number, self.picture = number, picture
        self.state = {"picture": np.asarray(picture), **state, "iteration": number, "scale": 0, "epoch": 0}
        self.history.add(number, {**costs, "temporal": costs.get("temporal", 0.0)})
        recipe = {**self.job.recipe, "iteration": number}
        nst.record.save_picture(self.frame_path(number), picture, canvas, self.settings, recipe)
        self.save_checkpoint(finished=False)
        if number % self.settings.print_every == 0:
            self.say(f"Frame {number + 1} of {self.count} :", *nst.progress.as_lines(costs))
            self.write_costs()
        self.bar.set_postfix_str(f"cost {costs['total']:.4g}", refresh=False)
        self.bar.update()

    def begin(self):
        self.folder.begin()
        try:
            self.frames.mkdir(exist_ok=True)
        except OSError as error:
            raise WriteError(f"{self.frames}: cannot be made ({reason(error)})") from error

    def frame_path(self, number):
        return self.frames / f"{number + 1:06d}.png"

    def end(self, stopped):
        """Write the video of the frames that there are; stopped says that the run was interrupted."""
        self.begin()
        count, film = self.number + 1, self.job.film
        pictures = self.pictures(count)
        height, width = self.job.originals.canvas.size
        with nst.files.whole_path(self.job.result) as part:
            video.encode(part, (width, height), pictures, film.rate, self.job.comment)
            video.add_sound(part, film, count)
        self.folder.end()
        if not stopped:
            self.write_costs()
            self.save_checkpoint(finished=True)
            self.say(f"Painted {self.job.result}")

    def pictures(self, count):
        """Yields the first count frames, each as often as it is held.

        If one was removed or changed since, the frame before is shown for longer.
        """
        recipe, before = self.job.recipe, None
        for number in range(count):
            path = self.frame_path(number)
            if nst.record.is_of_run(path, recipe, 1):
                before = decode.read_image(path, math.inf)
            else:
                self.say(f"{path} is missing or not of this run: the frame before is shown in its place")
            if before is not None:
                yield from [before] * self.job.film.hold(number)

    def end_badly(self, picture):
        """Write the video so far, without the frame that failed."""
        if self.number >= 0:
            self.end(stopped=True)

    @property
    def so_far(self):
        """Where the run stopped, and what it saved."""
        return f"frame {self.number + 1}: {self.job.result} has the film so far, and --resume continues it"

    @property
    def kept(self):
        """What end_badly() saved."""
        return f"{self.job.result} has the film so far" if self.number >= 0 else "No frame was finished"

    def say(self, *lines):
        nst.progress.say(*lines, quiet=self.settings.quiet)

    def write_costs(self):
        costs = self.job.output / COSTS
        self.folder.attempt(self.history.write, costs, self.counted, self.settings.print_every)

    def save_checkpoint(self, finished):
        facts = {"finished": finished, "fps": self.settings.fps}
        nst.record.write_checkpoint(self.job, self.state, self.history, facts)
