"""Fetching what somebody names: what may not be reached is never reached, and nothing holds a request for ever.

Nothing here sends traffic outside of loopback. Where a public address would be connected to, a recorder stands in its
place, which notes the address and leads on to a server of the test.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpcore
import pytest

from labeling.errors import AddressRefused, DeliveryFailed
from labeling.outbound.client import Limits, OutboundClient
from labeling.outbound.rules import OutboundRule, as_address, is_public, parse_target

PUBLIC = "93.184.215.14"
ELSEWHERE = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
PICTURE = b"\x89PNG\r\n\x1a\n and so on"
LIMITS = Limits(seconds=5, most_bytes=10_000)
HASTY = Limits(seconds=0.3, most_bytes=10_000)


BOMB = gzip.compress(bytes(1 << 20))
IMAGE = b"200 OK\r\nContent-Type: image/png\r\n"
HOPS = {"redirect", "there", "again"}
HEADS = {
    "huge": IMAGE + b"Content-Length: 99999999999\r\n\r\n" + PICTURE,
    "endless": IMAGE + b"\r\n",
    "endless-chunks": IMAGE + b"Transfer-Encoding: chunked\r\n\r\n",
    "slow": IMAGE + b"Content-Length: 9999\r\n\r\n",
    "slow-head": b"200 OK\r\nX-Long: ",
    "endless-head": b"200 OK\r\n",
    "gzip": IMAGE + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    "page": b"200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
    "missing": b"404 Not Found\r\nContent-Type: image/png\r\nContent-Length: 2\r\n\r\nno",
}
WITHOUT_END = {
    "endless": (b"x" * 4096, 0.0),
    "endless-chunks": (b"1000\r\n" + b"x" * 4096 + b"\r\n", 0.0),
    "slow": (b"x", 0.02),
    "slow-head": (b"x", 0.02),
    "endless-head": (b"X-More: " + b"x" * 4096 + b"\r\n", 0.0),
}


class Site:
    """A server on loopback whose paths misbehave in one way each; `asked` lists the paths that were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.location = ""
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._listener.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = peer.recv(65536)
                if not piece:
                    return
                head += piece
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            self.heads.append(head.decode())
            for piece in self._pieces(path):
                if self._closing.is_set():
                    return
                peer.sendall(piece)

    def _pieces(self, path: str) -> Iterator[bytes]:
        name, _, argument = path.removeprefix("/").partition("?")
        if name in HOPS:
            there = {"redirect": argument, "there": self.location, "again": f"/again?{argument}x"}[name]
            yield b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + there.encode() + b"\r\n\r\n"
        elif name == "silent":
            self._closing.wait(10)
        elif name == "nonsense":
            yield b"220 mail.example ESMTP ready\r\n"
        elif name in HEADS:
            yield b"HTTP/1.1 " + HEADS[name]
            more, pause = WITHOUT_END.get(name, (b"", 0.0))
            while more:
                time.sleep(pause)
                yield more
        else:
            yield b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(PICTURE)
            yield PICTURE


class Recorder(httpcore.NetworkBackend):
    """Notes every connection that would be opened, and leads it to the site."""

    def __init__(self, site: Site) -> None:
        self.opened: list[tuple[str, int]] = []
        self.server_names: list[str | None] = []
        self._site = site

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        self.opened.append((host, port))
        if port == 443:
            return _NotingTls(self.server_names)
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self._site.port, timeout=timeout)


class _NotingTls(httpcore.NetworkStream):
    def __init__(self, names: list[str | None]) -> None:
        self._names = names

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        assert ssl_context.check_hostname
        assert ssl_context.verify_mode == ssl.CERT_REQUIRED
        self._names.append(server_hostname)
        raise httpcore.ConnectError("far enough")

    def close(self) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


@pytest.fixture
def recorder(site: Site) -> Recorder:
    return Recorder(site)


