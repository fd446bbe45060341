"""Many pictures in one command: rows, faults, failures, kills, shards."""

import csv
import errno
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

import nst.batches.report
import nst.batches.sheet
import nst.files
import nst.flags
import nst.job
import nst.network.weights
import nst.run
import nst.settings
import nst_main
import nst_utils
from conftest import BATCH, ROOT, report
from nst.batches.rows import read_cells
from nst.errors import WriteError


def folders_in(folder):
    """The names of the folders of the jobs; the report has one of its own."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("batch"))


def left(folder):
    """{path: bytes} of what the jobs left, checkpoints aside."""
    files = (path for name in folders_in(folder) for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.suffix != ".npz"}


def column(rows, name):
    return [row[name] for row in rows]


FOUR = """content_image_filename,style_image_filename,beta,style_weights,output_dir
content.png,style.png,,,
content.png,other.png,80,,
other.png,style.png ; content.png,,1; 3,
style.png,other.png,,,output/mine é
"""
FOLDERS = ["content-style", "content-other", "other-style+content", "mine é"]


def test_each_row_is_painted_as_by_a_command_of_its_own(batch, tmp_path):
    status, printed, told, rows = batch(FOUR)
    assert (status, told) == (0, "")
    assert column(rows, "status") == ["done"] * 4 and column(rows, "line") == ["2", "3", "4", "5"]
    assert [pathlib.Path(folder).name for folder in column(rows, "output_dir")] == FOLDERS
    assert folders_in(tmp_path / "output") == sorted(FOLDERS)
    assert "Job 3 of 4, line 4: output/other-style+content\n" in printed and "\n4 done: output/batch.csv\n" in printed
    for row in rows:
        costs = list(csv.DictReader(open(tmp_path / row["output_dir"] / "costs.csv")))[-1]  # noqa: SIM115
        assert {name: row[name] for name in costs if name != "iteration"} == {
            name: costs[name] for name in costs if name != "iteration"
        }
        assert float(row["seconds"]) > 0
    flags = ["--content_image_filename", "other.png", "--style_image_filename", "style.png", "content.png"]
    single = [*map(str, BATCH[6:]), *flags, "--style_weights", "1", "3", "--output_dir", "alone/other-style+content"]
    assert nst_main.main(single) == 0
    batch_left = left(tmp_path / "output")
    for name, content in left(tmp_path / "alone").items():
        assert batch_left[name] == content, name


def test_the_network_is_loaded_once(batch, monkeypatch):
    built = []
    build_model = nst_utils.build_model
    nst.run.load_model.cache_clear()
    monkeypatch.setattr(nst_utils, "build_model", lambda *words: built.append(1) or build_model(*words))
    assert batch(FOUR)[0] == 0
    assert len(built) == 1


def test_random_weights_are_told_once(batch, tmp_path, monkeypatch):
    monkeypatch.setattr(nst.network.weights, "FOLDER", tmp_path)
    monkeypatch.setattr(nst.network.weights, "installed", lambda: None)
    text = "output_dir\noutput/first\noutput/second\noutput/third\n"
    flags = ("--weights", "", "--content_layers", "conv1_1", "--style_layers", "conv1_1", "--epochs", 1)
    told = "".join(f"nst_main.py: {line}\n" for line in nst.job.NO_WEIGHTS)
    assert batch(text, *flags)[0::2] == (0, told)
    shutil.rmtree(tmp_path / "output" / "second")
    shutil.rmtree(tmp_path / "output" / "third")
    status, _, error, rows = batch(text, *flags, "--resume")
    assert (status, error, column(rows, "status")) == (0, told, ["skipped", "done", "done"])


def test_many_sizes_are_no_reason_to_complain(batch, caplog):
    """TensorFlow warns of graphs that are traced again and again."""
    rows = "".join(f"{size},output/{size}\n" for size in range(20, 27))
    assert batch("image_size,output_dir\n" + rows, "--epochs", 1)[0] == 0
    assert [record for record in caplog.records if record.name == "tensorflow"] == []


def test_a_job_that_fails_is_told_and_the_next_one_runs(batch, tmp_path):
    (tmp_path / "wrong.mat").write_text("no weights")
    text = """weights,learning_rate,output_dir
