"""Provided pairs: whatever happens to the files, the last valid pair is served."""

import asyncio
import os
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
from certs.pair_reloader import POLL_SECONDS, PairReloader, ReloadResult
from certs.pair_sources import MAX_FILE_BYTES, FileSource, PairSource, RawPair
from certs.pem import KeyPair, encode_certificates
from certs.tls import ServerTls
from tests.certs.clocks import ManualClock
from tests.certs.samples import DAY, NAMES, NOW, authority, foreign, pair

CA = authority()
CA_PEM = encode_certificates((CA.certificate,))
GOOD, NEXT = pair(CA), pair(CA)


class Bench:
    """A folder with certificate files, and a reloader that reads them.

    Args:
        folder: The folder.
        source: Read instead of the files, if given.
        clock: The clock of the reloader.
    """

    def __init__(self, folder: Path, *, source: PairSource | None = None, clock: ManualClock | None = None) -> None:
        self.crt, self.key, self.ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
        self.clock = clock or ManualClock(NOW)
        self.tls = ServerTls()
        self.delivered: list[KeyPair] = []
        self.reloader = PairReloader(
            source or FileSource(self.crt, self.key, self.ca),
            server_name=NAMES.api_server_name,
            deliver=self.deliver,
            clock=self.clock,
        )

    def deliver(self, made: KeyPair) -> None:
        """Load a pair into a real TLS context."""
        self.tls.load(made)
        self.delivered.append(made)

    def put(self, made: KeyPair, ca: bytes = CA_PEM) -> None:
        """Write the three files."""
        self.crt.write_bytes(made.chain_pem)
        self.key.write_bytes(made.key_pem)
        self.ca.write_bytes(ca)

    def damage(self, which: str, *, at: int, junk: bytes, cut: int) -> None:
        """Replace a part of a file by junk."""
        path: Path = getattr(self, which)
        content = path.read_bytes()
        path.write_bytes(content[:at] + junk + content[at + cut :])

    async def fails(self, error_type: type[CertificateError], match: str = "") -> None:
        """Check that a pass fails and loads nothing."""
        before = list(self.delivered)
        found = await self.reloader.refresh()
        assert isinstance(found.error, error_type)
        assert match in str(found.error)
        assert not found.renewed
        assert self.delivered == before
        assert found.pair == (before[-1] if before else None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a folder with a valid pair."""
    prepared = Bench(tmp_path)
    prepared.put(GOOD)
    return prepared


async def test_a_valid_pair_is_loaded_once(bench: Bench) -> None:
    """A changed one is loaded at the next pass."""
    first = await bench.reloader.refresh()
    assert (first.renewed, first.error, first.warning) == (True, None, None)
    assert not (await bench.reloader.refresh()).renewed
    bench.put(NEXT)
    assert (await bench.reloader.refresh()).renewed
    assert [made.chain for made in bench.delivered] == [GOOD.chain, NEXT.chain]


async def test_no_bundle_is_needed(tmp_path: Path) -> None:
    """Then only the pair itself is checked."""
    bench = Bench(tmp_path, source=FileSource(tmp_path / "tls.crt", tmp_path / "tls.key"))
    bench.put(GOOD)
    found = await bench.reloader.refresh()
    assert found.renewed
    assert not found.bundle.certificates


async def test_an_invalid_pair_is_rejected_and_the_old_one_stays(bench: Bench) -> None:
    """Mismatched, cut off, empty, expired, not valid yet; then valid again."""
    await bench.reloader.refresh()
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
    assert (await bench.reloader.refresh()).renewed


async def test_files_that_cannot_be_read_are_rejected_and_the_old_pair_stays(bench: Bench) -> None:
    """Missing, a folder, a pipe, too large, a loop of links, an invalid path."""
    await bench.reloader.refresh()
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
    bench.key.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    await bench.fails(UnreadableError, "larger than")
    with pytest.raises(UnreadableError, match="not a path"):
        await FileSource(Path("a\0b"), bench.key).read()
    bench.put(NEXT)
    assert (await bench.reloader.refresh()).renewed


async def test_a_mounted_secret_is_replaced_by_its_link(tmp_path: Path) -> None:
    """The kubelet mounts files as links into `..data`, which is a link that it replaces atomically."""
    for name, made in (("..one", GOOD), ("..two", NEXT)):
        (tmp_path / name).mkdir()
        Bench(tmp_path / name).put(made)
    (tmp_path / "..data").symlink_to("..one")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    bench = Bench(tmp_path)
    assert (await bench.reloader.refresh()).renewed
    (tmp_path / "..data_tmp").symlink_to("..two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert (await bench.reloader.refresh()).renewed
    assert [made.chain for made in bench.delivered] == [GOOD.chain, NEXT.chain]


async def test_files_that_change_all_the_time_are_not_read(bench: Bench) -> None:
    """Two reads have to agree."""
    source = FileSource(bench.crt, bench.key)
    numbers = iter(range(99))

    def changing() -> RawPair:
        return RawPair(b"%d" % next(numbers), b"")

    source._read_once = changing  # type: ignore[method-assign]  # no test can change a file at exactly that moment
    with pytest.raises(UnreadableError, match="change while"):
        await source.read()


async def test_a_pair_that_does_not_chain_to_its_own_authority_is_loaded_with_a_warning(bench: Bench) -> None:
    """API servers use the bundle in the webhook configurations, which can be another one."""
    bench.put(GOOD, ca=encode_certificates((authority().certificate,)))
    found = await bench.reloader.refresh()
    assert found.renewed
    assert isinstance(found.warning, UntrustedError)
    assert isinstance((await bench.reloader.refresh()).warning, UntrustedError)


async def test_the_expiry_of_the_served_pair_is_a_warning(bench: Bench) -> None:
    """The pair stays, because there is no other."""
    await bench.reloader.refresh()
    bench.clock.moment = NOW + 2 * DAY
    found = await bench.reloader.refresh()
    assert isinstance(found.warning, ValidityError)
    assert found.pair == bench.delivered[-1]


async def test_a_pair_that_tls_rejects_is_tried_again(bench: Bench) -> None:
    """It does not count as loaded."""
    reject = True

    def deliver(_made: KeyPair) -> None:
        if reject:
            raise TlsError("no")

    reloader = PairReloader(FileSource(bench.crt, bench.key), server_name="x", deliver=deliver, clock=ManualClock(NOW))
    assert isinstance((await reloader.refresh()).error, TlsError)
    reject = False
    assert (await reloader.refresh()).renewed


async def test_the_loop_repeats_and_can_be_woken(tmp_path: Path) -> None:
    """It reports each pass, failed ones included, and ends when it is cancelled."""
    reports = asyncio.Queue[ReloadResult]()
    waits = asyncio.Queue[float]()

    class EndlessSleep(ManualClock):
        async def sleep(self, seconds: float) -> None:
            waits.put_nowait(seconds)
            await asyncio.Event().wait()

    bench = Bench(tmp_path, clock=EndlessSleep(NOW))
    bench.put(GOOD)
    bench.reloader.wake()
    loop = asyncio.ensure_future(bench.reloader.run(report=reports.put_nowait))
    async with asyncio.timeout(30):
        assert (await reports.get()).renewed
        assert await waits.get() == POLL_SECONDS
        bench.crt.write_bytes(b"")
        bench.reloader.wake()
        assert isinstance((await reports.get()).error, PemError)
        bench.put(NEXT)
        bench.reloader.wake()
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
    """Any change of any file gives another valid pair or a CertificateError."""
    bench = Bench(tmp_path)
    bench.put(GOOD)
    await bench.reloader.refresh()
    bench.put(NEXT)
    bench.damage(which, at=at, junk=junk, cut=cut)
    found = await bench.reloader.refresh()
    assert found.renewed != bool(found.error)
    assert bench.tls._serving
    assert found.pair == bench.delivered[-1]
