"""What a run shows and leaves: progress, cost curve, animation, TensorBoard's events, each picture's recipe."""

import csv
import hashlib
import json
import os
import re
import struct
import subprocess
import weakref

import imageio.v3 as imageio
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

import nst.flags
import nst.pictures.animation
import nst.pictures.encode
import nst.pictures.video
import nst.progress
import nst.record
import nst.settings
import nst_main
import nst_utils
import recipe
from nst.errors import WriteError

# --- On the terminal --------------------------------------------------------------------------------------------


def test_a_pipe_gets_plain_lines_alone(paint):
    run = paint("--epochs", 3)
    iteration = r"Iteration [02] :\ntotal cost = \S+\ncontent cost = \S+\nstyle cost = \S+\n"
    first, last = (
        r"Painting with VGG-19, weights: .*thin.mat, on \d+ processor threads?",
        "Painted output/generated_image.jpg",
    )
    assert re.fullmatch(rf"{first}\n({iteration}){{2}}{last}\n", run.stdout)
    assert run.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_live_line_below_the_printed_ones(command, tmp_path):
    import fcntl
    import termios

    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(command("--epochs", 40, "--print_every", 10), cwd=tmp_path, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # so a pseudo-terminal ends on Linux
        pass
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode().replace("\r\n", "\n")
    assert re.search(r"\r +\d+%\|.+\| \d+/40 epochs, +\d+\.\d+(s/epoch|epoch/s), [\d:]+ left, cost \d", text)
    # What a terminal keeps of it: each live line is overwritten by what follows its carriage return.
    kept = [line.split("\r")[-1].strip() for line in text.split("\n")]
    assert [line for line in kept if line.startswith("Iteration")] == [f"Iteration {i} :" for i in (0, 10, 20, 30)]
    assert kept[-2:] == ["Painted output/generated_image.jpg", ""]


def test_quiet_leaves_errors_alone(paint_here):
    assert paint_here("--quiet", "--epochs", 1, "--resume") == (0, "", "")
    assert paint_here("--quiet", "--epochs", 1, "--resume") == (0, "", "")
    status, printed, told = paint_here("--quiet", "--epochs", 0)
    assert (status, printed) == (2, "") and told.startswith("nst_main.py: error: argument --epochs")


# --- The cost curve ---------------------------------------------------------------------------------------------


def test_the_curve_shows_every_iterations_costs(paint_here, tmp_path, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (drawn.append(self), save(self, *args, **options))
    )
    paint_here("--epochs", 5, "--print_every", 3, "--tv_weight", 1)
    (axes,) = drawn[0].axes
    assert (axes.get_yscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "iteration", "cost")
    lines = {line.get_label(): line.get_data() for line in axes.lines}
    assert list(lines) == ["total", "content", "style", "tv"]
    rows = np.loadtxt(tmp_path / "output" / "costs.csv", delimiter=",", skiprows=1)
    for column, (iterations, costs) in enumerate(lines.values(), 1):
        assert iterations.tolist() == [0, 1, 2, 3, 4]
        assert costs[[0, 3]].tolist() == rows[:, column].tolist()
    with Image.open(tmp_path / "output" / "costs.png") as curve:
        assert curve.format == "PNG" and curve.width > 600


def test_a_cost_of_0_is_left_out_of_the_curve(tmp_path):
    history = nst.progress.History()
    for i, total in enumerate((5.0, 4.0)):
        history.add(i, {"total": total, "content": 0.0})
    nst.record.draw_curve(tmp_path / "costs.png", history)
    with Image.open(tmp_path / "costs.png") as curve:
        curve.load()


# --- The animation ----------------------------------------------------------------------------------------------


@pytest.fixture
def odd_picture(tmp_path):
    Image.fromarray(recipe.content(height=29, width=39)).resize((117, 87)).save(tmp_path / "odd.png")
    return "--content_image_filename", tmp_path / "odd.png"


def near(frame, image, tolerance):
    return np.abs(np.asarray(frame, int) - np.asarray(image, int)).mean() < tolerance


def test_a_gif_goes_from_the_start_to_the_result(paint_here, tmp_path, odd_picture, pixels):
    flags = ("--epochs", 9, "--scales", 2, "--animation", "gif", "--noise_ratio", 1, "--learning_rate", 20)
    assert paint_here(*flags, *odd_picture)[0] == 0
    with Image.open(tmp_path / "output" / "generated_image.gif") as gif:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(gif)]
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0
    saved = [0, 2, 4, 6, 8, 10]  # of 13 iterations; the last, 12, is the result
    assert len(frames) == 1 + len(saved) + 1 and {frame.size for frame in frames} == {(117, 87)}
    assert sum(durations) <= 10_000 and durations[-1] == 2000
    assert near(frames[0], np.asarray(frames[0]).mean((0, 1)), 10)  # G starts as noise around grey
    assert near(frames[-1], pixels(tmp_path / "output" / "12.png"), 8)
    assert near(frames[-2], pixels(tmp_path / "output" / "10.png"), 8)


