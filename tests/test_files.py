"""Files in and out: what a viewer shows is what is read, and what is written is whole or not there."""

import errno
import hashlib
import io
import os
import pathlib
import re
import struct
import zlib

import filelock
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

import nst.files
import nst.network.weights
import nst.pictures.decode
import nst.pictures.encode
import recipe
from nst.errors import InputError, WriteError
from nst.pictures.originals import Reader

BASE = recipe.content(height=24, width=32)  # what a viewer shows of the pictures below, unless they say otherwise
RGB = Image.fromarray(BASE)
GREY = RGB.convert("L")
HALF = Image.fromarray(np.repeat([[0, 128, 255, 64]], 24, 0).repeat(8, 1).astype("uint8"))  # an alpha channel


def over_white(image):
    alpha = np.asarray(HALF)[..., np.newaxis] / 255
    return np.asarray(image.convert("RGB")) * alpha + 255 * (1 - alpha)


def grey(values):
    return np.repeat(np.asarray(values, float)[..., np.newaxis], 3, -1)


def with_alpha(image, mode):
    image = image.convert(mode)
    image.putalpha(HALF)
    return image


def turned(path, image=RGB):
    """Lying on its side, with an EXIF entry that says so."""
    exif = Image.Exif()
    exif[274] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=100, subsampling=0)


def palette(path, **options):
    RGB.quantize(16).save(path, **options)


def ycck(path):
    """A JPEG as Adobe's programs write it: CMYK turned to YCCK. Pillow writes CMYK; the rest is done here."""
    cmyk = np.asarray(RGB.convert("CMYK"))
    ycc = np.asarray(Image.fromarray(np.ascontiguousarray(cmyk[..., :3])).convert("YCbCr"))
    data = io.BytesIO()
    Image.fromarray(np.dstack([255 - ycc, cmyk[..., 3]]), "CMYK").save(data, "JPEG", quality=100, subsampling=0)
    data = bytearray(data.getvalue())
    data[data.index(b"Adobe") + 11] = 2  # the transform that the marker names
    path.write_bytes(data)


def sixteen_bit_rgb_png(path):
    rows = (BASE.astype(">u2") * 257).reshape(24, -1)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 32, 24, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"IEND", b""),
    ]
    framed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))


