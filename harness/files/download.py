"""Reading from the web: http and https only, bounded in size and time, and every failure is one line.

`requests` follows redirects and proxies. What it may not do is set here: no address but of the web, no password of the
user's `.netrc`, no answer that is longer or slower than allowed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness import __version__
from harness.errors import NotFetched, one_line
from harness.files.reading import Damaged

if TYPE_CHECKING:
    import requests

#: Seconds to wait for a connection and for the next bytes of an answer.
TIMEOUTS = (10.0, 30.0)
#: Seconds that one file may take, and the bytes per second from which a large one may take longer.
LONGEST_S, SLOWEST_BYTES = 120.0, 50_000
_MOST_REDIRECTS = 5
_CHUNK = 2**16


class Missing(Damaged):
    """The server answers, and says that it has no such file."""


def is_address(text: str) -> bool:
    """Whether a text is meant as an address of the web.

    >>> is_address("https://example.org/board"), is_address("results"), is_address("C:/results")
    (True, False, False)
    """
    return "://" in text


def fetch(address: str, largest: int) -> bytes:
    """The bytes at an address.

    Args:
        address: http or https.
        largest: bytes that are taken at most.

    Raises:
        NotFetched: no address of the web, one that cannot be reached in time, or an error of the server.
        Missing: the server has no such file (404 or 410).
        Damaged: more bytes than allowed, or fewer than the server announced.
    """
    import requests
    import urllib3

    _require_web(address)
    deadline = time.monotonic() + max(LONGEST_S, largest / SLOWEST_BYTES)
    try:
        with _session() as session:
            headers = {"User-Agent": f"itm-harness/{__version__}", "Accept-Encoding": "identity"}
            with session.get(address, stream=True, timeout=TIMEOUTS, headers=headers) as answer:
                if answer.status_code in (404, 410):
                    raise Missing(f"{address} does not exist (the server says {answer.status_code})")
                if answer.status_code != 200:
                    reason = f"{answer.status_code} {one_line(answer.reason, 60)}"
                    raise NotFetched(f"cannot read {address}: the server says {reason}; open it in a browser")
                return _content(answer, address, largest, deadline)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise NotFetched(f"cannot read {address}: {_reason(error)}; check the address and the connection") from None


def _session() -> requests.Session:
    """A session that sends no password: without this, requests would send what ~/.netrc holds for a host."""
    import requests

    class Nameless(requests.Session):
        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            prepared_request.headers.pop("Authorization", None)

    session = Nameless()
    session.max_redirects = _MOST_REDIRECTS
    session.auth = lambda request: request
    return session


def _content(answer: requests.Response, address: str, largest: int, deadline: float) -> bytes:
    parts, size = [], 0
    # iter_content would wait for a whole chunk, however slowly its bytes come
    while part := answer.raw.read1(_CHUNK, decode_content=True):
        size += len(part)
        if size > largest:
            raise Damaged(f"{address} gives more than {largest:,} bytes, which is all that is expected")
        if time.monotonic() > deadline:
            raise NotFetched(
                f"cannot read {address}: too slow, {size:,} bytes came until the time was up; try again later"
            )
        parts.append(part)
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and not answer.headers.get("Content-Encoding") and size != int(announced):
        raise Damaged(f"{address} was cut off after {size:,} of {int(announced):,} bytes")
    return b"".join(parts)


def _require_web(address: str) -> None:
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname)
    except ValueError:
        parts, named = None, False
    if parts is None or parts.scheme not in ("http", "https") or not named:
        raise NotFetched(f"{one_line(address, 120)} is no address of the web; expected http://... or https://...")
    if parts.username or parts.password:
        raise NotFetched(f"the address at {parts.hostname} holds a user name or a password; give it without")


def _reason(error: Exception) -> str:
    """What went wrong, without the addresses of objects that the library's messages hold."""
    import requests
    import urllib3

    for kind, reason in (
        (requests.TooManyRedirects, f"more than {_MOST_REDIRECTS} redirects"),
        (requests.exceptions.InvalidSchema, "it leads to an address that is not of the web"),
        (requests.exceptions.SSLError, "its certificate is not valid"),
        (requests.Timeout, "no answer in time"),
        (urllib3.exceptions.TimeoutError, "no answer in time"),
        (urllib3.exceptions.HTTPError, "the connection was cut off"),
        (requests.exceptions.ChunkedEncodingError, "the connection was cut off"),
        (requests.exceptions.ProxyError, "the proxy refuses"),
        (requests.ConnectionError, "no connection"),
    ):
        if isinstance(error, kind):
            return reason
    return type(error).__name__