NAMES: dict[str, list[str]] = {
    "pictures.example": [PUBLIC],
    "both.example": [PUBLIC, ELSEWHERE],
    "inside.example": ["10.1.2.3"],
    "loop.example": ["127.0.0.1"],
    "loop6.example": ["::1"],
    "half.example": [PUBLIC, "192.168.0.1"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1"],
    "broadcast.example": ["255.255.255.255"],
}


def look_up(host: str, port: int) -> Sequence[str]:
    try:
        return NAMES[host]
    except KeyError:
        raise socket.gaierror(socket.EAI_NONAME, "no such host") from None


@pytest.fixture
def client(recorder: Recorder) -> OutboundClient:
    return OutboundClient(OutboundRule.parse("public"), resolve=look_up, backend=recorder)


def fetch(client: OutboundClient, url: str, limits: Limits = LIMITS) -> bytes:
    """The picture, or a failure of the test where nothing ends the wait."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(client.fetch_picture, url, limits).result(20)


# ---- addresses

NEVER = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8000/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0X7F.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://00000177.0.0.1/",
    "http://127.0.0.1./",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.192/",
    "http://192.168.1.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://inside.example/",
    "http://loop.example/",
    "http://loop6.example/",
    "http://half.example/",
    "http://metadata.example/",
    "http://mapped.example/",
    "http://broadcast.example/",
    "http://nowhere.example/",
    "http://pictures.example@127.0.0.1/",
    "http://127.0.0.1@pictures.example/",
    "http://user:word@pictures.example/",
    "http://pictures.example#@127.0.0.1/".replace("#", "\\"),
    "http://pictures.example\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http:///127.0.0.1/",
    "http:127.0.0.1/",
    "//127.0.0.1/",
    "http://１２７.０.０.１/",
    "http://ⓛocalhost/",
    "http://127。0。0。1/",
    "http://127.0.0.1%00.pictures.example/",
    "http://pictures.example%2f127.0.0.1/",
    "http://pictures.example:0/",
    "http://pictures.example:99999/",
    "http://pictures.example:80:80/",
    "http://pictures.example:/",
    "http://pictures.example:8０/",
    "http://pictures.example/\r\nHost: inside.example",
    "http://pictures.example /",
    "http://pictures\t.example/",
    "http://[::1/",
    "http://[127.0.0.1]/",
    "http://[v1.127]/",
    "http://-.example/",
    "http://.example/",
    "http://pictures..example/",
    "http://" + "a" * 300 + ".example/",
    "http://pictures.example/" + "a" * 5000,
    "http://",
    "",
    "file:///etc/passwd",
    "ftp://pictures.example/",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stats",
    "data:image/png;base64,AAAA",
    "jar:http://pictures.example!/",
    "javascript:alert(1)",
    "unix:/var/run/docker.sock",
    "HTTP+UNIX://%2Fvar%2Frun%2Fdocker.sock/",
]


@pytest.mark.parametrize("url", NEVER)
def test_it_opens_no_connection_to_what_is_not_public(client: OutboundClient, recorder: Recorder, url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        fetch(client, url)
    assert refused.value.code in {"url_invalid", "url_not_allowed"}
    assert recorder.opened == []


@pytest.mark.parametrize("url", [url for url in NEVER if "\r" not in url])
def test_a_redirect_leads_no_further_than_a_url_does(
    client: OutboundClient, recorder: Recorder, site: Site, url: str
) -> None:
    site.location = url
    # Some of these are no more than another path of the same host once they are joined to it.
    with suppress(AddressRefused, DeliveryFailed):
        fetch(client, "http://pictures.example/there")
    assert set(recorder.opened) == {(PUBLIC, 80)}


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "172.32.0.1", "192.169.0.1", "2606:4700::1111"],
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(as_address(address))


def test_a_private_name_and_one_that_does_not_exist_get_the_same_words(client: OutboundClient) -> None:
    said = []
    for host in ("inside.example", "nowhere.example"):
        with pytest.raises(AddressRefused) as refused:
            fetch(client, f"http://{host}/")
        said.append(str(refused.value).replace(host, "HOST"))
    assert said[0] == said[1]


# ---- connections


def test_it_connects_to_the_address_that_it_checked_and_asks_for_the_name(
    client: OutboundClient, recorder: Recorder, site: Site
) -> None:
    assert fetch(client, "http://pictures.example:8080/a%20b?c=d") == PICTURE
    assert recorder.opened == [(PUBLIC, 8080)]
    assert site.asked == ["/a%20b?c=d"]
    assert "Host: pictures.example:8080\r\n" in site.heads[0]
    assert "Accept-Encoding: identity\r\n" in site.heads[0]


def test_an_answer_of_the_dns_that_changes_after_the_check_changes_nothing(recorder: Recorder) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    client = OutboundClient(OutboundRule.parse("public"), resolve=lambda *_: next(answers), backend=recorder)
    assert fetch(client, "http://turning.example/") == PICTURE
    assert recorder.opened == [(PUBLIC, 80)]
    with pytest.raises(AddressRefused):
        fetch(client, "http://turning.example/")
    assert len(recorder.opened) == 1


def test_a_name_that_turns_private_between_two_redirects_is_refused_there(recorder: Recorder) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    client = OutboundClient(OutboundRule.parse("public"), resolve=lambda *_: next(answers), backend=recorder)
    with pytest.raises(AddressRefused, match="turning"):
        fetch(client, "http://turning.example/redirect?/picture")
    assert recorder.opened == [(PUBLIC, 80)]


def test_the_certificate_is_asked_for_under_the_name_and_not_under_the_address(
    client: OutboundClient, recorder: Recorder
) -> None:
    with pytest.raises(DeliveryFailed):
        fetch(client, "https://pictures.example/")
    assert recorder.opened == [(PUBLIC, 443)]
    assert recorder.server_names == ["pictures.example"]


def test_an_address_that_does_not_answer_is_followed_by_the_next(site: Site) -> None:
    class FirstIsDown(Recorder):
        def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            if host == PUBLIC:
                self.opened.append((host, port))
                raise httpcore.ConnectError("down")
            return super().connect_tcp(host, port, *args, **kwargs)

    recorder = FirstIsDown(site)
    client = OutboundClient(OutboundRule.parse("public"), resolve=look_up, backend=recorder)
    assert fetch(client, "http://both.example/") == PICTURE
    assert [host for host, _ in recorder.opened] == [PUBLIC, ELSEWHERE]


def test_up_to_three_redirects_are_followed_and_a_fourth_is_not(client: OutboundClient, site: Site) -> None:
    hops = "http://pictures.example/redirect?/redirect?/redirect?/picture"
    assert fetch(client, hops) == PICTURE
    with pytest.raises(AddressRefused) as refused:
        fetch(client, "http://pictures.example/again?x")
    assert refused.value.code == "too_many_redirects"
    assert len([path for path in site.asked if path.startswith("/again")]) == 4


def test_proxies_of_the_environment_are_not_used(
    client: OutboundClient, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert fetch(client, "http://pictures.example/") == PICTURE
    assert recorder.opened == [(PUBLIC, 80)]


# ---- bodies


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("huge", "fetch_too_large"),
        ("endless", "fetch_too_large"),
        ("endless-chunks", "fetch_too_large"),
        ("endless-head", "fetch_failed"),
        ("gzip", "fetch_wrong_type"),
        ("page", "fetch_wrong_type"),
        ("missing", "fetch_failed"),
        ("nonsense", "fetch_failed"),
    ],
)
def test_what_is_no_picture_of_moderate_size_is_refused(client: OutboundClient, path: str, code: str) -> None:
    with pytest.raises(DeliveryFailed) as failed:
        fetch(client, f"http://pictures.example/{path}")
    assert failed.value.code == code


@pytest.mark.parametrize("path", ["slow", "slow-head", "silent"])
def test_a_host_that_drips_or_says_nothing_is_left_at_the_deadline(client: OutboundClient, path: str) -> None:
    with pytest.raises(DeliveryFailed) as failed:
        fetch(client, f"http://pictures.example/{path}", HASTY)
    assert failed.value.code == "fetch_timeout"


def test_a_resolver_that_does_not_answer_is_left_at_the_deadline(recorder: Recorder) -> None:
    asked = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        asked.wait(20)
        return [PUBLIC]

    client = OutboundClient(OutboundRule.parse("public"), resolve=hang, backend=recorder)
    try:
        with pytest.raises(DeliveryFailed) as failed:
            fetch(client, "http://pictures.example/", HASTY)
        assert failed.value.code == "fetch_timeout"
        assert recorder.opened == []
    finally:
        asked.set()


# ---- the rule


def test_off_reaches_nothing(recorder: Recorder) -> None:
    for text in ("", "off", "OFF"):
        client = OutboundClient(OutboundRule.parse(text), resolve=look_up, backend=recorder)
        with pytest.raises(AddressRefused) as refused:
            fetch(client, "http://pictures.example/")
        assert refused.value.code == "fetch_off"
    assert recorder.opened == []


@pytest.mark.parametrize(
    ("rule", "url", "allowed"),
    [
        ("inside.example", "http://inside.example/", True),
        ("inside.example", "http://inside.example:81/", True),
        ("inside.example:81", "http://inside.example:81/", True),
        ("inside.example:81", "http://inside.example/", False),
        ("inside.example", "http://pictures.example/", False),
        ("INSIDE.example", "http://Inside.Example./", False),
        ("localhost", "http://localhost./", True),
        ("inside.example", "http://sub.inside.example/", False),
        ("inside.example,public", "http://pictures.example/", True),
        ("10.0.0.0/8", "http://inside.example/", True),
        ("10.0.0.0/8", "http://10.9.9.9/", True),
        ("10.0.0.0/8", "http://11.0.0.1/", False),
        ("10.0.0.0/8", "http://mapped.example/", False),
        ("fc00::/7", "http://[fd12::1]/", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9001/", False),
        ("[::1]:9000", "http://[0::1]:9000/", True),
        ("metadata.example", "http://metadata.example/", False),
        ("169.254.0.0/16", "http://metadata.example/", True),
    ],
)
def test_a_list_opens_what_it_names_and_nothing_else(recorder: Recorder, rule: str, url: str, allowed: bool) -> None:
    client = OutboundClient(OutboundRule.parse(rule), resolve=look_up, backend=recorder)
    if allowed:
        assert fetch(client, url) == PICTURE
    else:
        with pytest.raises(AddressRefused):
            fetch(client, url)
        assert recorder.opened == []


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/40", "a b", "http://x.example", "x.example/path", "0x7f.1"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        OutboundRule.parse(text)


def test_a_post_is_pinned_too_and_follows_no_redirect(client: OutboundClient, recorder: Recorder, site: Site) -> None:
    send: Callable[[str], Any] = lambda url: client.post(url, b"{}", {"X-Signed": "yes"}, LIMITS)  # noqa: E731
    assert send("http://pictures.example/hook").status == 200
    assert "X-Signed: yes\r\n" in site.heads[0]
    assert send("http://pictures.example/redirect?http://127.0.0.1/").status == 302
    assert len(recorder.opened) == 2
    with pytest.raises(AddressRefused):
        send("http://inside.example/hook")


def test_a_url_is_taken_apart_once() -> None:
    target = parse_target("https://Pictures.Example/ä?b=ü#part")
    assert (target.scheme, target.host, target.port, target.path) == (
        "https",
        "pictures.example",
        443,
        "/%C3%A4?b=%C3%BC",
    )
