"""Films as cameras, phones and programs make them: how each kind is read, and what is written of it."""

import importlib
import itertools
import os
import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import recipe
from conftest import ROOT
from nst.pictures import ffmpeg, hdr, video

pytest.importorskip("cv2", reason="films need OpenCV, requirements-film.txt")

EXE = imageio_ffmpeg.get_ffmpeg_exe()
FAST = ("--epochs", 2, "--frame_epochs", 1, "--image_size", 0, "--print_every", 1)
RED = (200, 40, 40)
RED_FILM = f"color=0x{bytes(RED).hex()}:size=64x48:rate=10:duration=0.5,format=gbrp"


def make(path, *words, source=RED_FILM, **options):
    """A film made by ffmpeg, of one colour or of another source."""
    given = ["-f", "lavfi", "-i", source] if source else []
    subprocess.run([EXE, "-loglevel", "error", "-y", *given, *words, path], check=True, **options)
    return path


def read(path, frames="all"):
    """(the Film at path, its chosen frames as integer arrays)."""
    film = video.find_film(path, frames, 10**6)
    return film, [np.asarray(image).astype(int) for _, image in film.images()]


def told(path):
    return subprocess.run([EXE, "-i", path], capture_output=True, text=True).stderr


# --- Before the first frame -------------------------------------------------------------------------------------


@pytest.fixture
def without_ffmpeg(monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    ffmpeg.shortage.cache_clear()
    yield
    ffmpeg.shortage.cache_clear()


@pytest.fixture
def shots(tmp_path):
    """shots(width, height): shots/, three frames of a camera that moves."""

    def save(width=40, height=30):
        (tmp_path / "shots").mkdir()
        wide = recipe.content(height=height, width=width + 6)
        for i in range(3):
            Image.fromarray(wide[:, 3 * i : 3 * i + width]).save(tmp_path / "shots" / f"{i}.png")
        return "shots"

    return save


@pytest.mark.parametrize("kind", ["video", "folder", "no film"])
def test_without_ffmpeg_a_film_says_what_to_install(paint_here, shots, tmp_path, without_ffmpeg, kind):
    name = {"video": "film.mp4", "folder": shots(), "no film": "film.txt"}[kind]
    for file in "film.mp4", "film.txt":
        (tmp_path / file).write_bytes(b"something")
    status, printed, error = paint_here("--content_image_filename", name, *FAST)
    line = (
        "not a picture in any format" if kind == "no film" else f"{name}: a film needs ffmpeg, which is not installed"
    )
    assert (status, printed, error.count("\n")) == (2, "", 1) and line in error
    assert not (tmp_path / "output").exists()


def test_an_ffmpeg_that_cannot_write_is_told_first(paint_here, shots, monkeypatch, without_ffmpeg):
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: EXE)

    def no_encoder(*words, **options):
        raise RuntimeError("No valid H.264 encoder was found with the ffmpeg installation")
        yield

    monkeypatch.setattr(imageio_ffmpeg, "write_frames", no_encoder)
    for flags in ("--content_image_filename", shots()), ("--animation", "mp4"):
        status, _, error = paint_here(*flags, *FAST)
        assert status == 2 and error.count("\n") == 1 and "an ffmpeg that writes H.264; pip install" in error


def test_an_opencv_that_does_not_start_is_told_first(paint_here, shots, monkeypatch, tmp_path):
    load = importlib.import_module

    def fails(name, *words):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return load(name, *words)

    monkeypatch.setattr(importlib, "import_module", fails)
    status, printed, error = paint_here("--content_image_filename", shots(), *FAST)
    line = "does not start (libGL.so.1: cannot open shared object file: No such file or directory); pip uninstall"
    assert (status, printed, error.count("\n")) == (2, "", 1) and line in error
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("size, status", [((8, 30), 2), ((40, 11), 2), ((40, 12), 0), ((120, 13), 0)])
def test_frames_too_small_for_motion_are_told_first(paint_here, shots, size, status):
    """Some narrow ones crash OpenCV; narrow ones are also what a wide film is measured at."""
    found, _, error = paint_here("--content_image_filename", shots(*size), *FAST, "--recolor_content", "true")
    assert (found, error.count("\n")) == (status, 1 if status else 0)
    assert ("too small to find motion in" in error) == bool(status)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs terminals as Unix has them")
