"""Many at a glance: variants, the page of a batch and its sheet, and the page in a browser."""

import functools
import http.server
import itertools
import json
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
from nst.settings import Settings

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
    assert chips(page, "content_mask") == ["a/style.png", "style.png"]  # "style" would not tell which
    assert [urllib.parse.unquote(link["href"]) for link in page.select(".folder")] == [
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


def chips(page, name):
    """The values of a setting that the cards show, in order."""
    return [chip.select_one(".value").text for chip in page.select(f'.card .chip[data-name="{name}"]:not([hidden])')]


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
    costs = ["total cost", "content cost", "style cost"]
    names = ["line", "content", "style", "beta", "status", "seconds", *costs]
    assert [option.text for option in page.select("#sort option")] == names
    assert page.select_one("#counts").text == "3 done" and chips(page, "beta") == ["40", "80", "7"]
    for folder, row, card in zip(["content-style", "two", "three"], rows, page.select(".card"), strict=True):
        inputs = [row["content_image_filename"], *styles_of(row)]
        links = [card.select_one(".chip[data-name=content] a"), *card.select(".chip[data-name=style] a")]
        assert [target(link["href"], tmp_path / "output") for link in links] == [tmp_path / name for name in inputs]
        assert [link["title"] for link in card.select(".chip a")] == inputs
        assert [link.text.strip() for link in card.select(".chip a")] == [name[:-4] for name in inputs]
        keys = json.loads(card["data-keys"])
        assert sorted(keys) == sorted(names) and (keys["status"], keys["total cost"]) == ("done", row["total_cost"])
        facts = {fact["data-name"]: fact.dd.text for fact in card.select("dl div")}
        assert facts["total cost"] == f"{float(row['total_cost']):.6g}" and facts["line"] == row["line"]
        painted = tmp_path / "output" / folder / "generated_image.jpg"
        result = card.select_one("a.painted")
        assert target(result["href"], tmp_path / "output") == painted
        assert f"in the style of {' and '.join(name[:-4] for name in inputs[1:])}, beta" in result.img["alt"]
        assert target(card.select_one("img.curve")["src"], tmp_path / "output") == painted.with_name("costs.png")
        assert small_picture(result.img, tmp_path / "output").size == Image.open(painted).size
        sizes = [small_picture(image, tmp_path / "output").size for image in card.select(".chip img")]
        assert sizes == [Image.open(name).size for name in inputs]
        assert [(int(image["width"]), int(image["height"])) for image in card.select(".chip img")] == sizes
    assert not page.select("link[href^=http], script[src], img[src^=http]")


# What varies; then the names above all results, those in the headings of groups, and those on the cards.
SAID = {
    "a value": ([("beta", 1, 2)], ["content", "style"], [], ["beta"]),
    "styles and values": (
        [("style_image_filename", "style.png", "other.png"), ("beta", 1, 2)],
        ["content"],
        [["style style"], ["style other"]],
        ["beta"],
    ),
    "styles": ([("style_image_filename", "style.png", "other.png", "content.png")], ["content"], [], ["style"]),
    "all pairs": (
        [("content_image_filename", "content.png", "other.png"), ("style_image_filename", "style.png", "other.png")],
        [],
        [["content content"], ["content other"]],
        ["style"],
    ),
    "all pairs and values": (
        [
            *[(f"{name}_image_filename", "content.png", "style.png") for name in ("content", "style")],
            *[("beta", 1, 2), ("seed", 1, 2)],
        ],
        [],
        [[f"content {c}", f"style {s}"] for c in ("content", "style") for s in ("content", "style")],
        ["beta", "seed"],
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_results_share_is_said_once(batch, tmp_path, case):
    varied, above, headings, below = SAID[case]
    batch(None, *[word for values in varied for word in ("--vary", *values)], "--report")
    page = read_page(tmp_path / "output" / "batch.html")

    def said(place):
        return [" ".join(chip.text.split()) for chip in place.select(".chip:not([hidden])")]

    assert [chip["data-name"] for chip in page.select("#shared .chip")] == above
    assert [said(heading) for heading in page.select("h2")] == headings
    assert all([chip.split()[0] for chip in said(card)] == below for card in page.select(".card"))
    chosen = page.select_one("#group [selected]")
    assert (chosen.text if chosen else "") == " and ".join(text.split()[0] for text in (headings or [[]])[0])


def test_results_have_larger_thumbnails_than_inputs(tmp_path, monkeypatch):
    for name in "content.png", "result.png":
        Image.new("RGB", (1000, 500)).save(tmp_path / name)
    monkeypatch.setattr(nst.batches.page, "find_result", lambda *_: tmp_path / "result.png")
    settings = Settings(content_image_filename=str(tmp_path / "content.png"), style_image_filename=())
    nst.batches.page.write_thumbnails(tmp_path / "batch.html", settings, "done")
    sizes = sorted(Image.open(path).size for path in (tmp_path / "batch_files").iterdir())
    assert sizes == [(240, 120), (640, 320)]


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
    cards = [sorted(page.select(".card"), key=lambda card: card.dd.text) for page in seen]  # by their lines
    assert [[card["data-status"] for card in page] for page in cards] == [
        ["running", "waiting", "waiting", "waiting"],
        ["done", "running", "waiting", "waiting"],
        ["done", "failed", "running", "waiting"],
        ["done", "failed", "done", "skipped"],
    ]
    failed, skipped = cards[-1][1], cards[-1][3]
    assert failed.select_one(".message").text == "ZeroDivisionError: by <b>chance"
    assert failed.select_one(".blank .status").text == "failed" and skipped.select_one("a.painted img")
    # An input is seen when the first job that has it begins.
    assert [len(card.select("img")) for card in cards[0]] == [2, 2, 1, 2]


HOSTILE = "<script>alert(1)<#%41?&\"'é日本.png"


def test_hostile_names_are_shown_and_linked_right(batch, tmp_path):
    name = HOSTILE
    shutil.copy(tmp_path / "content.png", tmp_path / name)
    quoted = name.replace('"', '""')
    batch(f'content_image_filename,output_dir\n"{quoted}","output/{quoted[:-4]}"\nstyle.png,\n')
    page = read_page(tmp_path / "output" / "batch.html")
    card = page.select(".card")[0]
    assert len(page.select("script")) == 1 and not page.select("main script")
    link = card.select_one(".chip[data-name=content] a")
    assert (link["title"], link.text.strip()) == (name, name[:-4])
    assert json.loads(card["data-keys"])["content"] == name[:-4] and name in card["data-find"]
    for link in card.select("a"):
        assert target(link["href"], tmp_path / "output").exists(), link
    assert card.select_one(".folder").text == card.select_one(".folder")["title"] == name[:-4]
    assert card.select_one("a.painted img")["alt"].startswith(name[:-4])


@pytest.mark.slow
def test_a_batch_that_is_killed_leaves_a_whole_page(batch, tmp_path):
    (tmp_path / "jobs.csv").write_text("seed,output_dir\n" + "".join(f"{i},output/{i}\n" for i in range(40)))
    command = [sys.executable, ROOT / "nst_main.py", *BATCH]
    process = subprocess.Popen([str(word) for word in command], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    page, states, read = tmp_path / "output" / "batch.html", [], 0
    while states[:1] != ["done"] and process.stdout.readline():
        if page.exists():
            states = [card["data-status"] for card in read_page(page).select(".card")]
            assert len(states) == 40
            read += 1
    time.sleep(random.random() * 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    states = [card["data-status"] for card in read_page(page).select(".card")]
    assert read and states[:1] == ["done"] and states[-1] == "waiting" and len(states) == 40


def test_pages_of_shards_are_merged_without_painting(batch, tmp_path, monkeypatch):
    for shard in "1/2", "2/2":
        batch(THREE, "--shard", shard)
        page = read_page(tmp_path / "output" / f"batch-{shard.replace('/', '-of-')}.html")
        assert len(page.select(".card")) == {"1/2": 2, "2/2": 1}[shard]
    (tmp_path / "other.png").unlink()  # what was painted can be told without
    monkeypatch.setattr(nst.run, "paint", None)
    status, printed, told, rows = batch(THREE, "--report")
    assert (status, told) == (0, "") and "3 done: output/batch.csv" in printed
    assert [row["line"] for row in rows] == ["2", "3", "4"]
    page = read_page(tmp_path / "output" / "batch.html")
    assert [len(card.select("a.painted")) for card in page.select(".card")] == [1] * 3
    assert (tmp_path / "output" / "batch.jpg").exists()
    changed = THREE.replace("content.png,other.png,7", "content.png,content.png,7")
    status, *_, rows = batch(changed, "--report")  # this row's job was not painted
    assert (status, [row["line"] for row in rows]) == (1, ["2", "3"])
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


@pytest.fixture
def opened(tmp_path, browser, served):
    """opened(by): the page of the batch in the browser, by file or http. At the end the browser forgets the size."""

    def open_page(by="file"):
        browser.set_window_size(1400, 900)
        browser.get((tmp_path / "output" / "batch.html").as_uri() if by == "file" else f"{served}/output/batch.html")

    yield open_page
    browser.execute_script("localStorage.clear()")


def seen(browser):
    """The lines of the cards that are shown, in their order."""
    script = """return [...document.querySelectorAll('.card')].filter(card => card.offsetHeight)
        .map(card => card.querySelector('dl dd').textContent)"""
    return browser.execute_script(script)


def choose(browser, name, value):
    (option,) = (one for one in browser.find_elements("css selector", f"#{name} option") if one.text == value)
    option.click()


def until(ask):
    """What ask() returns, as soon as all of it is true, or after 20 seconds as it is."""
    end = time.monotonic() + 20
    while not all(found := ask()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def pictures(browser, selector):
    """The addresses of the pictures of a CSS selector, once they are there to be seen."""
    script = "return [...document.querySelectorAll(arguments[0])].map(i => i.complete && i.naturalWidth && i.src)"
    return until(lambda: browser.execute_script(script, selector))


LEFT, RIGHT, ESCAPE, ENTER = "\ue012", "\ue014", "\ue00c", "\ue007"  # keys, as selenium calls them


def press(browser, key):
    browser.switch_to.active_element.send_keys(key)


def no_errors(browser):
    return [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


BY = pytest.mark.parametrize("by", ["file", "http"])


@pytest.mark.slow
@BY
def test_the_page_sorts_filters_and_compares_in_a_browser(batch, browser, opened, by):
    batch(THREE)
    opened(by)
    assert seen(browser) == ["2", "3", "4"]
    choose(browser, "sort", "beta")
    assert seen(browser) == ["4", "2", "3"]  # 7, 40, 80: by size, not by letters
    browser.find_element("id", "down").click()
    assert seen(browser) == ["3", "2", "4"]
    browser.find_element("id", "filter").send_keys("content.png content-style")
    assert seen(browser) == ["2"] and browser.find_element("id", "shown").text == "1 of 3"
    browser.refresh()
    assert seen(browser) == ["2"]
    browser.find_element("id", "filter").clear()
    browser.find_element("id", "filter").send_keys("done")
    assert seen(browser) == ["3", "2", "4"]
    choose(browser, "group", "content")
    headings = [heading.text.split() for heading in browser.find_elements("css selector", "h2")]
    assert headings == [["content", "other"], ["content", "content"]] and seen(browser) == ["3", "2", "4"]
    assert not any(chip.is_displayed() for chip in browser.find_elements("css selector", ".card [data-name=content]"))

    first, second, _ = browser.find_elements("css selector", ".chips input")
    first.click()
    second.click()
    dialog = browser.find_element("id", "compare")
    assert dialog.is_displayed()
    assert [source.split("/")[-2] for source in pictures(browser, ".pair img")] == ["two", "content-style"]
    assert [side.text.split()[-1] for side in browser.find_elements("css selector", ".side")] == ["80", "40"]
    clip = "return getComputedStyle(document.querySelectorAll('.pair img')[1]).clipPath"
    assert browser.execute_script(clip) == "inset(0px 0px 0px 50%)"
    at = browser.find_element("id", "at")
    at.send_keys(LEFT * 20)
    assert browser.execute_script(clip) == "inset(0px 0px 0px 40%)"
    dialog.find_element("css selector", "button").click()
    assert not dialog.is_displayed() and not first.is_selected()
    browser.find_element("css selector", "summary").click()
    curve, *_ = pictures(browser, "details[open] img")
    assert curve.endswith("costs.png")
    assert browser.find_element("css selector", "details img").is_displayed()
    assert no_errors(browser)


@pytest.mark.slow
@BY
def test_the_arrow_keys_go_through_the_results_that_are_shown(batch, tmp_path, browser, opened, by):
    """In their order, over one that failed, and from the last one to the first."""
    (tmp_path / "bad.png").write_text("words")
    batch(THREE + "content.png,style.png,60,output/four,2\nbad.png,style.png,50,output/bad,2\n")
    opened(by)
    choose(browser, "sort", "beta")
    browser.find_element("id", "filter").send_keys("style.png")
    assert seen(browser) == ["2", "6", "5", "3"]
    viewer = browser.find_element("id", "viewer")
    browser.find_elements("css selector", ".card:not([hidden]) .painted")[0].click()

    def viewed():
        (source,) = pictures(browser, "#stage img")
        assert viewer.is_displayed() and source.endswith("/generated_image.jpg")
        return source.split("/")[-2], browser.find_element("id", "place").text

    assert viewed() == ("content-style", "1 of 3")
    press(browser, RIGHT)
    assert viewed() == ("four", "2 of 3") and "60" in browser.find_element("id", "caption").text
    press(browser, RIGHT)
    assert viewed() == ("two", "3 of 3")
    press(browser, RIGHT)
    assert viewed() == ("content-style", "1 of 3")
    press(browser, LEFT)
    browser.find_element("id", "previous").click()
    assert viewed() == ("four", "2 of 3")
    browser.find_element("id", "zoom").click()
    size = "const {width, height} = stage.firstChild.getBoundingClientRect(); return [width, height]"
    assert browser.execute_script(size) == [40, 30]
    press(browser, ESCAPE)
    assert not viewer.is_displayed()
    of_focus = "return [document.activeElement.href?.endsWith('/four/generated_image.jpg')]"
    assert until(lambda: browser.execute_script(of_focus)) == [True]
    press(browser, ENTER)
    assert viewed() == ("four", "2 of 3") and no_errors(browser)


@pytest.mark.slow
def test_a_format_that_browsers_cannot_show_is_seen_as_its_thumbnail(batch, browser, opened):
    batch(None, "--vary", "beta", 1, 2, "--epochs", 1, "--output_format", "tiff")
    opened()
    browser.find_element("css selector", ".painted").click()
    (source,) = pictures(browser, "#stage img")
    assert "/batch_files/" in source and "cannot show" in browser.find_element("css selector", "#stage p").text
    assert browser.find_element("id", "file").get_attribute("href").endswith(".tiff")


@pytest.mark.slow
@BY
def test_results_are_large_unless_another_size_is_chosen(batch, browser, opened, by):
    batch(None, "--vary", "beta", *range(12), "--report")
    opened(by)

    def across():
        return browser.execute_script(
            "return new Set([...document.querySelectorAll('.card')].map(card => card.offsetLeft)).size"
        )

    found = {"large": across()}
    for size in "medium", "small":
        browser.find_element("css selector", f"label:has([value={size}])").click()
        found[size] = across()
        browser.refresh()
        assert across() == found[size]
    assert found == {"large": 2, "medium": 4, "small": 6}
    browser.set_window_size(500, 900)  # the smallest window of Chromium
    assert across() == 4 and no_errors(browser)


# For each chip: whether it has one line, is in the window, and ends in an ellipsis and has a title if it is cut.
OF_CHIPS = """
    return [...document.querySelectorAll('.chip:not([hidden])')].map(chip => {
        const value = chip.querySelector('.value'), is_cut = value.scrollWidth > value.clientWidth;
        return [value.offsetHeight < 1.5 * parseFloat(getComputedStyle(value).lineHeight),
            chip.getBoundingClientRect().right <= innerWidth,
            !is_cut || getComputedStyle(value).textOverflow === 'ellipsis',
            !is_cut || value.closest('[title]').title.includes(value.textContent), is_cut];
    })
"""


@pytest.mark.slow
def test_names_do_not_break(batch, tmp_path, browser, opened):
    """A name that is too long is cut, also without a space in it; its title has it whole."""
    names = "style_of_a_painting_" * 10, "a name with words " * 12
    for name in names:
        shutil.copy(tmp_path / "style.png", tmp_path / f"{name}.png")
    values = [f"{names[0]}.png", f"{names[1]}.png", f"{names[0]}.png;style.png"]
    batch(None, "--vary", "style_image_filename", *values, "--epochs", 1)
    opened()
    try:
        for width in 1280, 390:
            metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for grouped in "style", "nothing":
                choose(browser, "group", grouped)
                browser.find_element("css selector", ".painted").click()
                found = browser.execute_script(OF_CHIPS)
                assert all(all(right) for *right, _ in found) and sum(cut for *_, cut in found) > 3, found
                browser.find_element("css selector", "#viewer .close").click()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_without_scripts_the_page_has_pictures_links_and_sizes(batch, browser, opened):
    batch(None, "--vary", "beta", 1, 2, "--epochs", 1)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened()
        shown = {name: browser.find_element("css selector", name).is_displayed() for name in SCRIPTED}
        before = browser.find_element("css selector", ".card").size["width"]
        browser.find_element("css selector", "label:has([value=small])").click()
        after = browser.find_element("css selector", ".card").size["width"]
        browser.find_element("css selector", ".painted").click()
        address = browser.current_url
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert shown == SCRIPTED and after < before and address.endswith("beta%3D1/generated_image.jpg")


SCRIPTED = {
    ".painted img": True,
    "#sizes": True,
    ".folder": False,
    "#sort": False,
    "#filter": False,
    ".chips input": False,
}
