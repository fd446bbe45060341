"""The animation of a run: its pictures as a GIF or an .mp4 of ten seconds at most."""

import numpy as np
from PIL import Image

import nst.files
from nst.pictures import video
from nst.pictures.resize import size_with_long_side

SECONDS, HOLD_SECONDS = 8, 2  # at most, and then the result is held
FRAME_SECONDS = 0.04, 0.2  # the shortest, if there are many, and the longest
LONG_SIDE = 1280  # pixels, at most


def write_animation(path, size, pictures, comment=""):
    """Write a .gif or .mp4. pictures are functions that return a Pillow image, so that one at a time is in memory.

    size is (width, height). Of too many pictures evenly chosen ones are shown, the first and the last among them.
    Raises nst.errors.WriteError.
    """
    most = int(SECONDS / FRAME_SECONDS[0])
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(len(pictures), most)).round().astype(int))
    seconds = float(np.clip(SECONDS / len(chosen), *FRAME_SECONDS))
    size = size_with_long_side(size, min(max(size), LONG_SIDE))
    shown = (pictures[i]().resize(size, Image.Resampling.LANCZOS) for i in chosen)
    with nst.files.whole_path(path) as part:
        write = {".gif": write_gif, ".mp4": write_mp4}[path.suffix]
        write(part, size, shown, len(chosen), seconds, comment)


def write_gif(path, size, pictures, count, seconds, comment):
    """Pillow takes the pictures one by one, and keeps a byte for each pixel."""
    milliseconds = [10 * int(100 * seconds)] * (count - 1) + [1000 * HOLD_SECONDS]
    options = {"append_images": pictures, "duration": milliseconds, "loop": 0, "comment": comment}
    next(pictures).save(path, "GIF", save_all=True, **options)


def write_mp4(path, size, pictures, count, seconds, comment):
    held = int(HOLD_SECONDS / seconds)

    def all_pictures():
        for picture in pictures:
            yield picture
        yield from [picture] * held

    video.encode(path, size, all_pictures(), 1 / seconds, comment)