def test_in_the_background_of_a_terminal_no_ffmpeg_stops_the_program(tmp_path):
    """The terminal stops a process in the background that touches it: ffmpeg does if it has it as its input."""
    code = f"""if True:
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from PIL import Image; from nst.pictures import ffmpeg, video
        assert ffmpeg.shortage() is None
        film = video.find_film({str(make(tmp_path / "film.mp4"))!r}, "", 10**6)
        list(film.images())
        video.encode(path := film.path.with_name("written.mp4"), film.size, [Image.new("RGB", film.size)] * 3, 10)
        video.add_sound(path, film._replace(facts=film.facts._replace(sounds=((0, "aac"),))), 3)
    """
    own, its = os.openpty()
    script = ["sh", "-m", "-c", '"$@" & wait $!; exit $?', "sh", sys.executable, "-c", code]
    process = subprocess.Popen(
        script, stdin=its, stdout=its, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: take_terminal(its)
    )
    try:
        _, error = process.communicate(timeout=30)
    finally:
        os.close(own)
        process.kill()
    assert (tmp_path / "written.mp4").exists(), error


def take_terminal(number):
    """Make the terminal of that number this process's own."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(number, termios.TIOCSCTTY, 0)


# --- How each kind is read --------------------------------------------------------------------------------------


def test_an_upright_film_of_a_phone_is_read_without_a_word(tmp_path, caplog, capfd):
    lying = make(tmp_path / "lying.mp4", source="testsrc=size=64x48:rate=10:duration=0.3")
    make(tmp_path / "phone.mp4", "-display_rotation", "90", "-i", lying, "-c", "copy", source=None)
    film, images = read(tmp_path / "phone.mp4")
    assert film.size == (48, 64) and np.abs(images[0] - np.rot90(read(lying)[1][0])).mean() < 3
    assert not caplog.records and capfd.readouterr() == ("", "")


CONTAINERS = {
    "mp4": [],
    "mkv": [],
    "avi": ["-c:v", "mpeg4", "-bf", "2"],
    "ts": ["-c:v", "libx264"],
    "mpg": [],
    "webm": ["-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16"],
    "h264": [],
}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_frame_far_into_a_film_is_the_one_that_reading_it_all_gives(tmp_path, suffix, monkeypatch):
    words = ["-frames:v", "400", *CONTAINERS[suffix]]
    path = make(tmp_path / f"film.{suffix}", *words, source="testsrc2=size=64x48:rate=25:duration=16")
    film, every = read(path)
    assert (film.count, len(every), film.rate) == (400, 400, 25)
    commands, start = [], ffmpeg.started
    monkeypatch.setattr(ffmpeg, "started", lambda words, **options: commands.append(words) or start(words, **options))
    for number, image in video.find_film(path, "390:396:2", 10**6).images(1):
        np.testing.assert_array_equal(np.asarray(image), every[390 + 2 * number])
    (reading,) = commands  # the packets were counted once for all, and without decoding
    assert ("-ss" in reading) == (suffix != "h264")  # a bare stream has no times


def test_a_frame_that_is_held_is_found_from_the_middle_of_a_film(tmp_path):
    """A screen recording: twelve seconds in which nothing comes, and then ten frames a second."""
    words = ["-vf", "select='not(n)+gt(n,120)'", "-fps_mode", "vfr"]
    path = make(tmp_path / "screen.mkv", *words, source="testsrc=size=64x48:rate=10:duration=15")
    film, every = read(path)
    assert film.count == len(every) and film.rate == 10
    for start in 100, 119, 122:
        _, (image,) = read(path, f"{start}:{start + 1}")
        np.testing.assert_array_equal(image, every[start])
    assert (every[119] == every[0]).all() and (every[122] != every[0]).any()


HELD = {
    "a long hold": ([80, 80, 2000, 80], 12.5, (1, 1, 25, 1)),
    "even": ([70] * 4, 1000 / 70, (1,) * 4),
    "as even as WebP can be": ([33, 33, 34, 33], 4000 / 133, (1,) * 4),
    "without a common tick": ([70, 130, 110, 60], 100, (7, 13, 11, 6)),
}


@pytest.mark.parametrize("times, rate, holds", HELD.values(), ids=HELD.keys())
def test_each_picture_of_an_animation_is_shown_for_its_time(tmp_path, times, rate, holds):
    path = tmp_path / "film.webp"
    images = [Image.new("RGB", (40, 30), (50 * i, 90, 90)) for i in range(4)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=times)
    film = video.find_film(path, "all", 10**6)
    assert (film.rate, film.holds) == (pytest.approx(rate), holds)
    film = video.find_film(path, "::2", 10**6)
    assert np.divide(film.holds, film.rate) == pytest.approx([sum(times[:2]) / 1000, sum(times[2:]) / 1000], abs=0.001)


def test_the_holds_of_a_gif_are_kept(paint_here, tmp_path):
    images = [Image.fromarray(recipe.content(height=30, width=46)[:, 3 * i : 3 * i + 40]) for i in range(3)]
    images[0].save(tmp_path / "holds.gif", save_all=True, append_images=images[1:], duration=[100, 2000, 100])
    assert paint_here("--content_image_filename", "holds.gif", "--frames", "all", *FAST)[0] == 0
    film, shown = read(tmp_path / "output" / "generated_video.mp4")
    assert (film.rate, film.count) == (10, 22)
    steps = [np.abs(after - before).mean() for before, after in itertools.pairwise(shown)]
    assert min(steps[0], steps[20]) > 3 * max(steps[1:20])


def test_a_film_that_is_a_few_pixels_wide_is_read(tmp_path):
    film, shown = read(make(tmp_path / "narrow.mkv", "-c:v", "ffv1", source="testsrc=size=8x64:rate=10:duration=0.3"))
    assert film.count == 3 and shown[0].shape == (64, 8, 3)


def test_an_ffmpeg_that_is_not_where_its_variable_says_is_missing(tmp_path):
    """It is asked in another process, because imageio-ffmpeg remembers its answer."""
    code = "from nst.pictures import ffmpeg; print(ffmpeg.executable(), ffmpeg.shortage())"
    environment = {**os.environ, "IMAGEIO_FFMPEG_EXE": str(tmp_path / "none")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.startswith("None ffmpeg, which is not installed here") and run.stderr == ""


@pytest.mark.parametrize("rate, exact", [("24000/1001", 24000 / 1001), ("30000/1001", 30000 / 1001), ("24", 24)])
def test_the_rate_of_television_is_exact(tmp_path, rate, exact):
    path = make(tmp_path / "film.mp4", source=f"testsrc=size=64x48:rate={rate}:duration=1")
    assert video.find_film(path, "", 10**6).rate == pytest.approx(exact, rel=1e-9)


def test_numbered_pictures_have_the_rate_that_is_asked_for(paint_here, shots, tmp_path):
    flags = ("--content_image_filename", shots(), *FAST)
    assert paint_here(*flags, "--fps", 12)[0] == 0
    painted = (tmp_path / "output" / "frames" / "000003.png").read_bytes()
    for rate in "12", "7.5":  # another rate needs no frame again
        status, printed, _ = paint_here(*flags, "--fps", rate, "--resume")
        assert status == 0 and "Frame " not in printed and ("Finished already" in printed) == (rate == "12")
        assert video.find_film(tmp_path / "output" / "generated_video.mp4", "", 10**6).rate == float(rate)
    assert (tmp_path / "output" / "frames" / "000003.png").read_bytes() == painted
    status, _, error = paint_here("--content_image_filename", make(tmp_path / "film.mp4"), "--fps", 12)
    assert status == 2 and error.endswith("film.mp4 has a rate of its own\n") and error.count("\n") == 1


# --- Colours and shape ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel, size", [("64/45", (91, 48)), ("8/9", (64, 54)), ("1/1", (64, 48))])
def test_a_film_is_read_in_the_shape_that_it_is_shown_in(tmp_path, pixel, size):
    film, images = read(make(tmp_path / "film.mp4", "-vf", f"setsar={pixel}"))
    assert film.size == size and images[0].shape[1::-1] == size


@pytest.mark.parametrize("height, matrix", [(720, "bt709"), (576, "bt601")])
@pytest.mark.parametrize("is_named", [True, False])
def test_colours_are_read_as_players_show_them(tmp_path, height, matrix, is_named):
    """A film that does not name its matrix has that of its size."""
    name = {"bt709": "bt709", "bt601": "smpte170m"}[matrix] if is_named else "unknown"
    words = ["-vf", f"scale=16:{height}:out_color_matrix={matrix},format=yuv420p,setparams=colorspace={name}"]
    _, images = read(make(tmp_path / "film.mp4", *words, "-qp", "1"))
    assert np.abs(images[0] - RED).max() <= 2


@pytest.mark.parametrize("size, names", [((16, 720), "tv, bt709"), ((64, 48), "tv, smpte170m/bt709/bt709")])
def test_colours_are_written_with_their_names(tmp_path, size, names):
    path = tmp_path / "film.mp4"
    video.encode(path, size, [Image.new("RGB", size, RED)] * 3, 10)
    assert f"yuv420p({names}, progressive)" in told(path)
    assert np.abs(read(path)[1][0] - RED).max() <= 2


@pytest.mark.parametrize("suffix, words", [("mov", ["-c:v", "qtrle"]), ("webm", ["-c:v", "libvpx-vp9"])])
def test_transparency_is_laid_over_white(tmp_path, suffix, words):
    half = "color=0xC82828@0.5:size=64x48:rate=10:duration=0.3,format=yuva420p"
    _, images = read(make(tmp_path / f"film.{suffix}", *words, source=half))
    assert np.abs(images[0] - [228, 148, 148]).max() <= 3


@pytest.mark.parametrize("transfer", [hdr.HLG, hdr.PQ])
@pytest.mark.parametrize("colour, tolerance", [((157, 83, 50), 2), ((20, 60, 90), 2), ((250, 250, 250), 35)])
def test_hdr_is_shown_as_an_ordinary_screen_shows_it(tmp_path, transfer, colour, tolerance):
    """Colours up to half of white's light stay as they are, and white makes room for what is brighter."""
    share = np.array(colour) / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    red, green, blue = coded(transfer, np.linalg.solve(hdr.TO_709, light * hdr.WHITE))
    y = hdr.LIGHT_OF_2020 @ (red, green, blue)
    planes = [(64 + 876 * y, 4), (512 + 896 * (blue - y) / 1.8814, 1), (512 + 896 * (red - y) / 1.4746, 1)]
    frame = np.concatenate([np.full(16 * 12 * share, round(value)) for value, share in planes]).astype("<u2")
    names = f"setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}"
    words = ["-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", "32x24", "-r", "10", "-i", "-", "-vf", names]
    path = make(tmp_path / "film.mp4", *words, "-qp", "0", source=None, input=frame.tobytes() * 3)
    assert np.abs(read(path)[1][0] - colour).max() <= tolerance


