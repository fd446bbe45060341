"""Settings from text: from the command line, a cell of a batch, or the recipe that every picture carries.

The flags of argparse and their help are made of the fields of Settings.
"""

import argparse
import math
import os
import sys
import typing

from nst.errors import InputError
from nst.presets import PRESET_FLAGS, PRESETS
from nst.recipe import read_recipe
from nst.settings import FIELDS, HEADINGS, PATHS, Settings

BETWEEN_VALUES = "\0"  # a character that no word of a command line can hold


def value_type(field):
    """(the type of a field's value, or of each of its values; whether it takes several values)."""
    of_tuple = typing.get_args(field.type)
    if field.metadata["repeats"]:
        of_tuple = typing.get_args(of_tuple[0])
    return (of_tuple[0], True) if of_tuple else (field.type, False)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError."""

    def error(self, message):
        raise InputError(message)


def number(type, bounds):
    """A function that turns a word into a number within the bounds, not nan or inf, or raises argparse's error."""
    kind = "a whole number" if type is int else "a number"
    allowed = " and ".join(f"{word} {bound}" for word, bound in bounds.items())

    def parse(text):
        try:
            value = type(text)
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


def boolean(text):
    if text.lower() not in ("true", "false"):  # spreadsheets write TRUE
        raise argparse.ArgumentTypeError(f"must be true or false, not {text!r}")
    return text.lower() == "true"


def path(text):
    """A path with ~ as the home folder, which a shell does not expand in --flag=~/folder or in a table."""
    return os.path.expanduser(text)  # noqa: PTH111 (Path would change the rest of it)


def tuple_of(parse, keep_empty):
    """A function that turns joined words into a tuple. Empty words are dropped, or kept if there are others."""
    return lambda text: tuple(parse(word) for word in text.split(BETWEEN_VALUES) if word or (keep_empty and text))


def parse_settings(argv=None, more=()):
    """The Settings of a command line. more are further words, as join_values returns them, which override it.

    Raises InputError. Presets and recipes give words too: the command line overrides them.
    """
    parser = Parser(
        prog="nst_main.py",
        description="Paint the content of one picture in the style of another, after Gatys, Ecker & Bethge 2015.",
        epilog="Exit status: 0 painted, 1 the run failed, 2 a mistake in the command, 130 or 143 stopped by a signal.",
        allow_abbrev=False,
    )
    group = parser
    for flag, field in FIELDS.items():
        if field.name in HEADINGS:
            group = parser.add_argument_group(HEADINGS[field.name])
        help = field.metadata["help"].replace("%", "%%")
        if field.type is bool:
            group.add_argument(flag, type=boolean, nargs="?", const=True, default=False, help=help, metavar="BOOL")
            continue
        type, takes_several = value_type(field)
        of_text = path if field.name in PATHS else str
        parse = field.metadata["parse"] or (of_text if type is str else number(type, field.metadata["bounds"]))
        choices = field.metadata["choices"]
        word = "{" + ",".join(choices) + "}" if choices else type.__name__.upper()
        default = " ".join(map(str, field.default)) if takes_several else field.default
        group.add_argument(
            flag,
            type=tuple_of(parse, field.metadata["repeats"]) if takes_several else parse,
            action="append" if field.metadata["repeats"] else "store",
            default=list(field.default) if field.metadata["repeats"] else field.default,
            choices=choices,
            metavar=f"{word}..." if takes_several else word,
            help=help + (f" (default: {default})" if default != "" else ""),
        )

    def parse_words(words):
        values = vars(parser.parse_args(words))
        repeated = {name: tuple(filter(None, given)) for name, given in values.items() if isinstance(given, list)}
        return Settings(**{**values, **repeated})

    words = [*join_values(argv), *more]
    settings = parse_words(words)
    recipe = to_words(read_recipe(settings.settings)["settings"]) if settings.settings else []
    preset = join_values(PRESETS[settings.preset].split())
    if any(word.startswith("--preset=") for word in words):  # a preset, even original, overrides the recipe
        recipe = [word for word in recipe if word.partition("=")[0] not in PRESET_FLAGS]
    if any(word.startswith(("--init=", "--init_image=")) for word in words):  # it replaces their start
        replaced = {"--init", "--init_image"}
        if settings.init_image or settings.init != "noise":
            replaced.add("--noise_ratio")
        recipe, preset = (
            [word for word in before if word.partition("=")[0] not in replaced] for before in (recipe, preset)
        )
    settings = parse_words([*recipe, *preset, *words])
    if fault := contradiction(settings):
        for words, source in (recipe, f"the settings of {settings.settings}"), (preset, f"--preset {settings.preset}"):
            fault += f" (with {source})" if words else ""
        raise InputError(fault)
    return settings