def test_an_mp4_goes_from_the_start_to_the_result(paint_here, tmp_path, odd_picture, pixels):
    flags = ("--epochs", 9, "--animation", "mp4", "--init", "content", "--learning_rate", 8)
    assert paint_here(*flags, *odd_picture, "--output_dir", "-y")[0] == 0  # which ffmpeg has a meaning for
    path = tmp_path / "-y" / "generated_image.mp4"
    frames, facts = imageio.imread(path, plugin="FFMPEG"), imageio.immeta(path, plugin="FFMPEG")
    assert frames.shape[1:] == (88, 118, 3)  # even, as H.264 wants it
    assert facts["codec"] == "h264" and 2 < facts["duration"] <= 10
    assert near(frames[0, :87, :117], pixels(tmp_path / "odd.png"), 8)
    assert near(frames[-1, :87, :117], pixels(tmp_path / "-y" / "8.png"), 8)
    assert not near(frames[0], frames[-1], 8)


def test_an_animation_is_not_longer_because_its_times_are_rounded(tmp_path):
    """A GIF counts in 10 ms, and 177 pictures would take 45 each; an .mp4 of 43 holds the last for 10.75 of theirs."""
    pictures = [lambda i=i: Image.new("RGB", (64, 64), (i, 0, 255 - i)) for i in range(177)]
    for name, count in ("odd.gif", 177), ("odd.mp4", 43):
        nst.pictures.animation.write_animation(tmp_path / name, (64, 64), pictures[:count])
    with Image.open(tmp_path / "odd.gif") as gif:
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(gif)) <= 10_000
    assert 9 < imageio.immeta(tmp_path / "odd.mp4", plugin="FFMPEG")["duration"] <= 10


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_an_animation_of_very_many_pictures_is_short_and_holds_one_at_a_time(tmp_path, suffix):
    opened, pictures = [], []

    class Frame:
        """A picture that keeps an eye on what becomes of it."""

        def __init__(self, i):
            opened.append(i)
            self.image = Image.fromarray(np.full((60, 2000, 3), i * 255 // 4999, "uint8"))
            # Besides this one Pillow has the first of a GIF, and the one before.
            assert sum(picture() is not None for picture in pictures) <= 3

        def resize(self, *words):
            image = self.image.resize(*words)
            pictures.append(weakref.ref(image))
            return image

    path = tmp_path / f"many.{suffix}"
    nst.pictures.animation.write_animation(path, (2000, 60), [lambda i=i: Frame(i) for i in range(5000)])
    assert (opened[0], opened[-1]) == (0, 4999) and len(opened) == 200 and opened == sorted(opened)
    if suffix == "gif":
        with Image.open(path) as gif:
            seconds, size = sum(frame.info["duration"] for frame in ImageSequence.Iterator(gif)) / 1000, gif.size
    else:
        facts = imageio.immeta(path, plugin="FFMPEG")
        seconds, size = facts["duration"], facts["size"]
    assert size == (1280, 38) and 9.5 < seconds <= 10.1


def test_a_resumed_run_has_the_whole_animation(paint_here, tmp_path):
    flags = ("--epochs", 6, "--animation", "gif")
    paint_here(*flags, "--output_dir", "whole")
    paint_here("--epochs", 3, "--output_dir", "parts")
    paint_here(*flags, "--output_dir", "parts", "--resume")
    whole, parts = ((tmp_path / name / "generated_image.gif").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


# --- TensorBoard ------------------------------------------------------------------------------------------------


def test_tensorboard_gets_the_costs_and_the_pictures(paint_here, tmp_path, pixels):
    assert paint_here("--epochs", 3, "--tensorboard", "board")[0] == 0
    (path,) = (tmp_path / "board").iterdir()
    costs, pictures = {}, {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            if value.tag == "generated_image":
                pictures[event.step] = tf.io.decode_png(value.tensor.string_val[2]).numpy()
            else:
                costs[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert sorted(costs) == [(f"{name}_cost", i) for name in ("content", "style", "total") for i in range(3)]
    rows = np.loadtxt(tmp_path / "output" / "costs.csv", delimiter=",", skiprows=1)
    assert costs["total_cost", 2] == pytest.approx(rows[-1, 1], rel=1e-6)
    assert sorted(pictures) == [0, 2]
    np.testing.assert_array_equal(pictures[2], pixels(tmp_path / "output" / "2.png"))


def test_a_folder_that_tensorboard_cannot_use_is_told(paint_here, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, told = paint_here("--tensorboard", tmp_path / "file" / "below")
    assert status == 1 and told.startswith(f"nst_main.py: error: {tmp_path}/file/below: cannot be written")
    assert told.count("\n") == 1


def test_without_tensorboard_its_flag_says_what_to_install(paint_here, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = "nst_main.py: error: argument --tensorboard: needs the package tensorboard; pip install tensorboard\n"
    assert paint_here("--tensorboard", "board") == (2, "", told)
    assert list(tmp_path.iterdir()) == []


# --- The recipe -------------------------------------------------------------------------------------------------


@pytest.fixture
def painted(paint_here, tmp_path, inputs):
    """output/, painted with other settings than the defaults."""
    flags = (
        "--epochs",
        4,
        "--seed",
        5,
        "--beta",
        70.5,
        "--style_layers",
        "conv1_1",
        "conv2_1:0.25",
        "--pooling",
        "max",
    )
    assert paint_here(*flags, "--style_image_filename", inputs / "style.png", inputs / "content.png")[0] == 0
    return tmp_path / "output"


def left(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("checkpoint.npz", ".lock")}


def test_pictures_and_settings_json_carry_the_recipe(painted, inputs):
    recipe = json.loads((painted / "settings.json").read_text())
    assert recipe.pop("results") == ["generated_image.jpg", "costs.png"]
    assert recipe["settings"]["beta"] == 70.5 and recipe["settings"]["seed"] == 5
    assert recipe["settings"]["epochs"] == [4]
    assert recipe["settings"]["style_layers"] == ["conv1_1", "conv2_1:0.25"]
    assert recipe["versions"]["tensorflow"] == tf.__version__

    def digest(name):
        return hashlib.sha256((inputs / name).read_bytes()).hexdigest()

    assert recipe["sha256"] == {
        "content_image_filename": digest("content.png"),
        "style_image_filename": [digest("style.png"), digest("content.png")],
        "weights": digest("thin.mat"),
    }
    recipe["settings"] |= {"content_image_filename": "content.png", "weights": "thin.mat"}  # without their folders
    recipe["settings"]["style_image_filename"] = ["style.png", "content.png"]
    for name, iteration in {"0.png": 0, "2.png": 2, "generated_image.jpg": 3}.items():
        with Image.open(painted / name) as picture:
            comment = picture.info["Comment"] if name.endswith("png") else picture.info["comment"].decode()
        assert json.loads(comment) == {**recipe, "iteration": iteration}
    assert json.loads(nst.pictures.encode.read_comment(painted / "costs.png")) == recipe


@pytest.mark.parametrize("source", ["settings.json", "0.png", "generated_image.jpg"])
def test_a_recipe_is_run_again_to_the_same_bytes(painted, tmp_path, source):
    assert nst_main.main(["--settings", str(painted / source), "--output_dir", str(tmp_path / "again")]) == 0
    assert left(tmp_path / "again") == left(painted)


def test_what_is_missing_of_a_finished_run_is_made(paint_here, tmp_path):
    paint_here()
    assert paint_here("--resume", "--animation", "gif")[0] == 0
    assert (tmp_path / "output" / "generated_image.gif").exists()
    (tmp_path / "output" / "generated_image.jpg").unlink()
    assert paint_here("--resume")[0] == 0
    assert (tmp_path / "output" / "generated_image.jpg").exists()
    assert "Finished already" in paint_here("--resume")[1]


def test_an_mp4_that_ffmpeg_could_not_finish_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(nst.pictures.video, "count_written", lambda path: 3)
    picture = Image.new("RGB", (40, 30))
    with pytest.raises(WriteError, match="ffmpeg wrote 3 of 15 pictures"):
        nst.pictures.animation.write_animation(tmp_path / "a.mp4", (40, 30), [lambda: picture] * 5)
    assert list(tmp_path.iterdir()) == []


def test_other_flags_win_over_the_recipe_wherever_they_stand(painted, tmp_path):
    words = ["--beta", "1", "--settings", str(painted / "0.png"), "--output_dir", str(tmp_path / "other")]
    assert nst_main.main([*words, "--seed", "9"]) == 0
    changed = json.loads((tmp_path / "other" / "settings.json").read_text())["settings"]
    kept = json.loads((painted / "settings.json").read_text())["settings"]
    assert changed == {**kept, "beta": 1, "seed": 9}


def test_a_recipe_from_an_editor_that_marks_utf_8_is_read(painted, tmp_path):
    (tmp_path / "saved.json").write_text((painted / "settings.json").read_text("utf-8"), "utf-8-sig")
    assert nst.flags.read_recipe(tmp_path / "saved.json")["settings"]["beta"] == 70.5


def test_a_contradiction_with_a_recipe_names_it(paint_here, tmp_path):
    paint_here("--learning_rate", 5, "--epochs", 1)
    told = (
        "nst_main.py: error: argument --learning_rate: is only for --optimizer adam; lbfgs finds its own steps"
        " (with the settings of output/0.png)\n"
    )
    assert paint_here("--settings", "output/0.png", "--optimizer", "lbfgs") == (2, "", told)


def test_a_recipe_of_a_file_that_has_changed_is_told(painted, tmp_path, inputs, capsys):
    recipe = json.loads((painted / "settings.json").read_text())
    recipe["sha256"]["style_image_filename"][1] = "0" * 64
    (tmp_path / "old.json").write_text(json.dumps(recipe))
    assert nst_main.main(["--settings", str(tmp_path / "old.json"), "--output_dir", str(tmp_path / "again")]) == 2
    told = capsys.readouterr().err
    assert "was made with a different file for --style_image_filename" in told and told.count("\n") == 1
    words = ["--settings", str(tmp_path / "old.json"), "--style_image_filename", str(inputs / "style.png")]
    assert nst_main.main([*words, "--output_dir", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"alpha": 3}', b'{"settings": {"output_dir": "x"}, "sha256": {}}', b"[]", b"\xff\xd8 no picture"],
)
def test_what_is_no_recipe_is_told(paint_here, tmp_path, content):
    (tmp_path / "wrong").write_bytes(content)
    status, printed, told = paint_here("--settings", "wrong")
    assert (status, printed, told.count("\n")) == (2, "", 1)
    assert told.startswith("nst_main.py: error: argument --settings: wrong: ")


def test_a_picture_without_a_recipe_is_told(paint_here, tmp_path, inputs):
    status, _, told = paint_here("--settings", inputs / "content.png")
    assert status == 2 and "neither a settings.json nor a picture with the settings of this program" in told
    assert paint_here("--settings", "no.json")[2] == (
        "nst_main.py: error: argument --settings: no.json: cannot be read (No such file or directory)\n"
    )


def test_comments_are_read_from_both_formats(tmp_path):
    for name in "a.png", "a.jpg":
        nst.pictures.encode.write_image(tmp_path / name, nst_utils.to_pixels(np.zeros((1, 4, 4, 3))), "a comment")
        assert nst.pictures.encode.read_comment(tmp_path / name) == "a comment"


def test_costs_that_are_told_from_some_iteration_on_are_left_empty_before(paint_here, tmp_path):
    flags = ("--epochs", 2, "--print_every", 1)
    assert paint_here(*flags)[0] == 0
    assert paint_here("--epochs", 4, "--print_every", 1, "--layer_costs", "--resume")[0] == 0
    assert paint_here("--epochs", 6, "--print_every", 1, "--resume")[0] == 0
    rows = list(csv.DictReader((tmp_path / "output" / "costs.csv").open()))
    assert [bool(row["style_conv1_1_cost"]) for row in rows] == [False, False, True, True, False, False]
    assert all(float(row["total_cost"]) > 0 for row in rows)


def test_dots_per_inch_can_be_given_to_a_finished_run(paint_here, tmp_path):
    paint_here()
    before = (tmp_path / "output" / "generated_image.jpg").stat().st_mtime_ns
    assert "Painted" in paint_here("--resume", "--dpi", 300)[1]
    with Image.open(tmp_path / "output" / "generated_image.jpg") as image:
        assert image.info["dpi"] == (300, 300)
    assert (tmp_path / "output" / "generated_image.jpg").stat().st_mtime_ns != before
