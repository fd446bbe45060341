"""Films: what is read and written of them, the motion between frames, and what a frame goes on from."""

import csv
import dataclasses
import importlib.util
import itertools
import random
import re
import signal
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

import nst.films.job
import nst.films.painting
import nst.pictures.colours
import nst.pictures.scene
import nst.stop
import nst_utils
import recipe
from nst.errors import RunError
from nst.pictures import video

flow = pytest.importorskip("nst.films.flow", reason="needs OpenCV, requirements-film.txt")
painting = pytest.importorskip("nst.films.painting", reason="needs OpenCV, requirements-film.txt")

WIDTH, HEIGHT, STEP = 64, 48, 3  # of a frame; the camera's pixels to the right from one to the next
EXE = imageio_ffmpeg.get_ffmpeg_exe()
PAN = recipe.content(height=HEIGHT, width=WIDTH * 3)
FAST = ("--epochs", 3, "--frame_epochs", 2, 1, "--image_size", 0, "--print_every", 1)


def frame(i):
    return Image.fromarray(PAN[:, STEP * i : STEP * i + WIDTH])


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """A folder with ten frames of a camera that moves, as frames/, pan.gif and pan.mp4, which has a sound."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "frames").mkdir()
    (folder / "empty").mkdir()
    images = [frame(i) for i in range(10)]
    for i, image in enumerate(images):
        image.save(folder / "frames" / f"shot{i + 7}.png")
    images[0].save(folder / "pan.gif", save_all=True, append_images=images[1:4], duration=80)
    words = ["-framerate", "10", "-start_number", "7", "-i", folder / "frames" / "shot%d.png"]
    words += ["-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-pix_fmt", "yuv420p", "-qp", "4"]
    subprocess.run([EXE, "-loglevel", "error", *words, folder / "pan.mp4"], check=True)
    return folder


def told(path):
    """What ffmpeg says of a film."""
    return subprocess.run([EXE, "-i", path], capture_output=True, text=True).stderr


def left(folder):
    paths = [*(folder / "frames").iterdir(), folder / "generated_video.mp4", folder / "costs.csv"]
    return {path.name: path.read_bytes() for path in paths}


# --- In and out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, rate, count, error", [("frames", 25, 10, 0), ("pan.gif", 12.5, 4, 9), ("pan.mp4", 10, 10, 14)]
)
def test_a_film_is_read_frame_by_frame(films, name, rate, count, error):
    film = video.find_film(films / name, "all", 10**6)
    assert (film.size, film.rate, film.count) == ((WIDTH, HEIGHT), pytest.approx(rate), count)
    numbers, images = zip(*film.images(2), strict=True)
    assert numbers == tuple(range(2, count))
    for number, image in zip(numbers, images, strict=True):
        assert np.abs(np.asarray(image, int) - np.asarray(frame(number), int)).mean() <= error


@pytest.mark.parametrize(
    "text, chosen", [("2:8:3", [2, 5]), (":3", [0, 1, 2]), ("-2:", [8, 9]), ("all", list(range(10)))]
)
def test_a_part_of_a_film_is_a_slice_and_keeps_its_time(films, text, chosen):
    film = video.find_film(films / "pan.mp4", text, 10**6)
    assert list(film.chosen) == chosen and film.rate == 10 / (3 if text.endswith(":3") and text != ":3" else 1)


def test_a_picture_is_no_film_and_a_gif_is_one_if_frames_are_asked_for(films, inputs):
    assert video.find_film(inputs / "content.png", "", 10**6) is None
    assert video.find_film(films / "pan.gif", "", 10**6) is None


def test_a_photograph_is_no_film_even_with_another_picture_in_its_file(tmp_path):
    """As cameras write them: beside the photograph a smaller one, such as a depth map."""
    frame(0).save(tmp_path / "a.jpg")
    frame(0).save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[frame(1).resize((20, 15))])
    for name in "a.jpg", "b.jpg":
        assert video.find_film(tmp_path / name, "all", 10**6) is None


def test_a_film_that_lies_on_its_side_is_upright(tmp_path):
    """An animation, and a folder of TIFFs, whose size Pillow turns before it is asked to."""
    exif = Image.Exif()
    exif[274] = 6
    lying = [frame(i).transpose(Image.Transpose.ROTATE_90) for i in range(2)]
    lying[0].save(tmp_path / "a.webp", save_all=True, append_images=lying[1:], exif=exif, lossless=True)
    (tmp_path / "shots").mkdir()
    for i in range(2):
        lying[i].save(tmp_path / "shots" / f"{i}.tif", exif=exif)
    for name in "a.webp", "shots":
        film = video.find_film(tmp_path / name, "all", 10**6)
        assert film.size == (WIDTH, HEIGHT)
        for number, image in film.images():
            np.testing.assert_array_equal(np.asarray(image), np.asarray(frame(number)))


def test_the_pages_of_a_tiff_in_which_0_is_white_are_frames(tmp_path):
    pages = [np.asarray(frame(i).convert("L")) for i in range(2)]
    negatives = np.stack([65535 - 257 * page.astype("uint16") for page in pages])
    tifffile.imwrite(tmp_path / "pages.tif", negatives, photometric="miniswhite")
    film = video.find_film(tmp_path / "pages.tif", "all", 10**6)
    for number, image in film.images():
        np.testing.assert_array_equal(np.asarray(image)[..., 0], pages[number])


def test_a_film_keeps_its_rate_its_sound_and_its_recipe(films, paint_here, tmp_path):
    flags = ("--content_image_filename", films / "pan.mp4", *FAST)
    status, printed, error = paint_here(*flags, "--frames", "2:8")
    assert (status, error) == (0, "") and printed.count("Frame ") == 6
    assert printed.endswith("Painted output/generated_video.mp4\n")
    said = told(tmp_path / "output" / "generated_video.mp4")
    assert "10 fps" in said and f"{WIDTH}x{HEIGHT}" in said and "h264" in said
    assert re.search(r"Stream #0:1.*Audio: aac", said) and re.search(r"Duration: 00:00:00\.[67]", said)
    assert b'"frame_epochs": [2, 1]' in (tmp_path / "output" / "generated_video.mp4").read_bytes()
    assert sorted(path.name for path in (tmp_path / "output" / "frames").iterdir()) == [
        f"{i:06d}.png" for i in range(1, 7)
    ]
    rows = list(csv.DictReader((tmp_path / "output" / "costs.csv").open()))
    assert [row["frame"] for row in rows] == list("012345") and float(rows[0]["temporal_cost"]) == 0
    assert "Finished already" in paint_here(*flags, "--frames", "2:8", "--resume")[1]


def test_what_ffmpeg_reads_as_well_is_no_film(paint_here, tmp_path):
    """A picture over Pillow's bound, a TIFF of floats, which Pillow has no mode for, and text."""
    Image.new("RGB", (60, 50)).save(tmp_path / "large.png")
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((50, 60, 3), "float32"), photometric="rgb")
    (tmp_path / "notes.txt").write_text("not a picture\n" * 2000)
    for name in "large.png", "deep.tif", "notes.txt":
        assert video.find_film(tmp_path / name, "", 1000) is None
    status, _, error = paint_here("--content_image_filename", "large.png", "--max_pixels", 2000)
    assert status == 2 and "large.png: over 2,000 pixels, the most that is read" in error


