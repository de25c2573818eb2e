"""The client of the Kubernetes API server.

It uses the configuration of the official client (kubeconfig or ServiceAccount, with token refresh and exec plugins) but
not its generated classes: these cost 32 MB of memory and double the time of a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from webhook.errors import KubernetesError
from webhook.kube.api import ErrorReplyError, Reply
from webhook.kube.configuration import load_configuration
from webhook.kube.core.stream import LineSplitter
from webhook.runtime.deadline import Deadline

__all__ = ["KubernetesClient", "load_configuration"]

#: The most time for a request that is not a watch.
REQUEST_LIMIT_SECONDS: Final = 30.0
#: How much of an error response to a watch is read.
_ERROR_BYTES: Final = 65_536
#: After this time without a reply, the API server's time is unknown: the machine may have been suspended meanwhile.
_TIME_KNOWN_SECONDS: Final = 60.0


def checked_path(path: str) -> str:
    """Return a path of the API server if each of its segments is a name.

    Names come from objects that others wrote. Quoting does not change dots, and an empty name would make the path of
    one object that of all of them.

    Raises:
        KubernetesError: A segment is empty, `.` or `..`, or the path has something that is not part of a path.
    """
    # The URL library decodes `%2E`, which quoting never makes.
    if {"", ".", ".."} & {*unquote(path).split("/")[1:]} or not path.startswith("/") or {*path} & {*"?#\\\0"}:
        raise KubernetesError("A name that is to be looked up is not one that an object can have.")
    return path


class KubernetesClient:
    """A connection pool to one API server; implements `webhook.kube.api.WatchApi`.

    Args:
        configuration: From `load_configuration`.
        user_agent: Sent with each request; the API server's audit log shows it.
        connections: The most connections at a time; further requests wait for one within their deadline.
    """

    def __init__(self, configuration: Configuration, *, user_agent: str, connections: int = 64) -> None:
        self._configuration = configuration
        self._host = str(configuration.host).rstrip("/")
        self._server_hostname = configuration.tls_server_name or None
        #: The latest `Date`, as text and as time, and when a reply brought it first, in monotonic time.
        self._date_text = ""
        self._date = 0.0
        self._date_at = 0.0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=RESTClientObject(configuration).ssl_context,
                limit=connections,
                # The API server closes idle connections after three minutes; the client closes them before.
                keepalive_timeout=90,
            ),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            # With `trust_env`, aiohttp would look for proxies and passwords in two threads at each request.
            proxy=configuration.proxy or _proxy_for(self._host),
            auto_decompress=True,
            # A watch event can be as large as an object.
            read_bufsize=2**18,
            max_line_size=2**16,
        )

    @property
    def host(self) -> str:
        """The API server's URL."""
        return self._host

    def server_time(self) -> float:
        """Return the API server's time in seconds since 1970, never ahead of it; 0 if no recent reply has it."""
        elapsed = time.monotonic() - self._date_at
        return self._date + elapsed if self._date and elapsed <= _TIME_KNOWN_SECONDS else 0.0

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """GET a path; repeated once, on a new connection, if an idle one was closed by the server.

        Raises:
            KubernetesError: No reply within the deadline.
        """
        try:
            return await self._request("GET", path, deadline, query=query, headers={"Accept": accept})
        except _StaleConnectionError:
            return await self._request("GET", path, deadline, query=query, headers={"Accept": accept})

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """POST, PUT, PATCH or DELETE; never repeated automatically.

        Raises:
            KubernetesError: No reply within the deadline; it is unknown whether the write happened.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        return await self._request(method, path, deadline, query=query, headers=headers, body=body)

    @asynccontextmanager
    async def watch(
        self, path: str, *, query: Mapping[str, str], accept: str, silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch; entering the context yields the lines of the stream, one event each.

        Args:
            path: The collection to watch.
            query: With `watch=true` and a `timeoutSeconds`, after which the server ends the watch.
            accept: The form in which objects are sent.
            silence: Seconds without a byte after which the connection counts as broken.

        Raises:
            ErrorReplyError: The API server answered with an error status.
            KubernetesError: The connection could not be made or broke.
            LineTooLongError: A line is longer than an event can be.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        try:
            async with self._session.get(
                self._host + checked_path(path),
                params=dict(query),
                headers={"Accept": accept, **await self._authorization()},
                timeout=timeout,
                server_hostname=self._server_hostname,
            ) as response:
                if response.status != 200:
                    body = await response.content.read(_ERROR_BYTES)
                    raise ErrorReplyError(Reply(response.status, body, _retry_after(response)))
                try:
                    async with aclosing(_lines(response.content)) as lines:
                        yield lines
                finally:
                    # A stream that is broken off has nothing left to send, so TLS need not wait for the server's end of
                    # it. If the server has ended it, the connection is free for other requests already.
                    if response.connection and response.connection.transport:
                        response.connection.transport.abort()
        except (aiohttp.ClientError, TimeoutError, OSError, kubernetes_config.ConfigException) as error:
            raise KubernetesError(f"The watch of {path} broke: {_kind_of(error)}.") from None

    async def _request(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None,
        headers: dict[str, str],
        body: bytes | None = None,
    ) -> Reply:
        left = min(deadline.require(), REQUEST_LIMIT_SECONDS)
        try:
            async with asyncio.timeout(left):
                headers |= await self._authorization()
                async with self._session.request(
                    method,
                    self._host + checked_path(path),
                    params=dict(query) if query else None,
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None),
                    server_hostname=self._server_hostname,
                    allow_redirects=False,
                ) as response:
                    self._note_time(response)
                    return Reply(response.status, await response.read(), _retry_after(response))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise KubernetesError(f"The API server cannot be reached: {_kind_of(error)}.") from None
            raise _StaleConnectionError(f"The API server closed the connection during {method} {path}.") from None
        except TimeoutError:
            raise KubernetesError(f"The API server did not answer {method} {path} within {left:.1f} s.") from None
        except (aiohttp.ClientError, OSError, kubernetes_config.ConfigException) as error:
            raise KubernetesError(f"The API server did not answer {method} {path}: {_kind_of(error)}.") from None

    def _note_time(self, response: aiohttp.ClientResponse) -> None:
        text = response.headers.get("Date", "")
        if text == self._date_text:
            return
        try:
            self._date = parsedate_to_datetime(text).timestamp()
        except ValueError:
            return
        self._date_text, self._date_at = text, time.monotonic()

    async def _authorization(self) -> dict[str, str]:
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        return {str(setting["key"]): str(setting["value"]) for setting in settings.values() if setting["value"]}


class _StaleConnectionError(KubernetesError):
    """The connection was closed before a reply came; a read may be repeated."""


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes]:
    lines = LineSplitter()
    async for piece in content.iter_any():
        for line in lines.feed(piece):
            yield line


def _proxy_for(url: str) -> str | None:
    """Return the proxy for a URL from the environment (`HTTPS_PROXY`, `NO_PROXY` and so on)."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _kind_of(error: BaseException) -> str:
    """Describe an error, in the operating system's words if there are any."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not signed by the certificate authority in the configuration"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _retry_after(response: aiohttp.ClientResponse) -> int | None:
    value = response.headers.get("Retry-After", "")
    return int(value) if value.isascii() and value.isdigit() else None
