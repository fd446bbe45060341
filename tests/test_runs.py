"""Nothing lost: runs that are killed, stopped, starved, diverge or meet, and what --resume makes of them."""

import csv
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import nst.descent.scales
import nst.files
import nst.pictures.decode
import nst.record
import nst.run
import nst.settings
import nst_main
import nst_utils
from nst.network import device

HEARD = nst_main.HEARD.decode()
LONG = ("--epochs", 500, "--print_every", 7)  # ten kills come before its end


def start(command, folder, *flags):
    """The program, started and painting: it has printed an iteration."""
    process = subprocess.Popen(command(*flags), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (line := process.stdout.readline()).startswith("Iteration"):
        assert line, process.stderr.read()
    return process


def left(folder):
    """{name: bytes} of the results in a folder; the checkpoint and the lock are not results."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.suffix != ".npz"}


def all_whole(folder):
    """Open every file of a run to its end; one that begins with a dot and ends in .part was never shown to anyone."""
    for path in folder.iterdir():
        if path.suffix in (".png", ".jpg"):
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            assert path.read_text().endswith("\n")
            assert all(len(row) == 4 and float(row[3]) for row in list(csv.reader(path.open()))[1:])
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays)
        else:
            assert path.name == ".lock" or (path.name.startswith(".") and path.suffix == ".part"), path


@pytest.fixture(scope="module")
def unstopped(command, tmp_path_factory):
    """What the long run leaves when nothing stops it."""
    folder = tmp_path_factory.mktemp("unstopped")
    assert nst_main.main(command(*LONG, "--output_dir", folder)[2:]) == 0
    return left(folder)


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_in_the_same_bytes(command, paint_here, tmp_path, unstopped):
    output, moments = tmp_path / "output", random.Random(0)
    for _ in range(10):
        process = start(command, tmp_path, *LONG, "--resume")
        for _ in range(4 * moments.randrange(5)):
            process.stdout.readline()  # an iteration prints four
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        assert process.wait() != 0, "it came to its end before it was killed"
        all_whole(output)
    assert paint_here(*LONG, "--resume")[0] == 0
    assert left(output) == unstopped
    assert paint_here(*LONG, "--resume") == (0, "Finished already: output/generated_image.jpg\n", "")


@pytest.mark.parametrize("signum, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_saves_says_how_to_go_on_and_does(command, paint_here, tmp_path, unstopped, signum, status):
    process = start(command, tmp_path, *LONG)
    process.send_signal(signum)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status
    assert told.startswith(HEARD + "nst_main.py: stopped after iteration ") and told.count("\n") == 2
    assert "output/generated_image.jpg" in told and "--resume" in told
    all_whole(tmp_path / "output")
    assert (tmp_path / "output" / "generated_image.jpg").exists()
    assert paint_here(*LONG, "--resume")[0] == 0
    assert left(tmp_path / "output") == unstopped


def test_stopping_before_the_first_iteration_is_told(command, tmp_path):
    """While TensorFlow starts, for which a module that waits stands here."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "tensorflow.py").write_text("import time; print('starting', flush=True); time.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "none")}
    process = subprocess.Popen(
        command(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "starting\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "nst_main.py: stopped before the first iteration; nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["none"]


def test_a_second_signal_ends_at_once(command, tmp_path):
    """After a single one the iteration's end would have been waited for, told, and its picture saved."""
    process = start(command, tmp_path, "--epochs", 1000, "--image_size", 600, "--print_every", 1, "--save_every", 1000)
    while not process.stdout.readline().startswith("Iteration 1 "):
        pass  # the first iteration's files are saved then, and the next one is under way
    for signum in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # so that two come at once
        process.send_signal(signum)
    _, told = process.communicate(timeout=60)
    assert process.returncode in (130, 143) and told == HEARD
    assert not (tmp_path / "output" / "generated_image.jpg").exists()


def test_a_picture_does_not_hang_on_what_is_of_films(paint_here, tmp_path):
    assert paint_here("--frame_epochs", 9, "--temporal_weight", 7)[0] == 0
    assert paint_here("--resume") == (0, "Finished already: output/generated_image.jpg\n", "")
    recipe = json.loads((tmp_path / "output" / "settings.json").read_text())["settings"]
    assert not recipe.keys() & nst.settings.OF_FILMS


def test_a_finished_run_goes_on_to_more_epochs(paint_here, tmp_path, pixels):
    paint_here("--epochs", 5, "--output_dir", "whole")
    paint_here("--epochs", 3, "--output_dir", "parts")
    assert paint_here("--epochs", 5, "--output_dir", "parts", "--resume")[0] == 0
    whole, parts = left(tmp_path / "whole"), left(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name in whole.keys() - {"0.png", "2.png"}:
        assert whole[name] == parts[name], name
    for name in "0.png", "2.png":  # their recipes differ: the run that they are of was to have 3 epochs
        np.testing.assert_array_equal(pixels(tmp_path / "whole" / name), pixels(tmp_path / "parts" / name))
    status, _, told = paint_here("--epochs", 4, "--output_dir", "parts", "--resume")
    assert status == 2 and "has finished 5 of them already" in told


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize(("iterations", "windows"), [(0, 0), (0, 5), (1, 1), (2, 3), (3, 0)])
def test_a_picture_in_windows_stops_between_two_of_them(
    paint_here, tmp_path, see, monkeypatch, iterations, windows, optimizer
):
    flags = ("--image_size", 260, "--epochs", 4, "--print_every", 1, "--optimizer", optimizer)
    see("windows")
    assert paint_here(*flags, "--output_dir", "whole")[0] == 0
    add, check, ahead = nst.record.Record.add, nst_main.Stop.check, [iterations, windows]

    def count(self, iterate):
        add(self, iterate)
        ahead[0] -= 1

    def check_and_stop(self):
        if ahead[0] == 0:
            ahead[1] -= 1
            if ahead[1] == -1:
                signal.raise_signal(signal.SIGTERM)
        check(self)

    monkeypatch.setattr(nst.record.Record, "add", count)
    monkeypatch.setattr(nst_main.Stop, "check", check_and_stop)
    status, printed, told = paint_here(*flags)
    assert status == 143 and printed.count("Iteration") == iterations
    assert ("stopped after iteration" if iterations else "stopped before the first iteration") in told
    assert paint_here(*flags, "--resume")[0] == 0
    if optimizer == "adam":
        assert left(tmp_path / "output") == left(tmp_path / "whole")


def test_a_gpu_that_is_not_used_is_told(paint_here, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "DRIVER", tmp_path / "gpus")
    assert "GPU" not in paint_here()[1]
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    if not tf.config.list_physical_devices("GPU"):
        told = "This machine has a GPU that TensorFlow does not use; pip install 'tensorflow[and-cuda]'"
        assert paint_here()[1].splitlines()[1] == told


def test_a_new_run_removes_what_an_earlier_one_left_and_nothing_else(paint_here, tmp_path, inputs):
    output = tmp_path / "output"
    paint_here("--epochs", 7, "--print_every", 2, "--animation", "gif", "--output_format", "png")
    assert {"0.png", "2.png", "4.png", "6.png", "generated_image.png", "generated_image.gif"} <= set(names(output))
    shutil.copy(inputs / "content.png", output / "8.png")  # the user's own
    shutil.copy(output / "4.png", output / "9.png")
    paint_here("--epochs", 4, "--print_every", 3, "--alpha", 3)
    kept = {"8.png", "9.png"}
    made = {
        "0.png",
        "3.png",
        "generated_image.jpg",
        "costs.csv",
        "costs.png",
        "settings.json",
        "checkpoint.npz",
        ".lock",
    }
    assert set(names(output)) == kept | made
    paint_here("--epochs", 6, "--print_every", 3, "--alpha", 3, "--resume")
    assert set(names(output)) == kept | made | {"5.png"}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_iteration_is_a_png_too(paint_here, tmp_path, pixels):
    paint_here("--epochs", 4, "--output_format", "png")
    pictures = [name for name in names(tmp_path / "output") if name.endswith("png")]
    assert pictures == ["0.png", "2.png", "3.png", "costs.png", "generated_image.png"]
    output = tmp_path / "output"
    np.testing.assert_array_equal(pixels(output / "3.png"), pixels(output / "generated_image.png"))


def test_pictures_can_be_saved_less_often_than_costs_are_printed(paint_here, tmp_path):
    _, printed, _ = paint_here("--epochs", 8, "--print_every", 1, "--save_every", 4)
    assert printed.count("Iteration") == 8
    assert len((tmp_path / "output" / "costs.csv").read_text().splitlines()) == 9
    assert [name for name in names(tmp_path / "output") if name[0].isdigit()] == ["0.png", "4.png", "7.png"]


def test_how_often_it_prints_may_change_when_a_run_is_resumed(paint_here, tmp_path):
    paint_here("--epochs", 5, "--print_every", 2)
    assert paint_here("--epochs", 11, "--print_every", 5, "--save_every", 3, "--resume")[0] == 0
    rows = (tmp_path / "output" / "costs.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["0", "5", "10"]
    pictures = {f"{i}.png" for i in (0, 2, 4, 6, 9, 10)}
    assert {name for name in names(tmp_path / "output") if name[0].isdigit()} == pictures


def test_a_stopped_run_can_be_resumed_to_fewer_epochs_than_it_was_begun_with(command, paint_here, tmp_path):
    process = start(command, tmp_path, "--epochs", 1500)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    paint_here("--epochs", 300, "--resume", "--print_every", 2)
    assert (tmp_path / "output" / "298.png").exists()


def test_resume_with_nothing_to_resume_says_so_and_paints(paint_here):
    status, printed, told = paint_here("--resume")
    assert status == 0 and printed.splitlines()[1] == "Iteration 0 :"
    assert told == "nst_main.py: nothing to resume in output: starting from the beginning\n"


@pytest.mark.parametrize(
    "flag, value, told",
    [
        ("--alpha", 5, "another --alpha (10.0, now 5.0)"),
        ("--style_image_filename", "starry_night.jpg", "a different file for --style_image_filename;"),
        ("--weights", "random", "another --weights (a file, now random)"),
        ("--init_image", "starry_night.jpg", "another --init_image (none, now a file)"),
    ],
)
def test_resume_under_other_settings_names_the_difference(paint_here, tmp_path, flag, value, told):
    paint_here("--epochs", 1)
    before = left(tmp_path / "output")
    status, printed, error = paint_here("--epochs", 1, flag, value, "--resume")
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert told in error and left(tmp_path / "output") == before


def test_a_checkpoint_is_written_each_minute_too(paint_here, monkeypatch):
    monkeypatch.setattr(nst.record, "CHECKPOINT_SECONDS", -1)
    done = []
    monkeypatch.setattr(nst.files, "write_arrays", lambda path, arrays: done.append(int(arrays["epoch"])))
    assert paint_here("--epochs", 3, "--print_every", 10)[0] == 0
    assert done == [1, 2, 3, 3]


def test_a_second_run_into_the_folder_is_refused_and_a_dead_ones_lock_does_not_block(command, paint_here, tmp_path):
    first = start(command, tmp_path, "--epochs", 1500)
    told = "nst_main.py: error: output: another run is writing there; wait for it, or name another folder\n"
    assert paint_here() == (2, "", told)
    first.kill()
    first.wait()
    assert paint_here()[0] == 0


@pytest.mark.parametrize("rate", ["1e30", "1e38"])
def test_diverging_at_the_start_writes_nothing(paint_here, tmp_path, rate):
    status, printed, told = paint_here("--learning_rate", rate, "--noise_ratio", 0)
    assert status == 1 and "Iteration" not in printed
    told_why = "nst_main.py: error: the cost is not finite at iteration 0; lower --learning_rate. "
    assert told == told_why + "Nothing was written\n"
    assert [path.name for path in (tmp_path / "output").iterdir()] == [".lock"]


def test_a_new_run_does_not_vouch_for_what_an_earlier_one_left(paint_here, tmp_path):
    paint_here("--animation", "gif")
    before = (tmp_path / "output" / "generated_image.gif").read_bytes()
    paint_here("--seed", 1)
    assert paint_here("--seed", 1, "--resume", "--animation", "gif")[0] == 0
    assert (tmp_path / "output" / "generated_image.gif").read_bytes() != before


def test_a_start_that_is_not_finite_names_the_weights_of_the_costs(paint_here):
    status, _, told = paint_here("--alpha", "1e38", "--beta", "1e38")
    assert status == 1
    assert "the cost is not finite at the start; lower --alpha, --beta, --tv_weight and --light_weight" in told


def test_a_full_disk_is_told_and_what_was_there_stays(paint, paint_here, tmp_path):
    resource = pytest.importorskip("resource")
    paint_here()
    before = {path.name: path.read_bytes() for path in (tmp_path / "output").iterdir()}

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    run = paint("--seed", 1, preexec_fn=little_room)
    assert run.returncode == 1
    assert run.stderr == (
        "nst_main.py: error: output/settings.json: cannot be written (File too large); what was there stays\n"
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "output").iterdir()} == before


@pytest.mark.parametrize("name", ["costs.csv", "0.png", "costs.png", "generated_image.gif"])
def test_a_file_that_another_program_holds_does_not_end_the_run(paint_here, tmp_path, monkeypatch, name):
    """As on Windows, where a spreadsheet holds the costs and a viewer a picture."""
    paint_here("--seed", 1, "--animation", "gif")
    old, replace, unlink = (tmp_path / "output" / name).read_bytes(), pathlib.Path.replace, pathlib.Path.unlink

    def refuse_to(action, path, *words, **options):
        if pathlib.Path(words[0] if words else path).name == name:
            raise PermissionError(13, "The process cannot access the file")
        return action(path, *words, **options)

    monkeypatch.setattr(pathlib.Path, "replace", lambda part, path: refuse_to(replace, part, path))
    monkeypatch.setattr(pathlib.Path, "unlink", lambda path, **options: refuse_to(unlink, path, **options))
    status, printed, told = paint_here("--animation", "gif")
    assert (status, told) == (0, "") and (tmp_path / "output" / name).read_bytes() == old
    lines = [line for line in printed.splitlines() if line.startswith(f"output/{name}: cannot be ")]
    assert 1 <= len(lines) <= 2 and all(line.endswith("; the run continues") for line in lines)
    assert paint_here("--animation", "gif", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    "where", [(nst.descent.scales, "Cost"), (nst_utils, "build_model"), (nst.record, "draw_curve")]
)
@pytest.mark.parametrize(
    "shortage",
    [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")],
    ids=["numpy", "tensorflow"],
)
def test_out_of_memory_is_told_with_the_size_and_the_flag(paint_here, monkeypatch, where, shortage):
    nst.run.load_model.cache_clear()

    def fails(*_):
        raise shortage

    monkeypatch.setattr(*where, fails)
    where_told = (
        "for the weights; close" if where[0] is nst_utils else "with a picture of 40 x 30; lower --image_size\n"
    )
    status, _, told = paint_here()
    assert status == 1 and told.startswith(f"nst_main.py: error: out of memory {where_told}") and told.count("\n") == 1


def test_out_of_memory_before_the_run_is_told_too(paint_here, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(nst.pictures.decode, "flatten", fails)
    told = "nst_main.py: error: out of memory; give smaller pictures, or lower --image_size and --style_scale\n"
    assert paint_here() == (1, "", told)


def test_a_reader_who_leaves_ends_the_run_without_a_traceback(command, tmp_path):
    process = start(command, tmp_path, "--epochs", 1500, "--print_every", 1)
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait() == 1
    assert told == "nst_main.py: error: the output cannot be written (Broken pipe); --resume continues\n"
    all_whole(tmp_path / "output")


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_ends_the_run_without_a_traceback(paint):
    with open("/dev/full", "w") as full:
        run = paint(stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert run.returncode == 1
    assert (
        run.stderr == "nst_main.py: error: the output cannot be written (No space left on device); --resume continues\n"
    )