def test_a_stream_of_pillows_mpeg_format_is_a_film(films, tmp_path):
    words = ["-loglevel", "error", "-i", films / "pan.mp4", "-r", "25", "-f", "mpeg2video", tmp_path / "pan.m2v"]
    subprocess.run([EXE, *words], check=True)
    assert video.find_film(tmp_path / "pan.m2v", "", 10**6).size == (WIDTH, HEIGHT)


def test_each_picture_of_a_webp_tells_how_long_it_stays(tmp_path):
    images = [frame(i) for i in range(4)]
    images[0].save(tmp_path / "pan.webp", save_all=True, append_images=images[1:], duration=40)
    film = video.find_film(tmp_path / "pan.webp", "all", 10**6)
    assert (film.rate, film.count) == (25, 4)


def test_a_film_whose_frames_come_as_they_can_is_read_at_its_mean_rate(tmp_path):
    """As phones and screens are recorded: thirty a second at first, then six."""
    words = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=30:duration=2"]
    words += ["-vf", "select='lt(n,20)+not(mod(n,5))'", "-fps_mode", "vfr", tmp_path / "phone.mp4"]
    subprocess.run([EXE, "-loglevel", "error", *words], check=True)
    film = video.find_film(tmp_path / "phone.mp4", "", 10**6)
    assert film.count == len(list(film.images())) == pytest.approx(2 * film.rate, abs=2)


