"""What a picture tells besides itself: its recipe or nothing, and what it keeps of the EXIF of the content."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import nst.recipe
from nst.pictures import encode, exif

# --- Privacy ------------------------------------------------------------------------------------------------

FOLDER = "a private folder"


@pytest.fixture
def private(tmp_path, inputs):
    """Flags that name pictures in a folder of that name."""
    (tmp_path / FOLDER).mkdir()
    for name in "content.png", "style.png", "thin.mat":
        shutil.copy(inputs / name, tmp_path / FOLDER)
    names = ("content_image_filename", "content.png"), ("style_image_filename", "style.png"), ("weights", "thin.mat")
    return [word for flag, name in names for word in (f"--{flag}", f"{FOLDER}/{name}")]


def shared(folder):
    """{name: bytes} of what a run leaves that is given to others."""
    return {path.name: path.read_bytes() for path in folder.glob("*.*") if path.suffix in (".png", ".jpg", ".gif")}


@pytest.mark.parametrize("metadata", ["recipe", "none"])
def test_pictures_name_no_folder_and_none_tells_nothing(paint_here, tmp_path, private, metadata):
    assert paint_here(*private, "--animation", "gif", "--metadata", metadata)[0] == 0
    files = shared(tmp_path / "output")
    assert len(files) == 5
    for name, content in files.items():
        assert FOLDER.encode() not in content
        assert (b"content.png" in content) == (b"style_weights" in content) == (metadata == "recipe"), name
        told = Image.open(tmp_path / "output" / name).info.keys() & {"Comment", "comment", "exif"}
        assert bool(told) == (metadata == "recipe"), name
    full = json.loads((tmp_path / "output" / "settings.json").read_text())
    assert full["settings"]["content_image_filename"] == f"{FOLDER}/content.png"
    assert Image.open(tmp_path / "output" / "generated_image.gif").n_frames == 3  # start, 0.png and result


def test_a_run_knows_its_pictures_also_if_they_tell_nothing(paint_here, tmp_path):
    paint_here("--metadata", "none", "--epochs", 5)
    Image.new("RGB", (40, 30)).save(tmp_path / "output" / "4.png")  # another program's
    paint_here("--metadata", "none", "--seed", 1, "--epochs", 1)
    assert sorted(path.name for path in (tmp_path / "output").glob("*.png")) == ["0.png", "4.png", "costs.png"]


def test_a_film_knows_its_frames_too(paint_here, tmp_path, inputs):
    (tmp_path / "frames").mkdir()
    for number in 1, 2:
        shutil.copy(inputs / "content.png", tmp_path / "frames" / f"{number}.png")
    flags = ("--content_image_filename", "frames", "--epochs", 1, "--frame_epochs", 1, "--metadata", "none")
    status, printed, told = paint_here(*flags)
    assert (status, told) == (0, "") and "missing or not of this run" not in printed
    frame = tmp_path / "output" / "frames" / "000002.png"
    assert b"style_weights" not in frame.read_bytes() + (tmp_path / "output" / "generated_video.mp4").read_bytes()
    recipe = nst.recipe.find_recipe(tmp_path / "output")
    assert nst.recipe.is_of_run(frame, recipe, 1) and not nst.recipe.is_of_run(frame, recipe, 0)


@pytest.mark.parametrize("metadata", ["recipe", "none"])
def test_a_run_knows_its_pictures_also_if_a_file_has_another_name(paint_here, tmp_path, inputs, metadata):
    flags = ("--metadata", metadata, "--animation", "gif", "--resume")
    shutil.copy(inputs / "style.png", tmp_path / "renamed.png")
    assert paint_here(*flags, "--epochs", 1)[0] == 0
    assert paint_here(*flags, "--epochs", 5, "--style_image_filename", "renamed.png")[0] == 0
    assert Image.open(tmp_path / "output" / "generated_image.gif").n_frames == 4  # start, 0.png, 2.png and result
    paint_here("--epochs", 1, "--seed", 1)
    assert not (tmp_path / "output" / "4.png").exists()


def test_metadata_can_be_taken_from_a_finished_run(paint_here, tmp_path):
    paint_here()
    assert b"style_weights" in shared(tmp_path / "output")["generated_image.jpg"]
    status, printed, _ = paint_here("--resume", "--metadata", "none")
    assert status == 0 and "Painted" in printed
    assert b"style_weights" not in shared(tmp_path / "output")["generated_image.jpg"]
    assert paint_here("--resume", "--metadata", "none")[1].startswith("Finished already")


@pytest.mark.parametrize("beside", [True, False])
def test_a_picture_is_run_again_with_the_folders_that_settings_json_has(paint_here, tmp_path, private, beside):
    """Without it, its names are looked for as those of a command line are."""
    paint_here(*private)
    if not beside:
        (tmp_path / "output" / "settings.json").unlink()
    settings = nst.recipe.read_recipe(tmp_path / "output" / "0.png")["settings"]
    folder = f"{FOLDER}/" if beside else ""
    assert settings["content_image_filename"] == f"{folder}content.png"
    assert settings["style_image_filename"] == [f"{folder}style.png"] and settings["weights"] == f"{folder}thin.mat"


# --- EXIF ---------------------------------------------------------------------------------------------------

MAKE, MODEL, ORIENTATION, CHANGED, ARTIST, COPYRIGHT, CAMERA, GPS = 271, 272, 274, 306, 315, 33432, 0x8769, 0x8825
TAKEN, LENS, EXPOSURE, MAKER_NOTE, SERIAL = 36867, 42036, 33434, 37500, 42033


@pytest.fixture
def photograph(tmp_path):
    """photograph(format): a photograph on its side, with all that a phone writes."""
    tags = Image.Exif()
    tags.update({MAKE: "Phone", MODEL: "12", ORIENTATION: 6, CHANGED: "2024:01:02 03:04:05", ARTIST: "Ann"})
    tags.update({COPYRIGHT: "© Ann Ünver".encode()})
    camera = {TAKEN: "2024:01:02 03:04:05", LENS: "wide", EXPOSURE: IFDRational(1, 125), MAKER_NOTE: b"x", SERIAL: "77"}
    tags.update({CAMERA: camera, GPS: {1: "N", 2: (52.0, 30.0, 0.0)}})

    def save(format):
        path = tmp_path / f"photograph.{format}"
        Image.effect_noise((40, 30), 50).convert("RGB").save(path, exif=tags)
        return path

    return save


@pytest.mark.parametrize("format", ["jpg", "png", "tiff", "webp"])
def test_a_result_keeps_the_contents_date_camera_and_copyright(paint_here, tmp_path, photograph, format):
    flags = ("--output_format", format, "--dpi", 300, "--epochs", 1)
    assert paint_here("--content_image_filename", photograph("jpg"), *flags)[0] == 0
    path = tmp_path / "output" / f"generated_image.{format}"
    with Image.open(path) as image:
        image.load()
        tags = image.getexif()
        camera = tags.get_ifd(CAMERA)
        assert (image.size, tags.get(ORIENTATION, 1), dict(tags.get_ifd(GPS))) == ((30, 40), 1, {})
    assert (tags[MAKE], tags[MODEL], tags[CHANGED], tags[ARTIST]) == ("Phone", "12", "2024:01:02 03:04:05", "Ann")
    assert tags[COPYRIGHT].encode("latin-1").decode() == "© Ann Ünver"
    assert camera == {TAKEN: "2024:01:02 03:04:05", LENS: "wide", EXPOSURE: pytest.approx(1 / 125)}
    assert json.loads(encode.read_comment(path))["settings"]["seed"] == 0
    assert paint_here("--content_image_filename", photograph("jpg"), *flags, "--metadata", "none")[0] == 0
    with Image.open(path) as image:
        assert not {MAKE, COPYRIGHT, CAMERA} & image.getexif().keys()


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "heic"])
def test_exif_is_read_from_every_format(photograph, format):
    tags = exif.read_kept(photograph(format))
    assert tags.keys() == {MAKE, MODEL, CHANGED, ARTIST, COPYRIGHT, CAMERA}
    assert tags[CAMERA].keys() == {TAKEN, LENS, EXPOSURE}


@pytest.mark.parametrize("broken", [b"Exif\0\0MM", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(200)), b"no EXIF"])
def test_broken_exif_are_left_out(tmp_path, broken):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", exif=broken)
    assert exif.read_kept(tmp_path / "a.jpg") == {}


def test_a_value_that_cannot_be_written_is_left_out(tmp_path):
    tags = exif.chosen({ARTIST: "Ann", CHANGED: object(), EXPOSURE: IFDRational(1, 0)}, (ARTIST, CHANGED))
    assert tags == {ARTIST: "Ann"}
    encode.write_image(tmp_path / "a.jpg", np.zeros((3, 4, 3), "uint8"), kept=tags)
    assert Image.open(tmp_path / "a.jpg").getexif()[ARTIST] == "Ann"
