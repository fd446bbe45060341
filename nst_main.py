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
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MAT = pathlib.Path("pretrained-model", "imagenet-vgg-verydeep-19.mat")


COSTS = """Iteration {} :
total cost = {:.8g}
content cost = {:.8g}
style cost = {:.8g}"""


def setting(default, help):
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that decides a run. Each field is a flag; its default here is the only one there is."""

    content_image_filename: str = setting("chelsea.jpg", "the picture to paint, a name in images/ or a path")
    style_image_filename: str = setting("night.jpg", "the picture whose style to paint it in, found likewise")
    epochs: int = setting(200, "how many iterations to run")
    print_every: int = setting(20, "print the costs and save the picture at every so many iterations")
    alpha: float = setting(10.0, "weight of the content cost")
    beta: float = setting(40.0, "weight of the style cost")
    learning_rate: float = setting(2.0, "Adam's step, about as many grey levels an iteration")
    noise_ratio: float = setting(0.6, "share of noise in the start, from 0 (the content itself) to 1")
    image_size: int = setting(400, "long side of the result in pixels, 0 for the content's own")
    seed: int = setting(0, "seed of the noise: the same command paints the same picture")
    weights: str = setting(
        "", f"VGG-19 as a .mat or .h5 file, or 'imagenet' (downloaded), or 'random'; {MAT} if there is one, else random"
    )
    output_dir: str = setting("output", "folder for all that the run leaves")


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse_settings(argv=None):
    """Settings from the command line; argparse's flags and help are made from the Settings themselves."""
    parser = Parser(
        prog="nst_main.py",
        description="Paints the content of one picture in the style of another, after Gatys, Ecker & Bethge 2015.",
        epilog="Pictures, costs.csv and generated_image.jpg go to the output folder.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(Settings):
        note = f" (default: {field.default})" if field.default != "" else ""
        parser.add_argument(
            f"--{field.name}",
            type=field.type,
            default=field.default,
            metavar=field.type.__name__.upper(),
            help=field.metadata["help"].replace("%", "%%") + note,
        )
    return Settings(**vars(parser.parse_args(argv)))


def find_image(name):
    """The path of a picture: a bare name is looked for in images/ beside this file, then as a path."""
    shipped = HERE / "images" / name
    return shipped if pathlib.Path(name).name == name and shipped.is_file() else pathlib.Path(name)


def find_weights(name):
    """What load_vgg_model is to load. With nothing asked for, the file in its place, else random weights."""
    if name:
        return name
    if (HERE / MAT).is_file():
        return HERE / MAT
    print(f"nst_main.py: no {MAT}: painting with random weights, which carry colour and texture.", file=sys.stderr)
    print(
        "nst_main.py: for trained weights put that file there (README, Trained weights) or use --weights imagenet.",
        file=sys.stderr,
    )
    return "random"


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
        except BaseException:
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


def run(settings, nst):
    """Paint one picture as the settings say; prints costs, writes everything under their output folder."""
    content = nst.read_image(find_image(settings.content_image_filename))
    style = nst.read_image(find_image(settings.style_image_filename))
    if settings.image_size:
        content = nst.resize_to_long_side(content, settings.image_size)
    style = nst.resize_to_long_side(style, max(content.size))
    C, S = nst.reshape_and_normalize_image(content), nst.reshape_and_normalize_image(style)
    model = nst.load_vgg_model(find_weights(settings.weights))
    start = nst.generate_noise_image(C, settings.noise_ratio, settings.seed)
    output = pathlib.Path(settings.output_dir)
    output.mkdir(parents=True, exist_ok=True)

    evaluate = nst.build_cost(model, C, S, settings.alpha, settings.beta)
    with open(output / "costs.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["iteration", "total_cost", "content_cost", "style_cost"])
        for i, picture, *costs in nst.descend(evaluate, start, settings.epochs, settings.learning_rate):
            if i % settings.print_every == 0:
                print(COSTS.format(i, *costs), flush=True)
                nst.save_image(output / f"{i}.png", picture)
                rows.writerow([i, *costs])
                file.flush()
    nst.save_image(output / "generated_image.jpg", picture)
    print(f"Painted {output / 'generated_image.jpg'}")


def main(argv=None):
    settings = parse_settings(argv)
    nst = import_utils()
    try:
        run(settings, nst)
    except nst.InputError as error:
        print(f"nst_main.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