def test_a_run_removes_what_another_kind_left(films, paint_here, tmp_path):
    output, film = tmp_path / "output", ("--content_image_filename", films / "frames", *FAST, "--frames", ":2")
    (output / "frames").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(output / "frames" / "000009.png")  # another's
    assert paint_here("--animation", "gif", "--epochs", 3, "--print_every", 1)[0] == 0
    assert {"0.png", "costs.png", "generated_image.jpg", "generated_image.gif"} <= {
        path.name for path in output.iterdir()
    }
    assert paint_here(*film)[0] == 0
    names = {path.name for path in output.iterdir()} - {".lock"}
    assert names == {"frames", "generated_video.mp4", "costs.csv", "settings.json", "checkpoint.npz"}
    assert paint_here("--epochs", 1)[0] == 0
    assert not (output / "generated_video.mp4").exists()
    assert [path.name for path in (output / "frames").iterdir()] == ["000009.png"]


def test_a_film_is_not_lengthened(films, paint_here):
    film = ("--content_image_filename", films / "frames", *FAST, "--frames", ":2")
    paint_here(*film)
    status, _, error = paint_here(*film, "--epochs", 5, "--resume")
    assert status == 2 and "was made with another --epochs (3, now 5)" in error


def test_a_film_that_diverges_says_what_is_left(paint_here, films, tmp_path):
    status, _, error = paint_here("--content_image_filename", films / "frames", *FAST, "--learning_rate", "1e38")
    assert status == 1 and error.endswith("lower --learning_rate. No frame was finished\n")
    assert not (tmp_path / "output" / "generated_video.mp4").exists()


REFUSED = {
    "an animation": (
        ["--animation", "gif"],
        "argument --animation: is only for pictures, and {films}/pan.mp4 is a film",
    ),
    "a format": (["--output_format", "png"], "argument --output_format: is only for pictures,"),
    "TensorBoard": (["--tensorboard", "board"], "argument --tensorboard: is only for pictures,"),
    "no such frames": (["--frames", "20:30"], "argument --frames: 20:30 is none of the 10 frames of"),
    "no frames": (["--frames", "some"], "argument --frames: must be all, or A:B or A:B:STEP, not 'some'"),
    "backwards": (["--frames", "::-1"], "argument --frames: must be all, or A:B or A:B:STEP"),
    "a folder of none": (["--content_image_filename", "{films}/empty"], "no pictures in it, and a film has some"),
    "a picture": (
        ["--content_image_filename", "chelsea.jpg", "--frames", "3:4"],
        "argument --frames: chelsea.jpg is not a film",
    ),
    "too large": (["--max_pixels", "3000"], "frames of over 3,000 pixels, the most that is read; raise max_pixels"),
}


@pytest.mark.parametrize("flags, line", REFUSED.values(), ids=REFUSED.keys())
def test_what_a_film_has_no_use_for_is_refused_in_one_line(films, paint_here, flags, line):
    flags = [flag.format(films=films) for flag in flags]
    status, printed, error = paint_here("--content_image_filename", films / "pan.mp4", *flags)
    assert (status, printed, error.count("\n")) == (2, "", 1) and line.format(films=films) in error


