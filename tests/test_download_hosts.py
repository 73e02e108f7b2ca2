"""Requests to the pictures' hosts, and the meaning of their replies."""

import asyncio
import base64
import io
import re
import traceback
import warnings
import zlib
from contextlib import asynccontextmanager

import aiohttp
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from akool_async import AkoolSession, ConfigurationError, DownloadError, ImageResult
from akool_async._download.urls import as_written, follow
from tests.support.schedules import QUICK
from tests.support.scripted import KEY, scripted_server


def picture(colour="red"):
    file = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, "PNG")
    return file.getvalue()


PNG = picture()
LOGIN = "Basic " + base64.b64encode(b"joe:p@ss").decode()
HALF = len(PNG) // 2
REST = len(PNG) - HALF


def reply(body=PNG, status=200, **headers):
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def limited(retry_after, status=429, **headers):
    return reply(b"", status, Retry_After=retry_after, **headers)


NO_NEW_URL = reply(b'{"code": 1009, "msg": "not for this account"}')


class Asked:
    def __init__(self, head):
        line, *lines = head.decode().rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


class Host:
    """Sends raw replies in order, repeating the last one, and records the exact requests."""

    def __init__(self, replies):
        self.replies, self.asked, self.url = list(replies), [], ""

    async def answer(self, reader, writer):
        self.asked.append(Asked(await reader.readuntil(b"\r\n\r\n")))
        writer.write(self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])
        await writer.drain()
        writer.close()

    @property
    def targets(self):
        return [asked.target for asked in self.asked]


@asynccontextmanager
async def host(*replies):
    host = Host(replies)
    async with await asyncio.start_server(host.answer, "127.0.0.1", 0) as server:
        host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield host


async def save(url, folder, base_url="http://127.0.0.1:9", **options):
    async with AkoolSession(KEY, base_url=base_url, **{"timing": QUICK, **options}) as akool:
        (path,) = await akool.download(ImageResult(id="image-1", image=url), folder)
        return path.read_bytes()


# --- URLs ---


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")))
def test_no_character_of_a_url_changes(rest):
    """All characters that can be sent raw are sent raw, also meaningless escapes and a lone question mark."""
    assert as_written(f"https://pictures.example/{rest}").raw_path_qs == f"/{rest}"


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/b/foo%28bar%29.png?Credential=A%2F20260101%2fs3&t=12%3A30", None),
        ("/a%7Eb.png?sig=a+b%20c%zz&empty=&flag&=", None),
        ("//two/../slashes;v=1?", None),
        ("/{a}|'b'^`c`?x[]=\"<>\\", None),
        ("/a b.png?x=ü y", "/a%20b.png?x=%C3%BC%20y"),
        ("/%C3%BC/\u65e5.png?\u00a0", "/%C3%BC/%E6%97%A5.png?%C2%A0"),
        ("/a.png?x=1#fragment?y", "/a.png?x=1"),
        ("?x=%2F", "/?x=%2F"),
        ("", "/"),
    ],
)
@pytest.mark.parametrize("is_redirected", [False, True])
async def test_a_url_is_requested_as_it_was_written(tmp_path, written, asked, is_redirected):
    """Only characters that cannot be sent raw are escaped, also in the URL of a redirect."""
    async with host(reply()) as pictures, host(reply(b"", 302, Location=pictures.url + written)) as first:
        assert await save(f"{first.url}/go" if is_redirected else pictures.url + written, tmp_path) == PNG
    assert pictures.targets == [written if asked is None else asked]


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/x.png?a%2Fb=;", "/x.png?a%2Fb=;"),
        ("/../x;?", "/../x;?"),
        ("x.png?a%2Fb", "/folder/x.png?a%2Fb"),
        ("../x%2F.png", "/x%2F.png"),
        ("?y=%3A", "/folder/a%2Fb.png?y=%3A"),
        ("/ü.png", "/%C3%BC.png"),
        ("/\udcfc.png", "/%FC.png"),
    ],
)
async def test_a_redirect_within_a_host_is_followed(tmp_path, location, asked):
    """A location without a host is relative to the requested URL. Its bytes are kept, UTF-8 or not."""
    async with host(reply(b"", 307, Location=location), reply()) as pictures:
        assert await save(f"{pictures.url}/folder/a%2Fb.png?x=1#here", tmp_path) == PNG
    assert pictures.targets == ["/folder/a%2Fb.png?x=1", asked]


def test_a_redirect_without_a_scheme_keeps_it():
    """`//host/path` is another host, and is requested in the same way."""
    assert follow(as_written("https://a.example/x"), "//b.example/y%2F?") == "https://b.example/y%2F?"


