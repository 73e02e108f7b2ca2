"""A session whose environment, or whose injected aiohttp session, names a proxy."""

import asyncio
import base64
import datetime as dt
import logging
import socket
import ssl
import sys

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from akool_async import AkoolSession, ConfigurationError, TransportError
from akool_async.durable import DurableFanOut, JobState
from tests.support.examples import CREATE_BY_PROMPT_REPLY
from tests.support.measuring import measuring
from tests.support.schedules import QUICK
from tests.support.scripted import KEY, ScriptedServer, scripted_server
from tests.support.sockets import error_of_one_post, hang_up, never, speak_plainly, tcp_server

PASSWORD = "pass@word"
IN_URL = "me:pass%40word@"
BASIC = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()


def refuse(status):
    """A proxy that answers every request with ``status``."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Not Here\r\nContent-Length: 0\r\n\r\n" % status)
        await writer.drain()

    return answer


def chain_of(error):
    """Everything that an error shows, of its causes too."""
    shown = ""
    while error is not None:
        shown += f"{error} {error!r} {vars(error)} "
        error = error.__cause__ or error.__context__
    return shown


@pytest.mark.parametrize("status", [403, 407, 500, 502])
async def test_a_refusal_to_connect_names_the_proxy_and_shows_no_password(monkeypatch, caplog, status):
    """Any status that a proxy answers to CONNECT means that the POST was not delivered."""
    caplog.set_level(logging.DEBUG)
    async with tcp_server(refuse(status)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{IN_URL}127.0.0.1:{port}")
        async with AkoolSession(KEY) as akool:
            error = await error_of_one_post(akool)
    assert error.delivered is False
    assert f"the proxy http://127.0.0.1:{port} does not connect to AKOOL (HTTP {status} Not Here)" in str(error)
    assert "word" not in chain_of(error) + caplog.text


async def test_a_durable_worker_goes_through_the_proxy(monkeypatch, tmp_path):
    """A worker's requests use HTTPS_PROXY. What the proxy refuses was not sent, and its job stays open."""
    asked = asyncio.Queue()

    async def answer(reader, writer):
        asked.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 503 Not Here\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with tcp_server(answer) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        async with DurableFanOut(KEY, f"sqlite:///{tmp_path}/a.db", base_url="https://akool.invalid") as jobs:
            await jobs.submit([("image-1", "U1")])
            running = asyncio.create_task(jobs.run())
            request = await asked.get()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            job = await jobs.job(("image-1", "U1"))
    assert request.startswith(b"CONNECT akool.invalid:443 ")
    assert job.state is JobState.OPEN


@pytest.mark.parametrize("answer", [never, hang_up, speak_plainly])
async def test_a_proxy_that_fails_before_it_connects_got_no_request(monkeypatch, answer):
    """A proxy that is silent, hangs up or refuses: the POST was not delivered, and the error names the proxy."""
    async with tcp_server(answer) as port:
        monkeypatch.setenv("https_proxy", f"http://{IN_URL}127.0.0.1:{port}")
        async with AkoolSession(KEY, request_timeout=0.2) as akool:
            error = await error_of_one_post(akool)
    assert error.delivered is False
    assert f"the proxy http://127.0.0.1:{port}" in str(error)
    assert "word" not in chain_of(error)


async def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch, unused_tcp_port):
    """The error is about the proxy and not about AKOOL."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{IN_URL}127.0.0.1:{unused_tcp_port}")
    async with AkoolSession(KEY) as akool:
        error = await error_of_one_post(akool)
    assert error.delivered is False
    assert "the proxy could not be reached" in str(error)
    assert f"127.0.0.1:{unused_tcp_port}" in str(error)
    assert "word" not in chain_of(error)


async def test_an_injected_session_keeps_its_own_proxy(monkeypatch, unused_tcp_port):
    """An injected session's proxy replaces the environment's. A refusal names it without the password."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    async with tcp_server(refuse(407)) as port:
        async with aiohttp.ClientSession(proxy=f"http://{IN_URL}127.0.0.1:{port}") as http:
            async with AkoolSession(KEY, http=http) as akool:
                error = await error_of_one_post(akool)
        async with (
            aiohttp.ClientSession() as http,
            AkoolSession(KEY, base_url="https://127.0.0.1:9", http=http) as akool,
        ):
            direct = await error_of_one_post(akool)
    assert error.delivered is False
    assert f"the proxy http://127.0.0.1:{port} does not connect to AKOOL (HTTP 407 Not Here)" in str(error)
    assert "word" not in chain_of(error)
    assert "proxy" not in str(direct)


