"""The user's own files: no command changes an input, and a run touches only what runs of this program wrote."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import nst.job
import nst.pictures.video
import nst.record
import recipe
from nst.pictures import encode

cv2 = pytest.importorskip("cv2", reason="films need OpenCV, requirements-film.txt")

FAST = ("--epochs", 2, "--frame_epochs", 1, "--print_every", 1)


def left(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def shots(tmp_path):
    """shots(folder, *names): a film of a moving camera, as pictures of these names."""
    wide = recipe.content(height=30, width=80)

    def make(folder, *names):
        (tmp_path / folder).mkdir(parents=True)
        for i, name in enumerate(names):
            Image.fromarray(wide[:, 3 * i : 3 * i + 40]).save(tmp_path / folder / name)

    return make


# --- Inputs in the output folder --------------------------------------------------------------------------------


IN_ITS_FOLDER = {
    "frames": (["--content_image_filename", "o/frames"], "content_image_filename", "o/frames/000001.png"),
    "content": (["--content_image_filename", "o/20.png"], "content_image_filename", "o/20.png"),
    "init": (["--init_image", "o/generated_image.jpg"], "init_image", "o/generated_image.jpg"),
    "style": (["--style_image_filename", "o/costs.png"], "style_image_filename", "o/costs.png"),
    "mask": (["--content_mask", "o/0.png"], "content_mask", "o/0.png"),
    "a link to it": (["--style_image_filename", "link.png"], "style_image_filename", "link.png"),
    "a link in it": (["--content_image_filename", "o/7.png"], "content_image_filename", "o/7.png"),
    "an earlier result": (["--init_image", "o/generated_image.gif"], "init_image", "o/generated_image.gif"),
}


@pytest.mark.parametrize("flags, name, path", IN_ITS_FOLDER.values(), ids=IN_ITS_FOLDER.keys())
def test_an_input_that_the_run_would_replace_is_refused(paint_here, shots, tmp_path, inputs, flags, name, path):
    shots("o/frames", "000001.png", "000002.png")
    for file in ("20.png", "generated_image.jpg", "costs.png", "0.png", "generated_image.gif"):
        shutil.copy(inputs / "content.png", tmp_path / "o" / file)
    (tmp_path / "link.png").symlink_to(tmp_path / "o" / "20.png")
    (tmp_path / "o" / "7.png").symlink_to(inputs / "content.png")
    results = {"settings": {}, "sha256": {}, "results": ["generated_image.gif"]}
    (tmp_path / "o" / "settings.json").write_text(json.dumps(results))
    before = left(tmp_path)
    for more in ([], ["--resume"]):
        status, printed, told = paint_here(*flags, "--output_dir", "o", *more)
        line = f"argument --{name}: this run would replace or remove {path}; name another --output_dir"
        assert (status, printed, told) == (2, "", f"nst_main.py: error: {line}\n")
        assert left(tmp_path) == before


def test_other_files_in_the_output_folder_can_be_inputs(paint_here, tmp_path, inputs):
    (tmp_path / "o").mkdir()
    shutil.copy(inputs / "content.png", tmp_path / "o" / "cat.png")
    assert paint_here("--content_image_filename", "o/cat.png", "--output_dir", "o")[0] == 0
    assert paint_here("--content_image_filename", "o/cat.png", "--output_dir", "o", "--resume")[0] == 0
    assert (tmp_path / "o" / "cat.png").read_bytes() == (inputs / "content.png").read_bytes()


def test_the_file_of_a_batch_is_not_replaced_by_its_table(paint_here, tmp_path):
    (tmp_path / "output").mkdir()
    text = "beta,output_dir\n3,output/a\n"
    (tmp_path / "output" / "batch.csv").write_text(text)
    status, _, told = paint_here("--batch", "output/batch.csv")
    assert status == 2 and told == (
        "nst_main.py: error: argument --batch: the report would replace output/batch.csv; name another --output_dir\n"
    )
    assert (tmp_path / "output" / "batch.csv").read_text() == text


# --- A folder as a film -----------------------------------------------------------------------------------------


def test_frames_of_two_sizes_are_told_before_the_first_is_painted(paint_here, shots, tmp_path):
    shots("shots", "1.png", "2.png", "3.png", "4.png")
    Image.new("RGB", (30, 40)).save(tmp_path / "shots" / "4.png")
    status, printed, told = paint_here("--content_image_filename", "shots", *FAST)
    sizes = "the frames have different sizes, 40 x 30 (1.png) and 30 x 40 (4.png); bring them to one size"
    assert (status, printed, told) == (2, "", f"nst_main.py: error: shots: {sizes}\n")
    assert not (tmp_path / "output").exists()


def test_frames_come_in_natural_order_and_what_is_no_picture_is_told(shots, tmp_path, paint_here):
    names = ["20240101_235958.png", "20240101_235959.png", "20240102_000000.png", "20240102_000001.png"]
    names += ["a 2.png", "a 10.png", "b (1).png", "b (2).png", "c.png"]
    shots("shots", *names)
    assert [path.name for path in nst.pictures.video.pictures_in(tmp_path / "shots")] == names
    (tmp_path / "shots" / "notes.txt").write_text("not a frame")
    (tmp_path / "shots" / ".hidden").write_text("not a frame either")
    status, printed, told = paint_here("--content_image_filename", "shots", *FAST)
    assert status == 0 and printed.count("Frame ") == len(names)
    assert told == "nst_main.py: shots: not pictures, so not frames: notes.txt\n"


def test_a_lost_frame_does_not_keep_a_film_from_its_end(paint_here, shots, tmp_path):
    shots("shots", "1.png", "2.png", "3.png", "4.png")
    flags = ("--content_image_filename", "shots", *FAST)
    assert paint_here(*flags)[0] == 0
    output = tmp_path / "output"
    (output / "frames" / "000003.png").unlink()
    (output / "generated_video.mp4").unlink()
    status, printed, _ = paint_here(*flags, "--resume")
    line = "output/frames/000003.png is missing or not of this run: the frame before is shown in its place"
    assert status == 0 and line in printed.splitlines()
    assert nst.pictures.video.find_film(output / "generated_video.mp4", "", 10**6).count == 4


# --- Only what this run wrote -----------------------------------------------------------------------------------


def test_a_foreign_picture_has_no_part_in_the_animation(paint_here, tmp_path, inputs):
    (tmp_path / "output").mkdir()
    shutil.copy(inputs / "style.png", tmp_path / "output" / "1.png")
    (tmp_path / "output" / "3.png").write_bytes(b"")
    flags = ("--epochs", 5, "--print_every", 2, "--animation", "gif")
    assert paint_here(*flags)[0] == 0
    with Image.open(tmp_path / "output" / "generated_image.gif") as gif:
        assert gif.n_frames == 1 + 2 + 1  # the start, 0.png and 2.png, and the result
    assert (tmp_path / "output" / "1.png").read_bytes() == (inputs / "style.png").read_bytes()
    (tmp_path / "output" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR broken")
    (tmp_path / "output" / "generated_image.gif").unlink()
    assert paint_here(*flags, "--resume")[0] == 0
    with Image.open(tmp_path / "output" / "generated_image.gif") as gif:
        assert gif.n_frames == 3


def test_pictures_of_an_older_version_belong_to_the_run_that_it_began(paint_here, tmp_path, prepared):
    """They carry a recipe without the settings that came since."""
    job = prepared(output_dir=str(tmp_path))
    older = {**job.recipe, "settings": dict(job.recipe["settings"]), "iteration": 4}
    del older["settings"]["neighbour_share"]
    for name, recipe_ in ("4.png", older), ("5.png", {**older, "iteration": 5, "sha256": {}}):
        encode.write_image(tmp_path / name, np.zeros((3, 4, 3), "uint8"), json.dumps(recipe_))
    assert [nst.record.is_of_run(tmp_path / name, job.recipe, 0) for name in ("4.png", "5.png")] == [True, False]


@pytest.mark.parametrize("flags", [("--alpha", "1e38", "--beta", "1e38"), ("--learning_rate", "1e38")])
def test_a_start_that_fails_changes_nothing(paint_here, tmp_path, flags):
    assert paint_here("--animation", "gif")[0] == 0
    before = left(tmp_path)
    status, _, told = paint_here(*flags)
    assert status == 1 and told.endswith(" Nothing was written\n")
    assert left(tmp_path) == before
    assert "Finished already" in paint_here("--animation", "gif", "--resume")[1]


def test_resuming_with_another_format_leaves_one_result(paint_here, tmp_path):
    paint_here()
    assert paint_here("--resume", "--output_format", "png")[0] == 0
    results = [path.name for path in (tmp_path / "output").glob("generated_image*")]
    assert results == ["generated_image.png"]


def test_two_that_resume_at_once_do_not_go_on_from_one_checkpoint(paint_here, tmp_path, monkeypatch):
    paint_here("--epochs", 3)
    find = nst.job.find_checkpoint

    def find_and_wait(path, identity):
        checkpoint = find(path, identity)
        path.touch()  # the other run has saved meanwhile
        return checkpoint

    monkeypatch.setattr(nst.job, "find_checkpoint", find_and_wait)
    before = left(tmp_path)
    status, _, told = paint_here("--epochs", 6, "--resume")
    line = "nst_main.py: error: output: another run continued it in the meantime; run the command again\n"
    assert (status, told) == (2, line) and left(tmp_path) == before


def test_what_a_killed_film_left_is_swept(paint_here, tmp_path):
    (tmp_path / "output").mkdir()
    for name in ".generated_video.mp4.part", "..generated_video.mp4.part.sound.part":
        (tmp_path / "output" / name).write_bytes(b"half")
    assert paint_here()[0] == 0
    assert [path.name for path in (tmp_path / "output").glob(".*")] == [".lock"]


def test_a_result_of_any_size_carries_its_recipe(tmp_path, monkeypatch):
    pixels = np.zeros((20, 30, 3), "uint8")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    encode.write_image(tmp_path / "large.png", pixels, "the recipe")
    assert encode.read_comment(tmp_path / "large.png") == "the recipe"
