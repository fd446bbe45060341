"""Many at a glance: variants, the page of a batch and its sheet, and the page in a browser."""

import functools
import http.server
import itertools
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

import pytest
from bs4 import BeautifulSoup
from PIL import Image

import nst.batches.page
import nst.batches.report
import nst.run
from conftest import BATCH, ROOT
from nst.batches import sheet as sheets

# --- Variants ---------------------------------------------------------------------------------------


def test_every_combination_is_painted_in_a_folder_named_by_it(batch, tmp_path, pixels):
    status, printed, told, rows = batch(None, "--vary", "beta", 10, 40, "--vary", "style_scale", 0.5, 1, "--epochs", 1)
    names = [f"beta={beta},style_scale={scale}" for beta in (10, 40) for scale in (0.5, 1)]
    assert (status, told) == (
        0,
        "",
    ) and "Job 3 of 4, beta=40,style_scale=0.5: output/beta=40,style_scale=0.5" in printed
    assert [row["output_dir"] for row in rows] == [f"output/{name}" for name in names]
    assert [row["line"] for row in rows] == ["1", "2", "3", "4"]
    pictures = [pixels(tmp_path / row["output_dir"] / "generated_image.jpg") for row in rows]
    assert not any((a == b).all() for a, b in itertools.pairwise(pictures))


def test_each_row_of_a_batch_is_varied_and_shards_share_them(batch, tmp_path):
    text = "style_image_filename,output_dir\nstyle.png,\nother.png,output/mine\n"
    flags = ("--vary", "preset", "original", "quick", "--vary", "layer_costs", "true", "--epochs", 1, "--scales", 1)
    folders = [f"output/{row}/preset={name},layer_costs=true" for row in ("content-style", "mine") for name in PRESETS]
    for shard in "1/3", "2/3", "3/3":
        assert batch(text, *flags, "--shard", shard)[0] == 0
    status, _, told, rows = batch(text, *flags, "--resume")
    assert (status, told) == (0, "")
    assert [(row["output_dir"], row["status"], row["line"]) for row in rows] == [
        (folder, "skipped", line) for folder, line in zip(folders, "2233", strict=True)
    ]


PRESETS = ("original", "quick")


def test_pictures_vary_by_their_names(batch, tmp_path):
    shutil.copytree(tmp_path, tmp_path / "a", ignore=shutil.ignore_patterns("a", "*.mat"))
    values = ("style.png", "style.png; other.png", "a/other.png")
    rows = batch(None, "--vary", "style_image_filename", *values, "--epochs", 1)[3]
    names = ["style", "style+other", "other"]
    assert [pathlib.Path(row["output_dir"]).name for row in rows] == [f"style_image_filename={name}" for name in names]
    rows = batch(None, "--vary", "content_mask", "a/style.png", "style.png", "--epochs", 1, "--resume", "--report")[3]
    assert rows == []  # nothing of these has been painted
    page = read_page(tmp_path / "output" / "batch.html")
    assert [row.select_one("td.varies").text for row in page.select("tbody tr")] == ["style", "style"]
    assert [urllib.parse.unquote(row.select_one(".below a")["href"]) for row in page.select("tbody tr")] == [
        "content_mask=1-style/",
        "content_mask=2-style/",
    ]


def test_an_empty_value_is_one_too_and_wins_over_the_command(batch, tmp_path, pixels):
    half = Image.new("L", (40, 30), 255)
    half.paste(0, (0, 0, 20, 30))
    half.save(tmp_path / "half.png")
    flags = ("--content_mask", "half.png", "--vary", "content_mask", "", "half.png", "--epochs", 1, "--init", "random")
    assert [row["status"] for row in batch(None, *flags)[3]] == ["done", "done"]
    content = pixels(tmp_path / "content.png")
    all_, part = (pixels(tmp_path / "output" / f"content_mask={name}" / "0.png") for name in ("", "half"))
    assert (part[:, :20] == content[:, :20]).all() and not (all_[:, :20] == content[:, :20]).all()


