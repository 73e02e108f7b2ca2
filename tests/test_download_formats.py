"""The end of a picture: a cut picture is refused, and bytes after a whole one do not matter."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from akool_async._download.files import raise_unless_whole
from akool_async._download.hosts import TransientError

NOISE = Image.effect_noise((40, 40), 80).convert("RGB")
FRAMES = [NOISE, NOISE.rotate(90), NOISE.rotate(180)]


def save(kind, picture=NOISE, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def insert(picture, place, more):
    return picture[:place] + more + picture[place:]


def with_thumbnail():
    """Return a JPEG with a whole JPEG in its EXIF data, as cameras write it."""
    exif = b"Exif\0\0" + save("JPEG", NOISE.resize((16, 16)))
    return insert(save("JPEG"), 2, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)


def with_fill_bytes():
    """Return a JPEG with extra 0xFF bytes before its first and last markers, which the standard allows."""
    picture = insert(save("JPEG"), 2, b"\xff\xff\xff")
    return insert(picture, len(picture) - 2, b"\xff\xff")


PICTURES = {
    "PNG": save("PNG"),
    "PNG, animated": save("PNG", save_all=True, append_images=FRAMES),
    "PNG with a text that reads IEND": insert(save("PNG"), 33, struct.pack(">I", 4) + b"tEXtIEND\0\0\0\0"),
    "JPEG": save("JPEG"),
    "JPEG, progressive": save("JPEG", progressive=True),
    "JPEG with restart markers": save("JPEG", restart_marker_blocks=1),
    "JPEG with a thumbnail": with_thumbnail(),
    "JPEG with fill bytes": with_fill_bytes(),
    "JPEG with a comment of markers": save("JPEG", comment=b"\xff\xd9" * 50),
    "GIF": save("GIF"),
    "GIF, animated": save("GIF", save_all=True, append_images=FRAMES, comment=b";;;"),
    "GIF with colours of each frame": save("GIF", Image.new("L", (9, 9)), save_all=True, append_images=FRAMES),
    "WebP": save("WEBP"),
    "WebP, lossless": save("WEBP", lossless=True),
    "WebP, animated": save("WEBP", save_all=True, append_images=FRAMES),
}


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Check that a picture is whole on disk."""
    path = tmp_path_factory.mktemp("pictures") / "picture"

    def check(content):
        path.write_bytes(content)
        raise_unless_whole(path)

    return check


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_was_cut_is_refused(check, kind):
    """Every picture of an encoder is whole, and no beginning of it is."""
    picture = PICTURES[kind]
    check(picture)

    @given(st.integers(0, len(picture) - 1))
    def refuse(size):
        with pytest.raises(TransientError):
            check(picture[:size])

    refuse()
    for size in (len(picture) - 1, len(picture) - 2, len(picture) // 2):
        with pytest.raises(TransientError):
            check(picture[:size])


@pytest.mark.parametrize("kind", PICTURES)
def test_bytes_after_a_whole_picture_do_not_matter(check, kind):
    """Any number of bytes after the end is accepted."""
    picture = PICTURES[kind]

    @given(st.binary(min_size=1, max_size=64) | st.binary(min_size=1025, max_size=5000))
    def accept(more):
        check(picture + more)

    accept()
    check(picture + b"<!-- cached -->\r\n" * 100_000)


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if not kind.startswith("WebP")])
def test_a_cut_picture_is_not_completed_by_other_bytes(check, kind):
    """NUL bytes in place of the rest do not make a picture whole, although the file has its length and more."""
    picture = PICTURES[kind]

    @given(st.integers(16, len(picture) - 13))  # the last 12 bytes of a PNG are not part of the picture's data
    def refuse(size):
        with pytest.raises(TransientError):
            check(picture[:size].ljust(len(picture) + 2000, b"\0"))

    refuse()


def test_the_first_picture_of_several_decides(check):
    """A camera's file of two pictures (MPO) is whole when the first one is, which browsers show."""
    several = save("MPO", save_all=True, append_images=FRAMES)
    first = several.index(b"\xff\xd9\xff\xd8") + 2
    check(several)
    check(several[: len(several) - 5])
    check(several[:first])
    with pytest.raises(TransientError):
        check(several[: first - 1])


@pytest.mark.parametrize("size", [2**4, 2**6, 2**18])
@pytest.mark.parametrize("offset", range(-3, 2))
def test_an_end_across_two_pieces_is_found(check, size, offset):
    """A JPEG is read in pieces: its end may be anywhere, also across two pieces."""
    check(b"\xff\xd8\xff\xda\0\2" + bytes(size + offset) + b"\xff\xd9")
    with pytest.raises(TransientError):
        check(b"\xff\xd8\xff\xda\0\2" + bytes(size + offset) + b"\xff")


@pytest.mark.parametrize(
    "picture",
    [b"RIFF\0\0\0\0WEBP" + bytes(20), b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + bytes(20), b"GIF89a" + bytes(7)],
)
def test_a_head_alone_is_no_picture(check, picture):
    """Lengths of zero, or beyond the file, are not taken for an end."""
    with pytest.raises(TransientError):
        check(picture)
