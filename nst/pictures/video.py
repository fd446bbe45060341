"""Films in and out, one frame at a time, so that memory does not grow with their length.

ffmpeg, which imageio-ffmpeg brings, reads and writes video; Pillow reads animations; a folder of pictures is a
film too. Frames are Pillow images in RGB.
"""

import contextlib
import functools
import math
import os
import pathlib
import re
import subprocess
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageSequence

from nst.errors import InputError, RunError, reason
from nst.pictures import decode

FOLDER_RATE = 25  # frames a second of the pictures in a folder, which have no rate of their own
ORIENTATION, LYING = 274, (5, 6, 7, 8)  # EXIF's tag, and its values for a picture that lies on its side


class Film(NamedTuple):
    """A film, and the frames of it that are asked for."""

    path: pathlib.Path
    kind: str  # "video", "animation" or "folder"
    size: tuple  # (width, height)
    rate: float  # frames a second, counting the chosen ones
    count: int  # of all frames
    chosen: range  # of frame numbers
    max_pixels: int  # of a frame

    @property
    def source_rate(self):
        """Frames a second, counting all."""
        return self.rate * self.chosen.step

    def images(self, first=0):
        """Yields (number, image) of the chosen frames, starting with number first. Raises RunError for a damaged one.

        The numbers count the chosen frames from 0.
        """
        numbers = {frame: number for number, frame in enumerate(self.chosen) if number >= first}
        last = max(numbers, default=-1)
        with contextlib.closing(READERS[self.kind](self)) as source:
            for frame in range(last + 1):
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


def find_film(path, frames, max_pixels):
    """The Film at a path, or None if a picture is there. Raises InputError for a film without frames.

    frames is "all", or "A:B:STEP" as in a Python slice; with "" an animation counts as a picture, its first frame.
    """
    path = pathlib.Path(path)
    if os.path.isdir(path):  # noqa: PTH112 (Path's own can raise)
        kind = "folder"
    elif is_picture(path):
        if not frames:
            return None
        kind = "animation"
    elif not os.path.isfile(path):  # noqa: PTH113 (Path's own can raise)
        return None  # whoever reads the picture will report that it is missing
    else:
        kind = "video"
    try:
        size, rate, count = PROBES[kind](path, max_pixels) or (None, 0, 0)
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
    return Film(path, kind, size, rate / chosen.step, count, chosen, max_pixels)


def first_picture(path, max_pixels=math.inf):
    """The picture in a file, or the first frame of a film. Raises InputError or RunError if there is none."""
    film = find_film(path, "", max_pixels)
    return next(film.images())[1] if film else decode.read_image(path, max_pixels)


def parse_frames(text):
    """The slice that "", "all" or "A:B:STEP" means."""
    if text in ("", "all"):
        return slice(None)
    return slice(*(int(part) if part else None for part in text.split(":")))


def is_picture(path):
    """Whether Pillow reads the format; the size is checked when the picture is read."""
    try:
        with decode.bounded(None), Image.open(path) as image:
            return image.format != "MPEG"  # which Pillow knows and cannot decode
    except (OSError, ValueError):
        return False


# --- Each kind of film: a probe, which gives (size, rate, count) or None, and a reader, which yields functions that
# --- return an image


def probe_video(path, max_pixels):
    try:
        facts = path.stat()
        return count_frames(path, facts.st_mtime_ns, facts.st_size)
    except (OSError, RuntimeError, KeyError, StopIteration):  # the file is no film
        return None


@functools.lru_cache(maxsize=1000)  # the whole film is decoded for it, and a batch asks more than once
def count_frames(path, changed, bytes):
    with contextlib.closing(imageio_ffmpeg.read_frames(local(path))) as frames:
        told = next(frames)
    if told["codec"].strip(",") == "ansi":  # a text file, which ffmpeg shows as a terminal would
        return None
    rate = told["fps"] or FOLDER_RATE
    with contextlib.closing(at_rate(path, rate)) as frames:
        next(frames)
        count = sum(1 for _ in frames)
    return (told["size"], rate, count) if count > 1 else None  # to ffmpeg a picture is a film of one frame


def at_rate(path, rate):
    """The frames at a steady rate. Those of a phone or a screen recording come unevenly, and would lose their sound."""
    return imageio_ffmpeg.read_frames(local(path), output_params=["-r", f"{rate:.6g}"])


