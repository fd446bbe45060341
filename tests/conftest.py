"""What the tests share: the thin VGG-19 of the run, the program as a user starts it, small pictures."""

import csv
import dataclasses
import hashlib
import pathlib
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

import nst.job  # noqa: E402
import nst.settings  # noqa: E402
import nst_main  # noqa: E402
import recipe  # noqa: E402

MODULES = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.py"), *ROOT.glob("nst/**/[!_]*.py")))


def pytest_configure(config):
    """TensorFlow as the program sets it up, for all tests; not in the process that only hands them out."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background; the program would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput") or not config.option.numprocesses:
        nst_main.start("")


def pytest_collection_modifyitems(items):
    """Quick ones first: a mistake is told before the long tests begin."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A folder with thin.mat (an eighth of VGG-19's channels), content.png (40 x 30) and style.png (36 x 28)."""
    folder = tmp_path_factory.mktemp("inputs")
    recipe.write_mat(folder / "thin.mat", recipe.kernels(width=0.125))
    Image.fromarray(recipe.content(height=30, width=40)).save(folder / "content.png")
    Image.fromarray(recipe.style(height=28, width=36)).save(folder / "style.png")
    return folder


@pytest.fixture(scope="session")
def thin_model(inputs):
    import nst_utils

    return nst_utils.load_vgg_model(inputs / "thin.mat")


@pytest.fixture(scope="session")
def command(inputs):
    """command(*flags): the argv of nst_main.py on the small inputs; later flags win over those given here."""
    given = [
        *("--content_image_filename", inputs / "content.png", "--style_image_filename", inputs / "style.png"),
        *("--weights", inputs / "thin.mat", "--image_size", 0, "--epochs", 3, "--print_every", 2),
    ]
    return lambda *flags: [str(word) for word in (sys.executable, ROOT / "nst_main.py", *given, *flags)]


def digests(argv):
    """{path: digest} of every file that a command line names, by a path or in images/, or in a table that it names.

    The output folder is left out: a run replaces what it painted before.
    """
    words = list(map(str, argv))
    for word in argv:
        if str(word).endswith(".csv") and pathlib.Path(word).is_file():
            table = pathlib.Path(word).read_bytes().decode("utf-8", "replace")
            words += [cell for row in csv.reader(table.splitlines()) for cells in row for cell in cells.split(";")]
    places = [place / word for word in words for place in (pathlib.Path(), ROOT / "images") if len(word) < 200]
    there = {path.resolve() for path in places if path.is_file() and "output" not in path.parts}
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in there}


@pytest.fixture(autouse=True)
def inputs_are_never_changed(monkeypatch):
    """Every command line that a test runs leaves the bytes of its inputs as they were."""
    main = nst_main.main

    def checked(argv):
        before = digests(argv)
        try:
            return main(argv)
        finally:
            assert digests(argv).items() >= before.items()

    monkeypatch.setattr(nst_main, "main", checked)


@pytest.fixture
def paint(command, tmp_path):
    """paint(*flags): run that command to its end in tmp_path, as a user does."""

    def run(*flags, **options):
        options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300, **options}
        before = digests(flags)
        result = subprocess.run(command(*flags), **options)
        assert digests(flags).items() >= before.items()
        return result

    return run


@pytest.fixture
def paint_here(command, tmp_path, monkeypatch, capsys):
    """paint_here(*flags): the same in this process, which has TensorFlow already: (exit status, output, errors)."""

    def run(*flags):
        monkeypatch.chdir(tmp_path)
        return nst_main.main(command(*flags)[2:]), *capsys.readouterr()

    return run


@pytest.fixture
def prepared(inputs):
    """prepared(**settings): the checked Job of the small inputs."""

    def prepare(**changes):
        names = {
            "content_image_filename": str(inputs / "content.png"),
            "style_image_filename": (str(inputs / "style.png"),),
            "weights": str(inputs / "thin.mat"),
            "image_size": 0,
        }
        return nst.job.prepare(dataclasses.replace(nst.settings.Settings(), **{**names, **changes}))

    return prepare


@pytest.fixture
def pixels():
    """pixels(path): a picture file as an integer array (n_H, n_W, 3)."""
    return lambda path: np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture
def see(monkeypatch):
    """see(way): pictures are from here on seen as 'plain', 'winograd', 'windows' or 'windows, winograd'."""

    import nst.descent.sight
    import nst.network.windows

    def choose(way):
        whole, window = (1, 40_000) if "windows" in way else (10**9, 10**9)
        monkeypatch.setattr(nst.network.windows, "WHOLE_PIXELS", whole)
        monkeypatch.setattr(nst.network.windows, "WINDOW_PIXELS", window)
        monkeypatch.setattr(nst.descent.sight, "COMPILED_PIXELS", 0 if "winograd" in way else float("inf"))

    return choose


@pytest.fixture
def batch(inputs, tmp_path, monkeypatch, capsys):
    """batch(text, *flags): run jobs.csv of that text (or bytes) in tmp_path, or no file for None.

    It gives (exit status, output, errors, rows of batch.csv).
    """
    monkeypatch.chdir(tmp_path)
    for name in ("content.png", "style.png", "thin.mat"):
        shutil.copy(inputs / name, tmp_path)
    Image.open("style.png").rotate(180).save("other.png")

    def run(text, *flags):
        if text is not None:
            (tmp_path / "jobs.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        status = nst_main.main([*map(str, BATCH[2:] if text is None else BATCH), *map(str, flags)])
        return status, *capsys.readouterr(), report(tmp_path / "output" / "batch.csv")

    return run


BATCH = [
    *("--batch", "jobs.csv", "--content_image_filename", "content.png", "--style_image_filename", "style.png"),
    *("--weights", "thin.mat", "--image_size", 0, "--epochs", 3, "--print_every", 2),
]


def report(path):
    if not path.exists():
        return None
    with open(path) as file:
        return list(csv.DictReader(file))