def test_without_opencv_a_film_says_what_to_install(films, paint_here, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cv2" else find(name))
    status, _, error = paint_here("--content_image_filename", films / "pan.mp4")
    assert status == 2 and "a film needs OpenCV for its motion; pip install -r requirements-film.txt" in error


def test_a_frame_that_is_damaged_is_named_and_the_film_so_far_kept(paint_here, tmp_path):
    (tmp_path / "shots").mkdir()
    for i in range(4):
        frame(i).save(tmp_path / "shots" / f"{i}.png")
    path = tmp_path / "shots" / "2.png"
    path.write_bytes(path.read_bytes()[:500])
    flags = ("--content_image_filename", "shots", *FAST)
    status, _, error = paint_here(*flags)
    assert status == 1 and error.count("\n") == 1 and "frame 3 of 4" in error
    assert video.find_film(tmp_path / "output" / "generated_video.mp4", "", 10**6).count == 2
    frame(2).save(path)
    assert paint_here(*flags)[0] == 0


def test_a_film_that_is_cut_off_is_told(films):
    film = video.find_film(films / "pan.mp4", "", 10**6)._replace(count=12, chosen=range(12))
    with pytest.raises(RunError, match=r"pan\.mp4: frame 11 of 12 cannot be read; it is cut off there"):
        list(film.images())


# --- Motion -----------------------------------------------------------------------------------------------------


def test_a_known_motion_is_found_and_trusted_where_it_can_be():
    before, here = (np.asarray(frame(i)) for i in (0, 1))
    back = flow.flow(here, before)
    inner = np.s_[8:-8, 8 : -8 - STEP]
    np.testing.assert_allclose(np.median(back[inner], (0, 1)), [STEP, 0], atol=0.3)
    trusted = flow.trust(back, flow.flow(before, here))
    assert trusted[inner].mean() > 0.8 and not trusted[:, -1].any()
    carried = flow.look_up(before.astype("float32"), back)
    assert np.abs(carried - here)[trusted > 0].mean() < 0.3 * np.abs(before.astype(int) - here)[trusted > 0].mean()


def test_a_flow_is_not_trusted_where_it_does_not_lead_home_or_at_edges_or_out_of_the_frame():
    still = np.zeros((20, 30, 2), "float32")
    assert flow.trust(still, still).all()
    assert not flow.trust(still, still + 3).any()  # hidden
    moving = still.copy()
    moving[:, 15:] = 4, 0
    trusted = flow.trust(moving, -moving)
    assert not trusted[:, 14:16].any() and trusted[:, 5:10].all() and not trusted[:, 26:].any()


def test_a_scene_is_recoloured_as_its_first_frame_is(films, prepared):
    """A frame that is lighter stays lighter, and the first of another scene is recoloured for itself."""
    job = prepared(content_image_filename=str(films / "frames" / "shot7.png"), recolor_content=True)
    of_content = nst.pictures.colours.by_region(job.originals.content)
    lighter = job.originals.with_content(Image.eval(frame(0), lambda value: min(255, value + 20)))
    first, second, anew = (
        nst.pictures.colours.luminance(nst.pictures.scene.make_scene(originals, job.settings, colours).content.image)
        for originals, colours in ((job.originals, of_content), (lighter, of_content), (lighter, None))
    )
    assert (first == nst.pictures.colours.luminance(job.scene.content.image)).all()
    assert (second - first).mean() > 3 > abs((anew - first).mean())


@pytest.mark.parametrize("how", [{"recolor_content": True}, {"preserve_colors": "histogram"}])
def test_a_film_that_fades_in_has_the_colours_of_what_it_shows(tmp_path, prepared, how):
    """Its first frame is black. A bright frame should be recoloured as it is when it is painted alone."""
    for i in range(16):
        Image.eval(frame(0), lambda value, i=i: round(value * min(1, i / 8))).save(tmp_path / f"{i:02d}.png")
    single = prepared(content_image_filename=str(tmp_path / "15.png"), **how)
    settings = dataclasses.replace(single.settings, content_image_filename=str(tmp_path))
    job, stop = nst.films.job.prepare(settings), nst.stop.Stop()
    of_content = painting.colours_of_shot(job, 0, stop)
    stop.signum = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        painting.colours_of_shot(job, 0, stop)
    in_film = nst.pictures.scene.make_scene(single.originals, settings, of_content)
    for painted, alone in (in_film.content, single.scene.content), (in_film.styles[0], single.scene.styles[0]):
        assert np.abs(painted.image.mean((0, 1)) - alone.image.mean((0, 1))).max() < 12
        assert painted.image.std() == pytest.approx(alone.image.std(), rel=0.2)


def test_a_frame_starts_from_the_one_before_where_the_motion_holds():
    """A square comes into sight on the right of a still picture: there is the texture, over the carried colours."""
    random_ = np.random.default_rng(0)
    painted, texture = (random_.uniform(0, 255, (40, 60, 3)).astype("float32") for _ in range(2))
    before = np.full((40, 60, 3), 100, "float32")
    here, trusted = before.copy(), np.ones((40, 60), "float32")
    here[:, 40:], trusted[:, 40:] = 180, 0
    start = flow.start_from(painted, before, here, np.zeros((40, 60, 2), "float32"), trusted, texture)
    np.testing.assert_array_equal(start[:, :38], painted[:, :38])
    assert start[:, 50:].mean() == pytest.approx(painted[:, 50:].mean() + 80, abs=5)
    fine = start[:, 50:] - start[:, 50:].mean((0, 1))
    assert np.corrcoef(fine.ravel(), texture[:, 50:].ravel())[0, 1] > 0.9
    untrusted = flow.start_from(painted, before, before, np.zeros((40, 60, 2), "float32"), trusted * 0, texture)
    np.testing.assert_array_equal(untrusted, painted)  # which looks the same: even areas show no motion
    start = flow.start_from(painted, before, here, np.zeros((40, 60, 2), "float32"), trusted, texture=None)
    np.testing.assert_array_equal(start[:, 50:], here[:, 50:])


def test_the_temporal_cost_is_the_trusted_mean_square_and_its_gradient_is_true(thin_model):
    C, S, G, carried = (nst_utils.reshape_and_normalize_image(recipe.picture(seed, 20, 24)) for seed in range(4))
    trust = np.random.default_rng(0).uniform(size=(20, 24)).astype("float32")
    cost = recipe.cost(thin_model, C, [S], None, trust, carried, alpha=0, beta=0, temporal_weight=5.0)
    costs, gradient = cost(tf.constant(G))
    square = trust[np.newaxis, ..., np.newaxis] * (G - carried) ** 2
    assert float(costs["temporal"]) == pytest.approx(square.mean(), rel=1e-5)
    assert float(costs["total"]) == pytest.approx(5 * float(costs["temporal"]), rel=1e-5)
    for place in (0, 3, 5, 1), (0, 19, 23, 2):
        moved = [G.copy(), G.copy()]
        for image, by in zip(moved, (4, -4), strict=True):
            image[place] += by
        up, down = (float(cost(tf.constant(image), gradient=False)[0]["total"]) for image in moved)
        assert float(gradient[place]) == pytest.approx((up - down) / 8, rel=0.02)


# --- A film painted ---------------------------------------------------------------------------------------------


def test_a_film_holds_still_where_frames_painted_one_by_one_do_not(paint_here, films, tmp_path, pixels):
    flags = ("--content_image_filename", films / "frames", "--frames", ":4", *FAST[2:])
    assert paint_here(*flags, "--epochs", 12)[0] == 0
    singles = ("--epochs", 12, "--image_size", 0, "--seed")
    for i in range(4):
        one = ("--content_image_filename", films / "frames" / f"shot{7 + i}.png", "--output_dir", f"single{i}")
        paint_here(*one, *singles, i, "--output_format", "png")

    def jump(paths):
        images = [pixels(path) for path in paths]
        return np.mean([np.abs(a[:, STEP:] - b[:, :-STEP]).mean() for a, b in itertools.pairwise(images)])

    film = jump([tmp_path / "output" / "frames" / f"{i + 1:06d}.png" for i in range(4)])
    assert film < 0.6 * jump([tmp_path / f"single{i}" / "generated_image.png" for i in range(4)])


@pytest.fixture
def scenes(tmp_path):
    """shots/, a folder with two scenes of a camera that moves, of four frames each."""
    (tmp_path / "shots").mkdir()
    other = recipe.style(height=HEIGHT, width=WIDTH + 3 * STEP)
    for i in range(4):
        frame(i).save(tmp_path / "shots" / f"{i}.png")
        Image.fromarray(other[:, STEP * i : STEP * i + WIDTH]).save(tmp_path / "shots" / f"{i + 4}.png")
    return "shots"


@pytest.mark.parametrize("scales, frame_epochs", [(3, 2), (2, 3)])
def test_a_frame_that_continues_has_the_shares_of_the_scales_that_it_paints(
    paint_here, films, monkeypatch, scales, frame_epochs
):
    make_scale, made = nst.films.painting.make_scale, []

    def noted(scene, shrink, epochs, settings, *more):
        made.append((shrink, settings.neighbour_share_here))
        return make_scale(scene, shrink, epochs, settings, *more)

    monkeypatch.setattr(nst.films.painting, "make_scale", noted)
    shares = [0.5, 0.4, 0.3][:scales]
    flags = ("--scales", scales, "--epochs", 1, "--frame_epochs", *[1] * frame_epochs, "--neighbour_share", *shares)
    assert paint_here("--content_image_filename", films / "frames", "--frames", ":2", *flags)[0] == 0
    first, continued = made[:scales], made[scales:]
    assert first == [(2 ** (scales - 1 - k), share) for k, share in enumerate(shares)]
    assert continued == (first[1:] if scales == 3 else [(4, 0.5), *first])


def test_another_scene_is_painted_as_a_film_of_its_own(paint_here, scenes, tmp_path, pixels):
    flags = ("--content_image_filename", scenes, *FAST, "--recolor_content", "true")
    assert paint_here(*flags)[0] == paint_here(*flags, "--frames", "4:", "--output_dir", "second")[0] == 0
    rows = list(csv.DictReader((tmp_path / "output" / "costs.csv").open()))
    assert [float(row["temporal_cost"]) == 0 for row in rows] == [i in (0, 4) for i in range(8)]
    of_both, alone = tmp_path / "output" / "frames" / "000005.png", tmp_path / "second" / "frames" / "000001.png"
    np.testing.assert_array_equal(pixels(of_both), pixels(alone))


@pytest.mark.slow
def test_a_film_killed_at_any_frame_ends_in_the_same_bytes(command, paint_here, scenes, tmp_path):
    flags = ("--content_image_filename", scenes, *FAST, "--recolor_content", "true")
    assert paint_here(*flags, "--output_dir", "whole")[0] == 0
    moments = random.Random(1)
    for _ in range(3):
        process = subprocess.Popen(command(*flags, "--resume"), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(1 + 5 * moments.randrange(1, 4)):
            process.stdout.readline()  # a frame prints five
        process.kill()
        process.wait()
    assert paint_here(*flags, "--resume")[0] == 0
    assert left(tmp_path / "output") == left(tmp_path / "whole")


def test_a_stopped_film_is_written_as_far_as_it_came(command, paint_here, films, tmp_path):
    flags = ("--content_image_filename", films / "frames", *FAST, "--epochs", 30, "--frame_epochs", 30)
    process = subprocess.Popen(command(*flags), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("Frame 2"):
        pass
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    said = re.search(r"stopped after frame (\d+): output/generated_video.mp4 has the film so far, and --resume", error)
    assert video.find_film(tmp_path / "output" / "generated_video.mp4", "", 10**6).count == int(said[1]) < 10
    assert paint_here(*flags, "--resume")[0] == 0
    assert video.find_film(tmp_path / "output" / "generated_video.mp4", "", 10**6).count == 10


def test_a_film_takes_the_controls_of_a_picture(paint_here, films, tmp_path, inputs, pixels):
    mask = np.zeros((HEIGHT, WIDTH), "uint8")
    mask[:, WIDTH // 2 :] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    flags = ["--content_image_filename", films / "frames", *FAST, "--preset", "quick", "--epochs", 3, "--frames", ":3"]
    flags += ["--content_mask", "m.png", "--preserve_colors", "luminance", "--style_scale", 0.5, 1]
    assert paint_here(*flags, "--style_image_filename", inputs / "style.png", inputs / "content.png")[0] == 0
    for i in range(3):
        painted = pixels(tmp_path / "output" / "frames" / f"{i + 1:06d}.png")
        np.testing.assert_array_equal(painted[:, : WIDTH // 2], np.asarray(frame(i))[:, : WIDTH // 2])
        assert np.abs(painted - np.asarray(frame(i), int))[:, WIDTH // 2 :].mean() > 1


def test_a_film_is_a_job_of_a_batch(paint_here, films, tmp_path):
    rows = f"content_image_filename,output_dir\n{films / 'frames'},output/film\n{films / 'pan.gif'},output/picture\n"
    (tmp_path / "jobs.csv").write_text(rows)
    assert paint_here("--batch", "jobs.csv", *FAST)[0] == 0
    assert (tmp_path / "output" / "film" / "generated_video.mp4").exists()
    assert (tmp_path / "output" / "picture" / "generated_image.jpg").exists()