@pytest.mark.parametrize("url", ["ftp://h/x", "http:///x", "//h/x", "x.png", "", "http://h:0/x", "http://a b/x"])
def test_what_is_not_a_web_url_is_refused(url):
    """A URL needs a host and the scheme http or https."""
    with pytest.raises(ValueError, match=r"must be an absolute http\(s\) URL"):
        as_written(url)


async def test_a_host_of_other_letters_is_asked_by_its_ascii_name():
    """The host is the only part of a URL that is converted to ASCII, since resolvers need it."""
    assert str(as_written("https://bücher.example/%7e")) == "https://xn--bcher-kva.example/%7e"


async def test_three_redirects_are_followed_and_no_fourth(tmp_path):
    """The number of redirects is limited."""
    on = reply(b"", 302, Location="/on")
    async with host(on, on, on, reply()) as pictures:
        assert await save(f"{pictures.url}/", tmp_path / "three") == PNG
    async with host(on) as pictures, host(NO_NEW_URL) as akool:
        with pytest.raises(DownloadError, match="more than 3 redirects"):
            await save(f"{pictures.url}/", tmp_path / "four", akool.url)
    assert len(pictures.asked) == 4


async def test_a_redirect_without_a_location_is_a_download_error(tmp_path):
    """A redirect without a location is a reply without a picture."""
    async with host(reply(b"", 302)) as pictures, host(NO_NEW_URL) as akool:
        with pytest.raises(DownloadError, match="HTTP 302"):
            await save(f"{pictures.url}/", tmp_path, akool.url)


async def test_a_host_sees_nothing_but_its_request(tmp_path):
    """Hosts get no key, cookie or referrer, and the password of a URL goes only to its own host."""
    async with host(reply()) as second, host(reply(b"", 302, Location=f"{second.url}/x", Set_Cookie="a=b")) as first:
        await save(first.url.replace("//", "//joe:p%40ss@") + "/go", tmp_path)
    assert first.asked[0].headers["authorization"] == LOGIN
    assert second.asked[0].headers.keys() == {"host", "accept", "accept-encoding", "user-agent"}


# --- pauses ---


BUSY = {
    "now": limited("0"),
    "429": limited("1"),
    "503": limited("1", 503),
    "date": limited("Sun, 01 Jan 2040 00:00:01 GMT", Date="Sun, 01 Jan 2040 00:00:00 GMT"),
}


@pytest.mark.parametrize("kind", BUSY)
async def test_a_pause_that_a_host_asks_for_is_no_failure(tmp_path, kind):
    """After each of many pauses the picture is requested again, with any clock of this machine."""
    async with host(BUSY[kind], *[limited("0")] * 9, reply()) as pictures:
        timing = evolve(QUICK, download_pause_timeout=60.0)
        assert await save(f"{pictures.url}/x", tmp_path, timing=timing) == PNG
    assert len(pictures.asked) == 11


@pytest.mark.parametrize(
    ("busy", "seconds"),
    [
        (limited("61"), 61),
        (limited("900", 503), 900),
        (limited("Wed, 01 Jan 2020 00:10:00 GMT", Date="Wed, 01 Jan 2020 00:00:00 GMT"), 600),
    ],
)
async def test_a_long_pause_is_reported_and_kept(tmp_path, busy, seconds):
    """A pause of more than a minute ends in an error that shows it. Until it is over the host gets no request."""
    async with host(busy, reply()) as pictures, host(reply()) as others:
        async with AkoolSession(KEY, base_url="http://127.0.0.1:9") as akool:
            with pytest.raises(DownloadError, match=f"a pause of {seconds} s; a picture waits at most 60 s"):
                await akool.download(ImageResult(id="image-1", image=f"{pictures.url}/1"), tmp_path)
            for url in (f"{pictures.url}/2", f"{others.url}/go"):
                others.replies = [reply(b"", 302, Location=f"{pictures.url}/3")]
                with pytest.raises(DownloadError, match=r"asked for a pause, which lasts \d+ s more"):
                    await akool.download(ImageResult(id="image-2", image=url), tmp_path)
            others.replies = [reply()]
            await akool.download(ImageResult(id="image-3", image=f"{others.url}/x"), tmp_path)
    assert pictures.targets == ["/1"]
    assert [path.name for path in tmp_path.iterdir()] == ["image-3-1.png"]


