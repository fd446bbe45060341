"""The program as a shell starts it: in the background, and without standard streams."""

import os
import signal
import subprocess

import pytest


def left(folder):
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.suffix != ".npz"}


def test_what_was_started_in_the_background_ignores_ctrl_c(command, tmp_path):
    """A shell script starts it so with &. Here a TensorFlow is missing that takes its time."""
    (tmp_path / "none").mkdir()
    late = "import time; print('starting', flush=True); time.sleep(1); raise ModuleNotFoundError('too late')"
    (tmp_path / "none" / "tensorflow.py").write_text(late)
    environment, pipes = {**os.environ, "PYTHONPATH": str(tmp_path / "none")}, {"stdout": -1, "stderr": -1}
    script = ["sh", "-c", '"$@" & echo $!; wait $!', "sh", *command()]
    process = subprocess.Popen(script, cwd=tmp_path, env=environment, text=True, **pipes)
    pid = int(process.stdout.readline())
    assert process.stdout.readline() == "starting\n"
    os.kill(pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1 and told.startswith("nst_main.py: error: too late;") and told.count("\n") == 1


CLOSED = [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"]


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_streams_are_no_traceback(command, tmp_path, closed):
    """A mistake is found, and what was to be told of it does not go into a file."""
    script = ["sh", "-c", f'"$@" {closed}', "sh", *command("--epochs", "x")]
    run = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout, "Traceback" in run.stderr) == (2, "", False)
    assert run.stderr.count("\n") == (closed == ">&-")


@pytest.mark.slow
def test_files_do_not_get_what_is_written_to_closed_streams(command, tmp_path, paint_here):
    script = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command()]
    assert subprocess.run(script, cwd=tmp_path, capture_output=True).returncode == 0
    assert paint_here("--output_dir", "open")[0] == 0
    assert left(tmp_path / "output") == left(tmp_path / "open")
