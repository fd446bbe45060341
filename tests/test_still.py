"""What stands still in a film keeps its paint, and what changes does not."""

import itertools
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import recipe

flow = pytest.importorskip("nst.films.flow", reason="needs OpenCV, requirements-film.txt")

WIDTH, HEIGHT = 96, 48
WIDE = recipe.content(height=HEIGHT, width=2 * WIDTH)
FAST = ("--epochs", 6, "--frame_epochs", 3, 2, "--image_size", 0, "--print_every", 1, "--init", "content")


@pytest.fixture
def painted(paint_here, tmp_path, pixels):
    """painted(frames, suffix, *flags): a film of these arrays, painted: its frames as integer arrays."""

    def run(frames, suffix="png", *flags):
        if suffix == "png":
            (tmp_path / "film").mkdir()
            for i, frame in enumerate(frames):
                Image.fromarray(frame).save(tmp_path / "film" / f"{i}.png")
        else:  # compressed, and begun anew at every fourth frame, which changes all pixels a little
            words = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "10", "-i", "-", "-g", "4"]
            words += ["-crf", "23", "-pix_fmt", "yuv420p", tmp_path / "film"]
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *words[:-1], "-f", "mp4", words[-1]]
            subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
        status, _, error = paint_here("--content_image_filename", tmp_path / "film", *FAST, *flags)
        assert status == 0, error
        return [pixels(tmp_path / "output" / "frames" / f"{i + 1:06d}.png") for i in range(len(frames))]

    return run


def steps(frames):
    return [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]


@pytest.mark.parametrize("suffix", ["png", "mp4"])
def test_a_film_that_stands_still_stands_still(painted, suffix):
    assert steps(painted([WIDE[:, :WIDTH]] * 6, suffix, "--recolor_content", "true")) == [0] * 5


def test_a_film_that_comes_to_rest_rests_at_once(painted):
    where = [0, 3, 6, 6, 6, 9]
    moved = steps(painted([WIDE[:, x : x + WIDTH] for x in where]))
    assert [step == 0 for step in moved] == [False, False, True, True, False]


def test_only_what_moves_is_painted_anew(painted):
    """A square moves to the right before a background that stands still on the left."""
    frames = [WIDE[:, :WIDTH].copy() for _ in range(5)]
    for i, frame in enumerate(frames):
        frame[16:32, 64 + 4 * i : 80 + 4 * i] = 255 - WIDE[16:32, 100:116]
    images = painted(frames)
    left, right = (steps([image[:, part] for image in images]) for part in (np.s_[:48], np.s_[64:]))
    assert left == [0] * 4 and min(right) > 1
    beside = steps([image[:, 48:62] for image in images])
    assert max(beside) < 0.5 * min(right)  # no seam


def test_a_slow_fade_is_followed(painted):
    """Each frame is less than half a level lighter than the one before."""
    frames = [np.uint8(np.clip(WIDE[:, :WIDTH] * 0.5 + 0.45 * i, 0, 255)) for i in range(12)]
    assert sum(step > 0 for step in steps(painted(frames))) >= 4


def test_noise_stands_still_and_small_things_that_move_do_not():
    random_ = np.random.default_rng(0)
    before = WIDE[:, :WIDTH]

    def noisy():
        return np.uint8(np.clip(before + random_.normal(0, 3, before.shape), 0, 255))

    assert flow.still(noisy(), noisy()).all()
    spot = before.copy()
    spot[20:24, 50:54] = 255 - spot[20:24, 50:54]
    still = flow.still(before, spot)
    assert not still[20:24, 50:54].any() and still[:, :40].all()
    assert not flow.still(before, np.uint8(np.clip(before + 2.0, 0, 255))).any()  # a fade


def test_the_surroundings_of_an_area_fall_to_nothing():
    area = np.zeros((60, 80), bool)
    area[20:30, 20:30] = True
    share = flow.surroundings(area)
    assert (share[area] == 1).all() and (share[:, 40:] == 0).all() and 0 < share[25, 32] < 1
    assert (flow.surroundings(~area & False) == 0).all()