async def test_pauses_of_one_picture_have_a_bound(tmp_path):
    """A host that asks for one short pause after the other ends in an error, too."""
    async with host(limited("1")) as pictures:
        with pytest.raises(DownloadError, match="a pause of 1 s; a picture waits"):
            await save(f"{pictures.url}/x", tmp_path, timing=evolve(QUICK, download_pause_timeout=1.5))
    assert len(pictures.asked) == 2


async def test_a_pause_loses_nothing_of_a_picture(tmp_path):
    """Bytes that came before the pause are not requested again."""
    rest = reply(PNG[HALF:], 206, Content_Range=f"bytes {HALF}-{len(PNG) - 1}/{len(PNG)}", ETag='"a"')
    async with host(reply(PNG[:HALF], ETag='"a"'), limited("0"), rest) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == PNG
    assert [asked.headers.get("range") for asked in pictures.asked] == [None, *[f"bytes={HALF}-"] * 2]


# --- parts ---


@pytest.mark.parametrize(
    "content_range",
    [
        f"bytes 0-{len(PNG) - 1}/{len(PNG)}",
        f"bytes 0-{len(PNG) - 1}/*",
        f"Bytes 0-{len(PNG) - 1}",
        f"bytes {'9' * 5000}-/*",
        None,
    ],
)
@pytest.mark.parametrize("version", [{}, {"ETag": '"a"'}, {"Last_Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}], ids=str)
async def test_a_part_that_is_all_of_the_picture_is_accepted(tmp_path, content_range, version):
    """A host may answer a plain request with 206: a whole picture that begins at byte 0 is accepted."""
    headers = version if content_range is None else version | {"Content_Range": content_range}
    async with host(reply(status=206, **headers)) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == PNG
    (asked,) = pictures.asked
    assert "range" not in asked.headers


async def test_a_part_that_is_not_all_is_followed_by_the_rest(tmp_path):
    """The first part of a known version is completed by the rest of the same version."""
    first = reply(PNG[:HALF], 206, Content_Range=f"bytes 0-{HALF - 1}/{len(PNG)}", ETag='"a"')
    rest = reply(PNG[HALF:], 206, Content_Range=f"bytes {HALF}-{len(PNG) - 1}/{len(PNG)}", ETag='"a"')
    async with host(first, rest) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == PNG
    assert pictures.asked[1].headers["range"] == f"bytes={HALF}-"


@pytest.mark.parametrize(
    "part",
    [
        reply(PNG[:HALF], 206, Content_Range=f"bytes 0-{HALF - 1}/{len(PNG)}"),
        reply(PNG, 206, Content_Range=f"bytes 1-{len(PNG)}/*"),
        reply(PNG[HALF:], 206, Content_Range=f"bytes {HALF}-{len(PNG) - 1}/{len(PNG)}"),
        reply(PNG[HALF:], 206),
    ],
)
async def test_a_part_alone_is_no_picture(tmp_path, part):
    """A part that is not the whole picture and cannot be completed is never saved."""
    async with host(part) as pictures:
        with pytest.raises(DownloadError):
            await save(f"{pictures.url}/x", tmp_path)
    assert len(pictures.asked) == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "again",
    [
        reply(picture("blue"), 206, Content_Range="bytes 0-", ETag='"b"'),
        reply(picture("blue"), ETag='"a"'),
    ],
)
async def test_a_host_may_begin_again(tmp_path, again):
    """A host may send everything when it is asked for the rest: nothing of the first try is mixed in."""
    async with host(reply(PNG[:HALF], ETag='"a"'), again) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == picture("blue")
    assert pictures.asked[1].headers["if-range"] == '"a"'
    assert len(pictures.asked) == 2


async def test_the_rest_without_its_place_is_not_taken(tmp_path):
    """A part that does not say where it begins is not appended to the first one."""
    async with host(reply(PNG[:HALF], ETag='"a"'), reply(PNG[HALF:], 206, ETag='"a"'), reply()) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == PNG
    assert "range" not in pictures.asked[2].headers


async def test_a_packed_picture_is_not_resumed(tmp_path):
    """Bytes of a compressed reply are not those of the picture: after a break all of it is requested again."""
    packed = zlib.compress(PNG[:HALF])
    async with host(reply(packed, Content_Encoding="deflate", ETag='"a"'), reply()) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == PNG
    assert "range" not in pictures.asked[1].headers


async def test_a_picture_that_other_bytes_follow_is_saved(tmp_path):
    """The file is exactly what the host sent, with the bytes after the picture's end."""
    more = b"<!-- served by cache 7 -->" * 100
    async with host(reply(PNG + more)) as pictures:
        assert await save(f"{pictures.url}/x", tmp_path) == PNG + more
    assert len(pictures.asked) == 1


# --- proxies ---

ELSEWHERE = "http://pictures.invalid/a%2Fb.png?x=%3A"


async def test_pictures_come_through_the_proxy_of_the_environment(tmp_path, monkeypatch):
    """HTTP_PROXY gets the URL as it was written, and NO_PROXY excludes hosts."""
    async with host(reply()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//joe:p%40ss@"))
        assert await save(ELSEWHERE, tmp_path / "first") == PNG
        monkeypatch.setenv("NO_PROXY", "invalid")
        with pytest.raises(DownloadError, match="could not be fetched"):
            await save(ELSEWHERE, tmp_path / "second")
    (asked,) = proxy.asked
    assert asked.target == ELSEWHERE
    assert asked.headers["proxy-authorization"] == LOGIN


async def test_the_proxy_is_chosen_again_after_a_redirect(tmp_path, monkeypatch):
    """The target of a redirect that needs no proxy is requested directly, without the proxy's password."""
    async with host(reply()) as direct, host(reply(b"", 302, Location=f"{direct.url}/x")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//joe:p%40ss@"))
        assert await save(ELSEWHERE, tmp_path) == PNG
    assert proxy.targets == [ELSEWHERE]
    assert direct.targets == ["/x"]
    assert "proxy-authorization" not in direct.asked[0].headers


async def test_no_password_of_netrc_is_sent(tmp_path, monkeypatch):
    """A .netrc that names the host, or all hosts, is not read."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login joe password pass\ndefault login joe password pass\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with host(reply()) as pictures, host(reply()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        await save(f"{pictures.url}/x", tmp_path / "direct")
        await save(ELSEWHERE, tmp_path / "proxied")
    for asked in (*pictures.asked, *proxy.asked):
        assert not {"authorization", "proxy-authorization"} & asked.headers.keys()


@pytest.mark.parametrize("is_in_address", [True, False])
async def test_pictures_come_through_the_proxy_of_an_injected_session(tmp_path, monkeypatch, is_in_address):
    """An injected session's proxy replaces the environment's. The session's headers and cookies are not used."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with host(reply()) as proxy:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp's, of proxy_auth
            options = {"proxy": proxy.url, "proxy_auth": aiohttp.BasicAuth("joe", "p@ss")}
            if is_in_address:
                options = {"proxy": proxy.url.replace("//", "//joe:p%40ss@")}
            http = aiohttp.ClientSession(headers={"x-mine": "1"}, cookies={"mine": "1"}, **options)
        async with http:
            assert await save(ELSEWHERE, tmp_path, http=http) == PNG
    (asked,) = proxy.asked
    assert asked.target == ELSEWHERE
    assert asked.headers["proxy-authorization"] == LOGIN
    assert not {"x-mine", "cookie"} & asked.headers.keys()


async def test_a_proxy_that_does_not_connect_is_named(tmp_path, monkeypatch):
    """The error names the proxy that refused, and does not show its password."""
    async with host(reply(b"", 403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//joe:p%40ss@"))
        with pytest.raises(DownloadError, match=f"HTTP 403 x.*through the proxy {re.escape(proxy.url)}") as caught:
            await save("https://pictures.invalid/x", tmp_path)
    assert proxy.asked[0].method == "CONNECT"
    shown = "".join(traceback.format_exception(caught.value))
    assert "p%40ss" not in shown
    assert "p@ss" not in shown


async def test_a_proxy_that_wants_a_password_is_named(tmp_path, monkeypatch):
    """A proxy's refusal is not mistaken for one of the pictures' host, and is not tried twice."""
    async with host(reply(b"", 407)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(DownloadError, match=f"HTTP 407.*through the proxy {re.escape(proxy.url)}"):
            await save(ELSEWHERE, tmp_path)
    assert len(proxy.asked) == 1


async def test_a_variable_that_names_no_proxy_is_an_error(tmp_path, monkeypatch):
    """A SOCKS proxy in the environment raises an error that names the variable, before anything is sent."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY"):
        await save(ELSEWHERE, tmp_path)


async def test_a_redirect_that_makes_no_sense_is_a_download_error(tmp_path):
    """A Location that no parser can read ends in an error of the library for this picture only."""
    astray = {"status": 302, "headers": {"Location": "https\t://[x"}}
    same = {"code": 1000, "data": {"_id": "image-1", "image_status": 3, "image": "http://127.0.0.1:9/a.png"}}
    async with (
        scripted_server(astray, same) as server,
        AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool,
    ):
        with pytest.raises(DownloadError):
            await akool.download(ImageResult(id="image-1", image=f"{server.base_url}/a.png"), tmp_path)
