"""Proxies in the environment: which one is used, which hosts are requested directly, and what is refused."""

import pytest

from akool_async import ConfigurationError
from akool_async._http.proxies import proxy_for, without_password

AKOOL = "https://openapi.akool.com"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, AKOOL, None),
        ({"HTTPS_PROXY": PROXY}, AKOOL, PROXY),
        ({"https_proxy": PROXY}, AKOOL, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other.example:1"}, AKOOL, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, AKOOL, None),
        ({"HTTP_PROXY": PROXY}, AKOOL, None),
        ({"HTTP_PROXY": PROXY}, "http://pictures.example/a.png", PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://pictures.example/a.png", None),
        ({"HTTPS_PROXY": "https://me:word@proxy.example"}, AKOOL, "https://me:word@proxy.example"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com, .akool.com"}, AKOOL, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "openapi.akool.com"}, AKOOL, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, AKOOL, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "kool.com"}, AKOOL, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "openapi.akool.com:8443"}, AKOOL, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "openapi.akool.com:8443"}, f"{AKOOL}:8443", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "OPENAPI.akool.com"}, "https://OpenAPI.AKOOL.com", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::1"}, "https://[fd00::1]:8443", None),
    ],
)
def test_the_proxy_that_the_environment_names_is_used(monkeypatch, environment, url, proxy):
    """The scheme of the address selects the variable, lower case takes precedence, and NO_PROXY lists exceptions."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_asked_directly(monkeypatch, scheme, host):
    """An emulator on loopback works for a user whose environment names proxies."""
    monkeypatch.setenv(f"{scheme}_proxy", PROXY)
    assert proxy_for(f"{scheme}://{host}:8080") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "value",
    ["proxy.example:3128", "socks5://proxy.example:1080", "http://", "http://proxy.example:99999", "http://a b:word@x"],
)
def test_a_variable_that_names_no_http_proxy_is_refused(monkeypatch, name, value):
    """The error names the variable, and not its value, which may contain a password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name} must be the URL of an http or https proxy") as caught:
        proxy_for(AKOOL)
    assert "word" not in str(caught.value)


def test_a_variable_that_is_not_needed_is_not_judged(monkeypatch):
    """An unusable proxy does no harm if the address does not use it."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
    monkeypatch.setenv("NO_PROXY", "akool.com")
    assert proxy_for(AKOOL) is None


def test_a_password_is_not_shown():
    """Only scheme, host and port of a proxy are shown."""
    assert without_password("http://me:pass%40word@proxy.example:3128/") == "http://proxy.example:3128"
    assert without_password("https://[fd00::1]:3128") == "https://[fd00::1]:3128"
