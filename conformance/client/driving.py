"""The HTTP client that a driver is given: `HttpClient` of `conformance.gateway`, over the kit's own.

What is behind it shows nowhere: no type of it, no exception, no name. So it can be changed without a change to anyone's
driver. Some of those were written against httpx: who uses a name of it is told which to use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import loads
from typing import Any, NoReturn

import httpx

from conformance.client.failure import describe

INSTEAD: Mapping[str, str] = {
    "status_code": "status",
    "is_success": "ok",
    "is_error": "not ok",
    "raise_for_status": "ok, and raise Refused(status, text)",
    "content": "text or json()",
    "read": "text or json()",
    "cookies": "headers",
    "put": 'request("PUT", url)',
    "patch": 'request("PATCH", url)',
    "delete": 'request("DELETE", url)',
    "head": 'request("HEAD", url)',
    "stream": "request(method, url)",
    "send": "request(method, url)",
}
"""What a driver may have called it -> what it is called here."""


class DriverClient:
    """`HttpClient`. Its calls go through the kit's client, and so through its recorder."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> DriverResponse:
        try:
            response = self._http.request(method, url, json=json, params=params, headers=headers)
        except httpx.InvalidURL as error:
            raise ValueError(f"{url!r} is no URL: {error}") from error
        return DriverResponse(response)

    def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> DriverResponse:
        return self.request("GET", url, params=params, headers=headers)

    def post(
        self,
        url: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> DriverResponse:
        return self.request("POST", url, json=json, params=params, headers=headers)

    def __getattr__(self, name: str) -> NoReturn:
        _no_such("client", name)


class DriverResponse:
    """`HttpResponse`."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def ok(self) -> bool:
        return self._response.is_success

    @property
    def headers(self) -> Mapping[str, str]:
        return _Headers(self._response.headers)

    @property
    def text(self) -> str:
        return self._response.text

    def json(self) -> Any:
        try:
            return loads(self._response.content)
        except (ValueError, RecursionError) as error:
            asked = self._response.request
            raise ValueError(
                f"{asked.method} {asked.url.path} was answered with {self.status} and no JSON: {describe(self.text)}"
            ) from error

    def __getattr__(self, name: str) -> NoReturn:
        _no_such("response", name)


class _Headers(Mapping[str, str]):
    """Read only, and of no library's type."""

    def __init__(self, headers: httpx.Headers) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def _no_such(what: str, name: str) -> NoReturn:
    use = f": use {INSTEAD[name]}" if name in INSTEAD else " (conformance.gateway says what it has)"
    raise AttributeError(f"the HTTP {what} of a driver has no {name!r}{use}")
