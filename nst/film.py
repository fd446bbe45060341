"""Films in and out, frame by frame: memory does not grow with their length. And the animation of a run.

ffmpeg, which imageio-ffmpeg brings, reads and writes films; Pillow reads animations; a folder of numbered
pictures is a film too. Frames are Pillow images in RGB.
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

import nst.files
from nst.files import InputError, RunError, reason

ANIMATION_SECONDS, HOLD_SECONDS = 8, 2  # at the most, and then on the result
FRAME_SECONDS = 0.04, 0.2  # the shortest, where there are many, and the longest
ANIMATION_SIDE = 1280  # pixels, at the most
FOLDER_RATE = 25  # frames a second of numbered pictures, which do not say


class Film(NamedTuple):
    """A film, and which of its frames are asked for."""

    path: pathlib.Path
    kind: str  # "film", "animation" or "folder"
    size: tuple  # width, height
    rate: float  # frames a second, of those asked for
    count: int  # of all its frames
    chosen: range
    max_pixels: int  # of a frame

    @property
    def source_rate(self):
        """Frames a second, of all."""
        return self.rate * self.chosen.step

    def frames(self, first=0):
        """(number, image) of the chosen frames, from that number of them on. Raises RunError for a damaged one."""
        numbers = {frame: number for number, frame in enumerate(self.chosen) if number >= first}
        last = max(numbers, default=-1)
        with contextlib.closing(READERS[self.kind](self)) as images:
            for frame in range(last + 1):
                try:
                    image = next(images)
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
    """The Film at a path, None where there is a picture. Raises InputError for what is neither.

    frames are "all" or "A:B:STEP", a slice of the frames as Python has it, from 0; "" leaves an animation
    the picture that its first frame is.
    """
    path = pathlib.Path(path)
    if os.path.isdir(path):  # noqa: PTH112 (Path's own can raise)
        kind = "folder"
    elif is_picture(path):
        if not frames:
            return None
        kind = "animation"
    elif not os.path.isfile(path):  # noqa: PTH113 (Path's own can raise)
        return None  # to be told by whoever reads it
    else:
        kind = "film"
    try:
        size, rate, count = PROBES[kind](path, max_pixels) or (None, 0, 0)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
    if not count:
        if kind == "film":
            return None
        raise InputError(f"{path}: no numbered pictures in it, and a film has some")
    if size[0] * size[1] > max_pixels:
        raise InputError(f"{path}: frames of over {max_pixels:,} pixels, the most that is read; raise max_pixels")
    chosen = range(count)[parse_frames(frames)]
    if not chosen:
        raise InputError(f"argument --frames: {frames} is none of the {count} frames of {path}")
    return Film(path, kind, size, rate / chosen.step, count, chosen, max_pixels)


def first_picture(path, max_pixels=math.inf):
    """The picture in a file, or the first frame of a film. Raises InputError and RunError where there is none."""
    film = find_film(path, "", max_pixels)
    return next(film.frames())[1] if film else nst.files.read_image(path, max_pixels)


def parse_frames(text):
    """The slice that "all" or "A:B:STEP" means."""
    if text in ("", "all"):
        return slice(None)
    return slice(*(int(part) if part else None for part in text.split(":")))


def is_picture(path):
    """Whether Pillow knows its format; how large it may be is asked when it is read."""
    try:
        with nst.files.bounded(None), Image.open(path):
            return True
    except (OSError, ValueError):
        return False


# --- Each kind: (size, rate, count) or None, and a generator of functions that give an image ----------------------


def probe_film(path, max_pixels):
    try:
        facts = path.stat()
        return count_film(path, facts.st_mtime_ns, facts.st_size)
    except (OSError, RuntimeError, KeyError, StopIteration):  # what is no film
        return None


@functools.lru_cache(maxsize=1000)  # all of it is decoded, and a batch asks more than once
def count_film(path, changed, bytes):
    with contextlib.closing(imageio_ffmpeg.read_frames(local(path))) as frames:
        told = next(frames)
    if told["codec"].strip(",") == "ansi":  # text, as a terminal shows it
        return None
    rate = told["fps"] or FOLDER_RATE
    with contextlib.closing(at_rate(path, rate)) as frames:
        next(frames)
        count = sum(1 for _ in frames)
    return (told["size"], rate, count) if count > 1 else None  # a still picture is a film of one frame to it


def at_rate(path, rate):
    """Its frames at a steady rate: a phone's or a screen's come as they can, and the sound is to fit."""
    return imageio_ffmpeg.read_frames(local(path), output_params=["-r", f"{rate:.6g}"])


def read_film(film):
    with contextlib.closing(at_rate(film.path, film.source_rate)) as frames:
        size = next(frames)["size"]
        for frame in frames:
            yield lambda frame=frame: Image.frombytes("RGB", size, frame)


def probe_animation(path, max_pixels):
    with nst.files.bounded(None), Image.open(path) as image:
        milliseconds = []
        for frame in ImageSequence.Iterator(image):
            frame.load()  # before that a WebP does not tell
            milliseconds.append(frame.info.get("duration", 0) or 100)
        return image.size, 1000 / np.mean(milliseconds), len(milliseconds)


def read_animation(film):
    with nst.files.bounded(None), Image.open(film.path) as image:  # find_film has asked
        for frame in ImageSequence.Iterator(image):
            yield lambda frame=frame: nst.files.flatten(frame.copy())[0]


def numbered(path):
    """The files of a folder whose names end in a number, in its order."""
    found = ((re.fullmatch(r"(.*?)(\d+)", file.stem), file) for file in path.iterdir() if not file.name.startswith("."))
    return [file for _, _, file in sorted((int(m[2]), m[1], file) for m, file in found if m and is_picture(file))]


def probe_folder(path, max_pixels):
    if not (files := numbered(path)):
        return None
    return nst.files.read_image(files[0], max_pixels).size, FOLDER_RATE, len(files)


def read_folder(film):
    for file in numbered(film.path):
        yield lambda file=file: nst.files.read_image(file, film.max_pixels)


PROBES = {"film": probe_film, "animation": probe_animation, "folder": probe_folder}
READERS = {"film": read_film, "animation": read_animation, "folder": read_folder}


def local(path):
    """A path that ffmpeg takes for nothing else, an option or a protocol."""
    return str(pathlib.Path(path).resolve())


# --- Out ----------------------------------------------------------------------------------------------------------


def has_ffmpeg():
    try:
        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return False


def encode(path, size, pictures, count, rate, comment=""):
    """An .mp4 in H.264 of so many pictures. Raises OSError where ffmpeg does not write it all."""
    even = [side + side % 2 for side in size]  # as H.264 in its common form wants them
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
    with contextlib.closing(writer):
        for picture in pictures:
            frame = np.pad(np.asarray(picture), [(0, even[1] - size[1]), (0, even[0] - size[0]), (0, 0)], "edge")
            writer.send(frame.tobytes())
    try:  # its writer does not ask ffmpeg how it ended
        written = imageio_ffmpeg.count_frames_and_secs(local(path))[0]
    except RuntimeError:
        written = 0
    if written < count:
        raise OSError(f"ffmpeg wrote {written} of {count} pictures")


def add_sound(path, film, count):
    """Put the sound of the film's first so many chosen frames to the .mp4 at path. Raises OSError where it fails."""
    if film.kind != "film":
        return
    start, seconds = film.chosen.start / film.source_rate, count / film.rate
    with_sound = path.with_name(f"{path.name}.sound")
    for codec in "copy", "aac":  # an .mp4 does not hold every kind
        words = ["-ss", f"{start:.6f}", "-t", f"{seconds:.6f}", "-i", local(film.path), "-map", "0:v", "-map", "1:a?"]
        words += ["-c:v", "copy", "-c:a", codec, "-map_metadata", "0", "-f", "mp4", local(with_sound)]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "quiet", "-i", local(path), *words]
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0:
            with_sound.replace(path)
            return
        with_sound.unlink(missing_ok=True)
    raise OSError("ffmpeg cannot put the sound to it")


