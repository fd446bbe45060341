"""The recipe of a run, from which it is run again: in settings.json, and in each picture unless --metadata forbids it.

In a picture the recipe has the names of files without their folders, because pictures are given to others.
"""

import codecs
import hashlib
import json
import pathlib

from nst.errors import InputError, reason
from nst.pictures import encode
from nst.settings import CHANGEABLE, FIELDS, FILES, RECIPE, RECIPE_FILE


def read_recipe(path):
    """The recipe in a settings.json or a picture: {"settings": {name: value}, "sha256": ..., ...}.

    Raises InputError if there is none.
    """
    try:
        with open(path, "rb") as file:
            is_text = file.read(4).removeprefix(codecs.BOM_UTF8).startswith(b"{")
    except OSError as error:
        raise InputError(f"argument --settings: {path}: cannot be read ({reason(error)})") from error
    try:
        recipe = json.loads(pathlib.Path(path).read_text("utf-8-sig") if is_text else encode.read_comment(path))
        if not (recipe["settings"].keys() <= RECIPE and isinstance(recipe["sha256"], dict)):
            raise ValueError("unknown settings")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"argument --settings: {path}: neither a settings.json nor a picture with the settings of this program"
        ) from error
    return recipe if is_text else with_folders(recipe, path)


def find_recipe(folder):
    """The recipe in the settings.json that a run left in its folder, or None."""
    try:
        return read_recipe(folder / RECIPE_FILE)
    except InputError:
        return None


def with_folders(recipe, picture):
    """The recipe of a picture, which has the names of files alone, with their folders from the run's settings.json."""
    settings = dict(recipe["settings"])
    for folder in pathlib.Path(picture).parent, pathlib.Path(picture).parent.parent:  # the latter for a film's frame
        full = find_recipe(folder) or {"settings": {}, "sha256": {}}
        names = names_only(full["settings"])
        for name in FILES:
            same_file = name in recipe["sha256"] and recipe["sha256"][name] == full["sha256"].get(name)
            if same_file and names.get(name) == settings.get(name):
                settings[name] = full["settings"][name]
    return {**recipe, "settings": settings}


def names_only(settings):
    """The settings of a recipe with files by their names alone, without their folders."""

    def name_of(value):
        if isinstance(value, list | tuple):
            return [*map(name_of, value)]
        return (pathlib.Path(value).name or value) if isinstance(value, str) else value

    return {name: name_of(value) if name in FILES else value for name, value in settings.items()}


def comment(recipe, settings):
    """What a picture says of its making: the recipe without the names of folders, as JSON, or "" by --metadata."""
    if settings.metadata == "none":
        return ""
    return json.dumps({**recipe, "settings": names_only(recipe["settings"])})


def mark_of(recipe):
    """The mark of a numbered picture that has no recipe in it: it tells nothing but that the picture is of this run."""
    # A file is known by its SHA-256: its name can change before --resume.
    skipped = {*CHANGEABLE, *recipe["sha256"]}
    settings = {name: value for name, value in recipe["settings"].items() if name not in skipped}
    known = {"settings": settings, "sha256": recipe["sha256"], "iteration": recipe["iteration"]}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).digest()[:16]


def is_of_run(path, recipe, first):
    """Whether a numbered picture is from the run with that recipe; first is the number of the run's first picture."""
    try:
        if mark := encode.read_mark(path):
            return mark == mark_of({**recipe, "iteration": int(path.stem) - first})
        its, recipe = json.loads(encode.read_comment(path)), json.loads(json.dumps(recipe))
        defaults = json.loads(json.dumps({field.name: field.default for field in FIELDS.values()}))
        # A picture of an older version lacks the settings that came later.
        settings = {name: its["settings"].get(name, defaults.get(name)) for name in recipe["settings"]}
        changes = dict.fromkeys({*CHANGEABLE, *recipe["sha256"]})  # the names of files too: --resume allows it
        alike = {**settings, **changes} == {**recipe["settings"], **changes}
        return alike and its["sha256"] == recipe["sha256"] and its["iteration"] == int(path.stem) - first
    except (InputError, OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError):
        return False
