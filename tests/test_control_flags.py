"""The controls of a picture as flags: all of them together, resumed, and masks that do not fit."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import nst.flags
import nst.settings


def test_naming_every_default_changes_no_byte(paint_here, tmp_path, inputs, command):
    given = {flag.removeprefix("--") for flag in command()[2::2]} | {"output_dir"}
    fields = [field for field in dataclasses.fields(nst.settings.Settings) if field.name not in given]
    defaults = {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in fields}
    named = nst.flags.to_words(defaults)
    assert {"--tv_weight=0.0", "--style_layers=conv1_1\0conv2_1\0conv3_1\0conv4_1\0conv5_1"} < set(named)
    assert paint_here(*named, "--output_dir", "all")[0] == paint_here("--output_dir", "none")[0] == 0
    for path in (tmp_path / "none").iterdir():
        assert (tmp_path / "all" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture
def masks(tmp_path):
    """Masks of two regions for content.png, style.png and once more the content."""
    for name, (width, height) in {"c": (40, 30), "s": (36, 28), "half": (20, 15)}.items():
        mask = np.zeros((height, width), "uint8")
        mask[:, width // 2 :] = 200
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    Image.new("L", (40, 30), 200).save(tmp_path / "all200.png")
    Image.new("L", (36, 28), 200).save(tmp_path / "s200.png")
    return tmp_path


EVERYTHING = [
    *("--style_weights", 2, 1, "--style_scale", 0.8, "--content_layers", "conv3_2:0.5", "conv4_2", "--tv_weight", 0.01),
    *("--style_layers", "conv1_2", "conv3_1:0.4", "--pooling", "max", "--init", "style"),
    *("--padding", "replicate", "--style_cost", "moments", "--style_octaves", 2),
    *("--preserve_colors", "luminance", "--content_mask", "half.png", "--style_mask", "s.png", "all200.png"),
]


@pytest.mark.parametrize(
    "way, scales, optimizer",
    [
        ("plain", 2, ("lbfgs",)),
        ("windows", 2, ("lbfgs",)),
        ("windows, winograd", 1, ("adam", "--normalize_gradients")),
    ],
)
def test_controls_work_together_and_are_resumed(paint_here, masks, inputs, see, way, scales, optimizer):
    see(way)
    flags = ["--style_image_filename", inputs / "style.png", inputs / "content.png", *EVERYTHING]
    flags += ["--image_size", 260 if "windows" in way else 0]
    flags += ["--optimizer", *optimizer, "--scales", scales, "--epochs", 4]
    status, printed, told = paint_here(*flags, "--print_every", 1)
    assert (status, told) == (0, "") and printed.count("tv cost") == 4 + 2 * (scales - 1)
    rows = (masks / "output" / "costs.csv").read_text().splitlines()
    assert paint_here(*flags, "--print_every", 1, "--resume")[:2] == (
        0,
        "Finished already: output/generated_image.jpg\n",
    )
    assert (masks / "output" / "costs.csv").read_text().splitlines() == rows


def test_resume_knows_another_control(paint_here, masks):
    paint_here("--content_mask", "c.png", "--style_mask", "s.png")
    status, _, told = paint_here("--resume")
    assert status == 2 and "was made with another --content_mask (a file, now none)" in told
    paint_here()
    for flags in (["--pooling", "max"], ["--style_layers", "conv1_1"], ["--init", "style"], ["--tv_weight", 1]):
        status, _, told = paint_here("--resume", *flags)
        assert status == 2 and f"was made with another {flags[0]}" in told


def mask_mistakes():
    two = ["--content_mask", "c.png", "--style_mask", "s.png"]
    yield (
        [*two[:3], "s100.png"],
        "s100.png: none of its regions, of grey value 100, is in c.png, which has 0, 200",
    )
    yield (
        ["--content_mask", "square.png", *two[2:]],
        "square.png: a mask must have the aspect ratio of its picture, but they are 30 x",
    )
    yield ["--content_mask", "no.png", *two[2:]], "no.png: cannot be read"
    yield ["--style_mask", "s.png", "s.png"], "argument --style_mask: 2 for 1 of --style_image_filename"


@pytest.mark.parametrize("flags, told", list(mask_mistakes()))
def test_a_mask_that_does_not_fit_is_told_in_one_line(paint_here, masks, flags, told):
    Image.new("L", (30, 30)).save(masks / "square.png")
    Image.new("L", (36, 28), 100).save(masks / "s100.png")
    status, printed, error = paint_here(*flags)
    assert (status, printed) == (2, "") and error.count("\n") == 1 and told in error
    assert not (masks / "output").exists()
