"""Calls to the Kubernetes API server.

The official client's configuration is used (kubeconfig or ServiceAccount, with token refresh and exec plugins), but not
its generated classes: the typed ones cost 32 MB and twice the time of a request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from webhook.admission.deadline import Deadline
from webhook.clients.api import Reply
from webhook.errors import ConfigurationError, KubernetesError

#: As long as an API server may take for a request that is no watch.
REQUEST_LIMIT_SECONDS: Final = 30.0
#: Where a pod finds what it needs to call the API server.
IN_CLUSTER_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def load_configuration(kubeconfig: str, context: str = "") -> Configuration:
    """Find out how to reach the API server.

    Args:
        kubeconfig: Path of a kubeconfig; empty means the ServiceAccount of the pod, or the default kubeconfig outside
            of one.
        context: The kubeconfig's context; empty means its current one.

    Raises:
        ConfigurationError: There is no usable configuration; the message says which was tried.
    """
    configuration = Configuration()
    in_cluster = not kubeconfig and bool(os.environ.get(IN_CLUSTER_VARIABLE))
    where = kubeconfig or kubernetes_config.KUBE_CONFIG_DEFAULT_LOCATION
    try:
        if in_cluster:
            kubernetes_config.load_incluster_config(configuration)
        else:
            await kubernetes_config.load_kube_config(
                config_file=kubeconfig or None, context=context or None, client_configuration=configuration
            )
    except (kubernetes_config.ConfigException, OSError, ValueError, TypeError) as error:
        tried = "the pod's ServiceAccount" if in_cluster else f"the kubeconfig {where}"
        raise ConfigurationError(f"Cannot read {tried}: {error}. Give another by --kubeconfig.") from None
    return configuration


class KubernetesClient:
    """A connection pool to one API server; implements `webhook.clients.api.KubernetesApi`.

    Args:
        configuration: From `load_configuration`.
        user_agent: Sent with each request; the API server's audit log shows it.
        connections: At most so many at a time; more requests wait for one within their deadline.
    """

    def __init__(self, configuration: Configuration, *, user_agent: str, connections: int = 64) -> None:
        self._configuration = configuration
        self._host = str(configuration.host).rstrip("/")
        self._server_hostname = configuration.tls_server_name or None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=RESTClientObject(configuration).ssl_context,
                limit=connections,
                # An API server closes idle connections after three minutes; we are gone before.
                keepalive_timeout=90,
            ),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            # With `trust_env`, aiohttp looks for proxies and passwords anew, in two threads, at each request.
            proxy=configuration.proxy or _proxy_for(self._host),
            auto_decompress=True,
            # An event of a watch can be as large as an object.
            read_bufsize=2**18,
            max_line_size=2**16,
        )

    @property
    def host(self) -> str:
        """The API server's URL."""
        return self._host

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """GET a path; asked again once, on a new connection, where an idle one had been closed under it.

        Raises:
            KubernetesError: No answer within the deadline.
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
        """POST, PUT, PATCH or DELETE; never repeated by itself.

        Raises:
            KubernetesError: No answer within the deadline; whether the write happened is unknown.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        return await self._request(method, path, deadline, query=query, headers=headers, body=body)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], accept: str, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a watch and hand out the response as it comes in.

        Args:
            path: What to watch.
            query: With `watch=true` and a `timeoutSeconds`, after which the server ends it.
            accept: The form in which objects are sent.
            silence: Seconds without a byte after which the connection counts as dead.

        Raises:
            KubernetesError: The connection could not be made or broke.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        try:
            async with self._session.get(
                self._host + path,
                params=dict(query),
                headers={"Accept": accept, **await self._authorization()},
                timeout=timeout,
                server_hostname=self._server_hostname,
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
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
                    self._host + path,
                    params=dict(query) if query else None,
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None),
                    server_hostname=self._server_hostname,
                    allow_redirects=False,
                ) as response:
                    return Reply(response.status, await response.read(), _retry_after(response))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise KubernetesError(f"The API server cannot be reached: {_kind_of(error)}.") from None
            raise _StaleConnectionError(f"The API server closed the connection during {method} {path}.") from None
        except TimeoutError:
            raise KubernetesError(f"The API server did not answer {method} {path} within {left:.1f} s.") from None
        except (aiohttp.ClientError, OSError, kubernetes_config.ConfigException) as error:
            raise KubernetesError(f"The API server did not answer {method} {path}: {_kind_of(error)}.") from None

    async def _authorization(self) -> dict[str, str]:
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        return {str(setting["key"]): str(setting["value"]) for setting in settings.values() if setting["value"]}


class _StaleConnectionError(KubernetesError):
    """The connection was closed before an answer came; a read may be asked again."""


def _proxy_for(url: str) -> str | None:
    """Find the proxy that the environment names for a URL (`HTTPS_PROXY`, `NO_PROXY` and the like)."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _kind_of(error: BaseException) -> str:
    """Say what went wrong, by the operating system's words where there are any."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not signed by the certificate authority that we were given"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _retry_after(response: aiohttp.ClientResponse) -> int | None:
    value = response.headers.get("Retry-After", "")
    return int(value) if value.isascii() and value.isdigit() else None