REFUSED = {
    "another": (["--vary", "hue", "1"], "argument --vary: 'hue' is not a flag that a job can set; use one of preset"),
    "twice": (["--vary", "beta", "1", "--vary", "beta", "2"], "argument --vary: 'beta' appears twice; remove one"),
    "no values": (["--vary", "beta"], "argument --vary: beta has no values; give it each value once"),
    "same values": (["--vary", "beta", "1", "2", "1"], "argument --vary: beta has '1' twice"),
    "a folder": (["--vary", "output_dir", "a", "b"], "argument --vary: output_dir cannot vary;"),
    "too many": (
        ["--vary", "seed", *range(40), "--vary", "beta", *range(1, 27)],
        "argument --vary: 1,040 pictures are over the limit of 1,000; give fewer values",
    ),
    "a value": (
        ["--vary", "beta", "1", "much"],
        "--vary beta=much: argument --beta: must be a number, at",
    ),
    "a report of nothing": (["--report"], "argument --report: is only for --batch and --vary"),
    "a shard of nothing": (["--shard", "1/2"], "argument --shard: is only for --batch and --vary"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_vary_is_refused_in_a_line(batch, tmp_path, case):
    flags, told = REFUSED[case]
    status, _, error, rows = batch(None, *flags)
    assert (status, rows, error.count("\n")) == (2, None, 1) and error.startswith(f"nst_main.py: error: {told}")
    assert not (tmp_path / "output").exists()


def test_what_a_column_has_does_not_vary_too(batch):
    told = "nst_main.py: error: argument --vary: beta is a column of jobs.csv too; leave one of them out\n"
    assert batch("beta\n1\n", "--vary", "beta", 1, 2)[2] == told


# --- The page -----------------------------------------------------------------------------------------


def read_page(path):
    text = path.read_text("utf-8")
    assert text.endswith("</html>")
    return BeautifulSoup(text, "html.parser")


def target(link, folder):
    """The file that a link on a page in the folder leads to."""
    address = urllib.parse.urlsplit(link)
    assert not address.scheme and not address.query and not address.fragment
    return (folder / urllib.parse.unquote(address.path)).resolve()


def small_picture(image, folder):
    path = target(image["src"], folder)
    assert path.parent == folder / "batch_files" and path.stat().st_size < 40_000
    return Image.open(path)


def styles_of(row):
    return row["style_image_filename"].split(";")


THREE = """content_image_filename,style_image_filename,beta,output_dir,epochs
content.png,style.png,,,3
other.png,style.png;content.png,80,output/two,3
content.png,other.png,7,output/three,3
"""


def test_the_page_shows_what_each_job_is_and_what_differs(batch, tmp_path):
    _, _, _, rows = batch(THREE)
    page = read_page(tmp_path / "output" / "batch.html")
    head = [th.text.strip() for th in page.select("thead th")]
    costs = ["total cost", "content cost", "style cost"]
    assert head == ["line", "content", "styles", "result", "beta", "status", "seconds", *costs, "curve"]
    assert page.select_one("#counts").text == "3 done"
    for folder, row, shown in zip(["content-style", "two", "three"], rows, page.select("tbody tr"), strict=True):
        _, content, styles, result, beta, status, _, total, *_, curve = shown.select("td")
        assert content.text.strip() == row["content_image_filename"]
        assert [a.text.strip() for a in styles.select("a")] == styles_of(row)
        assert beta.text == {"two": "80", "three": "7"}.get(folder, "40") and status.span.text == "done"
        assert total["data-key"] == row["total_cost"] and total.text == f"{float(row['total_cost']):.6g}"
        painted = tmp_path / "output" / folder / "generated_image.jpg"
        assert target(result.a["href"], tmp_path / "output") == painted
        assert target(content.a["href"], tmp_path / "output") == tmp_path / row["content_image_filename"]
        assert target(curve.img["src"], tmp_path / "output") == painted.with_name("costs.png")
        assert small_picture(result.img, tmp_path / "output").size == Image.open(painted).size
        sizes = [small_picture(image, tmp_path / "output").size for image in shown.select("td.inputs img")]
        assert sizes == [Image.open(name).size for name in (row["content_image_filename"], *styles_of(row))]
    assert not page.select("link[href^=http], script[src], img[src^=http]")


def test_each_state_of_a_job_is_seen(batch, tmp_path, monkeypatch):
    paint, seen = nst.run.paint, []
    for name in "SECONDS", "SECONDS_PER_JOB":  # the page is updated whenever a job begins
        monkeypatch.setattr(nst.batches.report, name, 0)

    def fail_second(job, stop):
        seen.append(read_page(tmp_path / "output" / "batch.html"))
        if len(seen) == 2:
            raise ZeroDivisionError("by <b>chance")
        return paint(job, stop)

    monkeypatch.setattr(nst.run, "paint", fail_second)
    batch(THREE + "content.png,style.png,,,3\n")
    seen.append(read_page(tmp_path / "output" / "batch.html"))
    assert [[tr["data-status"] for tr in page.select("tbody tr")] for page in seen] == [
        ["running", "waiting", "waiting", "waiting"],
        ["done", "running", "waiting", "waiting"],
        ["done", "failed", "running", "waiting"],
        ["done", "failed", "done", "skipped"],
    ]
    failed, skipped = (seen[-1].select("tbody tr")[i] for i in (1, 3))
    assert failed.select_one(".message").text == "ZeroDivisionError: by <b>chance"
    assert failed.select_one(".blank").text == "failed" and skipped.select_one("a.painted img")
    assert not seen[0].select("tbody tr")[1].select("img") and len(seen[0].select("tbody tr")[0].select("img")) == 2


HOSTILE = "<script>alert(1)<#%41?&\"'é日本.png"


def test_hostile_names_are_shown_and_linked_right(batch, tmp_path):
    name = HOSTILE
    shutil.copy(tmp_path / "content.png", tmp_path / name)
    quoted = name.replace('"', '""')
    batch(f'content_image_filename,output_dir\n"{quoted}","output/{quoted[:-4]}"\nstyle.png,\n')
    page = read_page(tmp_path / "output" / "batch.html")
    row = page.select("tbody tr")[0]
    assert len(page.select("script")) == 1 and row.select_one("td.inputs a").text.strip() == name
    for link in row.select("a"):
        assert target(link["href"], tmp_path / "output").exists(), link
    assert row.select_one(".below a").text == name[:-4]


@pytest.mark.slow
def test_a_batch_that_is_killed_leaves_a_whole_page(batch, tmp_path):
    (tmp_path / "jobs.csv").write_text("seed,output_dir\n" + "".join(f"{i},output/{i}\n" for i in range(40)))
    command = [sys.executable, ROOT / "nst_main.py", *BATCH]
    process = subprocess.Popen([str(word) for word in command], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    page, states, read = tmp_path / "output" / "batch.html", [], 0
    while states[:1] != ["done"] and process.stdout.readline():
        if page.exists():
            states = [row["data-status"] for row in read_page(page).select("tbody tr")]
            assert len(states) == 40
            read += 1
    time.sleep(random.random() * 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    states = [row["data-status"] for row in read_page(page).select("tbody tr")]
    assert read and states[:1] == ["done"] and states[-1] == "waiting" and len(states) == 40


def test_pages_of_shards_are_merged_without_painting(batch, tmp_path, monkeypatch):
    for shard in "1/2", "2/2":
        batch(THREE, "--shard", shard)
        page = read_page(tmp_path / "output" / f"batch-{shard.replace('/', '-of-')}.html")
        assert len(page.select("tbody tr")) == {"1/2": 2, "2/2": 1}[shard]
    (tmp_path / "other.png").unlink()  # what was painted can be told without
    monkeypatch.setattr(nst.run, "paint", None)
    status, printed, told, rows = batch(THREE, "--report")
    assert (status, told) == (0, "") and "3 done: output/batch.csv" in printed
    assert [row["line"] for row in rows] == ["2", "3", "4"]
    assert [
        len(row.select("a.painted")) for row in read_page(tmp_path / "output" / "batch.html").select("tbody tr")
    ] == [1] * 3
    assert (tmp_path / "output" / "batch.jpg").exists()
    older = (
        (tmp_path / "output" / "batch-2-of-2.csv").read_text().replace("neighbours_cost,", "").replace(",,,,", ",,,")
    )
    (tmp_path / "output" / "batch-2-of-2.csv").write_text(older)  # from before there was this cost
    (tmp_path / "output" / "batch.csv").unlink()
    assert batch(THREE, "--report")[0] == 0
    (tmp_path / "output" / "batch-2-of-2.csv").write_text("line,status\nof another,kind\n")
    (tmp_path / "output" / "batch.csv").unlink()
    status, *_, rows = batch(THREE, "--report")
    assert status == 1 and [row["line"] for row in rows] == ["2", "4"]


# --- The sheet ------------------------------------------------------------------------------------------

LABELS = [{"content": content, "beta": beta} for content in ("cat", "cup") for beta in ("10", "40", "160")]


def test_what_is_there_in_full_stands_in_rows_and_columns():
    places = [(row, column) for row in (0, 1) for column in (0, 1, 2)]
    columns, rows = ["beta 10", "beta 40", "beta 160"], ["content cat", "content cup"]
    assert sheets.arrange(LABELS) == (columns, rows, places)
    assert sheets.arrange(LABELS[::3] + LABELS[1::3] + LABELS[2::3])[2] == places[::3] + places[1::3] + places[2::3]
    long = [{"seed": str(i), "beta": beta} for i in range(200) for beta in ("10", "40")]
    for labels in LABELS[:-1], LABELS[:5] + LABELS[:1], [{"beta": "1"}, {"beta": "2"}], [{}, {}], long:
        assert sheets.arrange(labels) == ([], [], [])


def test_a_sheet_of_very_many_is_no_larger_than_can_be_written(tmp_path):
    labels = [{"seed": str(i), "beta": beta} for i in range(500) for beta in ("10", "40")]
    sheets.write(tmp_path / "batch.jpg", labels, [None] * 1000)
    width, height = Image.open(tmp_path / "batch.jpg").size
    assert width < 7000 and height < 14_000 and width * height < Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("count", [1, 6, 20])
def test_the_sheet_has_every_result_at_its_place(tmp_path, count, pixels):
    colours = [(12 * i, 255 - 12 * i, 128) for i in range(count)]
    paths = [tmp_path / f"{i}.png" for i in range(count)]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (300, 200), colour).save(path)
    labels = LABELS if count == 6 else [{"seed": str(i)} for i in range(count)]
    sheets.write(tmp_path / "batch.png", labels, [*paths[:-1], None])
    sheet = pixels(tmp_path / "batch.png")
    across = {1: 1, 6: 3, 20: 5}[count]
    where = [(sheet == colour).all(2) for colour in colours]
    for i, here in enumerate(where[:-1]):
        assert here.sum() == 400 * 267
        y, x = (int(axis.min()) for axis in here.nonzero())
        if i % across:
            before = where[i - 1].nonzero()
            assert y == before[0].min() and x == before[1].max() + 1 + sheets.GAP
    assert (sheet == 0xE8).all(2).sum() >= (400 * 267 if count > 1 else 300 * 400)


def test_a_batch_leaves_a_sheet(batch, tmp_path):
    batch(None, "--vary", "beta", 10, 40, "--vary", "style_scale", 0.5, 1, "--epochs", 1)
    width, height = Image.open(tmp_path / "output" / "batch.jpg").size
    assert width > 2 * 400 and height > 2 * 300


# --- In a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, or none: these tests are skipped then."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb":
        options.add_argument(word)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def served(tmp_path):
    """The address of tmp_path by python -m http.server's server."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *words: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def seen(browser):
    """The lines of the rows that are shown, in their order."""
    script = (
        "return [...document.querySelectorAll('tbody tr')].filter(r => r.offsetHeight).map(r => r.cells[0].innerText)"
    )
    return browser.execute_script(script)


def loaded(browser, pictures):
    """The addresses of the pictures of a CSS selector, once they are there to be seen."""
    script = "return [...document.querySelectorAll(arguments[0])].map(i => i.complete && i.naturalWidth && i.src)"
    end = time.monotonic() + 20
    while not all(sources := browser.execute_script(script, pictures)) and time.monotonic() < end:
        time.sleep(0.1)
    return sources


@pytest.mark.slow
@pytest.mark.parametrize("by", ["file", "http"])
def test_the_page_sorts_filters_and_compares_in_a_browser(batch, tmp_path, browser, served, by):
    batch(THREE)
    browser.get((tmp_path / "output" / "batch.html").as_uri() if by == "file" else f"{served}/output/batch.html")
    assert seen(browser) == ["2", "3", "4"]
    (beta,) = (button for button in browser.find_elements("css selector", "th button") if button.text == "beta")
    beta.click()
    assert seen(browser) == ["4", "2", "3"]  # 7, 40, 80: by size, not by letters
    beta.click()
    assert seen(browser) == ["3", "2", "4"]
    browser.find_element("id", "filter").send_keys("content.png content-style")
    assert seen(browser) == ["2"]
    browser.refresh()
    assert seen(browser) == ["2"]
    browser.find_element("id", "filter").clear()
    browser.find_element("id", "filter").send_keys("done")
    assert seen(browser) == ["3", "2", "4"]

    first, second, _ = browser.find_elements("css selector", ".below input")
    first.click()
    second.click()
    dialog = browser.find_element("id", "compare")
    assert dialog.is_displayed()
    assert [source.split("/")[-2] for source in loaded(browser, ".pair img")] == ["two", "content-style"]
    clip = "return getComputedStyle(document.querySelectorAll('.pair img')[1]).clipPath"
    assert browser.execute_script(clip) == "inset(0px 0px 0px 50%)"
    at = browser.find_element("id", "at")
    at.send_keys("\ue012" * 20)  # arrow left
    assert browser.execute_script(clip) == "inset(0px 0px 0px 40%)"
    dialog.find_element("css selector", "button").click()
    assert not dialog.is_displayed() and not first.is_selected()
    browser.find_element("css selector", "summary").click()
    curve, *_ = loaded(browser, "details[open] img")
    assert curve.endswith("costs.png")
    assert browser.find_element("css selector", "details img").is_displayed()
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
