"""How to reach the API server: a kubeconfig, or the ServiceAccount of the pod."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import yaml
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from webhook.errors import ConfigurationError
from webhook.runtime.options import NAMESPACE_FILE

#: Set in every pod.
IN_CLUSTER_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"
_HINT: Final = "Give another by --kubeconfig, or choose a context of it by --context."
_MESSAGE_LENGTH: Final = 300
_DEFAULT_NAMESPACE: Final = "default"


async def load_configuration(kubeconfig: str, context: str = "") -> Configuration:
    """Load the configuration for reaching the API server.

    Args:
        kubeconfig: Path of a kubeconfig, or several as in PATH; empty means the pod's ServiceAccount, or the default
            kubeconfig outside of a pod.
        context: The kubeconfig's context; empty means its current one.

    Raises:
        ConfigurationError: There is no usable configuration; the message says which one was read.
    """
    configuration = Configuration()
    in_cluster = not kubeconfig and bool(os.environ.get(IN_CLUSTER_VARIABLE))
    where = kubeconfig or kubernetes_config.KUBE_CONFIG_DEFAULT_LOCATION
    tried = "the pod's ServiceAccount" if in_cluster else f"the kubeconfig {where}"
    try:
        if in_cluster:
            kubernetes_config.load_incluster_config(configuration)
        else:
            _require_file(where)
            await kubernetes_config.load_kube_config(
                config_file=where, context=context or None, client_configuration=configuration
            )
        _require_address(str(configuration.host))
        # It reads the certificates.
        RESTClientObject(configuration)
    except Exception as error:  # noqa: BLE001 - the library does not check the form of what it reads
        raise ConfigurationError(f"Cannot use {tried}: {_reason(error)}. {_HINT}") from None
    return configuration


def default_namespace(kubeconfig: str, context: str = "") -> str:
    """Return the namespace of requests that name none, as kubectl chooses it.

    Args:
        kubeconfig: As of `load_configuration`, which has accepted it.
        context: As of `load_configuration`.
    """
    if not kubeconfig and os.environ.get(IN_CLUSTER_VARIABLE):
        try:
            return NAMESPACE_FILE.read_text().strip()
        except OSError:
            return _DEFAULT_NAMESPACE
    where = kubeconfig or kubernetes_config.KUBE_CONFIG_DEFAULT_LOCATION
    contexts, current = kubernetes_config.list_kube_config_contexts(config_file=where)
    chosen = next((one for one in contexts if one.get("name") == context), {}) if context else current
    return str((chosen.get("context") or {}).get("namespace") or _DEFAULT_NAMESPACE)


def _require_file(where: str) -> None:
    """Check that there is a file; the library only logs that there is none.

    Raises:
        FileNotFoundError: There is none.
    """
    paths = [Path(part).expanduser() for part in where.split(os.pathsep) if part]
    if not any(path.exists() for path in paths):
        raise FileNotFoundError(2, os.strerror(2))


def _require_address(host: str) -> None:
    """Check that the address is one that can be called.

    Raises:
        ConfigurationError: It is not.
    """
    parts = urlsplit(host)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"the server {host!r} is not a URL such as https://host:6443")


def _reason(error: Exception) -> str:
    """Describe an error in one line."""
    match error:
        case yaml.YAMLError():
            mark = getattr(error, "problem_mark", None)
            return "it is not YAML" + (f" at line {mark.line + 1}" if mark else "")
        case kubernetes_config.ConfigException() | ConfigurationError():
            return " ".join(str(error).split())[:_MESSAGE_LENGTH].rstrip(".")
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return f"it is not a kubeconfig ({type(error).__name__})"
