"""paint() in a Python program: what the command paints, in memory; mistakes, interrupts, and the page that shows it."""

import csv
import inspect
import os
import re
import signal
import subprocess
import sys
import threading

import keras
import nbclient
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

import nst.flags
import nst.network.weights
import nst.notebook
import nst.settings
import recipe
from conftest import ROOT
from nst import paint
from nst.descent import optimizers
from nst.errors import InputError, RunError, WriteError
from nst.notebook import OF_COMMAND


@pytest.fixture
def here(inputs, tmp_path, monkeypatch):
    """here(**flags): paint() in tmp_path, with what the fixture command gives the command."""
    monkeypatch.chdir(tmp_path)
    given = {"content_image_filename": inputs / "content.png", "style_image_filename": inputs / "style.png"}
    given |= {"weights": inputs / "thin.mat", "image_size": 0, "epochs": 3, "print_every": 2, "progress": False}
    return lambda **flags: paint(**{**given, **flags})


# --- The picture ----------------------------------------------------------------------------------


@pytest.fixture
def slope(tmp_path):
    """The path of a picture in grey, 40 x 30, that is black to the left and white to the right."""
    grey = np.linspace(0, 255, 40).astype("uint8")
    Image.fromarray(np.tile(grey, (30, 1))).save(tmp_path / "slope.png")
    return tmp_path / "slope.png"


