"""The contact sheet of a batch: its results in one picture, labelled by the settings that vary.

If every value of the last setting occurs with every combination of the others, the sheet is a table: it has a column
for each value and a row for each combination. If not, or if the table would have only one row or column, or too many,
each result has its label below it.
"""

import contextlib
import functools
import itertools
import math
import pathlib
import textwrap
import unicodedata

import matplotlib
import numpy as np
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from nst.errors import InputError, RunError
from nst.pictures.encode import write_image
from nst.pictures.resize import resize_to_long_side
from nst.pictures.video import first_picture

SIDE, WIDTH, HEIGHT = 400, 6000, 12000  # pixels, at most: a picture's longer side, a row of pictures, a column of them
MOST_COLUMNS, MOST_ROWS = 30, 100  # of a table
GAP, TEXT, LINE = 14, 16, 21  # pixels: gap between pictures, font size, line height
LABEL_WIDTH, LABEL_LINES = 190, 4  # at most: pixels of a row's label, lines of any label
PAPER, INK, BLANK = "white", "#222", "#e8e8e8"
DEJAVU = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def write(path, labels, pictures):
    """Write the sheet to path. Raises nst.errors.WriteError.

    labels has {setting: value} for each job, and pictures has the path of its result, or None.
    """
    columns, rows, places = arrange(labels)
    across = len(columns) or math.ceil(math.sqrt(len(labels)))
    down = math.ceil(len(labels) / across)
    side = min(SIDE, WIDTH // across, HEIGHT // down)
    seen = [open_small(picture, side) for picture in pictures]
    width, height = np.max([image.size for image in seen if image] or [(side, side * 3 // 4)], axis=0).tolist()
    beside = round(min(LABEL_WIDTH, max(map(length, rows), default=0)))
    left = GAP + (beside + GAP) * bool(rows)
    top = GAP + LINE * max((len(lines(column, width)) for column in columns), default=0)
    captions = [] if columns or not labels[0] else [in_line(label) for label in labels]
    below = LINE * max((len(lines(caption, width)) for caption in captions), default=0)
    size = left + across * (width + GAP), top + down * (height + below + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)

    def corner(row, column):
        return left + column * (width + GAP), top + row * (height + below + GAP)

    for number, image in enumerate(seen):
        x, y = corner(*(places[number] if places else divmod(number, across)))
        if image:
            sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
        else:
            draw.rectangle([x, y, x + width - 1, y + height - 1], BLANK)
        if captions:
            write_text(draw, (x, y + height + 2), captions[number], width)
    for number, column in enumerate(columns):
        write_text(draw, (corner(0, number)[0], GAP // 2), column, width)
    for number, row in enumerate(rows):
        write_text(draw, (GAP, corner(number, 0)[1]), row, LABEL_WIDTH)
    write_image(path, np.asarray(sheet))


def arrange(labels):
    """(labels of the columns, labels of the rows, [(row, column) of each job]).

    The three lists are empty if the jobs do not form a table (see the module's docstring).
    """
    if not labels[0]:
        return [], [], []
    *names, last = labels[0]
    of_rows = [in_line({name: label[name] for name in names}) for label in labels]
    of_columns = [in_line({last: label[last]}) for label in labels]
    rows, columns = list(dict.fromkeys(of_rows)), list(dict.fromkeys(of_columns))
    places = set(zip(of_rows, of_columns, strict=True))
    is_full = len(places) == len(labels) == len(rows) * len(columns)
    if not (is_full and 1 < len(rows) <= MOST_ROWS and 1 < len(columns) <= MOST_COLUMNS):
        return [], [], []
    return columns, rows, list(zip(map(rows.index, of_rows), map(columns.index, of_columns), strict=True))


def in_line(label):
    return ", ".join(f"{name} {value}" for name, value in label.items())


def open_small(path, side):
    """The picture, or the first frame of a film, resized to the longer side; None if there is none to read."""
    try:
        image = path and first_picture(path)
    except (InputError, RunError):
        return None
    return image and resize_to_long_side(image, side)


# --- Labels, in any script ------------------------------------------------------------------------


def as_drawable(labels):
    """(the labels with a number for each value that no font can draw, {number: value}); labels as write takes them."""
    values = dict.fromkeys(value for label in labels for value in label.values())
    numbers = {}
    for value in values:
        if not all(font_of(character) or character.isspace() for character in value):
            numbers[value] = f"#{len(numbers) + 1}"
    legend = {number: value for value, number in numbers.items()}
    return [{name: numbers.get(value, value) for name, value in label.items()} for label in labels], legend


@functools.cache
def font_of(character):
    """A font that has a character: the one that comes with matplotlib, or an installed one. None if none has it."""
    for fonts in (lambda: [DEJAVU]), installed_fonts:  # to look for the installed ones takes time
        for path in fonts():
            if character in characters_of(path):
                with contextlib.suppress(OSError):  # a font of coloured pictures, which has one size only
                    return load_font(path)
    return ImageFont.load_default(TEXT) if character.isascii() else None


@functools.cache
def installed_fonts():
    """The paths of the fonts of this machine, regular ones first."""
    return sorted(findSystemFonts(), key=lambda path: ("regular" not in path.lower(), path))


@functools.cache
def characters_of(path):
    """The characters that a font has; none for a file that is no font."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def load_font(path):
    return ImageFont.truetype(path, TEXT)


def runs(text):
    """[(font, part of the text that has it)]."""
    plain = font_of("?")
    return [(font, "".join(part)) for font, part in itertools.groupby(text, lambda letter: font_of(letter) or plain)]


def length(text):
    """The width of a text in pixels."""
    return sum(font.getlength(part) for font, part in runs(text))


def lines(text, room):
    """The lines of a text that is as wide as room, in pixels."""
    widest = max(map(length, {"n", *(letter for letter in text if unicodedata.east_asian_width(letter) in "WF")}))
    return textwrap.wrap(text, max(1, int(room / widest)), max_lines=LABEL_LINES, placeholder=" …") or [""]


def write_text(draw, corner, text, room):
    for number, line in enumerate(lines(text, room)):
        left, baseline = corner[0], corner[1] + number * LINE + TEXT
        for font, part in runs(line):
            draw.text((left, baseline), part, INK, font, anchor="ls")
            left += font.getlength(part)