def profile(swap=True, linear=False):
    """An sRGB profile whose red and green primaries have changed places, or that is linear."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if linear:  # a parametric curve of type 3 begins with its exponent; of type 0 it has nothing else
        curve = data.index(b"para")
        data = data[: curve + 8] + struct.pack(">HHi", 0, 0, 65536) + data[curve + 16 :]
    return data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ") if swap else data


def camera_raw(as_picture):
    """A DNG: a preview of 8 x 6, and the whole picture behind it, as a picture or as the sensor measured it."""
    data = io.BytesIO()
    with tifffile.TiffWriter(data) as file:
        version = (50706, "B", 4, (1, 4, 0, 0), True)
        file.write(BASE[::4, ::4], photometric="rgb", subfiletype=1, subifds=1, extratags=[version])
        if as_picture:
            file.write(BASE, photometric="rgb")
        else:
            file.write(BASE[..., 0].astype("uint16"), photometric="cfa", extratags=[(33421, "H", 2, (2, 2), True)])
    return data.getvalue()


FLOATS = (BASE / 255).astype("float32")
LINEAR = np.where(FLOATS <= 0.04045, FLOATS / 12.92, ((FLOATS + 0.055) / 1.055) ** 2.4).astype("float32")
HALF_FLOAT = (np.asarray(HALF) / 255).astype("float32")
RAMP = np.linspace(0, 1, 24 * 32, dtype="float32").reshape(24, 32)
SIXTEEN_BITS = Image.fromarray((RAMP * 65535).astype("uint16"))
SWAPPED = BASE[..., [1, 0, 2]]

# name of the file: how it is made, what a viewer shows of it, and by how many grey levels it may differ
PICTURES = {
    "plain.png": (RGB.save, BASE, 0),
    "turned.png": (turned, BASE, 0),
    "turned.jpg": (turned, BASE, 8),
    "turned.tif": (turned, BASE, 0),
    "turned grey.tif": (lambda path: turned(path, GREY), grey(GREY), 0),
    "turned rgba.tif": (lambda path: turned(path, with_alpha(RGB, "RGB")), over_white(RGB), 1),
    "turned cmyk.tif": (lambda path: turned(path, RGB.convert("CMYK")), BASE, 1),
    "turned 16 bit grey.tif": (lambda path: turned(path, SIXTEEN_BITS), grey(RAMP * 255), 1),
    "grey.png": (GREY.save, grey(GREY), 0),
    "grey.jpg": (lambda path: GREY.save(path, quality=100), grey(GREY), 8),
    "palette.png": (palette, np.asarray(RGB.quantize(16).convert("RGB")), 0),
    "transparent palette.png": (
        lambda path: palette(path, transparency=3),
        np.where(np.asarray(RGB.quantize(16))[..., np.newaxis] == 3, 255, np.asarray(RGB.quantize(16).convert("RGB"))),
        0,
    ),
    "rgba.png": (with_alpha(RGB, "RGB").save, over_white(RGB), 1),
    "la.png": (with_alpha(GREY, "L").save, over_white(GREY), 1),
    "rgba.webp": (lambda path: with_alpha(RGB, "RGB").save(path, lossless=True, exact=True), over_white(RGB), 1),
    "transparent grey.png": (
        lambda path: GREY.save(path, transparency=100),
        grey(np.where(np.asarray(GREY) == 100, 255, np.asarray(GREY))),
        0,
    ),
    "cmyk.jpg": (lambda path: RGB.convert("CMYK").save(path, quality=100, subsampling=0), BASE, 8),
    "ycck.jpg": (ycck, BASE, 8),
    "cmyk.tif": (RGB.convert("CMYK").save, BASE, 1),
    "16 bit grey.png": (SIXTEEN_BITS.save, grey(RAMP * 255), 1),
    "16 bit grey.tif": (SIXTEEN_BITS.save, grey(RAMP * 255), 1),
    "16 bit grey, 0 is white.tif": (
        lambda path: tifffile.imwrite(path, 65535 - np.asarray(SIXTEEN_BITS), photometric="miniswhite"),
        grey(RAMP * 255),
        1,
    ),
    "16 bit grey, 0 is white, linear.tif": (
        lambda path: tifffile.imwrite(
            path,
            65535 - np.rint(LINEAR[..., 0] * 65535).astype("uint16"),
            photometric="miniswhite",
            byteorder=">",
            iccprofile=profile(swap=False, linear=True),
        ),
        grey(BASE[..., 0]),
        1,
    ),
    "16 bit rgb.png": (sixteen_bit_rgb_png, BASE, 0),
    "16 bit rgb.tif": (lambda path: tifffile.imwrite(path, BASE.astype("uint16") * 257, photometric="rgb"), BASE, 0),
    "16 bit planes.tif": (
        lambda path: tifffile.imwrite(
            path, BASE.transpose(2, 0, 1).astype("uint16") * 257, photometric="rgb", planarconfig="separate"
        ),
        BASE,
        0,
    ),
    "32 bit grey.tif": (Image.fromarray((RAMP * 1e6).astype("int32")).save, grey(RAMP * 255), 1),
    "float.tif": (Image.fromarray(RAMP).save, grey(RAMP * 255), 1),
    "float to 1000.tif": (Image.fromarray(RAMP * 1000).save, grey(RAMP * 255), 1),
    "float below 0.tif": (Image.fromarray(RAMP * 4 - 2).save, grey(RAMP * 255), 1),
    "float grey and alpha.tif": (
        lambda path: tifffile.imwrite(path, np.dstack([RAMP, HALF_FLOAT]), planarconfig="contig", extrasamples=[2]),
        grey(RAMP * 255 * HALF_FLOAT + 255 * (1 - HALF_FLOAT)),
        2,
    ),
    "float rgba.tif": (
        lambda path: tifffile.imwrite(path, np.dstack([FLOATS, HALF_FLOAT]), photometric="rgb", extrasamples=[2]),
        over_white(RGB),
        2,
    ),
    "float rgba, associated.tif": (
        lambda path: tifffile.imwrite(
            path, np.dstack([FLOATS * HALF_FLOAT[..., np.newaxis], HALF_FLOAT]), photometric="rgb", extrasamples=[1]
        ),
        over_white(RGB),
        2,
    ),
    "float rgb and infrared.tif": (
        lambda path: tifffile.imwrite(path, np.dstack([FLOATS, HALF_FLOAT]), photometric="rgb", extrasamples=[0]),
        BASE,
        1,
    ),
    "float planes.tif": (
        lambda path: tifffile.imwrite(path, FLOATS.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        BASE,
        1,
    ),
    "float pages.tif": (
        lambda path: tifffile.imwrite(path, np.stack([FLOATS, FLOATS[::-1]]), photometric="rgb"),
        BASE,
        1,
    ),
    "float rgb.tif": (
        lambda path: tifffile.imwrite(path, FLOATS, photometric="rgb"),
        BASE,
        1,
    ),
    "float rgb, linear.tif": (
        lambda path: tifffile.imwrite(path, LINEAR, photometric="rgb", iccprofile=profile(swap=False, linear=True)),
        BASE,
        1,
    ),
    "float grey, linear.tif": (
        lambda path: tifffile.imwrite(
            path, LINEAR[..., 0], photometric="minisblack", iccprofile=profile(swap=False, linear=True)
        ),
        grey(BASE[..., 0]),
        1,
    ),
    "float rgb, turned.tif": (
        lambda path: tifffile.imwrite(path, np.rot90(FLOATS), photometric="rgb", extratags=[(274, "H", 1, 6, True)]),
        BASE,
        1,
    ),
    "float rgb, swapped.tif": (
        lambda path: tifffile.imwrite(path, FLOATS, photometric="rgb", iccprofile=profile()),
        SWAPPED,
        2,
    ),
    "raw with its picture.dng": (lambda path: path.write_bytes(camera_raw(as_picture=True)), BASE, 0),
    "big.tif": (lambda path: tifffile.imwrite(path, FLOATS, photometric="rgb", bigtiff=True), BASE, 1),
    "big >.tif": (lambda path: tifffile.imwrite(path, FLOATS, photometric="rgb", bigtiff=True, byteorder=">"), BASE, 1),
    "1 bit.png": (RGB.convert("1").save, grey(np.asarray(RGB.convert("1")) * 255), 0),
    "profile.png": (lambda path: RGB.save(path, icc_profile=profile()), SWAPPED, 2),
    "profile.jpg": (lambda path: RGB.save(path, quality=100, subsampling=0, icc_profile=profile()), SWAPPED, 12),
    "profile and alpha.png": (
        lambda path: with_alpha(RGB, "RGB").save(path, icc_profile=profile()),
        over_white(Image.fromarray(SWAPPED)),
        3,
    ),
    "srgb profile.png": (lambda path: RGB.save(path, icc_profile=profile(swap=False)), BASE, 0),
    "broken profile.png": (lambda path: RGB.save(path, icc_profile=b"not a profile"), BASE, 0),
    "rgb profile on grey.png": (lambda path: GREY.save(path, icc_profile=profile()), grey(GREY), 0),
    "progressive.jpg": (lambda path: RGB.save(path, quality=100, subsampling=0, progressive=True), BASE, 8),
    "lossless.webp": (lambda path: RGB.save(path, lossless=True), BASE, 0),
    "phone.heic": (lambda path: RGB.save(path, quality=-1, chroma=444), BASE, 3),
    "plain.bmp": (RGB.save, BASE, 0),
    "plain.gif": (RGB.quantize(16).save, np.asarray(RGB.quantize(16).convert("RGB")), 0),
    "moving.gif": (
        lambda path: RGB.quantize(16).save(path, save_all=True, append_images=[GREY]),
        np.asarray(RGB.quantize(16).convert("RGB")),
        0,
    ),
    "pages.tif": (lambda path: RGB.save(path, save_all=True, append_images=[RGB.rotate(180)]), BASE, 0),
    "a name in é and 日本語.png": (RGB.save, BASE, 0),
    "-leading dash.png": (RGB.save, BASE, 0),
    "x" * 250 + ".png": (RGB.save, BASE, 0),
}


@pytest.mark.parametrize("name", PICTURES, ids=lambda name: name[:30])
def test_what_a_viewer_shows_is_what_is_read(tmp_path, name):
    make, shown, tolerance = PICTURES[name]
    make(tmp_path / name)
    image = nst.pictures.decode.read_image(tmp_path / name)
    assert image.mode == "RGB" and Reader(10**6).size(str(tmp_path / name)) == image.size
    difference = np.abs(np.asarray(image, float) - shown)
    assert difference.max() <= tolerance and difference.mean() <= max(0.5, tolerance / 8)


def test_the_odd_pictures_are_what_their_names_say(tmp_path):
    """Pillow's own reading of them tells that the table above is made of what it claims."""
    modes = {"palette.png": "P", "la.png": "LA", "cmyk.jpg": "CMYK", "16 bit grey.png": "I;16", "float.tif": "F"}
    modes |= {"1 bit.png": "1", "32 bit grey.tif": "I", "rgba.png": "RGBA", "ycck.jpg": "CMYK"}
    for name, mode in modes.items():
        PICTURES[name][0](tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.mode == mode, name
    with Image.open(tmp_path / "ycck.jpg") as image:
        assert image.info["adobe_transform"] == 2
    PICTURES["progressive.jpg"][0](tmp_path / "progressive.jpg")
    with Image.open(tmp_path / "progressive.jpg") as image:
        assert image.info["progressive"]
    PICTURES["float rgb.tif"][0](tmp_path / "float rgb.tif")
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(tmp_path / "float rgb.tif")


def test_a_picture_over_pillows_limit_is_refused_with_the_limit(tmp_path):
    Image.new("1", (10000, 9000)).save(tmp_path / "huge.png")
    with pytest.raises(InputError, match=r"huge\.png: over 89,478,485 pixels"):
        nst.pictures.decode.read_image(tmp_path / "huge.png")


def cut(suffix, share=0.6, **options):
    data = io.BytesIO()
    RGB.save(data, suffix, **options)
    return data.getvalue()[: int(len(data.getvalue()) * share)]


NO_PICTURES = {
    "empty.png": (b"", "an empty file; give a JPEG, PNG"),
    "notes.jpg": (b"not a picture", "not a picture in any format that is read; give a JPEG, PNG"),
    "page.jpg": (b"<!DOCTYPE html><html></html>", "not a picture"),
    "cut.jpg": (cut("JPEG", 0.5), "a damaged picture, cannot be read"),
    "cut in its head.jpg": (cut("JPEG", 0.1), "not a picture|damaged"),
    "raw.dng": (
        camera_raw(as_picture=False),
        "a camera's raw file, of which only a preview of 8 x 6 can be read; export",
    ),
    "cut.png": (cut("PNG"), "a damaged picture, cannot be read"),
    "cut.webp": (cut("WEBP"), "not a picture|damaged"),
    "cut.tif": (cut("TIFF"), "damaged|a TIFF of a kind"),
    "cut.gif": (cut("GIF"), "damaged"),
    "cut in its head.png": (cut("PNG", 0.01), "not a picture|damaged"),
    "odd.tif": (b"II*\0\x08\0\0\0", "damaged|a TIFF of a kind"),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_picture_is_told_in_one_line(tmp_path, name):
    data, told = NO_PICTURES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=told) as error:
        nst.pictures.decode.read_image(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_end_is_read_and_told(tmp_path, progressive):
    large = RGB.resize((320, 240))
    large.save(tmp_path / "whole.jpg", quality=95, progressive=progressive)
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * 0.9)])
    cut = nst.pictures.decode.read(tmp_path / "cut.jpg")
    if progressive:  # its last bytes only sharpen what is there
        assert cut.notices == ()
    else:
        told = re.fullmatch(r".*cut\.jpg: cut off; (\d+) of its 240 rows are grey", cut.notices[0])
        assert 0 < int(told[1]) < 60
    there = np.s_[:180]
    assert np.abs(np.asarray(cut.image, int)[there] - np.asarray(large, int)[there]).mean() < 8


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("exif", [b"Exif\0\0MM", b"Exif\0\0" + bytes(range(64)), b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_picture_with_broken_exif_is_read(tmp_path, suffix, exif):
    RGB.save(tmp_path / f"odd.{suffix}", quality=100, subsampling=0, lossless=True, exif=exif)
    assert np.abs(np.asarray(nst.pictures.decode.read_image(tmp_path / f"odd.{suffix}"), int) - BASE).mean() < 8


def test_missing_files_and_folders_are_told(tmp_path):
    with pytest.raises(InputError, match=r"no\.png: cannot be read \(No such file or directory\)"):
        nst.pictures.decode.read_image(tmp_path / "no.png")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        nst.pictures.decode.read_image(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)"):
        nst.pictures.decode.read_image(tmp_path / ("x" * 5000))


@pytest.fixture
def nobody():
    """Root may read everything: while this is in use the process is nobody, as far as files are concerned."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_files_and_folders_without_permission_are_told(tmp_path, request, monkeypatch):
    RGB.save(tmp_path / "secret.png")
    (tmp_path / "secret.png").chmod(0)
    (tmp_path / "pretrained-model").mkdir(mode=0)
    tmp_path.chmod(0o500)
    monkeypatch.setattr(nst.network.weights, "FOLDER", tmp_path / "pretrained-model")
    request.getfixturevalue("nobody")
    with pytest.raises(InputError, match=r"secret\.png: cannot be read \(Permission denied\)"):
        nst.pictures.decode.read_image(tmp_path / "secret.png")
    for name in "", "thin.mat":
        with pytest.raises(InputError, match=r"pretrained-model/.*\.mat: cannot be read \(Permission denied\)"):
            nst.network.weights.find(name)
    told = r"out: not a folder that can be written in \(Permission denied\)"
    with pytest.raises(InputError, match=told), nst.files.claimed(tmp_path / "out"):
        pass


# --- files out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, lost", [("picture.png", 0), ("picture.jpg", 25)])
def test_pictures_are_written_whole(tmp_path, name, lost):
    nst.pictures.encode.write_image(tmp_path / name, BASE)
    assert np.abs(np.asarray(nst.pictures.decode.read_image(tmp_path / name), int) - BASE).mean() <= lost
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_colours_are_written_at_full_resolution_and_with_what_is_to_be_told(tmp_path, suffix):
    stripes, path = np.zeros((30, 40, 3), "uint8"), tmp_path / f"stripes.{suffix}"
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    nst.pictures.encode.write_image(path, stripes, "a comment", dpi=300)
    error = np.abs(np.asarray(nst.pictures.decode.read_image(path), int) - stripes)
    assert error.mean() < 4 if suffix == "jpg" else not error.any()
    assert nst.pictures.encode.read_comment(path) == "a comment"
    with Image.open(path) as image:
        if suffix == "webp":
            assert [image.getexif()[tag] for tag in (282, 283, 296)] == [300, 300, 2]
        else:
            assert [round(float(density)) for density in image.info["dpi"]] == [300, 300]


def test_what_is_read_is_bounded_and_the_bound_can_be_raised(tmp_path):
    Image.new("RGB", (50, 20)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((50, 20, 3), "float32"), photometric="rgb")
    for name in "a.png", "a.tif":
        with pytest.raises(InputError, match=r"over 999 pixels, the most that is read; shrink it, or raise"):
            nst.pictures.decode.read_image(tmp_path / name, 999)
        assert nst.pictures.decode.read_image(tmp_path / name, 1000).width in (50, 20)
    assert Image.MAX_IMAGE_PIXELS == nst.pictures.decode.MOST_PIXELS


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_what_was_there(tmp_path, failure):
    path = tmp_path / "costs.csv"
    path.write_text("old")
    with pytest.raises((WriteError, KeyboardInterrupt)) as error, nst.files.whole_file(path) as file:
        file.write(b"half of the ne")
        file.flush()
        assert path.read_text() == "old"
        raise failure
    assert [entry.name for entry in tmp_path.iterdir()] == ["costs.csv"] and path.read_text() == "old"
    if isinstance(failure, OSError):
        assert str(error.value) == f"{path}: cannot be written (No space left on device); what was there stays"


def test_a_file_that_another_program_has_open_is_waited_for(tmp_path, monkeypatch):
    """As Windows has it, where the other program is a viewer that soon closes it again."""
    refusals = [PermissionError(), PermissionError()]
    replace = pathlib.Path.replace

    def refuse(part, path):
        if refusals:
            raise refusals.pop()
        return replace(part, path)

    monkeypatch.setattr(pathlib.Path, "replace", refuse)
    monkeypatch.setattr(nst.files, "PATIENCE_SECONDS", 60)
    nst.files.write_text(tmp_path / "costs.csv", "new")
    assert not refusals and (tmp_path / "costs.csv").read_text() == "new"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, code):
    def acquire(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    told = rf"its file system has no locks \({os.strerror(code)}\)"
    with pytest.raises(InputError, match=told), nst.files.claimed(tmp_path):
        pass


def test_a_file_that_changes_has_another_digest(tmp_path):
    path = tmp_path / "vgg.mat"
    path.write_bytes(b"one")
    assert [nst.files.sha256(path) for _ in range(3)] == [hashlib.sha256(b"one").hexdigest()] * 3
    path.write_bytes(b"two")
    os.utime(path, (0, 0))
    assert nst.files.sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_arrays_come_back_and_code_does_not(tmp_path):
    nst.files.write_arrays(tmp_path / "a.npz", {"x": BASE, "note": "words"})
    arrays = nst.files.read_arrays(tmp_path / "a.npz")
    assert (arrays["x"] == BASE).all() and str(arrays["note"]) == "words"
    np.savez(tmp_path / "b.npz", x=np.array([print], object))  # pickled: unpickling would run what it names
    with pytest.raises(InputError, match=r"b\.npz: not a checkpoint of this program"):
        nst.files.read_arrays(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(InputError, match=r"c\.npz: not a checkpoint of this program"):
        nst.files.read_arrays(tmp_path / "c.npz")


def test_a_folder_is_claimed_by_one_run_and_swept(tmp_path):
    (tmp_path / ".0.png.part").write_bytes(b"half")
    (tmp_path / "0.png").write_bytes(b"mine")
    with nst.files.claimed(tmp_path):
        assert not (tmp_path / ".0.png.part").exists() and (tmp_path / "0.png").exists()
        with pytest.raises(InputError, match="another run is writing there"), nst.files.claimed(tmp_path):
            pass
    with nst.files.claimed(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with (
            pytest.raises(InputError, match="not a folder that can be written in"),
            nst.files.claimed(folder),
        ):
            pass
