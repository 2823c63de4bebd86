"""Which addresses may be reached.

The table of special-purpose blocks is IANA's (RFC 6890 and the registries that it set up). It is written out here
because Python's `ipaddress.is_global` has changed its mind between patch releases.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urlsplit

from labeling.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_CHARACTERS = 4096
OFF, PUBLIC = "off", "public"
_PORTS = {"http": 80, "https": 443}

_NOT_PUBLIC_4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the metadata service of one cloud, at an address that looks public
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
# Among them the forms that carry an IPv4 address inside (Teredo, 6to4); the others (mapped, compatible, NAT64) lie
# outside of 2000::/3 anyway.
_NOT_PUBLIC_6 = tuple(
    IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# What a name in the list does not open: no picture and no product lives there, and cloud credentials do.
_NEVER_BY_NAME = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/32",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "192.0.0.192/32",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "fd00:ec2::254/128",
        "fe80::/10",
        "ff00::/8",
    )
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True)
class Target:
    """A checked URL, in the parts that a connection needs; nobody parses it a second time.

    Attributes:
        scheme: `http` or `https`.
        host: lower-case name, or an address without brackets.
        port: 1..65535.
        path: path and query, percent-encoded, with the leading slash.
        address: the host as an address, None for a name.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_target(url: str) -> Target:
    """Take a URL apart, strictly: what two parsers could read in two ways is refused.

    Raises:
        AddressRefused: `url_invalid`.
    """
    if len(url) > MOST_CHARACTERS or _FORBIDDEN.search(url):
        raise _invalid(f"at most {MOST_CHARACTERS} characters without spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("an http or https URL") from None
    if parts.scheme not in _PORTS or not url[len(parts.scheme) :].startswith("://"):
        raise _invalid("a URL that begins with http:// or https://")
    if "@" in parts.netloc:
        raise _invalid("a URL without user name and password")
    if port == 0 or parts.netloc.endswith(":"):
        raise _invalid("a port from 1 to 65535, or none")
    host, address = _host(parts.netloc, parts.hostname or "")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path, address)


@dataclass(frozen=True)
class OutboundRule:
    """What may be reached: nothing, the public Internet, and what is listed by name or network.

    Attributes:
        public: every public address.
        hosts: (host, port) that may be reached also where they resolve to private addresses; port None = any.
        networks: addresses that may be reached by any name.
    """

    public: bool = False
    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "OutboundRule":
        """Read the setting: `off`, or a comma-separated list of `public`, `host[:port]` and networks (10.0.0.0/8).

        Raises:
            ValueError: an entry is none of these.
        """
        entries = [entry.strip().lower() for entry in text.split(",") if entry.strip()]
        if entries in ([], [OFF]):
            return cls()
        hosts: set[tuple[str, int | None]] = set()
        networks: list[Network] = []
        for entry in entries:
            if entry == PUBLIC:
                continue
            if "/" in entry:
                networks.append(ip_network(entry))
            else:
                hosts.add(_host_and_port(entry))
        return cls(PUBLIC in entries, frozenset(hosts), tuple(networks))

    @property
    def off(self) -> bool:
        return not (self.public or self.hosts or self.networks)

    def allows(self, target: Target, address: Address) -> bool:
        """Whether a connection for `target` may be opened to this address."""
        if any(address in network for network in self.networks if network.version == address.version):
            return True
        if self.public and is_public(address):
            return True
        name = target.host.rstrip(".")
        listed = (name, None) in self.hosts or (name, target.port) in self.hosts
        return listed and not _never(address)


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public Internet; forms that carry another address inside do not."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _NOT_PUBLIC_4)
    if address.scope_id is not None or address not in _PUBLIC_6:
        return False
    return not any(address in block for block in _NOT_PUBLIC_6)


def _never(address: Address) -> bool:
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any(
        one in block for one in (address, inner) if one for block in _NEVER_BY_NAME if block.version == one.version
    )


def _host(netloc: str, host: str) -> tuple[str, Address | None]:
    if netloc.startswith("["):
        try:
            address = IPv6Address(host)
        except ValueError:
            raise _invalid("an IPv6 address between the brackets") from None
        if address.scope_id is not None:
            raise _invalid("an IPv6 address without a zone")
        return address.compressed, address
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid("a host of ASCII letters, digits, hyphens and dots (other scripts as xn--…)")
    if not _NUMERIC.fullmatch(labels[-1]):
        return host, None
    try:
        # Four decimal numbers and nothing else: other programs read 0177.1, 2130706433 or 0x7f.1 as addresses too.
        return host, IPv4Address(host)
    except ValueError:
        raise _invalid("an IPv4 address as four decimal numbers without leading zeros") from None


def _host_and_port(entry: str) -> tuple[str, int | None]:
    try:
        target = parse_target(f"http://{entry}/")
    except AddressRefused as refused:
        raise ValueError(str(refused)) from None
    named_port = re.search(r":(\d+)$", entry) is not None and (not target.host.count(":") or "]:" in entry)
    if target.path != "/":
        raise ValueError(f"Expected host or host:port, received {entry!r}.")
    return target.host.rstrip("."), target.port if named_port else None


def _invalid(expected: str) -> AddressRefused:
    return AddressRefused("url_invalid", f"Expected {expected}; the URL is something else. Correct it.")


def as_address(text: str) -> Address:
    """An address as the system's resolver gives it."""
    return ip_address(text)
