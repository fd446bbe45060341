"""The command: paints the content of one picture in the style of another (Gatys, Ecker & Bethge 2015).

    python nst_main.py --content_image_filename cat.jpg --style_image_filename night.jpg

Flags become Settings, Settings a run, and the run files and lines on the terminal. The formulas and
the network are in nst_utils, which is imported when there is work to do: TensorFlow takes seconds to
start, and a wrong flag should not wait for it.
"""

import argparse
import contextlib
import csv
import dataclasses
import io
import json
import math
import os
import pathlib
import signal
import sys
import tempfile
import time

import numpy as np

import nst_files
from nst_files import InputError

HERE = pathlib.Path(__file__).resolve().parent
MAT = pathlib.Path("pretrained-model", "imagenet-vgg-verydeep-19.mat")
CHECKPOINT_SECONDS = 60  # a run that is killed loses no more than this
JPEG_LONGEST = 65500  # libjpeg's limit on a side


# --- Flags to Settings ----------------------------------------------------------------------------


def setting(default, help, at_least=None, above=None, at_most=None, shapes_result=True):
    """A field of Settings: its default, its line of help, its bounds, and whether the result hangs on it."""
    bounds = {"at least": at_least, "above": above, "at most": at_most}
    bounds = {word: bound for word, bound in bounds.items() if bound is not None}
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds, "shapes_result": shapes_result})


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that decides a run. Each field is a flag; its default here is the only one there is."""

    content_image_filename: str = setting("chelsea.jpg", "the picture to paint, a name in images/ or a path")
    style_image_filename: str = setting("night.jpg", "the picture whose style to paint it in, found likewise")
    epochs: int = setting(200, "how many iterations to run", at_least=1, shapes_result=False)
    print_every: int = setting(20, "print the costs and save the picture at every so many iterations", at_least=1)
    alpha: float = setting(10.0, "weight of the content cost", at_least=0)
    beta: float = setting(40.0, "weight of the style cost", at_least=0)
    learning_rate: float = setting(2.0, "Adam's step, about as many grey levels an iteration", above=0)
    noise_ratio: float = setting(
        0.6, "share of noise in the start, from 0 (the content itself) to 1", at_least=0, at_most=1
    )
    image_size: int = setting(400, "long side of the result in pixels, 0 for the content's own", at_least=0)
    seed: int = setting(0, "seed of the noise: the same command paints the same picture", at_least=0)
    weights: str = setting(
        "", f"VGG-19 as a .mat or .h5 file, or 'imagenet' (downloaded), or 'random'; {MAT} if there is one, else random"
    )
    output_dir: str = setting("output", "folder for all that the run leaves", shapes_result=False)
    resume: bool = setting(
        False,
        "go on from the checkpoint in the output folder, to the same bytes as if the run had never stopped;"
        " more --epochs lengthen a finished run",
        shapes_result=False,
    )


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def number(field):
    """What argparse makes a number of, or tells that it cannot be: within the bounds, and never nan or inf."""
    kind = "a whole number" if field.type is int else "a number"
    bounds = field.metadata["bounds"]
    allowed = " and ".join(f"{word} {bound}" for word, bound in bounds.items())

    def parse(text):
        try:
            value = field.type(text)
        except ValueError:
            value = math.nan
        within = (
            math.isfinite(value)
            and value >= bounds.get("at least", value)
            and value <= bounds.get("at most", value)
            and ("above" not in bounds or value > bounds["above"])
        )
        if not within:
            raise argparse.ArgumentTypeError(f"must be {kind}, {allowed}, not {text!r}")
        return value

    return parse


def parse_settings(argv=None):
    """Settings from the command line; argparse's flags and help are made from the Settings themselves."""
    parser = Parser(
        prog="nst_main.py",
        description="Paints the content of one picture in the style of another, after Gatys, Ecker & Bethge 2015.",
        epilog="Exit status: 0 painted, 1 the run failed, 2 a mistake in the command, 130 or 143 stopped by a signal.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(Settings):
        help = field.metadata["help"].replace("%", "%%")
        if field.type is bool:
            parser.add_argument(f"--{field.name}", action="store_true", help=help)
            continue
        parser.add_argument(
            f"--{field.name}",
            type=str if field.type is str else number(field),
            default=field.default,
            metavar=field.type.__name__.upper(),
            help=help + (f" (default: {field.default})" if field.default != "" else ""),
        )
    settings = Settings(**vars(parser.parse_args(join_values(sys.argv[1:] if argv is None else argv))))
    if settings.alpha == settings.beta == 0:
        parser.error("arguments --alpha and --beta: one of them must be above 0")
    return settings


def join_values(argv):
    """The arguments with "--flag value" as "--flag=value", so that a value may begin with a dash."""
    takes_value = {f"--{field.name}" for field in dataclasses.fields(Settings) if field.type is not bool}
    joined, words = [], iter(argv)
    for word in words:
        value = next(words, None) if word in takes_value else None
        joined.append(word if value is None else f"{word}={value}")
    return joined


# --- What a run is made of ------------------------------------------------------------------------


def find_image(name):
    """The path of a picture: a bare name is looked for in images/ beside this file, then as a path."""
    shipped = HERE / "images" / name
    return shipped if pathlib.Path(name).name == name and shipped.is_file() else pathlib.Path(name)


def open_pictures(settings):
    """The content in its frame and the style at the content's long side, as Pillow images."""
    content, style = (
        nst_files.read_image(find_image(name))
        for name in (settings.content_image_filename, settings.style_image_filename)
    )
    long_side = settings.image_size or max(content.size)
    width, height = nst_files.size_with_long_side(content.size, long_side)
    if width * height > nst_files.MOST_PIXELS or long_side > JPEG_LONGEST:
        raise InputError(
            f"argument --image_size: a result of {width} x {height} is over the {nst_files.MOST_PIXELS:,} pixels,"
            f" or {JPEG_LONGEST:,} a side, that can be written and read again; ask for less"
        )
    return nst_files.resize_to_long_side(content, long_side), nst_files.resize_to_long_side(style, long_side)


def find_weights(name):
    """What load_vgg_model is to load: what was asked for, else the file in its place, else random weights."""
    return name or (HERE / MAT if (HERE / MAT).is_file() else "random")


def identify(settings):
    """All that the result hangs on, as {setting: value}, pictures and weights by their SHA-256."""
    identity = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["shapes_result"]
    }
    for name in ("content_image_filename", "style_image_filename"):
        identity[name] = nst_files.sha256(find_image(identity[name]))
    weights = find_weights(settings.weights)
    identity["weights"] = weights if weights in ("random", "imagenet") else nst_files.sha256(weights)
    return identity


