"""The command: paints the content of one picture in the style of another (Gatys, Ecker & Bethge 2015).

    python nst_main.py --content_image_filename cat.jpg --style_image_filename night.jpg

Flags become Settings, Settings a Job, and nst_run paints it. That module is imported when there is
work to do: TensorFlow takes seconds to start, and a wrong flag should not wait for it.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import socket
import sys
import tempfile
import threading

from PIL import Image

import nst_files
from nst_files import InputError

HERE = pathlib.Path(__file__).resolve().parent
MAT = pathlib.Path("pretrained-model", "imagenet-vgg-verydeep-19.mat")
JPEG_LONGEST = 65500  # libjpeg's limit on a side
NO_WEIGHTS = """\
nst_main.py: no {}: painting with random weights, which carry colour and texture;
nst_main.py: for trained weights put that file there (README, Trained weights) or use --weights imagenet"""


# --- Flags to Settings ----------------------------------------------------------------------------


def setting(default, help, at_least=None, above=None, at_most=None, choices=None, shapes_result=True):
    """A field of Settings: its default, its line of help, what is allowed, and whether the result hangs on it."""
    bounds = {"at least": at_least, "above": above, "at most": at_most}
    bounds = {word: bound for word, bound in bounds.items() if bound is not None}
    return dataclasses.field(
        default=default, metadata={"help": help, "bounds": bounds, "choices": choices, "shapes_result": shapes_result}
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that decides a run. Each field is a flag; its default here is the only one there is."""

    content_image_filename: str = setting("chelsea.jpg", "the picture to paint, a name in images/ or a path")
    style_image_filename: str = setting("night.jpg", "the picture whose style to paint it in, found likewise")
    epochs: int = setting(200, "how many iterations to run", at_least=1, at_most=10**9, shapes_result=False)
    print_every: int = setting(
        20, "print the costs and save the picture at every so many iterations", at_least=1, at_most=10**9
    )
    alpha: float = setting(10.0, "weight of the content cost", at_least=0)
    beta: float = setting(40.0, "weight of the style cost", at_least=0)
    learning_rate: float = setting(2.0, "Adam's step, about as many grey levels an iteration", above=0)
    optimizer: str = setting(
        "adam", "adam, or lbfgs, which needs fewer epochs for the same cost", choices=("adam", "lbfgs")
    )
    scales: int = setting(
        1,
        "sizes to paint in, coarse to fine, each half of the next; --epochs is for the coarsest, and halves with each",
        at_least=1,
        at_most=16,
    )
    noise_ratio: float = setting(
        0.6, "share of noise in the start, from 0 (the content itself) to 1", at_least=0, at_most=1
    )
    image_size: int = setting(
        400, "long side of the result in pixels, 0 for the content's own", at_least=0, at_most=JPEG_LONGEST
    )
    seed: int = setting(0, "seed of the noise: the same command paints the same picture", at_least=0)
    weights: str = setting(
        "", f"VGG-19 as a .mat or .h5 file, or 'imagenet' (downloaded), or 'random'; {MAT} if there is one, else random"
    )
    output_dir: str = setting("output", "folder for all that the run leaves", shapes_result=False)
    resume: bool = setting(
        False,
        "go on from the checkpoint in the output folder, with adam to the same bytes as if the run had never stopped"
        " (lbfgs cannot promise that); more --epochs lengthen a finished run of one scale",
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
            value == value
            and abs(value) != math.inf
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
            choices=field.metadata["choices"],
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


# --- Settings to a Job ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that has been checked: what nst_run needs to paint one picture."""

    settings: Settings
    content: Image.Image  # at the size of the result
    style: Image.Image  # with the same long side
    weights: str  # what load_vgg_model is to load
    identity: dict  # all that the result hangs on
    checkpoint: dict | None  # to go on from
    notice: str  # what the user should know before it begins

    @property
    def output(self):
        return pathlib.Path(self.settings.output_dir)

    @property
    def result(self):
        return self.output / "generated_image.jpg"

    @property
    def finished(self):
        """Nothing is left to do."""
        checkpoint = self.checkpoint
        return checkpoint is not None and checkpoint["finished"] and checkpoint["epochs"] == self.settings.epochs


def prepare(settings):
    """The Job of the settings. Raises InputError for what a user can have got wrong, the inside of weights excepted."""
    content, style = open_pictures(settings)
    identity = identify(settings)
    weights = find_weights(settings.weights)
    checkpoint = None
    if settings.resume:
        path = pathlib.Path(settings.output_dir, "checkpoint.npz")
        checkpoint = find_checkpoint(path, identity, settings.epochs)
    notice = NO_WEIGHTS.format(MAT) if weights == "random" and not settings.weights else ""
    return Job(settings, content, style, weights, identity, checkpoint, notice)


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
    return name or (str(HERE / MAT) if (HERE / MAT).is_file() else "random")


def identify(settings):
    """All that the result hangs on, as {setting: value}, pictures and weights by their SHA-256."""
    identity = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["shapes_result"]
    }
    for name in ("content_image_filename", "style_image_filename"):
        identity[name] = nst_files.sha256(find_image(identity[name]))
    if settings.scales > 1:
        identity["epochs"] = settings.epochs  # they divide the work between the scales
    weights = find_weights(settings.weights)
    identity["weights"] = weights if weights in ("random", "imagenet") else nst_files.sha256(weights)
    return identity


