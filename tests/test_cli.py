"""The program as a user runs it: its files, its lines, its flags and its errors."""

import csv
import re
import shutil
import subprocess
import sys

from PIL import Image

import nst_main
from conftest import ROOT


def test_a_run_leaves_pictures_costs_and_result(paint, tmp_path, inputs):
    run = paint("--epochs", 5)
    assert run.returncode == 0 and run.stderr == ""
    output = tmp_path / "output"
    assert {path.name for path in output.iterdir()} == {"0.png", "2.png", "4.png", "costs.csv", "generated_image.jpg"}
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


def test_costs_are_those_after_the_iterations_update(paint, tmp_path):
    """With no noise the start is C, whose content cost is 0; a cost from before the first update would show it."""
    paint("--noise_ratio", 0, "--epochs", 1)
    row = (tmp_path / "output" / "costs.csv").read_text().splitlines()[1].split(",")
    assert row[0] == "0" and float(row[2]) > 0


def test_the_same_command_gives_the_same_bytes_from_any_folder(paint, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    paint("--output_dir", tmp_path / "a")
    paint("--output_dir", tmp_path / "b", cwd=other)
    paint("--output_dir", tmp_path / "c", "--seed", 1)
    a, b, c = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc")
    assert a == b and a["2.png"] != c["2.png"]
    assert list(other.iterdir()) == []


def test_bare_names_are_looked_for_in_images_then_as_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "images" / "coffee.jpg", tmp_path / "mine.jpg")
    assert nst_main.find_image("coffee.jpg") == ROOT / "images" / "coffee.jpg"
    assert nst_main.find_image("mine.jpg").resolve() == tmp_path / "mine.jpg"
    assert nst_main.find_image("./coffee.jpg").resolve() == tmp_path / "coffee.jpg"


def test_without_a_weights_file_random_ones_are_told_in_two_lines(paint, inputs, tmp_path):
    program = tmp_path / "program"  # a copy, so that a file in pretrained-model/ does not matter
    program.mkdir()
    for name in ("nst_main.py", "nst_utils.py"):
        shutil.copy(ROOT / name, program)
    flags = ["--content_image_filename", inputs / "content.png", "--style_image_filename", inputs / "style.png"]
    flags += ["--epochs", "1", "--image_size", "0"]
    run = subprocess.run(
        [sys.executable, program / "nst_main.py", *flags], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0
    first, second = run.stderr.splitlines()
    assert "pretrained-model" in first and "random weights" in first
    assert "README" in second and "--weights imagenet" in second
    assert (tmp_path / "output" / "generated_image.jpg").exists()


def test_weights_asked_for_and_missing_are_an_error(paint, tmp_path):
    run = paint("--weights", "pretrained-model/other.mat")
    assert run.returncode == 2 and run.stdout == ""
    assert re.fullmatch(r"nst_main.py: error: weights .*other.mat: cannot be read .*\n", run.stderr)
    assert not (tmp_path / "output").exists()


def test_a_wrong_flag_is_one_line(paint):
    run = paint("--epochs", "many")
    assert run.returncode == 2 and run.stderr == "nst_main.py: error: argument --epochs: invalid int value: 'many'\n"


def test_help_shows_every_flag_and_its_default(paint):
    shown = " ".join(paint("-h", defaults=False).stdout.split())
    for flag, default in {
        "content_image_filename": "chelsea.jpg",
        "style_image_filename": "night.jpg",
        "epochs": "200",
        "print_every": "20",
        "alpha": "10.0",
        "beta": "40.0",
        "learning_rate": "2.0",
        "noise_ratio": "0.6",
        "image_size": "400",
        "seed": "0",
        "output_dir": "output",
    }.items():
        assert re.search(rf"--{flag} [A-Z]+ [^-]*\(default: {re.escape(default)}\)", shown), flag
    assert "--weights" in shown and "else random" in shown


def test_importing_the_modules_does_nothing(tmp_path):
    """Nothing is parsed (the flag is wrong), printed or opened; what TensorFlow logs by itself aside."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import nst_main; assert 'tensorflow' not in sys.modules"
    command = [sys.executable, "-c", code, "--no_such_flag"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    run = subprocess.run(
        [*command[:2], code + "; import nst_utils", "--no_such_flag"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "") and "nst" not in run.stderr
    assert list(tmp_path.iterdir()) == []
