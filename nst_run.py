"""The run: paints what a Job asks for, and leaves its files and lines.

A Job is made, and checked, by nst_main, which imports this module when there is one: TensorFlow, which
takes seconds to start, is behind it. The run knows of no flags' spelling but to name one in an error.
"""

import csv
import io
import json
import sys
import time

import numpy as np
import tensorflow as tf

import nst_cost
import nst_descent
import nst_files
import nst_utils as nst
from nst_files import RunError

CHECKPOINT_SECONDS = 60  # a run that is killed loses no more than this


def paint(job, stop):
    """Paint one picture as the job says: lines on the terminal, files in the output folder.

    stop.patient is set while a signal may wait for the iteration's end; stop.signum tells that one came.
    """
    settings = job.settings
    model = nst.load_vgg_model(job.weights)
    with nst_files.claimed(job.output):
        if job.notice:
            print(job.notice, file=sys.stderr)
        try:
            if settings.optimizer == "adam":
                optimizer = nst_descent.adam(settings.learning_rate)
            else:
                optimizer = nst_descent.lbfgs(-nst.MEANS, 255 - nst.MEANS)
            scales = [make_scale(k, job, model) for k in range(settings.scales)]
            record(nst_descent.descend(scales, optimizer, job.checkpoint), job, stop)
        except nst_descent.Diverged as error:
            nst.save_image(job.result, error.picture)
            lower = "--learning_rate" if error.iteration >= 0 else "--alpha and --beta"
            raise RunError(f"{error}; lower {lower}. {job.result} has the last good picture") from error
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            size = f"{job.content.width} x {job.content.height}"
            raise RunError(f"out of memory with a picture of {size}; lower --image_size") from error


def make_scale(k, job, model):
    """Scale k of the descent, from 0, the coarsest, to the one in which the job's pictures are given."""
    settings = job.settings
    long_side = max(1, round(max(job.content.size) / 2 ** (settings.scales - 1 - k)))
    epochs = max(1, settings.epochs >> k)

    def at_scale(image):
        return nst.reshape_and_normalize_image(nst_files.resize_to_long_side(image, long_side))

    def start(coarser):
        C = at_scale(job.content)
        if coarser is None:
            return nst.generate_noise_image(C, settings.noise_ratio, settings.seed)
        return nst.generate_finer_image(coarser, C)

    def cost():
        C, S = at_scale(job.content), at_scale(job.style)
        return nst_cost.build_cost(model, C, S, settings.alpha, settings.beta, epochs)

    return nst_descent.Scale(epochs, start, cost)


def record(iterates, job, stop):
    """Print and save what a descent yields, as it comes, and its end.

    The checkpoint is written last of each iteration's files: what it says is done has been saved.
    """
    settings, checkpoint = job.settings, job.checkpoint
    history = checkpoint["history"].tolist() if checkpoint else []

    def save_checkpoint(state, finished):
        facts = {"identity": json.dumps(job.identity), "epochs": settings.epochs, "finished": finished}
        facts["history"] = np.reshape(history, (-1, 4))
        nst_files.write_arrays(job.output / "checkpoint.npz", {**state, **facts})

    # A run that was stopped behind its last iteration has its picture in the checkpoint, and none to come.
    picture, state = (checkpoint["picture"], checkpoint.copy) if checkpoint else (None, None)
    stop.patient, saved_at = True, time.monotonic()
    for i, picture, *costs, state in iterates:
        printed = i % settings.print_every == 0
        if printed:
            print(f"Iteration {i} :")
            for name, value in zip(("total", "content", "style"), costs, strict=True):
                print(f"{name} cost = {value:.8g}", flush=True)
            history.append([i, *costs])
            nst.save_image(job.output / f"{i}.png", picture)
            write_costs(job.output / "costs.csv", history)
        if printed or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            save_checkpoint(state(), finished=False)
            saved_at = time.monotonic()
        if stop.signum:
            break
    nst.save_image(job.result, picture)
    save_checkpoint(state(), finished=not stop.signum)
    if stop.signum:
        raise KeyboardInterrupt(
            f"after iteration {i}: {job.result} has the picture so far, and --resume goes on with it"
        )
    print(f"Painted {job.result}")


def write_costs(path, history):
    """costs.csv, whole, from rows of [iteration, total, content, style cost]."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["iteration", "total_cost", "content_cost", "style_cost"])
    rows.writerows([int(i), *costs] for i, *costs in history)
    with nst_files.whole_file(path) as file:
        file.write(text.getvalue().encode())
