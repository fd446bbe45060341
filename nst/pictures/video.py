"""Films in and out, one frame at a time, so that memory does not grow with their length.

ffmpeg reads and writes video; Pillow reads animations; a folder of pictures is a film too. Frames are Pillow images
in RGB, upright, over white, with square pixels, as a viewer shows them.
"""

import contextlib
import itertools
import math
import os
import pathlib
import re
import warnings
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from PIL import ExifTags, Image, ImageSequence

from nst.errors import InputError, RunError, reason
from nst.pictures import decode, ffmpeg, hdr

PLAYED_EVERYWHERE = "aac", "mp3"  # the sounds in an .mp4 that every browser plays
EVEN_MILLISECONDS = 2  # times that differ by less are meant to be equal: 33, 33 and 34 are a thirtieth of a second
LYING = 5, 6, 7, 8  # the values of EXIF's orientation for a picture that lies on its side
WIDTH, HEIGHT = ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength
STILL = "JPEG", "MPO"  # never films: what else a camera puts beside the picture, such as a depth map, is no frame


class Film(NamedTuple):
    """A film, and the frames of it that are asked for."""

    path: pathlib.Path
    kind: str  # "video", "animation" or "folder"
    size: tuple  # (width, height)
    rate: float  # ticks a second; each chosen frame is shown for one, or for as many as holds says
    count: int  # of all frames
    chosen: range  # of frame numbers
    max_pixels: int  # of a frame
    facts: ffmpeg.Facts | None = None  # of a video
    holds: tuple = ()  # ticks for each chosen frame of an animation

    def hold(self, number):
        """For how many ticks a chosen frame is shown."""
        return self.holds[number] if self.holds else 1

    def images(self, first=0):
        """Yields (number, image) of the chosen frames, starting with number first. Raises RunError for a damaged one.

        The numbers count the chosen frames from 0.
        """
        numbers = {frame: number for number, frame in enumerate(self.chosen) if number >= first}
        if not numbers:
            return
        begin, end = min(numbers), max(numbers) + 1
        with contextlib.closing(READERS[self.kind](self, begin)) as source:
            for frame in range(begin, end):
                try:
                    image = next(source)
                    image = image() if frame in numbers else None
                except StopIteration:
                    raise RunError(
                        f"{self.path}: frame {frame + 1} of {self.count} cannot be read; it is cut off there"
                    ) from None
                except (OSError, InputError, SyntaxError, RuntimeError) as error:
                    raise RunError(f"{self.path}: frame {frame + 1} of {self.count}: {reason(error)}") from error
                if image is not None:
                    if image.size != self.size:
                        sizes = " and ".join(f"{width} x {height}" for width, height in (image.size, self.size))
                        raise RunError(f"{self.path}: frame {frame + 1} has another size, {sizes}; bring them to one")
                    yield numbers[frame], image


def find_film(path, frames, max_pixels, folder_rate=ffmpeg.DEFAULT_RATE):
    """The Film at a path, or None if a picture is there. Raises InputError for a film without frames.

    frames is "all", or "A:B:STEP" as in a Python slice; with "" an animation counts as a picture, its first frame.
    folder_rate is for the pictures in a folder, which have no rate of their own.
    """
    path = pathlib.Path(path)
    if os.path.isdir(path):  # noqa: PTH112 (Path's own can raise)
        kind = "folder"
    elif format := format_of_picture(path):
        if not frames or format in STILL:
            return None
        kind = "animation"
    elif not os.path.isfile(path):  # noqa: PTH113 (Path's own can raise)
        return None  # whoever reads the picture will report that it is missing
    else:
        kind = "video"
    try:
        size, times, count, facts = PROBES[kind](path) or (None, None, 0, None)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
    if not count:
        if kind == "video":
            return None
        raise InputError(f"{path}: no pictures in it, and a film has some")
    if size[0] * size[1] > max_pixels:
        raise InputError(f"{path}: frames of over {max_pixels:,} pixels, the most that is read; raise max_pixels")
    chosen = range(count)[parse_frames(frames)]
    if not chosen:
        raise InputError(f"argument --frames: {frames} is none of the {count} frames of {path}")
    if kind == "animation":
        rate, holds = ticks([sum(times[frame : frame + chosen.step]) for frame in chosen])
    else:
        rate, holds = (folder_rate if kind == "folder" else facts.rate) / chosen.step, ()
    return Film(path, kind, size, rate, count, chosen, max_pixels, facts, holds)