@pytest.mark.parametrize("case", ["plain", "with everything"])
def test_it_paints_what_the_command_paints(here, paint_here, inputs, slope, tmp_path, case):
    """Its pixels, its costs, and, when it is saved, its file are the same to the byte."""
    flags = {"output_format": "png"}
    if case == "with everything":
        content = Image.open(inputs / "content.png").convert("RGB")
        content.putalpha(Image.open(slope).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        content.save(tmp_path / "soft.png")
        flags |= {
            "content_image_filename": tmp_path / "soft.png",
            "content_mask": slope,
            "dpi": 300,
            "layer_costs": True,
        }
        flags |= {"style_image_filename": [inputs / "style.png", "starry_night.jpg"], "style_scale": [1, 0.5]}
        flags |= {"optimizer": "lbfgs", "preserve_colors": "luminance", "scales": 2, "epochs": [3, 3]}
    words = [(f"--{name}", *(value if isinstance(value, list) else [value])) for name, value in flags.items()]
    assert paint_here(*sum(words, ()))[::2] == (0, "")
    result = here(**flags)
    written = tmp_path / "output" / "generated_image.png"
    with Image.open(written) as picture:
        assert picture.mode == result.image.mode == ("RGB" if case == "plain" else "RGBA")
        assert picture.tobytes() == result.image.tobytes()
    result.save(tmp_path / "saved.png")
    assert (tmp_path / "saved.png").read_bytes() == written.read_bytes()
    with open(tmp_path / "output" / "costs.csv") as file:
        rows = [{name.removesuffix("_cost"): float(cost) for name, cost in row.items()} for row in csv.DictReader(file)]
    assert [row for row in result.costs if row["iteration"] % 2 == 0] == rows
    assert result.costs[-1]["iteration"] == (2 if case == "plain" else 5)


def test_weights_that_were_replaced_are_read_again(here, inputs, tmp_path):
    """A cell of a notebook that is run again paints with the file as it is then."""
    weights = nst.network.weights.read(inputs / "thin.mat")
    costs = []
    for factor in 1, 0.5:
        kernel, bias = weights["conv1_1"]
        recipe.write_mat(tmp_path / "mine.mat", {**weights, "conv1_1": (kernel * factor, bias)})
        costs.append(here(weights="mine.mat", epochs=1).costs[0]["total"])
    assert costs[1] < costs[0]


def test_it_is_shown_by_a_notebook_and_writes_nothing(here, tmp_path, inputs):
    (tmp_path / "output").mkdir()
    Image.open(inputs / "content.png").save(tmp_path / "output" / "0.png")  # the command would replace it
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = here(content_image_filename="output/0.png")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert result._repr_png_().startswith(b"\x89PNG") and result.image.size == (40, 30)
    assert re.fullmatch(r"<a picture of 40 x 30, cost \S+ after iteration 2>", repr(result))


def as_float(path):
    return np.asarray(Image.open(path).convert("RGB")) / 255


KINDS = {
    "a name": str,
    "Pillow": Image.open,
    "Pillow with a palette": lambda path: Image.open(path).quantize(256) if path.stem == "slope" else Image.open(path),
    "uint8": lambda path: np.asarray(Image.open(path)),
    "float64": as_float,
    "float32": lambda path: as_float(path).astype("float32"),
    "RGBA": lambda path: np.asarray(Image.open(path).convert("RGBA")),
    "a tensor": lambda path: tf.constant(as_float(path), "float32"),
}


@pytest.fixture(scope="module")
def of_paths():
    return {}


@pytest.mark.parametrize("kind", KINDS)
def test_paths_pillow_images_and_arrays_give_the_same_picture(here, inputs, slope, of_paths, kind):
    made = KINDS[kind]
    pictures = {"content_image_filename": inputs / "content.png", "init_image": inputs / "style.png"}
    pictures |= {"content_mask": slope, "style_image_filename": (inputs / "style.png", inputs / "content.png")}
    if not of_paths:
        of_paths["image"] = here(**pictures, epochs=1).image
    pictures = {name: [*map(made, path)] if isinstance(path, tuple) else made(path) for name, path in pictures.items()}
    assert here(**pictures, epochs=1).image == of_paths["image"]


def test_a_mask_can_be_an_array_of_bools(here, inputs, slope, pixels):
    mask = np.asarray(Image.open(slope)) > 127
    content = pixels(inputs / "content.png")
    image = np.asarray(here(content_mask=mask, style_mask=None).image).astype(int)
    assert (image[~mask] == content[~mask]).all() and (image[mask] != content[mask]).any()


def test_a_photograph_that_pillow_opened_is_turned_upright(here, inputs, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.open(inputs / "content.png").save(tmp_path / "lying.jpg", exif=exif)
    by_path, opened = (here(content_image_filename=as_(tmp_path / "lying.jpg")).image for as_ in (str, Image.open))
    assert by_path.size == (30, 40) and by_path == opened


# --- Mistakes -------------------------------------------------------------------------------------


MISTAKES = {
    "no whole number": ({"epochs": 0}, ["--epochs", 0]),
    "no number": ({"alpha": "much"}, ["--alpha", "much"]),
    "half an epoch": ({"epochs": [1.5]}, ["--epochs", 1.5]),
    "a bool": ({"alpha": True}, ["--alpha", "true"]),
    "no bool": ({"layer_costs": "perhaps"}, ["--layer_costs=perhaps"]),
    "no choice": ({"preset": "coarse"}, ["--preset", "coarse"]),
    "no layer": ({"style_layers": ["conv1_1", "conv9_1"]}, ["--style_layers", "conv1_1", "conv9_1"]),
    "a contradiction": ({"style_scale": np.ones(2)}, ["--style_scale", 1, 1]),
    "no style": ({"style_image_filename": []}, ["--style_image_filename="]),
    "no such picture": ({"init_image": "no.jpg"}, ["--init_image", "no.jpg"]),
    "no such weights": ({"weights": "no.mat"}, ["--weights", "no.mat"]),
}


@pytest.mark.parametrize("flags, words", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_the_commands_line(here, paint_here, flags, words):
    with pytest.raises(InputError) as mistake:
        here(**flags)
    assert paint_here(*words) == (2, "", f"nst_main.py: error: {mistake.value}\n")
    assert mistake.value.__cause__ is None and len(mistake.traceback) == 3  # here(), paint() and its own line


IN_MEMORY = Image.new("RGB", (4, 3))
OWN_MISTAKES = {
    "a wrong name": ({"epoch": 3}, "unrecognized arguments: --epoch"),
    "help": ({"help": True}, "unrecognized arguments: --help"),
    "several for one": ({"alpha": [1, 2]}, "argument --alpha: takes one value, not a list"),
    "several contents": (
        {"content_image_filename": ["a.jpg"]},
        "--content_image_filename: takes one value, not a list",
    ),
    "a character of code 0": ({"weights": "a\0b"}, "argument --weights: a character of code 0 is in its value"),
    "no picture": (
        {"init_image": 3},
        "argument --init_image: a picture is a path, a Pillow image or an array, not a int",
    ),
    "channels first": (
        {"content_image_filename": np.zeros((3, 30, 40))},
        "argument --content_image_filename: no picture has an array of shape (3, 30, 40); give (n_H, n_W),",
    ),
    "several at once": (
        {"style_image_filename": [np.zeros((1, 3, 4, 3))]},
        "--style_image_filename[0]: no picture has",
    ),
    "nothing": (
        {"init_image": np.zeros((0, 4, 3))},
        "argument --init_image: no picture has an array of shape (0, 4, 3)",
    ),
    "floats of 255": (
        {"content_image_filename": np.full((3, 4, 3), 255.0)},
        "argument --content_image_filename: an array of floats must have values of 0 to 1, not of 255 to 255;",
    ),
    "nan": (
        {"content_mask": np.full((3, 4), np.nan)},
        "argument --content_mask: an array of floats must have values of 0",
    ),
    "integers": ({"style_mask": [np.zeros((3, 4), int)]}, "--style_mask[0]: an array of int64 can mean many pictures;"),
    "another shape": (
        {"content_mask": IN_MEMORY.resize((9, 3))},
        "content_mask (in memory): a mask must have the aspect",
    ),
    "too large": (
        {"init_image": IN_MEMORY, "max_pixels": 11},
        "init_image (in memory): over 11 pixels, the most that is",
    ),
    **{f"--{name}": ({name: 1}, f"argument --{name}: is only for nst_main.py; paint()") for name in sorted(OF_COMMAND)},
}


@pytest.mark.parametrize("flags, told", OWN_MISTAKES.values(), ids=OWN_MISTAKES.keys())
def test_what_only_python_can_say_wrong_is_told_in_a_line(here, tmp_path, flags, told):
    given = {} if "max_pixels" in flags else {"content_image_filename": IN_MEMORY, "style_image_filename": [IN_MEMORY]}
    if "max_pixels" in flags:
        Image.new("RGB", (2, 2)).save(tmp_path / "small.png")
        given = {"content_image_filename": "small.png", "style_image_filename": "small.png"}
    with pytest.raises(InputError, match=re.escape(told)) as mistake:
        here(**{**given, **flags})
    assert "\n" not in str(mistake.value)


def test_keywords_are_the_words_of_a_command_line():
    flags = {
        "preset": "fine",
        "epochs": (9, np.int64(5)),
        "style_weights": np.array([0.5, 1]),
        "recolor_content": False,
    }
    flags |= {
        "style_image_filename": ["starry_night.jpg", ROOT / "images" / "great_wave.jpg"],
        "seed": None,
        "alpha": np.float32(2),
    }
    words = ["--preset", "fine", "--epochs", "9", "5", "--style_weights", "0.5", "1", "--recolor_content", "false"]
    words += ["--style_image_filename", "starry_night.jpg", str(ROOT / "images" / "great_wave.jpg"), "--alpha", "2"]
    assert nst.notebook.prepare(flags, True, None).settings == nst.flags.parse_settings(words)


def test_every_flag_is_a_keyword_or_of_the_command():
    named = inspect.signature(paint).parameters.keys() - {"progress", "callback"}
    assert named | OF_COMMAND == {field.name for field in nst.settings.FIELDS.values()} and not named & OF_COMMAND
    assert all(f"`{name}`" in PAGE for name in OF_COMMAND)


def test_a_film_is_left_to_the_command(here, tmp_path):
    pytest.importorskip("cv2", reason="films need OpenCV, requirements-film.txt")
    (tmp_path / "shots").mkdir()
    for name in "1.png", "2.png":
        Image.new("RGB", (40, 30)).save(tmp_path / "shots" / name)
    with pytest.raises(InputError, match="shots: a film; paint"):
        here(content_image_filename="shots")


def test_a_mistake_is_told_without_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    program = "from nst import paint\ntry:\n    paint(epochs=0)\nexcept ValueError as error:\n    print(error)"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert run.stdout.startswith("argument --epochs: must be a whole number") and run.stderr == ""


def test_a_keras_that_is_set_to_other_numbers_is_told(here):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(RunError, match="Keras has dtype_policy mixed_float16, and painting needs float32; set it"):
            here()
    finally:
        keras.config.set_dtype_policy("float32")


def test_remarks_on_the_pictures_are_warnings(here):
    mask = np.zeros((30, 40, 3), "uint8")
    mask[:, 20:] = 255, 0, 0
    with pytest.warns(UserWarning, match=r"content_mask \(in memory\): colours are read as grey values") as found:
        here(content_mask=mask, epochs=1)
    assert [warning.filename for warning in found] == [__file__]  # the line that called paint()


def test_saving_says_what_it_cannot_do(here, tmp_path):
    result = here(epochs=1)
    with pytest.raises(InputError, match=r"a\.bmp: its format is not known; give a name that ends in \.jpg"):
        result.save("a.bmp")
    with pytest.raises(WriteError, match=r"none/a\.png: cannot be written \(No such file"):
        result.save("none/a.png")
    assert list(tmp_path.iterdir()) == []


# --- While it paints ------------------------------------------------------------------------------


def test_each_iteration_is_called_back(here):
    seen = []
    result = here(callback=lambda *words: seen.append(words), optimizer="lbfgs", epochs=2, scales=2)
    assert [iteration for iteration, _, _ in seen] == [0, 1, 2]
    assert {"iteration": 2, **seen[-1][1]} == result.costs[-1] and seen[0][1]["total"] > 0
    sizes = [picture().size for _, _, picture in seen]
    assert sizes == [(20, 15), (20, 15), (40, 30)] and seen[-1][2]() == result.image


def test_progress_shows_a_bar_and_lines(here, capsys):
    here(progress=True)
    shown, bar = capsys.readouterr()
    assert re.fullmatch(r"Painting with VGG-19, weights: .*thin\.mat, on .*\n", shown) and " epochs" in bar
    here()
    assert capsys.readouterr() == ("", "")


def waiting():
    """How many threads of L-BFGS there are."""
    return sum(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("how", ["interrupted", "raised"])
def test_an_interrupt_ends_after_the_iteration_with_the_picture_so_far(here, tmp_path, optimizer, how):
    def interrupt(iteration, costs, picture):
        if iteration == 1 and how == "raised":
            raise KeyboardInterrupt
        if iteration == 1:
            os.kill(os.getpid(), signal.SIGINT)

    handlers, threads = (
        [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)],
        waiting(),
    )
    told = "after iteration 1: the picture so far is the result of this exception"
    with pytest.raises(KeyboardInterrupt, match=told) as interrupted:
        here(callback=interrupt, optimizer=optimizer, epochs=50)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert waiting() == threads, "L-BFGS waits for ever"
    so_far = interrupted.value.result
    assert so_far.image.size == (40, 30) and so_far.costs[-1]["iteration"] == 1
    assert list(tmp_path.iterdir()) == []
    assert here(epochs=1).costs[-1]["iteration"] == 0


def test_a_second_interrupt_does_not_wait(here):
    def wait(iteration, costs, picture):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it came back")

    with pytest.raises(KeyboardInterrupt) as interrupted:
        here(callback=wait)
    assert interrupted.value.result.costs[-1]["iteration"] == 0


def test_an_interrupt_before_the_first_iteration_has_no_result(here, monkeypatch):
    monkeypatch.setattr("nst.notebook.start", lambda device: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as interrupted:
        here()
    assert interrupted.value.result is None


def test_a_run_that_fails_has_the_last_good_picture(here, monkeypatch):
    finite = optimizers.finite

    def diverge(costs, picture, iteration, before):
        return finite({"total": np.nan} if iteration == 2 else costs, picture, iteration, before)

    with pytest.raises(
        RunError, match=r"the cost is not finite at the start; lower --alpha.* Nothing was painted"
    ) as failed:
        here(alpha=1e38, beta=1e38)
    assert failed.value.result is None
    monkeypatch.setattr(optimizers, "finite", diverge)
    told = r"not finite at iteration 2; lower --learning_rate\. The last good picture is the result of this exception"
    with pytest.raises(RunError, match=told) as failed:
        here()
    assert failed.value.result.image == here(epochs=2).image


def test_what_a_callback_raises_is_passed_on(here):
    def fail(iteration, costs, picture):
        raise ZeroDivisionError("mine")

    threads = waiting()
    with pytest.raises(ZeroDivisionError, match="mine"):
        here(callback=fail, optimizer="lbfgs")
    assert waiting() == threads


def test_it_paints_in_another_thread_too(here):
    """Where Python hears no signal."""
    painted = []
    thread = threading.Thread(target=lambda: painted.append(here()))
    thread.start()
    thread.join()
    assert painted[0].image == here().image


# --- In a notebook --------------------------------------------------------------------------------


PAGE = (ROOT / "docs" / "notebook.md").read_text("utf-8")
QUICKLY = """
import signal, nst.notebook

real = nst.notebook.paint
nst.notebook.paint = lambda *pictures, **flags: real(*pictures, **{"epochs": 2, **flags, **%r})
handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
"""
LIVES_ON = """
import os

def stop(iteration, costs, picture):
    os.kill(os.getpid(), signal.SIGINT)

try:
    paint("chelsea.jpg", "starry_night.jpg", epochs=9, callback=stop)
except KeyboardInterrupt as stopped:
    print(stopped)
assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
paint(epoch=3)
"""


@pytest.mark.slow
def test_the_page_runs_top_to_bottom_in_a_notebook(inputs, tmp_path, monkeypatch):
    """Its pictures come where it says, an interrupt does not end the kernel, and only what it saves is written."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    quickly = QUICKLY % {"preset": "original", "weights": str(inputs / "thin.mat"), "image_size": 36}
    cells = [quickly, *re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), LIVES_ON]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    with pytest.raises(nbclient.exceptions.CellExecutionError) as ended:
        client.execute()
    assert (ended.value.ename, ended.value.evalue) == ("InputError", "unrecognized arguments: --epoch")
    first, mistake, last = (notebook.cells[k].outputs for k in (1, -2, -1))
    assert f"    {mistake[-1].text}" in PAGE and "--epochs" in mistake[-1].text
    kinds = [set(output.get("data", ())) for output in first]
    assert {"image/png", "text/plain"} in kinds, "the picture"
    assert any("application/vnd.jupyter.widget-view+json" in kind for kind in kinds), "the bar"
    lines = "".join(output.text for output in first if output.output_type == "stream")
    assert lines.startswith("Painting with VGG-19, weights: ")
    assert "after iteration 0: the picture so far" in "".join(output.get("text", "") for output in last)
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r'\.save\("(.*?)"\)', PAGE))
