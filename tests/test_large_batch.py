"""Batches of very many jobs: what is read before the first one, and whom a bad picture stops."""

import io
import os

import pytest
from fontTools import ttLib
from PIL import Image

import nst.batches.jobs
import nst.batches.report
import nst.files
import nst.run
import nst_main
from conftest import report
from nst.batches import sheet
from nst.batches.report import Report
from nst.batches.rows import Row
from nst.pictures import decode
from nst.settings import Settings

# --- Checked by headers -------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch):
    """The names of the pictures whose pixels are read, in order."""
    names, read = [], decode.read
    monkeypatch.setattr(decode, "read", lambda path, *more: names.append(path.name) or read(path, *more))
    return names


def test_pictures_are_decoded_when_it_is_their_turn(batch, tmp_path, monkeypatch, decoded):
    """Before the first job only headers are read, also for a picture that lies on its side and for a mask."""
    exif = Image.Exif()
    exif[274] = 6
    Image.open(tmp_path / "content.png").convert("RGB").save(tmp_path / "upright.jpg", exif=exif)
    Image.new("L", (30, 40), 255).save(tmp_path / "mask.png")
    seen, paint = [], nst.run.paint
    monkeypatch.setattr(nst.run, "paint", lambda *words: seen.append({*decoded}) or paint(*words))
    rows = "upright.jpg,mask.png\ncontent.png,\nother.png,\n"
    assert batch("content_image_filename,content_mask\n" + rows, "--epochs", 1)[0] == 0
    assert seen[0] == {"upright.jpg", "mask.png", "style.png"} and "other.png" not in seen[1]