def find_checkpoint(path, identity, epochs):
    """The checkpoint of --resume, or None where there is none. Raises InputError where it is another run's."""
    if not path.exists():
        print(f"Nothing to resume in {path.parent}: starting anew.")
        return None
    checkpoint = nst_files.read_arrays(path)
    if "identity" not in checkpoint:
        raise InputError(f"{path}: not a checkpoint of this program; remove it")
    made_with = json.loads(str(checkpoint["identity"]))
    for name, value in identity.items():
        if made_with.get(name) != value:
            raise InputError(
                f"argument --resume: {path} was made with another --{name} ({made_with.get(name)}, now {value});"
                " give the same, or leave --resume out to start anew"
            )
    if checkpoint["epoch"] > epochs:
        raise InputError(
            f"argument --epochs: {path} has {checkpoint['epoch']} of them behind it already;"
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


def import_run():
    """nst_run, with TensorFlow behind it, and without TensorFlow's start-up chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # The layers wait for each other; two at a time would take the memory of two, and no less time.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    with quiet_stderr():
        import nst_run
    return nst_run


class Stop:
    """Ctrl-C and SIGTERM, within a with statement: signum is the one that came.

    While a run is patient the first waits for its iteration to end, before that it raises
    KeyboardInterrupt. Python runs its handlers between TensorFlow's calls only, and these can be long:
    the second signal is seen by a thread, which ends the process at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        self.signum, self.patient = None, False
        self.seen, self.wakeup = socket.socketpair()
        self.wakeup.setblocking(False)
        threading.Thread(target=self.watch, daemon=True).start()
        self.fd_before = signal.set_wakeup_fd(self.wakeup.fileno(), warn_on_full_buffer=False)
        self.before = [signal.signal(signum, self.note) for signum in self.SIGNALS]
        return self

    def __exit__(self, *_):
        for signum, handler in zip(self.SIGNALS, self.before, strict=True):
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self.fd_before)
        self.wakeup.close()  # which ends the thread

    def note(self, signum, frame):
        self.signum = signum
        if not self.patient:
            raise KeyboardInterrupt

    def watch(self):
        count = 0
        with self.seen:
            while signum := self.seen.recv(1):
                count += signum[0] in self.SIGNALS
                if count == 2:
                    os._exit(128 + signum[0])


# --- The command ----------------------------------------------------------------------------------


def main(argv=None):
    """Run the command line; returns the exit status."""
    settings = parse_settings(argv)
    status, told = 0, None
    with Stop() as stop:
        try:
            job = prepare(settings)
            if job.finished:
                print(f"Finished already: {job.result}")
            else:
                import_run().paint(job, stop)
        except InputError as error:
            status, told = 2, f"error: {error}"
        except (nst_files.RunError, nst_files.WriteError) as error:
            status, told = 1, f"error: {error}"
        except OSError as error:  # of files all has been said above: this is the standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
            told = f"error: the output cannot be written ({nst_files.reason(error)}); --resume goes on"
            status = 1
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