def ticks(milliseconds):
    """(ticks a second, [ticks for each picture]) that show each picture for its time, to a hundredth of a second."""
    if max(milliseconds) - min(milliseconds) <= EVEN_MILLISECONDS:
        return 1000 / np.mean(milliseconds), (1,) * len(milliseconds)
    ends = np.rint(np.cumsum(milliseconds) / 10).astype(int)
    hundredths = np.diff(ends, prepend=0).clip(1)
    tick = np.gcd.reduce(hundredths)
    return 100 / tick, tuple((hundredths // tick).tolist())


def first_picture(path, max_pixels=math.inf):
    """The picture in a file, or the first frame of a film. Raises InputError or RunError if there is none."""
    film = find_film(path, "", max_pixels)
    return next(film.images())[1] if film else decode.read_image(path, max_pixels)


def parse_frames(text):
    """The slice that "", "all" or "A:B:STEP" means."""
    if text in ("", "all"):
        return slice(None)
    return slice(*(int(part) if part else None for part in text.split(":")))


def format_of_picture(path):
    """Pillow's name for the format of a picture, None if it has none. The size is checked when the picture is read."""
    try:
        with decode.bounded(None), Image.open(path) as image:
            return image.format if image.format != "MPEG" else None  # which Pillow knows and cannot decode
    except (OSError, ValueError):
        return None


# --- Each kind of film: a probe, which gives (size, times in ms of an animation, count, ffmpeg's facts of a video) or
# --- None, and a reader, which yields functions that return an image, from the frame of number first on


def probe_video(path):
    if not ffmpeg.executable():
        if ffmpeg.names_a_film(path):
            raise InputError(f"{path}: a film needs {ffmpeg.MISSING}")
        return None
    stamp = path.stat()
    facts = ffmpeg.facts_of(path, stamp.st_mtime_ns, stamp.st_size)
    return facts and (facts.size, None, facts.count, facts)


def read_video(film, first):
    table = hdr.table(film.facts.transfer)

    def image(frame):
        shown = decode.flatten(Image.frombytes("RGBA", film.size, frame))[0]
        return shown.filter(table) if table else shown

    with contextlib.closing(ffmpeg.frames(film.path, film.facts, first)) as frames:
        for frame in frames:
            yield lambda frame=frame: image(frame)


def probe_animation(path):
    with decode.bounded(None), decode.opened(path) as image:
        milliseconds = []
        for frame in ImageSequence.Iterator(image):
            frame.load()  # a WebP has its duration only then
            milliseconds.append(frame.info.get("duration", 0) or 100)
    return upright_size(path), milliseconds, len(milliseconds), None


def read_animation(film, first):
    with decode.bounded(None), decode.opened(film.path) as image:  # find_film has checked the size
        for frame in itertools.islice(ImageSequence.Iterator(image), first, None):
            yield lambda frame=frame: decode.flatten(decode.upright(decode.right_way_round(frame).copy()))[0]


def pictures_in(path):
    """The pictures in a folder in natural order: numbers in their names count by value, everything else by letters."""

    def key(file):
        parts = re.split(r"(\d+)", file.name.casefold())
        return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]

    return sorted((file for file in visible(path) if format_of_picture(file)), key=key)


def visible(path):
    return [file for file in path.iterdir() if not file.name.startswith(".")]


def left_out(film):
    """[a line on the files in a film's folder that are not frames], if there are any."""
    if film.kind != "folder":
        return []
    others = sorted(file.name for file in set(visible(film.path)) - set(pictures_in(film.path)))
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return [f"{film.path}: not pictures, so not frames: {', '.join(others[:3])}{more}"] if others else []


def upright_size(path):
    """(width, height) of a picture as a viewer shows it, from its header. A picture behind a preview is decoded."""
    with warnings.catch_warnings(), decode.bounded(None):
        warnings.simplefilter("ignore")  # remarks on odd metadata
        with Image.open(path) as image:
            if decode.is_preview(image):
                return decode.read_image(path).size
            # A newer Pillow has turned the size of a TIFF, and of no other picture.
            width, height = (image.tag_v2[tag] for tag in (WIDTH, HEIGHT)) if image.format == "TIFF" else image.size
            has_exif = image.format != "PNG" or "exif" in image.info  # otherwise Pillow decodes a PNG to look for it
            lies = has_exif and image.getexif().get(decode.ORIENTATION) in LYING
    return (height, width) if lies else (width, height)


def probe_folder(path):
    if not (files := pictures_in(path)):
        return None
    size = upright_size(files[0])
    for file in files:
        if (other := upright_size(file)) != size:
            told = " and ".join(f"{w} x {h} ({f.name})" for (w, h), f in ((size, files[0]), (other, file)))
            raise InputError(f"{path}: the frames have different sizes, {told}; bring them to one size")
    return size, None, len(files), None


def read_folder(film, first):
    for file in pictures_in(film.path)[first:]:
        yield lambda file=file: decode.read_image(file, film.max_pixels)


PROBES = {"video": probe_video, "animation": probe_animation, "folder": probe_folder}
READERS = {"video": read_video, "animation": read_animation, "folder": read_folder}


# --- Writing ------------------------------------------------------------------------------------------------------


def encode(path, size, pictures, rate, comment=""):
    """Write pictures as an .mp4 in H.264. Raises OSError if ffmpeg does not write all of them.

    It names its colours as sRGB in the matrix that players take for a film of its size if they read no names.
    """
    even = [side + side % 2 for side in size]  # the common form of H.264 needs even sides
    matrix, name = ("bt709", "bt709") if even[1] >= ffmpeg.LINES_OF_HD else ("bt601", "smpte170m")
    colours = f"scale=out_color_matrix={matrix}:out_range=tv:{ffmpeg.SHARP},format=yuv420p"
    names = f"setparams=range=tv:colorspace={name}:color_primaries=bt709:color_trc=bt709"
    writer = imageio_ffmpeg.write_frames(
        ffmpeg.local(path),
        even,
        fps=rate,
        quality=8,
        macro_block_size=1,
        ffmpeg_log_level="quiet",
        output_params=["-vf", f"{colours},{names}", "-metadata", f"comment={comment}", "-f", "mp4"],
    )
    writer.send(None)
    count = 0
    with contextlib.closing(writer):
        for count, picture in enumerate(pictures, 1):  # noqa: B007 (the last one is how many there were)
            frame = np.pad(np.asarray(picture), [(0, even[1] - size[1]), (0, even[0] - size[0]), (0, 0)], "edge")
            writer.send(frame.tobytes())
    if (written := count_written(path)) < count:  # the writer does not check how ffmpeg ended
        raise OSError(f"ffmpeg wrote {written} of {count} pictures")


def count_written(path):
    """The number of frames in a video, from its packets; 0 if it cannot be read."""
    _, _, told = ffmpeg.run("-i", ffmpeg.local(path), "-map", "0:v:0", "-c", "copy", "-f", "null", "-", loglevel="info")
    return max((int(number) for number in re.findall(r"frame= *(\d+)", told)), default=0)


def add_sound(path, film, count):
    """Add the sound of the film's first count chosen frames to the .mp4 at path. Raises OSError if that fails.

    What browsers play is copied, and everything else becomes AAC. What ffmpeg does not know is left out.
    """
    if film.kind != "video" or not (sounds := [sound for sound in film.facts.sounds if sound[1] != "none"]):
        return
    start, seconds = film.chosen.start / film.facts.rate, count / film.rate
    with_sound = path.with_name(f".{path.name}.sound.part")  # which the next run removes if this one is killed
    for played in PLAYED_EVERYWHERE, ():  # some files of a codec do not fit into an .mp4
        words = ["-i", ffmpeg.local(path), "-ss", f"{start:.6f}", "-t", f"{seconds:.6f}", "-i", ffmpeg.local(film.path)]
        words += ["-map", "0:v", "-c:v", "copy", "-map_metadata", "0", "-f", "mp4"]
        for k, (stream, codec) in enumerate(sounds):
            words += ["-map", f"1:{stream}", f"-c:a:{k}", "copy" if codec in played else "aac"]
        if ffmpeg.run(*words, ffmpeg.local(with_sound))[0] == 0:
            with_sound.replace(path)
            return
        with_sound.unlink(missing_ok=True)
    raise OSError("ffmpeg cannot add the sound")
