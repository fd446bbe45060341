"""README and docs/ keep what they promise: commands run as pasted, the table of flags is that of -h, files exist."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import nst.batches.jobs
import nst.flags
import nst.presets
import nst.settings
import nst_main
from conftest import MODULES, ROOT

README = (ROOT / "README.md").read_text("utf-8")
PAGES = {path: path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
# What each command is given besides, and the thin network.
QUICK = ["--epochs", "2", "--frame_epochs", "1", "--image_size", "36"]


def blocks(language):
    """The blocks of code in the pages for the command line."""
    pages = README + PAGES[ROOT / "docs" / "reference.md"]
    return re.findall(rf"```{language}\n(.*?)```", pages, re.DOTALL)


LINES = [line for block in blocks("sh") for line in block.splitlines()]


def flags_table():
    """README's table of the flags, made of the Settings as -h is."""
    rows = ["| flag | default | what |", "| --- | --- | --- |"]
    for flag, field in nst.settings.FIELDS.items():
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown = "" if default == "" or default is False else f"`{default}`"
        rows.append(f"| `{flag}` | {shown} | {field.metadata['help'].replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_flags_is_that_of_help():
    assert f"## Flags\n\n{flags_table()}" in PAGES[ROOT / "docs" / "reference.md"]


def test_the_table_of_presets_has_their_flags():
    for name, flags in nst.presets.PRESETS.items():
        assert not flags or f"| `{name}` | `{flags}` |\n" in PAGES[ROOT / "docs" / "reference.md"]


def test_every_picture_and_file_that_the_pages_show_is_there():
    shown = set()
    for page, text in PAGES.items():
        for link in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            name, _, heading = link.partition("#")
            path = (page.parent / name).resolve()
            assert path.is_file(), (page.name, link)
            if heading:
                headings = re.findall(r"^#+ (.*)$", PAGES[path], re.MULTILINE)
                assert heading in [title.lower().replace(" ", "-") for title in headings], (page.name, link)
            shown.add(path)
    assert len(shown) > 15
    gallery = set((ROOT / "images" / "gallery").iterdir())
    assert gallery <= shown, "a picture that no page shows"


def test_the_table_of_files_has_each():
    told = re.findall(r"^\| `([\w/]+\.py)`", PAGES[ROOT / "docs" / "inside.md"], re.MULTILINE)
    assert sorted(told) == sorted(MODULES)


def test_readme_is_a_page_that_one_reads():
    assert README.count("\n") < 300


@pytest.fixture
def pasted(tmp_path, monkeypatch, inputs):
    """A folder in which README's commands can be pasted: the program, jobs.csv, and a python that is quick."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nst_main.py").symlink_to(ROOT / "nst_main.py")
    (tmp_path / "images").symlink_to(ROOT / "images")
    (tmp_path / "jobs.csv").write_text(blocks("csv")[0])
    quick = shlex.join(["--weights", str(inputs / "thin.mat"), *QUICK])
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@" {quick}\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.slow
def test_every_command_runs_as_pasted(pasted, inputs, capsys):
    commands = [line[line.index("python nst_main.py") :] for line in LINES if "python nst_main.py" in line]
    commands = [command for command in commands if "{}" not in command]
    assert len(commands) > 20

    def run(command):
        argv = shlex.split(command)[2:]
        return nst_main.main([*argv, "--weights", str(inputs / "thin.mat"), *QUICK]), capsys.readouterr().err

    for command in commands:  # one after the other, as a reader would, into the same folder
        assert run(command) == (0, ""), command


REPORT = ".csv", ".html", "_files", ".jpg"


def has_gnu_parallel():
    """There is another program of that name."""
    found = shutil.which("parallel")
    return found and "GNU" in subprocess.run([found, "--version"], capture_output=True, text=True).stdout


def test_the_gallery_is_what_its_batch_paints():
    text = (ROOT / "images" / "README.md").read_text("utf-8")
    (line,) = re.findall(r"^    python nst_main.py (--batch .*)$", text, re.MULTILINE)
    argv = [str(ROOT / word) if word == "images/gallery.csv" else word for word in shlex.split(line)]
    rows = nst.batches.jobs.read_rows(nst.flags.parse_settings(argv), argv)
    gallery = ROOT / "images" / "gallery"
    assert {row.settings.output_dir for row in rows} == {f"output/gallery/{path.stem}" for path in gallery.iterdir()}
    for row in rows:
        name = pathlib.PurePosixPath(row.settings.output_dir).name
        painted = nst.flags.parse_settings(["--settings", str(gallery / f"{name}.jpg")])
        for setting in nst.settings.RECIPE - nst.settings.OF_FILMS:
            assert getattr(painted, setting) == getattr(row.settings, setting), (name, setting)


@pytest.mark.slow
@pytest.mark.skipif(not has_gnu_parallel(), reason="needs GNU parallel")
def test_gnu_parallel_spreads_a_batch_as_pasted(pasted):
    here, elsewhere = (line for line in LINES if line.startswith("parallel "))
    elsewhere = re.sub(r"--sshlogin \S+", "--sshlogin 2/:", elsewhere)  # of the machines only this one is there
    folders = {"chelsea-starry_night", "chelsea-starry_night+mosaic", "coffee-great_wave", "rocket-mosaic"}
    for line in here, elsewhere:
        shutil.rmtree("output", ignore_errors=True)
        subprocess.run(["bash", "-c", line], check=True, capture_output=True)
        left = {path.name for path in (pasted / "output").glob("[!.]*")}
        assert left == folders | {f"batch-{i}-of-2{end}" for i in (1, 2) for end in REPORT}
        assert all((pasted / "output" / folder / "generated_image.jpg").exists() for folder in folders)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_the_slurm_script_paints_its_share(pasted, monkeypatch):
    (script,) = blocks("bash")
    assert re.search(r"^#SBATCH --array=1-4$", script, re.MULTILINE)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    subprocess.run(["bash", "-c", script], check=True, capture_output=True)
    assert {path.name for path in (pasted / "output").glob("[!.]*")} == {
        "coffee-great_wave",
        *(f"batch-3-of-4{end}" for end in REPORT),
    }