# --- Animations of a run -----------------------------------------------------------------------------------------


def write_animation(path, size, frames, comment=""):
    """A .gif or .mp4 of pictures that frames are functions of; one at a time is held.

    Where there are too many, evenly chosen ones are shown, the first and the last among them.
    """
    most = int(ANIMATION_SECONDS / FRAME_SECONDS[0])
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int))
    seconds = float(np.clip(ANIMATION_SECONDS / len(chosen), *FRAME_SECONDS))
    size = nst.files.size_with_long_side(size, min(max(size), ANIMATION_SIDE))
    pictures = (frames[i]().resize(size, Image.Resampling.LANCZOS) for i in chosen)
    with nst.files.whole_path(path) as part:
        write = {".gif": write_gif, ".mp4": write_mp4}[path.suffix]
        write(part, size, pictures, len(chosen), seconds, comment)


def write_gif(path, size, pictures, count, seconds, comment):
    """Pillow takes the pictures one by one, and keeps them with a byte a pixel."""
    milliseconds = [10 * round(100 * seconds)] * (count - 1) + [1000 * HOLD_SECONDS]
    options = {"append_images": pictures, "duration": milliseconds, "loop": 0, "comment": comment}
    next(pictures).save(path, "GIF", save_all=True, **options)


def write_mp4(path, size, pictures, count, seconds, comment):
    held = round(HOLD_SECONDS / seconds)

    def frames():
        for picture in pictures:
            yield picture
        yield from [picture] * held

    encode(path, size, frames(), count + held, 1 / seconds, comment)