async def test_plain_http_goes_through_the_proxy_without_anything_from_netrc(monkeypatch, tmp_path):
    """The proxy gets AKOOL's address and its own password, and AKOOL gets one key. A .netrc is not read."""
    (tmp_path / "netrc").write_text("default login from password netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with scripted_server(CREATE_BY_PROMPT_REPLY) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.replace("http://", f"http://{IN_URL}"))
        async with AkoolSession(KEY, base_url="http://akool.invalid:8080", allow_http=True) as akool:
            operation = await akool.create_by_prompt("a fox")
    (asked,) = proxy.asked
    assert operation.id == CREATE_BY_PROMPT_REPLY["data"]["_id"]
    assert (asked.headers["host"], asked.headers["proxy-authorization"]) == ("akool.invalid:8080", BASIC)
    assert asked.headers["x-api-key"] == KEY
    assert "authorization" not in asked.headers


async def test_a_proxy_that_wants_a_password_for_plain_http_passed_nothing_on(monkeypatch):
    """HTTP 407 comes from a proxy: the POST was not delivered."""
    async with tcp_server(refuse(407)) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        async with AkoolSession(KEY, base_url="http://akool.invalid", allow_http=True) as akool:
            error = await error_of_one_post(akool)
    assert error.delivered is False
    assert "407" in str(error)


async def test_a_host_that_is_not_found_may_need_a_proxy(monkeypatch):
    """In a network with a proxy, AKOOL's name is often unknown: the error says which variable to set."""

    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    async with AkoolSession(KEY) as akool:
        assert "if this network has a proxy, set HTTPS_PROXY to its address" in str(await error_of_one_post(akool))
    async with AkoolSession(KEY, base_url="http://localhost:9") as akool:
        assert "PROXY" not in str(await error_of_one_post(akool))


def test_a_proxy_that_cannot_be_used_is_refused_before_anything_is_sent(monkeypatch):
    """The session names the wrong variable, unless it does not need it."""
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://{IN_URL}proxy.example:1080")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY must be the URL of an http or https proxy") as caught:
        AkoolSession(KEY)
    assert "word" not in str(caught.value)
    AkoolSession(KEY, base_url="https://127.0.0.1:8443")
    monkeypatch.setenv("NO_PROXY", "akool.com")
    AkoolSession(KEY)


PROGRAM = f"""
import asyncio, sys
from akool_async import AkoolSession

async def main():
    async with AkoolSession({KEY!r}, base_url=sys.argv[1]) as akool:
        print((await akool.create_by_prompt("a fox")).id)

asyncio.run(main())
"""


def certificate(name, folder):
    """Make a self-signed certificate for ``name`` and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + secret)
    return file


async def test_https_goes_through_a_tunnel_in_which_the_proxy_sees_no_key(tmp_path):
    """A program that can only use a proxy: its environment names the proxy, and AKOOL is reached by CONNECT."""
    file = certificate("akool.test", tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    seen = []

    async def tunnel(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.decode())
        there, back = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(carry(reader, back, seen), carry(there, writer, seen))

    akool = ScriptedServer([CREATE_BY_PROMPT_REPLY])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", akool.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        async with tcp_server(tunnel) as port:
            proxy = f"http://{IN_URL}127.0.0.1:{port}"
            environment = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(file), **measuring()}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM, "https://akool.test"), env=environment, stdout=-1, stderr=-1
            )
            out, errors = await process.communicate()
    finally:
        await runner.cleanup()
    assert out.decode().strip() == CREATE_BY_PROMPT_REPLY["data"]["_id"], errors.decode()
    assert seen[0].startswith("CONNECT akool.test:443 HTTP/1.1\r\n")
    assert f"Proxy-Authorization: {BASIC}\r\n" in seen[0]
    assert not any(KEY in part for part in seen)
    (asked,) = akool.asked
    assert asked.headers["x-api-key"] == KEY
    assert "proxy-authorization" not in asked.headers


async def carry(reader, writer, seen):
    while data := await reader.read(65536):
        seen.append(data.decode("latin-1"))
        writer.write(data)
    writer.close()


async def test_a_certificate_that_nobody_vouches_for_names_the_way_out(tmp_path):
    """If a proxy inspects TLS, the error says how to trust its certificate, and no key was sent."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate("localhost", tmp_path))
    akool = ScriptedServer([CREATE_BY_PROMPT_REPLY])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", akool.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        async with AkoolSession(KEY, base_url=f"https://localhost:{runner.addresses[0][1]}", timing=QUICK) as session:
            with pytest.raises(TransportError, match="SSL_CERT_FILE") as caught:
                await session.create_by_prompt("a fox")
    finally:
        await runner.cleanup()
    assert caught.value.delivered is False
    assert akool.asked == []
