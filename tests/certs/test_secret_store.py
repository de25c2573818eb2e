"""The CA Secret in a real API server."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certs.ca_state import CaState, Staged
from certs.errors import ApiRefusedError, ApiUnavailableError, ConflictError, FormatError, SecretError
from certs.secret_store import SecretStore
from tests.certs.cluster import RealApi, connected
from tests.certs.samples import authority
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

A, B = authority(), authority()


@pytest.fixture
def store(api: RealApi, namespace: str) -> SecretStore:
    """Return a store for a Secret that does not exist."""
    return SecretStore(api, namespace=namespace, name="rollonce-ca", labels={"app": "rollonce"})


async def test_the_secret_is_created_and_changed(plane: ControlPlane, store: SecretStore, namespace: str) -> None:
    """A state is the same after a read; its other keys are removed; annotations of others stay."""
    missing = await store.read()
    assert (missing.state, missing.version, missing.problem) == (None, None, None)
    await store.write(CaState(A, Staged(B)), over=missing)
    secret = plane.get("secret", "rollonce-ca", namespace)
    assert secret["type"] == "Opaque"
    assert secret["metadata"]["labels"] == {"app": "rollonce"}
    plane.kubectl("annotate", "secret", "rollonce-ca", "someone=else", f"--namespace={namespace}")
    first = await store.read()
    assert first.state
    assert first.state.bundle == CaState(A, Staged(B)).bundle
    await store.write(CaState(B), over=first)
    secret = plane.get("secret", "rollonce-ca", namespace)
    assert set(secret["data"]) == {"ca.crt", "ca.key", "state.json"}
    assert secret["metadata"]["annotations"]["someone"] == "else"
    assert "PRIVATE" not in repr(await store.read())


async def test_only_one_of_many_creates_the_secret(api: RealApi, namespace: str) -> None:
    """Of many that found no Secret exactly one writes, and all read the same afterwards."""
    stores = [SecretStore(api, namespace=namespace, name="ca") for _ in range(8)]
    found = await asyncio.gather(*(store.read() for store in stores))
    writes = [store.write(CaState(authority()), over=missing) for store, missing in zip(stores, found, strict=True)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 7
    signers = {read.state.signer.identity for read in [await store.read() for store in stores] if read.state}
    assert len(signers) == 1


async def test_a_write_over_another_version_is_a_conflict(
    plane: ControlPlane, store: SecretStore, namespace: str
) -> None:
    """The Secret was changed, deleted, or deleted and created again since it was read."""
    await store.write(CaState(A), over=await store.read())
    read = await store.read()
    await store.write(CaState(B), over=read)
    with pytest.raises(ConflictError, match="another writer wrote first"):
        await store.write(CaState(A), over=read)
    read = await store.read()
    plane.kubectl("delete", "secret", "rollonce-ca", f"--namespace={namespace}")
    with pytest.raises(ConflictError, match="it was deleted"):
        await store.write(CaState(A), over=read)
    await store.write(CaState(A), over=await store.read())
    with pytest.raises(ConflictError):
        await store.write(CaState(B), over=read)


async def test_an_empty_or_damaged_secret_is_overwritten(
    plane: ControlPlane, store: SecretStore, namespace: str
) -> None:
    """By compare-and-swap, so that no right to create is needed."""
    plane.kubectl("create", "secret", "generic", "rollonce-ca", f"--namespace={namespace}")
    empty = await store.read()
    assert empty.version
    assert (empty.state, empty.problem) == (None, None)
    await store.write(CaState(A), over=empty)
    _set(plane, namespace, "ca.key", b"rubbish")
    damaged = await store.read()
    assert damaged.state is None
    assert isinstance(damaged.problem, SecretError)
    assert "ca.crt/ca.key" in str(damaged.problem)
    await store.write(CaState(B), over=damaged)
    assert (await store.read()).problem is None
    _set(plane, namespace, "state.json", b'{"version": 9}')
    with pytest.raises(FormatError):
        await store.read()


def _set(plane: ControlPlane, namespace: str, key: str, value: bytes) -> None:
    patch = f'{{"data": {{"{key}": "{base64.b64encode(value).decode()}"}}}}'
    plane.kubectl("patch", "secret", "rollonce-ca", f"--namespace={namespace}", f"--patch={patch}")


async def test_a_refused_call_is_named(plane: ControlPlane, store: SecretStore, namespace: str) -> None:
    """An immutable Secret, and a missing right to read; the message never has Secret data."""
    await store.write(CaState(A), over=await store.read())
    plane.kubectl("patch", "secret", "rollonce-ca", f"--namespace={namespace}", '--patch={"immutable": true}')
    with pytest.raises(ApiRefusedError, match=r"updating the CA Secret .* answered 422 Invalid$") as caught:
        await store.write(CaState(B), over=await store.read())
    assert caught.value.status == 422
    kubeconfig = plane.kubeconfig_for("default", namespace).read_text()
    async with connected(plane, kubeconfig) as stranger:
        with pytest.raises(ApiRefusedError, match=r"answered 403 .*cannot get resource"):
            await SecretStore(stranger, namespace=namespace, name="rollonce-ca").read()


async def test_an_unavailable_api_server_is_an_error_of_its_own(api: RealApi, namespace: str) -> None:
    """The caller can try again later."""
    nowhere = replace(api, url="https://127.0.0.1:1")
    with pytest.raises(ApiUnavailableError):
        await SecretStore(nowhere, namespace=namespace, name="x").read()


async def test_times_survive(store: SecretStore) -> None:
    """To the microsecond, with their time zone."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    await store.write(CaState(A, Staged(B, moment)), over=await store.read())
    state = (await store.read()).state
    assert state
    assert state.next
    assert state.next.confirmed_at == moment
