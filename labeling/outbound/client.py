"""Requests to addresses that somebody named: resolved once, checked, pinned, and bounded in every direction.

httpcore is used without its resolver: `_Pinned` opens each connection itself, to an address that was checked, so that
an answer of the DNS that changes between check and connection changes nothing. The certificate and the Host header are
still those of the name. Proxies named in the environment are not used.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from functools import cache
from socket import AF_UNSPEC, SOCK_STREAM, gaierror, getaddrinfo
from typing import Any
from urllib.parse import urljoin

import certifi
import httpcore
from httpcore import SOCKET_OPTION, NetworkBackend, NetworkStream

from labeling.errors import AddressRefused, DeliveryFailed
from labeling.outbound.rules import Address, OutboundRule, Target, as_address, parse_target

MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_CONNECT_SECONDS = 4.0
_CHUNK = 1 << 16
_UNNAMED_TYPES = {"", "application/octet-stream", "binary/octet-stream"}
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Received:
    """An answer: its status and its body, both within the limits."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Limits:
    """`seconds` for everything together, redirects and name look-ups too; `most_bytes` of the body."""

    seconds: float
    most_bytes: int


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, by the system's resolver."""
    found = getaddrinfo(host, port, AF_UNSPEC, SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class OutboundClient:
    """Sends requests by a rule; safe to use from many threads, and holds no connection between requests."""

    def __init__(
        self,
        rule: OutboundRule,
        *,
        setting: str = "API_FETCH",
        resolve: Resolve = resolve,
        backend: NetworkBackend | None = None,
    ) -> None:
        """Remember the rule.

        Args:
            rule: what may be reached.
            setting: the name of the rule, for those who are refused.
            resolve: host and port → addresses as text.
            backend: what opens the connections; it is only ever given addresses that the rule allows.
        """
        self.rule = rule
        self._setting = setting
        self._resolve = resolve
        self._backend = backend or httpcore.SyncBackend()
        self._resolvers = ThreadPoolExecutor(8, thread_name_prefix="resolve")

    def fetch_picture(self, url: str, limits: Limits) -> bytes:
        """The bytes of a picture at a URL, following at most three redirects; each is checked like the first.

        Raises:
            AddressRefused: `fetch_off`, `url_invalid`, `url_not_allowed`, `too_many_redirects`: nothing was sent there.
            DeliveryFailed: `fetch_failed`, `fetch_timeout`, `fetch_too_large`, `fetch_wrong_type`: the other side.
        """
        deadline = time.monotonic() + limits.seconds
        target = parse_target(url)
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._send("GET", target, {"Accept": "image/*"}, b"", deadline, limits.most_bytes, picture=True)
            if isinstance(answer, Received):
                return answer.body
            target = parse_target(_joined(target.url, answer))
        raise AddressRefused("too_many_redirects", f"Expected at most {MOST_REDIRECTS} redirects; the URL has more.")

    def post(self, url: str, body: bytes, headers: dict[str, str], limits: Limits) -> Received:
        """Send a body to a URL; a redirect is an answer like any other and is not followed.

        Raises:
            AddressRefused, DeliveryFailed: as of `fetch_picture`.
        """
        deadline = time.monotonic() + limits.seconds
        answer = self._send("POST", parse_target(url), headers, body, deadline, limits.most_bytes, picture=False)
        assert isinstance(answer, Received)  # noqa: S101  (redirects are only returned for pictures)
        return answer

    def _send(
        self,
        method: str,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        deadline: float,
        most_bytes: int,
        *,
        picture: bool,
    ) -> Received | str:
        """The answer, or where a redirect of a picture leads."""
        addresses = self._addresses(target, deadline)
        sent: dict[bytes | str, bytes | str] = {
            "Host": target.authority,
            "User-Agent": "Winnow",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **({"Content-Length": str(len(body))} if method == "POST" else {}),
        }
        sent.update(headers.items())
        origin = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        try:
            with (
                httpcore.HTTPConnection(
                    origin.origin,
                    ssl_context=_trust() if target.scheme == "https" else None,
                    network_backend=_Pinned(self._backend, addresses, deadline),
                ) as connection,
                connection.stream(method, origin, headers=sent, content=body or None) as response,
            ):
                return _read(response, most_bytes, picture=picture)
        except httpcore.TimeoutException:
            raise _too_slow() from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError):
            # Without the cause: what a network says about its inside is not the caller's business.
            raise DeliveryFailed("fetch_failed", "The host was reached, or should be, but gave no answer.") from None

    def _addresses(self, target: Target, deadline: float) -> list[Address]:
        if self.rule.off:
            raise AddressRefused(
                "fetch_off",
                f"Winnow reaches no URLs here. Send what is there itself, or have {self._setting} set to allow it.",
            )
        if target.address is not None:
            found = [target.address]
        else:
            try:
                asked = self._resolvers.submit(self._resolve, target.host, target.port)
                found = [as_address(text) for text in asked.result(_left(deadline))]
            except Late:
                asked.cancel()
                raise _too_slow() from None
            except (gaierror, UnicodeError, ValueError, OSError):
                found = []
        # One private address among public ones is enough: which of them is used would be a matter of luck. A name that
        # does not exist gets the same words, so that nobody can ask which names an inner network knows.
        if not found or not all(self.rule.allows(target, address) for address in found):
            raise AddressRefused(
                "url_not_allowed",
                f"Expected a host that {self._setting} allows; {target.host} is none, or does not exist. Use another.",
            )
        return found


