"""E-mail addresses, and addresses of machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from workbench.data.cleaning.pii.finding import Find, Finder, says

# Bounded repeats, so that a long run of letters without an @ costs no more than its length. It begins with a
# letter, digit or underscore: a quote or asterisk before it belongs to the text.
EMAIL = re.compile(
    r"(?<![\w.+-])\w[\w!#$%&'*+/=?^`{|}~-]{0,63}(?:\.[\w!#$%&'*+/=?^`{|}~-]{1,64}){0,8}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}([A-Za-z]{2,24})(?![\w-]|\.\w{1,40}\()"
)
_ATTRIBUTES = frozenset(
    ("shape", "size", "dtype", "device", "grad", "weight", "bias", "float", "double", "half", "long", "numpy")
    + ("values", "array", "matrix", "real", "imag", "mean", "sum", "std", "flat", "ndim", "columns", "index")
    + ("item", "items", "mT", "mH")
)
"""`A@B.shape` is a product of matrices; none of these is a top-level domain (Malta's has small letters)."""
_COMMON = frozenset(
    ("com", "net", "org", "edu", "gov", "info", "biz", "io", "co", "ai", "us", "ca", "mx", "br", "ar", "uk")
    + ("ie", "fr", "de", "ch", "it", "es", "pt", "nl", "be", "lu", "dk", "se", "fi", "pl", "cz", "hu", "ro")
    + ("gr", "tr", "ru", "ua", "il", "cn", "hk", "tw", "jp", "kr", "sg", "vn", "au", "nz", "za", "eu")
)
"""What an address right before a bracket ends in: `A@B.dot(` calls a method, as `.to(` and `.at(` do."""
_V4 = re.compile(
    r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)"
)
# Short ones with `::` only where they can be routed (2000::/3), for a::b is code.
_V6 = re.compile(
    r"(?<![\w:.])(?:(?:[0-9A-Fa-f]{1,4}:{1,2}){2,7}[0-9A-Fa-f]{1,4}"
    r"|[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{1,4}){0,6}::(?:[0-9A-Fa-f]{1,4})?)(?![\w:])"
)
_VERSION = re.compile(r"(?:\b(?:version|release|section|chapter|rev|v)\.?|[=<>]=)\s*$", re.IGNORECASE)


def emails(text: str) -> Iterator[Find]:
    """Addresses as RFC 5322's `dot-atom@domain`, with a top-level domain of letters; not `A@B.c(`, but where
    c is a common one of them."""
    if "@" not in text:
        return
    for match in EMAIL.finditer(text):
        is_called = text.startswith("(", match.end()) and (
            match[1].lower() not in _COMMON or "@self." in match[0]
        )
        if not is_called and match[1] not in _ATTRIBUTES:
            yield Find(match.start(), match.end(), "email", match[0])


def machines(keep_private: bool) -> Finder:
    """A finder of IPv4 and IPv6 addresses; `keep_private` passes over those that are not routed to
    anybody."""

    def find(text: str) -> Iterator[Find]:
        for pattern in (_V4, _V6) if ":" in text else (_V4,):
            for match in pattern.finditer(text):
                if says(text, match.start(), _VERSION):
                    continue
                try:
                    address = ipaddress.ip_address(match[0])
                except ValueError:
                    continue
                if address.is_global or (not keep_private and not address.is_unspecified):
                    yield Find(match.start(), match.end(), "ip", match[0], f"v{address.version}")

    return find