WRONG = {
    "a mask of another shape": ("content_mask", "tall.png", "tall.png: a mask must have the aspect ratio of its pict"),
    "too large for its format": ("image_size", "70000", "argument --image_size: a result of 70000 x 52500 is over"),
    "its own input": ("content_image_filename", "output/a/0.png", "argument --content_image_filename: this run would"),
    "no file": ("style_image_filename", "style.png;no.png", "no.png: cannot be read (No such file or directory)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_headers_tell_is_told_before_any_work(batch, tmp_path, decoded, case):
    name, cell, told = WRONG[case]
    Image.new("L", (30, 40)).save(tmp_path / "tall.png")
    (tmp_path / "output" / "a").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "output" / "a" / "0.png")
    status, printed, error, rows = batch(f"output_dir,{name}\noutput/b,\noutput/a,{cell}\n")
    assert (status, printed, rows, error.count("\n")) == (2, "", None, 1)
    assert error.startswith(f"nst_main.py: error: jobs.csv line 3: {told}") and {*decoded} <= {"no.png"}


# --- Bad pictures -------------------------------------------------------------------------------------------


def cut(path):
    """A PNG without its end."""
    encoded = io.BytesIO()
    Image.effect_noise((400, 300), 99).save(encoded, "PNG")
    path.write_bytes(encoded.getvalue()[:9000])


BAD = {
    "no picture": (lambda path: path.write_text("words"), True),
    "empty": (lambda path: path.write_bytes(b""), True),
    "too many pixels": (lambda path: Image.new("1", (10_000, 10_000)).save(path), True),
    "cut": (cut, False),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("way", ["batch", "vary"])
def test_a_bad_picture_fails_its_own_rows(batch, tmp_path, monkeypatch, kind, way):
    """What its header tells is told before TensorFlow starts, and everything else in its turn."""
    make, by_header = BAD[kind]
    make(tmp_path / "bad.png")
    events, start, tell = [], nst_main.start, nst.batches.jobs.tell
    monkeypatch.setattr(nst_main, "start", lambda device: events.append("started") or start(device))
    monkeypatch.setattr(nst.batches.jobs, "tell", lambda *words: events.append("told") or tell(*words))
    names = ("content.png", "bad.png", "other.png")
    if way == "batch":
        text = "content_image_filename,init_image\n" + "".join(f"{name},\n" for name in names)
        text += "style.png,output/bad-style/generated_image.jpg\n"  # what is made of it is not there either
        where, failed = "line 3", 2
        status, _, error, rows = batch(text, "--epochs", 1)
    else:
        where, failed = "content_image_filename=bad", 1
        status, _, error, rows = batch(None, "--vary", "content_image_filename", *names, "--epochs", 1)
    assert [row["status"] for row in rows] == ["done", "failed", "done", "failed"][: 2 + failed]
    assert status == 1 and error.count("\n") == failed
    assert error.startswith(f"nst_main.py: error: {where}: bad.png: ") and "bad.png: " in rows[1]["message"]
    assert events.index("told") == (0 if by_header else 1)


def test_where_no_picture_can_be_painted_nothing_begins(batch, tmp_path):
    (tmp_path / "bad.png").write_text("words")
    status, printed, error, rows = batch(None, "--content_image_filename", "bad.png", "--vary", "beta", 1, 2)
    assert (status, printed, rows, error.count("\n")) == (2, "", None, 2) and not (tmp_path / "output").exists()


# --- The page -----------------------------------------------------------------------------------------------


@pytest.fixture
def report_of(tmp_path, monkeypatch):
    """report_of(jobs, seconds): the bytes that the report of so many jobs writes for each, if each takes as long."""
    written, clock = [], [0.0]
    monkeypatch.setattr(nst.batches.report.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(nst.files, "write_text", lambda path, text: written.append(len(text)))
    monkeypatch.setattr(nst.batches.page, "render", lambda *_: "".join(map(str, _[3])))  # which takes less time
    Image.new("RGB", (400, 300)).save(tmp_path / "style.png")

    def write(jobs, seconds):
        written.clear()
        rows = []
        for number in range(jobs):
            folder = tmp_path / "output" / str(number)
            style = str(tmp_path / "style.png")
            settings = Settings(
                content_image_filename=style, style_image_filename=(style,), seed=number, output_dir=str(folder)
            )
            rows.append(Row(number, "", settings, ("seed",), False))
        made = Report(tmp_path / "output", "batch", rows, rows)
        made.write()
        for row in rows:
            made.add(row, "running")
            clock[0] += seconds
            made.add(row, "done", {"total": 1.0}, seconds)
        made.end(quiet=True)
        return sum(written) / jobs

    (tmp_path / "output").mkdir()
    return write


@pytest.mark.parametrize("seconds", [0.1, 2, 30])
def test_what_the_report_writes_for_a_job_does_not_grow_with_their_number(report_of, seconds):
    few, many = report_of(50, seconds), report_of(500, seconds)
    assert many < 2 * few  # every job or every second one: it cannot be something in between


def test_a_thumbnail_is_written_once(report_of, tmp_path):
    report_of(3, 1)
    (small,) = (tmp_path / "output" / "batch_files").iterdir()
    small.write_bytes(b"as it was" + bytes(small.stat().st_size))
    os.utime(small, ns=((tmp_path / "style.png").stat().st_mtime_ns,) * 2)
    report_of(3, 1)
    assert small.read_bytes().startswith(b"as it was")
    Image.new("RGB", (300, 400)).save(tmp_path / "style.png")
    report_of(3, 1)
    assert Image.open(small).size == (180, 240)


def test_a_stop_writes_the_page_too(batch, tmp_path, monkeypatch):
    def stop(job, stop):
        raise KeyboardInterrupt("here")

    monkeypatch.setattr(nst.run, "paint", stop)
    with pytest.raises(TypeError):  # no signal came, so there is no exit status
        batch(None, "--vary", "beta", 1, 2)
    assert 'data-status="stopped"' in (tmp_path / "output" / "batch.html").read_text("utf-8")
    assert [row["status"] for row in report(tmp_path / "output" / "batch.csv")] == ["stopped"]


# --- Labels in any script -----------------------------------------------------------------------------------


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """fonts(has_own, *installed): the machine has these fonts, and matplotlib's own or not."""

    def have(has_own, *installed):
        for cached in sheet.font_of, sheet.installed_fonts:
            cached.cache_clear()
        monkeypatch.setattr(sheet, "findSystemFonts", lambda: [str(path) for path in installed])
        monkeypatch.setattr(sheet, "DEJAVU", sheet.DEJAVU if has_own else tmp_path / "no.ttf")

    yield have
    for cached in sheet.font_of, sheet.installed_fonts:
        cached.cache_clear()


def drawn(folder, *values):
    labels, legend = sheet.as_drawable([{"content": value} for value in values])
    sheet.write(folder / "sheet.png", labels, [None] * len(values))
    return Image.open(folder / "sheet.png").tobytes(), legend


def test_labels_have_a_font_that_has_their_characters(tmp_path, fonts):
    """The installed font shows a W for a cat; another file among the fonts is broken."""
    font = ttLib.TTFont(sheet.DEJAVU)
    for table in font["cmap"].tables:
        table.cmap |= {ord("猫"): "W"} if table.isUnicode() else {}
    font.save(tmp_path / "cat.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    fonts(True, tmp_path / "broken.ttf", tmp_path / "cat.ttf")
    assert drawn(tmp_path, "the 猫", "b") == drawn(tmp_path, "the W", "b")


def test_labels_that_no_font_has_are_numbers_with_a_legend(batch, tmp_path, fonts):
    fonts(True)
    assert drawn(tmp_path, "猫", "ä", "犬") == (drawn(tmp_path, "#1", "ä", "#2")[0], {"#1": "猫", "#2": "犬"})
    for name in "猫.png", "犬.png":
        Image.open(tmp_path / "content.png").save(tmp_path / name)
    assert batch(None, "--vary", "content_image_filename", "猫.png", "犬.png", "--epochs", 1)[0] == 0
    assert "On the contact sheet: #1 猫, #2 犬</p>" in (tmp_path / "output" / "batch.html").read_text("utf-8")


def test_a_sheet_does_not_need_matplotlibs_font(tmp_path, fonts):
    fonts(False)
    assert drawn(tmp_path, "a", "b") != drawn(tmp_path, "a", "c")