class _Pinned(NetworkBackend):
    """Opens connections to the given addresses whatever the name says, and ends every wait at the deadline."""

    def __init__(self, backend: NetworkBackend, addresses: Sequence[Address], deadline: float) -> None:
        self._backend = backend
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        failed: Exception | None = None
        for address in self._addresses:
            try:
                stream = self._backend.connect_tcp(
                    str(address),
                    port,
                    timeout=min(_CONNECT_SECONDS, _left(self._deadline)),
                    socket_options=socket_options or (),
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Timed(stream, self._deadline)
        raise failed or httpcore.ConnectError("no address")


class _Timed(NetworkStream):
    """A stream whose waits all end at one moment, so that a byte a second does not last for ever."""

    def __init__(self, stream: NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _read(response: httpcore.Response, most_bytes: int, *, picture: bool) -> Received | str:
    headers = {name.lower(): value.decode("latin-1").strip() for name, value in response.headers}
    if picture:
        if response.status in _REDIRECTS and headers.get(b"location"):
            return headers[b"location"]
        if response.status != 200:
            raise DeliveryFailed("fetch_failed", f"Expected the status 200, the host answered {response.status}.")
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith("image/") and kind not in _UNNAMED_TYPES:
            raise DeliveryFailed(
                "fetch_wrong_type", "Expected an image type, the host calls its answer something else."
            )
        if headers.get(b"content-encoding", "identity").lower() not in {"", "identity"}:
            raise DeliveryFailed("fetch_wrong_type", "Expected bytes as they are, the host sent them compressed.")
    declared = headers.get(b"content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    body = bytearray()
    for part in response.iter_stream():
        body += part
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
    return Received(response.status, bytes(body))


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:  # brackets around what is no IPv6 address
        return ""


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return left


def _too_slow() -> DeliveryFailed:
    return DeliveryFailed("fetch_timeout", "The host took too long to answer. Try again, or send the image itself.")


def _too_large(most_bytes: int) -> DeliveryFailed:
    return DeliveryFailed("fetch_too_large", f"Expected at most {most_bytes:,} bytes, the host sends more.")


@cache
def _trust() -> ssl.SSLContext:
    """The system's authorities, so that a private one counts where the system knows it, and certifi's."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
