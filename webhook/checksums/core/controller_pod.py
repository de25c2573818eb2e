"""The pod template of rollonce's controller: where its pods get their settings from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import msgspec

#: The word after which the arguments of the program come.
PROGRAM: Final = "controller"
_CONFIG: Final = "--config"
_REFERENCE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class _FieldRef(msgspec.Struct, frozen=True, rename="camel"):
    field_path: str = ""


class Reference(msgspec.Struct, frozen=True):
    """A ConfigMap, or one of its entries."""

    name: str = ""
    key: str = ""


class _ValueFrom(msgspec.Struct, frozen=True, rename="camel"):
    field_ref: _FieldRef | None = None
    config_map_key_ref: Reference | None = None


class Variable(msgspec.Struct, frozen=True, rename="camel"):
    """An environment variable."""

    name: str
    value: str = ""
    value_from: _ValueFrom | None = None

    @property
    def is_namespace(self) -> bool:
        """Whether its value is the namespace of the pod."""
        ref = self.value_from.field_ref if self.value_from else None
        return ref is not None and ref.field_path == "metadata.namespace"

    @property
    def entry(self) -> Reference | None:
        """The entry of a ConfigMap that its value is."""
        return self.value_from.config_map_key_ref if self.value_from else None


class VariablesFrom(msgspec.Struct, frozen=True, rename="camel"):
    """A ConfigMap whose entries are environment variables."""

    prefix: str = ""
    config_map_ref: Reference | None = None


class _Mount(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    mount_path: str
    sub_path: str = ""


class _Item(msgspec.Struct, frozen=True):
    key: str
    path: str


class _Content(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    secret_name: str = ""
    items: tuple[_Item, ...] | None = None


class _Volume(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    config_map: _Content | None = None
    secret: _Content | None = None


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """A container of the pods."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None
    env_from: tuple[VariablesFrom, ...] | None = None
    volume_mounts: tuple[_Mount, ...] | None = None

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The arguments of the controller; None if the container runs another program."""
        words = (*(self.command or ()), *(self.args or ()))
        return words[words.index(PROGRAM) + 1 :] if PROGRAM in words else None


class ControllerPod(msgspec.Struct, frozen=True):
    """The pod template's spec."""

    containers: tuple[Container, ...] = ()
    volumes: tuple[_Volume, ...] | None = None

    @property
    def container(self) -> Container | None:
        """The container of the controller; None if there is not exactly one."""
        found = [container for container in self.containers if container.arguments is not None]
        return found[0] if len(found) == 1 else None

    def find(self, container: Container, path: str) -> MountedFile | None:
        """Return where the contents of a file are; None if they are neither in a ConfigMap nor in a Secret."""
        inside = PurePosixPath(path)
        mounts = [mount for mount in container.volume_mounts or () if inside.is_relative_to(mount.mount_path)]
        mount = max(mounts, key=lambda mount: len(mount.mount_path), default=None)
        volume = next((one for one in self.volumes or () if mount and one.name == mount.name), None)
        content = (volume.config_map or volume.secret) if volume else None
        if mount is None or volume is None or content is None:
            return None
        relative = mount.sub_path or str(inside.relative_to(mount.mount_path))
        keys = {relative: relative} if content.items is None else {item.path: item.key for item in content.items}
        if relative not in keys:
            return None
        return MountedFile(content.name or content.secret_name, keys[relative], is_secret=volume.config_map is None)


class MountedFile(NamedTuple):
    """A file in a pod that is an entry of a ConfigMap or Secret.

    Attributes:
        name: The object's name.
        entry: The name of the entry.
        is_secret: Whether the object is a Secret.
    """

    name: str
    entry: str
    is_secret: bool


class _Template(msgspec.Struct, frozen=True):
    spec: ControllerPod = ControllerPod()


class _Spec(msgspec.Struct, frozen=True):
    template: _Template = _Template()


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str = ""


class ControllerDeployment(msgspec.Struct, frozen=True):
    """The Deployment of the controller."""

    metadata: _Metadata
    spec: _Spec = _Spec()

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.metadata.namespace

    @property
    def pod(self) -> ControllerPod:
        """The spec of its pods."""
        return self.spec.template.spec

    def __str__(self) -> str:
        return f"deployment {self.metadata.namespace}/{self.metadata.name}"


class Arguments(NamedTuple):
    """The arguments of a program.

    Attributes:
        config: The path of the settings file; empty for none.
        flags: The other values, by the names of the parameters.
    """

    config: str
    flags: dict[str, str]


def parse_arguments(
    arguments: Iterable[str], parameters: Mapping[str, str], environment: Mapping[str, str]
) -> Arguments:
    """Parse the arguments of a container.

    Args:
        arguments: `--flag=value` or `--flag value`, with `$(NAME)` for environment variables.
        parameters: The names of the parameters, by flag; other flags are ignored.
        environment: The environment variables.
    """
    found: dict[str, str] = {}
    words = iter(expand(word, environment) for word in arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        found[flag] = value if equals else next(words, "")
    flags = {parameters[flag]: value for flag, value in found.items() if flag in parameters}
    return Arguments(found.get(_CONFIG, ""), flags)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)`, as the kubelet does; what is not set stays as it is."""
    return _REFERENCE.sub(lambda match: environment.get(match[1], match[0]), text)
