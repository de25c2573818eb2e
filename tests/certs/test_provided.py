"""Provided pairs: whatever happens to the files, the last good pair stays in service."""

import asyncio
import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.errors import (
    CertificateError,
    KeyMismatchError,
    PemError,
    TlsError,
    UnreadableError,
    UntrustedError,
    ValidityError,
)
from certs.files import LARGEST, FileSource, RawPair
from certs.pem import KeyPair, encode_certificates
from certs.provided import POLL_SECONDS, PairKeeper, PairSource, Provision
from certs.tls import ServerTls
from tests.certs.samples import DAY, NAMES, NOW, authority, foreign, pair

CA = authority()
CA_PEM = encode_certificates((CA.certificate,))
GOOD, NEXT = pair(CA), pair(CA)


class Bench:
    """A folder with certificate files, and a keeper that watches it."""

    def __init__(self, folder: Path, *, source: PairSource | None = None) -> None:
        self.crt, self.key, self.ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
        self.now: datetime = NOW
        self.tls = ServerTls()
        self.delivered: list[KeyPair] = []
        self.keeper = PairKeeper(
            source or FileSource(self.crt, self.key, self.ca),
            server_name=NAMES.api_server_name,
            deliver=self.deliver,
            clock=lambda: self.now,
        )

    def deliver(self, made: KeyPair) -> None:
        """Into a real TLS context."""
        self.tls.load(made)
        self.delivered.append(made)

    def put(self, made: KeyPair, ca: bytes = CA_PEM) -> None:
        """Writes the three files."""
        self.crt.write_bytes(made.chain_pem)
        self.key.write_bytes(made.key_pem)
        self.ca.write_bytes(ca)

    def damage(self, which: str, *, at: int, junk: bytes, cut: int) -> None:
        """Splices junk into a file."""
        path: Path = getattr(self, which)
        content = path.read_bytes()
        path.write_bytes(content[:at] + junk + content[at + cut :])

    async def fails(self, kind: type[CertificateError], match: str = "") -> None:
        """A pass that takes nothing and leaves everything as it was."""
        before = list(self.delivered)
        found = await self.keeper.refresh()
        assert isinstance(found.error, kind)
        assert match in str(found.error)
        assert not found.renewed
        assert self.delivered == before
        assert found.pair == (before[-1] if before else None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """With a good pair in the files."""
    made = Bench(tmp_path)
    made.put(GOOD)
    return made


async def test_a_good_pair_is_taken_once(bench: Bench) -> None:
    """And a changed one at the next look."""
    first = await bench.keeper.refresh()
    assert (first.renewed, first.error, first.warning) == (True, None, None)
    assert not (await bench.keeper.refresh()).renewed
    bench.put(NEXT)
    assert (await bench.keeper.refresh()).renewed
    assert [made.chain for made in bench.delivered] == [GOOD.chain, NEXT.chain]


async def test_no_bundle_is_needed(tmp_path: Path) -> None:
    """Then only the pair itself can be looked at."""
    bench = Bench(tmp_path, source=FileSource(tmp_path / "tls.crt", tmp_path / "tls.key"))
    bench.put(GOOD)
    found = await bench.keeper.refresh()
    assert found.renewed
    assert not found.bundle.certificates


async def test_what_is_bad_keeps_the_old_pair(bench: Bench) -> None:
    """Mismatched, cut off, empty, expired, not valid yet; then good again."""
    await bench.keeper.refresh()
    bench.crt.write_bytes(NEXT.chain_pem)
    await bench.fails(KeyMismatchError)
    bench.crt.write_bytes(GOOD.chain_pem[:-100])
    await bench.fails(PemError, "certificate")
    bench.crt.write_bytes(b"")
    await bench.fails(PemError)
    bench.put(GOOD, ca=b"rubbish")
    await bench.fails(PemError, "CA bundle")
    bench.put(foreign(now=NOW - 2 * DAY, lifetime=DAY))
    await bench.fails(ValidityError, "expired")
    bench.put(foreign(now=NOW + 3 * DAY))
    await bench.fails(ValidityError, "not valid before")
    bench.put(NEXT)
    assert (await bench.keeper.refresh()).renewed


async def test_what_cannot_be_read_keeps_the_old_pair(bench: Bench) -> None:
    """Missing, a folder, a pipe, far too large, a loop of links, an impossible path."""
    await bench.keeper.refresh()
    bench.key.unlink()
    await bench.fails(UnreadableError, "tls.key: No such file")
    bench.key.mkdir()
    await bench.fails(UnreadableError, "not a file")
    bench.key.rmdir()
    os.mkfifo(bench.key)
    await bench.fails(UnreadableError, "not a file")
    bench.key.unlink()
    bench.key.symlink_to(bench.key)
    await bench.fails(UnreadableError)
    bench.key.unlink()
    bench.key.write_bytes(b"x" * (LARGEST + 1))
    await bench.fails(UnreadableError, "larger than")
    with pytest.raises(UnreadableError, match="not a path"):
        await FileSource(Path("a\0b"), bench.key).read()
    bench.put(NEXT)
    assert (await bench.keeper.refresh()).renewed


async def test_a_mounted_secret_is_swapped_by_its_link(tmp_path: Path) -> None:
    """As the kubelet does: files are links into `..data`, which is a link that is replaced atomically."""
    for name, made in (("..one", GOOD), ("..two", NEXT)):
        (tmp_path / name).mkdir()
        Bench(tmp_path / name).put(made)
    (tmp_path / "..data").symlink_to("..one")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    bench = Bench(tmp_path)
    assert (await bench.keeper.refresh()).renewed
    (tmp_path / "..data_tmp").symlink_to("..two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert (await bench.keeper.refresh()).renewed
    assert [made.chain for made in bench.delivered] == [GOOD.chain, NEXT.chain]


async def test_files_that_never_stand_still_are_not_read(bench: Bench) -> None:
    """Two readings have to agree."""
    source = FileSource(bench.crt, bench.key)
    readings = iter(range(99))

    def restless() -> RawPair:
        return RawPair(b"%d" % next(readings), b"")

    source._read_once = restless  # type: ignore[method-assign]  # a disk that changes in between cannot be had at will
    with pytest.raises(UnreadableError, match="change while"):
        await source.read()


async def test_a_pair_that_its_own_authority_would_not_believe_is_taken_with_a_warning(bench: Bench) -> None:
    """Who provides it may know better: the bundle in use is the one in the webhook configurations."""
    bench.put(GOOD, ca=encode_certificates((authority().certificate,)))
    found = await bench.keeper.refresh()
    assert found.renewed
    assert isinstance(found.warning, UntrustedError)
    assert isinstance((await bench.keeper.refresh()).warning, UntrustedError)


async def test_the_expiry_of_the_pair_in_service_is_told(bench: Bench) -> None:
    """Nobody renewed it; it stays, since there is nothing better."""
    await bench.keeper.refresh()
    bench.now = NOW + 2 * DAY
    found = await bench.keeper.refresh()
    assert isinstance(found.warning, ValidityError)
    assert found.pair == bench.delivered[-1]


async def test_a_pair_that_tls_refuses_is_tried_again(bench: Bench) -> None:
    """It does not count as taken."""
    refuse = True

    def deliver(_made: KeyPair) -> None:
        if refuse:
            raise TlsError("no")

    keeper = PairKeeper(FileSource(bench.crt, bench.key), server_name="x", deliver=deliver, clock=lambda: NOW)
    assert isinstance((await keeper.refresh()).error, TlsError)
    refuse = False
    assert (await keeper.refresh()).renewed


async def test_the_loop_looks_again_and_at_once_when_woken(bench: Bench) -> None:
    """It reports each pass, also those that failed, and ends when it is cancelled."""
    reports = asyncio.Queue[Provision]()
    waits = asyncio.Queue[float]()

    async def sleep(seconds: float) -> None:
        waits.put_nowait(seconds)
        await asyncio.Event().wait()

    bench.keeper.wake()
    loop = asyncio.ensure_future(bench.keeper.run(sleep=sleep, chance=lambda: 1.0, report=reports.put_nowait))
    async with asyncio.timeout(30):
        assert (await reports.get()).renewed
        assert await waits.get() == POLL_SECONDS
        bench.crt.write_bytes(b"")
        bench.keeper.wake()
        assert isinstance((await reports.get()).error, PemError)
        bench.put(NEXT)
        bench.keeper.wake()
        assert (await reports.get()).renewed
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    which=st.sampled_from(["crt", "key", "ca"]),
    at=st.integers(0, 1200),
    junk=st.binary(max_size=50),
    cut=st.integers(0, 1200),
)
async def test_no_file_content_crashes_the_reload(tmp_path: Path, which: str, at: int, junk: bytes, cut: int) -> None:
    """Any splice into any of the files is taken if it is good, and is a clear error otherwise."""
    bench = Bench(tmp_path)
    bench.put(GOOD)
    await bench.keeper.refresh()
    bench.put(NEXT)
    bench.damage(which, at=at, junk=junk, cut=cut)
    found = await bench.keeper.refresh()
    assert found.renewed != bool(found.error)
    assert bench.tls.is_loaded
    assert found.pair == bench.delivered[-1]