thin.mat,,
wrong.mat,,output/wrong
,1e38,output/diverges
thin.mat,,
,,output/last
"""
    status, printed, told, rows = batch(text, "--noise_ratio", 0)
    assert status == 1
    assert column(rows, "status") == ["done", "failed", "failed", "skipped", "done"]
    wrong, diverges = told.splitlines()
    assert wrong.startswith("nst_main.py: error: line 3: weights wrong.mat: ")
    assert diverges.startswith("nst_main.py: error: line 4: the cost is not finite at iteration 0; lower")
    assert "weights wrong.mat" in rows[1]["message"] and rows[1]["total_cost"] == ""
    assert "2 done, 2 failed, 1 skipped: output/batch.csv" in printed
    assert (tmp_path / "output" / "last" / "generated_image.jpg").exists()


def test_a_cell_wins_over_the_command_line_also_with_a_spreadsheets_false(batch, tmp_path):
    text = 'normalize_gradients,output_dir,beta\nFALSE\t,output/plain," "\n"\t",output/normalized,\n'
    assert batch(text, "--normalize_gradients")[0] == 0
    recipes = [
        json.loads((tmp_path / "output" / name / "settings.json").read_text()) for name in ("plain", "normalized")
    ]
    assert [recipe["settings"]["normalize_gradients"] for recipe in recipes] == [False, True]


def test_a_report_that_cannot_be_written_loses_no_job(batch, tmp_path, monkeypatch):
    write = nst.files.write_text
    for name in "SECONDS", "SECONDS_PER_JOB":
        monkeypatch.setattr(nst.batches.report, name, 0)

    def refuse(path, text):
        if path.name == "batch.csv" and "content-style" in text:
            raise WriteError(f"{path}: cannot be written (full)")
        write(path, text)

    monkeypatch.setattr(nst.files, "write_text", refuse)
    status, printed, told, _ = batch(FOUR)
    assert status == 1 and "4 done" in printed and told.count("batch.csv: cannot be written (full)") == 4
    assert (tmp_path / "output" / "mine é" / "generated_image.jpg").exists()


def test_two_batches_do_not_write_one_report(batch, tmp_path):
    with nst.files.locked(tmp_path / "output", ".batch.csv.lock"):
        told = "nst_main.py: error: output: another run is writing there; wait for it, or name another folder\n"
        assert batch(FOUR) == (2, "", told, None)


UNFORESEEN = {
    "a fault": (ZeroDivisionError("by chance"), "ZeroDivisionError: by chance"),
    "a file": (OSError(errno.EIO, "Input/output error", "a.png"), "OSError: a.png: Input/output error"),
}


@pytest.mark.parametrize("case", UNFORESEEN)
def test_an_unforeseen_failure_of_a_job_does_not_end_the_batch(batch, monkeypatch, case):
    error, told_of_it = UNFORESEEN[case]
    made = nst.run.make_scale
    failed = []

    def make_scale(*words):
        if not failed:
            failed.append(1)
            raise error
        return made(*words)

    monkeypatch.setattr(nst.run, "make_scale", make_scale)
    status, _, told, rows = batch(FOUR)
    assert (status, column(rows, "status")) == (1, ["failed", "done", "done", "done"])
    assert told == f"nst_main.py: error: line 2: {told_of_it}\n"


def test_every_fault_is_told_with_its_line_before_any_work(batch, tmp_path):
    text = """content_image_filename,beta,epochs,normalize_gradients