def read_video(film):
    with contextlib.closing(at_rate(film.path, film.source_rate)) as frames:
        size = next(frames)["size"]
        for frame in frames:
            yield lambda frame=frame: Image.frombytes("RGB", size, frame)


def probe_animation(path, max_pixels):
    with decode.bounded(None), Image.open(path) as image:
        milliseconds = []
        for frame in ImageSequence.Iterator(image):
            frame.load()  # a WebP has its duration only then
            milliseconds.append(frame.info.get("duration", 0) or 100)
        return image.size, 1000 / np.mean(milliseconds), len(milliseconds)


def read_animation(film):
    with decode.bounded(None), Image.open(film.path) as image:  # find_film has checked the size
        for frame in ImageSequence.Iterator(image):
            yield lambda frame=frame: decode.flatten(frame.copy())[0]


def pictures_in(path):
    """The pictures in a folder in natural order: numbers in their names count by value, everything else by letters."""

    def key(file):
        parts = re.split(r"(\d+)", file.name.casefold())
        return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]

    return sorted((file for file in visible(path) if is_picture(file)), key=key)


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
    """(width, height) of a picture as a viewer shows it, from its header."""
    with decode.bounded(None), Image.open(path) as image:
        width, height = image.size
        has_exif = image.format != "PNG" or "exif" in image.info  # otherwise Pillow decodes a PNG to look for it
        return (height, width) if has_exif and image.getexif().get(ORIENTATION) in LYING else (width, height)


def probe_folder(path, max_pixels):
    if not (files := pictures_in(path)):
        return None
    size = upright_size(files[0])
    for file in files:
        if (other := upright_size(file)) != size:
            told = " and ".join(f"{w} x {h} ({f.name})" for (w, h), f in ((size, files[0]), (other, file)))
            raise InputError(f"{path}: the frames have different sizes, {told}; bring them to one size")
    return size, FOLDER_RATE, len(files)


def read_folder(film):
    for file in pictures_in(film.path):
        yield lambda file=file: decode.read_image(file, film.max_pixels)


PROBES = {"video": probe_video, "animation": probe_animation, "folder": probe_folder}
READERS = {"video": read_video, "animation": read_animation, "folder": read_folder}


def local(path):
    """The path in a form that ffmpeg cannot take for an option or a protocol."""
    return str(pathlib.Path(path).resolve())


# --- Writing ------------------------------------------------------------------------------------------------------


def has_ffmpeg():
    try:
        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return False


def encode(path, size, pictures, rate, comment=""):
    """Write pictures as an .mp4 in H.264. Raises OSError if ffmpeg does not write all of them."""
    even = [side + side % 2 for side in size]  # the common form of H.264 needs even sides
    writer = imageio_ffmpeg.write_frames(
        local(path),
        even,
        fps=rate,
        quality=8,
        macro_block_size=1,
        ffmpeg_log_level="quiet",
        output_params=["-metadata", f"comment={comment}", "-f", "mp4"],
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
    answer = run_ffmpeg("-i", local(path), "-map", "0:v:0", "-c", "copy", "-f", "null", "-", loglevel="info")
    return max((int(number) for number in re.findall(r"frame= *(\d+)", answer.stderr)), default=0)


def run_ffmpeg(*words, loglevel="quiet"):
    """Run ffmpeg to its end. It gets no input and none of the terminal's signals, which are for this program."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-loglevel", loglevel, *words]
    own_group = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
    )
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", **own_group
    )


def add_sound(path, film, count):
    """Add the sound of the film's first count chosen frames to the .mp4 at path. Raises OSError if that fails."""
    if film.kind != "video":
        return
    start, seconds = film.chosen.start / film.source_rate, count / film.rate
    with_sound = path.with_name(f".{path.name}.sound.part")  # which the next run removes if this one is killed
    for codec in "copy", "aac":  # an .mp4 cannot hold every kind of sound
        words = ["-i", local(path), "-ss", f"{start:.6f}", "-t", f"{seconds:.6f}", "-i", local(film.path)]
        words += ["-map", "0:v", "-map", "1:a?", "-c:v", "copy", "-c:a", codec, "-map_metadata", "0", "-f", "mp4"]
        if run_ffmpeg(*words, local(with_sound)).returncode == 0:
            with_sound.replace(path)
            return
        with_sound.unlink(missing_ok=True)
    raise OSError("ffmpeg cannot add the sound")