def contradiction(settings):
    """The first contradiction between settings, in one line, or None. A batch is checked job by job instead."""
    if settings.is_batch:
        return None
    if not settings.output_dir:
        return "argument --output_dir: give the name of a folder"
    for name in "shard", "report":
        if getattr(settings, name) != getattr(Settings, name):
            return f"argument --{name}: is only for --batch and --vary"
    for name in "epochs", "neighbour_share":
        if not getattr(settings, name):
            return f"argument --{name}: at least one number is needed"
    if not 1 <= len(settings.frame_epochs) <= 8:
        return f"argument --frame_epochs: {len(settings.frame_epochs)} numbers; give 1 to 8, one for each scale"
    if len(settings.epochs) > settings.scales > 0:
        return (
            f"argument --epochs: {len(settings.epochs)} numbers for {settings.scales} of --scales;"
            " give at most one for each scale, or --scales 0"
        )
    styles = len(settings.style_image_filename)
    for name in ("style_image_filename", "content_layers", "style_layers"):
        values = getattr(settings, name)
        names = [value.partition(":")[0] for value in values]
        if not values:
            return f"argument --{name}: at least one is needed"
        if name != "style_image_filename" and len(set(names)) < len(names):
            return f"argument --{name}: {max(names, key=names.count)} is given twice; give it once, with its weight"
    if settings.alpha == settings.beta == 0:
        return "arguments --alpha and --beta: one of them must be above 0"
    if settings.beta == 0 and any(0 < share < 1 for share in settings.neighbour_share):
        return "arguments --beta and --neighbour_share: without a style cost the share can only be 0 or 1"
    if settings.style_weights and len(settings.style_weights) != styles:
        return f"argument --style_weights: {len(settings.style_weights)} for {styles} of --style_image_filename"
    if len(settings.style_scale) not in (1, styles):
        return f"argument --style_scale: {len(settings.style_scale)} for {styles} of --style_image_filename"
    for name, count in ("content_layers", 1), ("style_layers", styles):
        for value in getattr(settings, name):
            if (weights := value.count(",") + 1) not in (1, count):
                return f"argument --{name}: {weights} weights in {value} for {count} of --style_image_filename"
    if settings.style_weights and not any(settings.style_weights):
        return "argument --style_weights: one of them must be above 0"
    if settings.style_mask and len(settings.style_mask) != styles:
        return f"argument --style_mask: {len(settings.style_mask)} for {styles} of --style_image_filename; one for each"
    if settings.init_image and settings.init != Settings.init:
        return f"arguments --init_image and --init {settings.init}: a run has one start; leave one of them out"
    # A noise_ratio of 0 is allowed with every start: it means no noise.
    if (settings.init_image or settings.init != "noise") and settings.noise_ratio not in (0, Settings.noise_ratio):
        return "argument --noise_ratio: is only for --init noise"
    if settings.optimizer == "lbfgs" and settings.learning_rate != Settings.learning_rate:
        return "argument --learning_rate: is only for --optimizer adam; lbfgs finds its own steps"
    if settings.optimizer == "lbfgs" and settings.normalize_gradients:
        return "argument --normalize_gradients: is only for --optimizer adam; lbfgs needs the cost's own gradient"
    return None


def join_values(argv):
    """The words of a command line (None: of this program's) with each "--flag value" joined to "--flag=value".

    This allows values that start with a dash. A flag that takes several values gets all words up to the next flag,
    with BETWEEN_VALUES between them.
    """
    joined, words = [], list(sys.argv[1:] if argv is None else argv)
    while words:
        word = words.pop(0)
        has_value = word in FIELDS and words and words[0] not in FIELDS
        if has_value and (FIELDS[word].type is not bool or words[0].lower() in ("true", "false")):
            values, takes_several = [words.pop(0)], value_type(FIELDS[word])[1]
            while takes_several and words and not words[0].startswith("--") and words[0] != "-h":
                values.append(words.pop(0))
            word = f"{word}={BETWEEN_VALUES.join(values)}"
        joined.append(word)
    return joined


def to_words(values):
    """The words of {name: value}, as join_values returns them. Raises InputError for what no word can hold."""
    words = []
    for name, value in values.items():
        values = value if isinstance(value, list) else [str(value).lower() if isinstance(value, bool) else value]
        texts = list(map(str, values))
        if any(BETWEEN_VALUES in text for text in texts):
            raise InputError(f"argument --{name}: a character of code 0 is in its value")
        words.append(f"--{name}={BETWEEN_VALUES.join(texts)}")
    return words


def cell_words(name, cell):
    """The words of a cell in a batch's column; a semicolon separates several values."""
    words = [word.strip() for word in cell.split(";")]
    return to_words({name: words if value_type(FIELDS[f"--{name}"])[1] else cell})