content.png,much,,
no.png,,,
content.png,1,2,yes
content.png,5,2,true,more
content.png,5,0,
style.png,5,,
style.png,6,,
Style.png,6,,
"""
    status, printed, told, rows = batch(text)
    assert (status, printed, rows) == (2, "", None) and not (tmp_path / "output").exists()
    expected = [
        "line 2: argument --beta: must be a number, at least 0, not 'much'",
        "line 3: no.png: cannot be read (No such file or directory)",
        "line 4: argument --normalize_gradients: must be true or false, not 'yes'",
        "line 5: it has more cells than the header",
        "line 6: argument --epochs: must be a whole number, at least 1 and at most 1000000000, not '0'",
        "line 8: its folder output/style-style is used by line 7; set another output_dir",
        "line 9: its folder output/Style-style is used by line 7; set another output_dir",
    ]
    assert told.splitlines() == [f"nst_main.py: error: jobs.csv {fault}" for fault in expected]


@pytest.mark.parametrize(
    "text, told",
    [
        ("colour\nred\n", "jobs.csv: column 'colour' is not a flag that a job can set; use one of preset, content_"),
        ("beta,resume\n1,true\n", "jobs.csv: column 'resume' is not a flag that a job can set; use one of"),
        ("beta,beta\n1,2\n", "jobs.csv: column 'beta' appears twice; remove one"),
        ("beta\n", "jobs.csv: no jobs; it needs a header of flags and a row for each job"),
        ("", "jobs.csv: no jobs"),
        ('beta\n"1\n', "jobs.csv: cannot be read (unexpected end of data)"),
        (b"PK\3\4 a workbook", "jobs.csv: not a table as text; save it as CSV UTF-8 from the spreadsheet\n"),
        ("beta\n1\n".encode("utf-16-le"), "jobs.csv: not a table as text; save it as CSV UTF-8 from the spreadsheet\n"),
    ],
)
def test_a_file_that_is_no_batch_is_told(batch, text, told):
    status, printed, error, _ = batch(text)
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"nst_main.py: error: argument --batch: {told}")


HEADER = ";beta;content_image_filename;style_image_filename;;\r\n"
EXCEL = HEADER[1:] + ';;;;\r\n0,5;Föhn.png;"style.png;other.png";;\r\n;;;;\r\n'
COMMAS = HEADER.replace(";", ",") + ", ,,\n,0.5,Föhn.png,style.png;other.png,,\n,,,\n"


@pytest.mark.parametrize(
    "content",
    [
        EXCEL.encode("utf-8-sig"),
        EXCEL.encode("cp1252"),
        EXCEL.replace(";", "\t").replace("style.png\t", "style.png;").encode("utf-16"),
        COMMAS.encode(),
    ],
    ids=["utf-8", "cp1252", "utf-16", "commas"],
)
def test_a_table_is_read_as_spreadsheets_save_it(tmp_path, content):
    """With semicolons or tabs between the cells, in three encodings, with empty rows and columns."""
    (tmp_path / "jobs.csv").write_bytes(content)
    ((line, cells),) = read_cells(tmp_path / "jobs.csv")
    told = {"content_image_filename": "Föhn.png", "beta": "0.5", "style_image_filename": "style.png;other.png"}
    assert (line, cells) == (3, told)


def test_a_row_without_a_value_is_no_job(batch):
    assert column(batch("beta,epochs\n,\n80,1\n,\n", "--report")[3], "line") == []
    assert column(batch("beta,epochs\n,\n80,1\n,\n")[3], "line") == ["3"]


def test_a_name_that_is_too_long_for_a_folder_is_shortened(batch, tmp_path):
    names = [f"{letter * 200}.png" for letter in "ab"]
    for name in names:
        shutil.copy(tmp_path / "style.png", tmp_path / name)
    flags = ("--style_image_filename", *names, "--epochs", 1)
    variants = ("--vary", "style_image_filename", ";".join(names), ";".join(reversed(names)))
    for text in f"content_image_filename\n{names[0]}\n", None:
        status, _, _, rows = batch(text, *flags, *(variants if text is None else ()))
        folders = [pathlib.Path(row["output_dir"]).name for row in rows]
        assert status == 0 and {len(name) for name in folders} == {255} and len(set(folders)) == len(rows)
    assert column(batch(None, *flags, *variants, "--resume")[3], "status") == ["skipped", "skipped"]


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words = nst.flags.cell_words("output_dir", "~/painted")
    settings = nst.flags.parse_settings(["--style_image_filename=~/a.png", "--content_image_filename", "a~.png"], words)
    assert settings.output_dir == "/home/me/painted" and settings.style_image_filename == ("/home/me/a.png",)
    assert settings.content_image_filename == "a~.png"


def test_resume_skips_what_is_done(batch, tmp_path):
    batch(FOUR)
    before = left(tmp_path / "output")
    shutil.rmtree(tmp_path / "output" / "content-other")
    status, _, told, rows = batch(FOUR, "--resume")
    assert (status, column(rows, "status")) == (0, ["skipped", "done", "skipped", "skipped"])
    assert told == ""
    assert all(float(row["total_cost"]) > 0 for row in rows)
    assert left(tmp_path / "output") == before


def test_fewer_epochs_than_a_job_has_are_told_before_the_first_one(batch):
    batch(FOUR, "--epochs", 3)
    status, printed, told, _ = batch(FOUR, "--epochs", 1, "--resume")
    assert (status, printed, told.count("has finished 3 of them already")) == (2, "", 4)


def test_a_cost_that_the_last_scale_does_not_have_is_left_out_of_the_report(batch, tmp_path):
    flags = ("--scales", 2, "--epochs", 1, "--neighbour_share", 0.5, 0)
    for status, more in ("done", ()), ("skipped", ("--resume",)):
        *_, rows = batch("content_image_filename\ncontent.png\n", *flags, *more)
        assert (rows[0]["status"], rows[0]["neighbours_cost"]) == (status, "") and float(rows[0]["style_cost"]) > 0
    assert "neighbours cost" not in (tmp_path / "output" / "batch.html").read_text()


def test_ctrl_c_while_the_report_is_written_does_not_say_that_nothing_was(batch, tmp_path, monkeypatch):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(nst.batches.sheet, "write", interrupted)
    status, _, told, rows = batch("content_image_filename\ncontent.png\n")
    assert (status, column(rows, "status")) == (130, ["done"])
    assert told == "nst_main.py: stopped while the report was written; --report writes it again\n"


def test_two_shards_are_one_batch_and_share_no_folder(batch, tmp_path):
    text = FOUR + "content.png,style.png,,,\n"  # the first once more: whose it is, it is skipped
    batch(text)
    whole = left(tmp_path / "output")
    folders = []
    for shard in "1/2", "2/2":
        shutil.rmtree(tmp_path / "output")
        assert batch(text, "--shard", shard)[0] == 0
        rows = report(tmp_path / "output" / f"batch-{shard.replace('/', '-of-')}.csv")
        done = [row for row in rows if row["status"] == "done"]
        folders.append({row["output_dir"] for row in done})
        assert folders_in(tmp_path / "output") == sorted(pathlib.Path(folder).name for folder in folders[-1])
        whole = {name: content for name, content in whole.items() if left(tmp_path / "output").get(name) != content}
    assert not whole and not folders[0] & folders[1] and len(folders[0]) == len(folders[1]) == 2


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_is_i_of_n(batch, shard):
    status, _, told, _ = batch(FOUR, "--shard", shard)
    assert (status, told) == (
        2,
        f"nst_main.py: error: argument --shard: must be i/n, with i from 1 to n, not {shard!r}\n",
    )


def test_tensorboard_has_a_folder_for_each_job(batch, tmp_path):
    assert batch(FOUR, "--tensorboard", "board", "--epochs", 1)[0] == 0
    assert sorted(path.name for path in (tmp_path / "board" / "output").iterdir()) == sorted(FOLDERS)


def begin(tmp_path, *flags):
    """The batch as a process of its own, in the midst of its second job, which is the long one."""
    command = [sys.executable, ROOT / "nst_main.py", *BATCH, *flags]
    process = subprocess.Popen(
        [str(word) for word in command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("Job 2"):
            break
    while not (line := process.stdout.readline()).startswith("Iteration"):
        assert line, process.stderr.read()
    return process


@pytest.mark.slow
def test_a_killed_and_a_stopped_batch_are_resumed_to_the_same_bytes(batch, tmp_path):
    lines = FOUR.splitlines()
    lines[0] += ",epochs"
    lines[2] += ",500"
    text = "\n".join(lines)
    assert batch(text)[0] == 0
    whole = left(tmp_path / "output")
    shutil.rmtree(tmp_path / "output")

    process = begin(tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / "output" / "content-style" / "generated_image.jpg").exists()
    assert not (tmp_path / "output" / "mine é").exists()

    shutil.rmtree(tmp_path / "output" / "content-style")
    process = begin(tmp_path, "--resume")
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped after iteration" in told.splitlines()[-1]
    assert "1 done, 1 stopped: output/batch.csv" in printed

    status, _, told, rows = batch(text, "--resume")
    assert (status, told, column(rows, "status")) == (0, "", ["skipped", "done", "done", "done"])
    assert left(tmp_path / "output") == whole


def test_a_row_may_start_from_what_an_earlier_one_makes(batch, tmp_path):
    text = "style_image_filename,init_image,output_dir\nstyle.png,,output/first\n"
    text += "other.png,output/first/generated_image.jpg,output/second\n"
    status, _, told, rows = batch(text)
    assert (status, told, column(rows, "status")) == (0, "", ["done", "done"])
    made_with = nst.flags.read_recipe(tmp_path / "output" / "second" / "settings.json")["sha256"]["init_image"]
    assert made_with == nst.files.sha256(tmp_path / "output" / "first" / "generated_image.jpg")
    assert column(batch(text, "--resume")[3], "status") == ["skipped", "skipped"]


def test_what_a_later_row_makes_is_not_there_yet(batch):
    text = "init_image,output_dir\noutput/second/generated_image.jpg,output/first\n,output/second\n"
    status, _, told, _ = batch(text)
    assert status == 2 and "line 2: output/second/generated_image.jpg: cannot be read" in told