def find_checkpoint(path, identity, epochs):
    """The checkpoint of --resume, or None where there is none. Raises InputError where it is another run's."""
    if not path.exists():
        print(f"Nothing to resume in {path.parent}: starting anew.")
        return None
    checkpoint = nst_files.read_arrays(path)
    made_with = json.loads(str(checkpoint["identity"]))
    for name, value in identity.items():
        if made_with.get(name) != value:
            raise InputError(
                f"argument --resume: {path} was made with another --{name} ({made_with.get(name)}, now {value});"
                " give the same, or leave --resume out to start anew"
            )
    if checkpoint["epochs_done"] > epochs:
        raise InputError(
            f"argument --epochs: {path} has {checkpoint['epochs_done']} of them behind it already;"
            " give as many or more, or leave --resume out to start anew"
        )
    return checkpoint


@contextlib.contextmanager
def quiet_stderr():
    """Hold back what is written to file descriptor 2, and show it only if the body fails.

    TensorFlow's C++ side logs its start-up there before any setting of its log level can reach it.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_utils():
    """nst_utils, with TensorFlow behind it, and without TensorFlow's start-up chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_stderr():
        import nst_utils
    return nst_utils


class Stop:
    """Ctrl-C and SIGTERM, within a with statement: signum is the one that came.

    While a run is patient they wait for its iteration to end, before that they raise KeyboardInterrupt;
    a second one ends the process at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        self.signum, self.patient = None, False
        self.before = [signal.signal(signum, self.note) for signum in self.SIGNALS]
        return self

    def __exit__(self, *_):
        for signum, handler in zip(self.SIGNALS, self.before, strict=True):
            signal.signal(signum, handler)

    def note(self, signum, frame):
        self.signum = signum
        for each in self.SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self.patient:
            raise KeyboardInterrupt


# --- The run --------------------------------------------------------------------------------------


class RunError(Exception):
    """A run that began well and failed. The text is one line: what, where, what to do."""


def run(settings, stop):
    """Paint one picture as the settings say: lines on the terminal, files in the output folder.

    Whatever a user can have got wrong is told, as InputError, before the folder is touched.
    """
    output = pathlib.Path(settings.output_dir)
    content, style = open_pictures(settings)
    identity = identify(settings)
    checkpoint = find_checkpoint(output / "checkpoint.npz", identity, settings.epochs) if settings.resume else None
    if checkpoint and checkpoint["epochs_done"] == settings.epochs:
        print(f"Finished already: {output / 'generated_image.jpg'}")
        return
    weights = find_weights(settings.weights)
    if not settings.weights and weights == "random":
        note = "nst_main.py: no {}: painting with random weights, which carry colour and texture;"
        print(note.format(MAT), file=sys.stderr)
        note = (
            "nst_main.py: for trained weights put that file there (README, Trained weights) or use --weights imagenet"
        )
        print(note, file=sys.stderr)

    nst = import_utils()
    width, height = content.size
    try:
        model = nst.load_vgg_model(weights)
        C, S = nst.reshape_and_normalize_image(content), nst.reshape_and_normalize_image(style)
        with nst_files.claimed(output):
            start = nst.generate_noise_image(C, settings.noise_ratio, settings.seed)
            evaluate = nst.build_cost(model, C, S, settings.alpha, settings.beta)
            iterates = nst.descend(evaluate, start, settings.epochs, settings.learning_rate, checkpoint)
            record(iterates, settings, nst, identity, checkpoint, stop)
    except nst.Diverged as error:
        nst.save_image(output / "generated_image.jpg", error.picture)
        lower = "--learning_rate" if error.iteration >= 0 else "--alpha and --beta"
        raise RunError(f"{error}; lower {lower}. {output / 'generated_image.jpg'} has the last good picture") from error
    except (MemoryError, nst.tf.errors.ResourceExhaustedError) as error:
        raise RunError(f"out of memory with a picture of {width} x {height}; lower --image_size") from error


def record(iterates, settings, nst, identity, checkpoint, stop):
    """Print and save what a descent yields, as it comes.

    The checkpoint is written last of each iteration's files: what it says is done has been saved.
    """
    output = pathlib.Path(settings.output_dir)
    result = output / "generated_image.jpg"
    history = checkpoint["history"].tolist() if checkpoint else []
    stop.patient, saved_at = True, time.monotonic()
    for iterate in iterates:
        i, costs = iterate.iteration, (iterate.total_cost, iterate.content_cost, iterate.style_cost)
        stopped = stop.signum  # looked at once: what comes later in this iteration waits for the next
        printed, last = i % settings.print_every == 0, stopped or i + 1 == settings.epochs
        if printed:
            print(f"Iteration {i} :")
            for name, cost in zip(("total", "content", "style"), costs, strict=True):
                print(f"{name} cost = {cost:.8g}", flush=True)
            history.append([i, *costs])
            nst.save_image(output / f"{i}.png", iterate.picture)
            write_costs(output / "costs.csv", history)
        if last:
            nst.save_image(result, iterate.picture)
        if printed or last or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            facts = {"identity": json.dumps(identity), "epochs_done": i + 1, "history": np.reshape(history, (-1, 4))}
            nst_files.write_arrays(output / "checkpoint.npz", {**iterate.state(), **facts})
            saved_at = time.monotonic()
        if stopped and i + 1 < settings.epochs:
            raise KeyboardInterrupt(
                f"after iteration {i}: {result} has the picture so far, and --resume goes on with it"
            )
    print(f"Painted {result}")


def write_costs(path, history):
    """costs.csv, whole, from rows of [iteration, total, content, style cost]."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["iteration", "total_cost", "content_cost", "style_cost"])
    rows.writerows([int(i), *costs] for i, *costs in history)
    with nst_files.whole_file(path) as file:
        file.write(text.getvalue().encode())


def main(argv=None):
    """Run the command line; returns the exit status."""
    settings = parse_settings(argv)
    status, told = 0, None
    with Stop() as stop:
        try:
            run(settings, stop)
        except InputError as error:
            status, told = 2, f"error: {error}"
        except (RunError, nst_files.WriteError) as error:
            status, told = 1, f"error: {error}"
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
            status, told = 1, "error: nobody reads the output any more; --resume goes on"
        except KeyboardInterrupt as interrupt:
            told = (
                f"stopped {interrupt}" if interrupt.args else "stopped before the first iteration; nothing was written"
            )
            status = 128 + stop.signum
    if told:
        print(f"nst_main.py: {told}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