def coded(transfer, light):
    """Light in cd/m² as HLG or PQ: the inverse of what nst.pictures.hdr has."""
    if transfer == hdr.PQ:
        power = (light / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    shown = light / 1000
    scene = shown * (shown @ hdr.LIGHT_OF_2020) ** (1 / 1.2 - 1)
    above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)


def test_light_above_white_is_kept_apart_up_to_the_brightest():
    light = np.linspace(0, hdr.BRIGHTEST / hdr.WHITE, 200)
    shown = hdr.compressed(light)
    assert (np.diff(shown) > 0).all() and shown[0] == 0 and shown[-1] == pytest.approx(1)
    np.testing.assert_array_equal(shown[light <= hdr.KNEE], light[light <= hdr.KNEE])


# --- Sound ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix, codec, becomes",
    [
        ("mov", "pcm_s16le", "aac"),
        ("mov", "alac", "aac"),
        ("mp4", "mp3", "mp3"),
        ("mkv", "flac", "aac"),
        ("mp4", "", ""),
    ],
)
def test_sound_that_browsers_do_not_play_becomes_aac(tmp_path, suffix, codec, becomes):
    sound = ["-f", "lavfi", "-i", "sine=duration=0.5", "-c:a", codec] if codec else []
    film, images = read(make(tmp_path / f"film.{suffix}", *sound, "-c:v", "libx264"))
    written = tmp_path / "written.mp4"
    video.encode(written, film.size, [Image.new("RGB", film.size)] * len(images), film.rate, "its recipe")
    video.add_sound(written, film, len(images))
    said = told(written)
    assert re.findall(r"Audio: (\w+)", said) == [becomes] * bool(codec) and "comment         : its recipe" in said
