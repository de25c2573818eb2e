"""kubectl with the webhooks, which are called by a real API server; pods are run by kwok."""

from __future__ import annotations

import pytest

from tests.controlplane.commands import Result
from tests.webhook.checksums.cluster import KEY, Cluster, shop
from webhook.checksums.core.inputs import MissingPolicy
from webhook.checksums.core.keys import HELD, SECRETS
from webhook.checksums.core.messages import RESUMED_BY_HAND, YIELDED, undo_changes_nothing
from webhook.checksums.settings import ChecksumSettings


class TestHold:
    """A Deployment that is created before its Secret."""

    @pytest.fixture(autouse=True)
    def hold(self, cluster: Cluster) -> None:
        """Set the policy of these tests."""
        cluster.settings = ChecksumSettings(missing=MissingPolicy.HOLD)

    async def test_exactly_one_replica_set_ever_exists(self, cluster: Cluster) -> None:
        """It is created paused, and released with its checksum in one write when the Secret exists."""
        created = await cluster.apply(shop())
        assert "Kept paused until there is Secret" in created.stderr
        held = await cluster.get()
        assert held["spec"]["paused"] is True
        assert held["metadata"]["annotations"][HELD] == "waiting for secret/db"
        assert (
            await cluster.kubectl("rollout", "status", "deployment/shop", "--timeout=1s", check=False)
        ).returncode != 0
        assert await cluster.replica_sets() == 0
        await cluster.secret("one")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert await cluster.rolled_out() == 1
        assert await cluster.checksum() is not None
        assert HELD not in (await cluster.get())["metadata"]["annotations"]

    @pytest.mark.parametrize("mode", [(), ("--server-side",)])
    async def test_applying_it_again_changes_nothing(self, cluster: Cluster, mode: tuple[str, ...]) -> None:
        """It stays held, its generation stays, and `kubectl diff` is clean."""
        await cluster.apply(shop(), *mode)
        before = await cluster.get()
        await cluster.apply(shop(), *mode)
        after = await cluster.get()
        assert after["spec"]["paused"] is True
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        assert (await cluster.kubectl("diff", "-f", "-", *mode, tree=shop(), check=False)).returncode == 0

    async def test_resuming_by_hand_starts_it(self, cluster: Cluster) -> None:
        """With a warning, and it is not paused again."""
        await cluster.apply(shop())
        resumed = await cluster.kubectl("rollout", "resume", "deployment/shop")
        assert RESUMED_BY_HAND in resumed.stderr
        assert await cluster.rolled_out() == 1
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert "paused" not in (await cluster.get())["spec"]

    async def test_opting_out_starts_it(self, cluster: Cluster) -> None:
        """It does not wait for anything any more."""
        await cluster.apply(shop())
        await cluster.kubectl("annotate", "deployment", "shop", f"{SECRETS}-")
        assert await cluster.rolled_out() == 1

    async def test_the_pause_of_an_author_stays(self, cluster: Cluster) -> None:
        """Also when the Secret exists."""
        await cluster.apply(shop(paused=True))
        await cluster.secret("one")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        stored = await cluster.get()
        assert stored["spec"]["paused"] is True
        assert HELD not in stored["metadata"]["annotations"]

    @pytest.mark.parametrize("way", ["server-side apply", "apply", "patch", "json patch", "pause", "replace"])
    async def test_a_pause_by_hand_during_the_hold_stays(self, cluster: Cluster, way: str) -> None:
        """In each way to say `paused: true`; the checksum is added when the Secret exists."""
        await cluster.apply(shop())
        assert "Kept paused" in (await cluster.kubectl("label", "deployment", "shop", "touched=once")).stderr
        paused = await pause_by_hand(cluster, way)
        assert YIELDED in paused.stderr
        assert HELD not in (await cluster.get())["metadata"]["annotations"]
        await cluster.secret("one")
        await cluster.kubectl("label", "--overwrite", "deployment", "shop", "touched=twice")
        stored = await cluster.get()
        assert stored["spec"]["paused"] is True
        assert KEY in stored["spec"]["template"]["metadata"]["annotations"]
        await cluster.kubectl("rollout", "resume", "deployment/shop")
        assert await cluster.rolled_out() == 1

    @pytest.mark.parametrize("way", ["server-side apply", "apply", "patch", "replace"])
    async def test_a_write_that_does_not_mention_the_pause_leaves_the_hold(self, cluster: Cluster, way: str) -> None:
        """It is released when the Secret exists, as if nothing had been written."""
        await cluster.apply(shop())
        if way == "replace":
            await cluster.kubectl("replace", "-f", "-", tree=await cluster.get())
        elif way == "patch":
            for _ in range(2):
                await cluster.kubectl("patch", "deployment", "shop", "--type=merge", "-p", '{"spec":{"replicas":2}}')
                await cluster.kubectl("patch", "deployment", "shop", "--type=merge", "-p", '{"spec":{"replicas":3}}')
        else:
            mode = ("--server-side", "--field-manager=gitops", "--force-conflicts") if way != "apply" else ()
            await cluster.apply(shop(replicas=2), *mode)
            await cluster.apply(shop(replicas=2), *mode)
        assert HELD in (await cluster.get())["metadata"]["annotations"]
        await cluster.secret("one")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert "paused" not in (await cluster.get())["spec"]
        assert await cluster.rolled_out() == 1

    @pytest.mark.parametrize("mode", [(), ("--server-side",)])
    async def test_a_manifest_that_says_not_paused_is_refused(self, cluster: Cluster, mode: tuple[str, ...]) -> None:
        """Its next apply would end the hold; this is detected for both ways of applying."""
        refused = await cluster.apply(shop(paused=False), *mode, check=False)
        assert refused.returncode != 0
        assert "the manifest says paused: false" in refused.stderr
        await cluster.secret("one")
        await cluster.apply(shop(paused=False), *mode)
        assert await cluster.rolled_out() == 1

    @pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
    async def test_kinds_that_cannot_pause_are_refused(self, cluster: Cluster, kind: str) -> None:
        """They are admitted with their checksum when the Secret exists."""
        refused = await cluster.apply(shop(kind), check=False)
        assert "cannot be held until it does" in refused.stderr
        await cluster.secret("one")
        await cluster.apply(shop(kind))
        stored = await cluster.get(kind.lower())
        assert KEY in stored["spec"]["template"]["metadata"]["annotations"]


async def pause_by_hand(cluster: Cluster, way: str) -> Result:
    """Say `paused: true` for the Deployment `shop`, which is held; return the output of the last command."""
    match way:
        case "server-side apply":
            manager = "--field-manager=gitops"
            return await cluster.apply(shop(paused=True), "--server-side", "--force-conflicts", manager)
        case "apply":
            return await cluster.apply(shop(paused=True))
        case "patch":
            return await cluster.kubectl("patch", "deployment", "shop", "-p", '{"spec":{"paused":true}}')
        case "json patch":
            operations = '[{"op":"add","path":"/spec/paused","value":true}]'
            return await cluster.kubectl("patch", "deployment", "shop", "--type=json", "-p", operations)
        case "pause":
            # kubectl sends nothing if the Deployment is paused already, and says so.
            refused = await cluster.kubectl("rollout", "pause", "deployment/shop", check=False)
            assert "already paused" in refused.stderr
            return await cluster.kubectl("annotate", "deployment", "shop", f"{HELD}-")
        case _:
            return await cluster.kubectl("replace", "-f", "-", tree=shop(paused=True))


class TestDeny:
    """A workload is not stored without its objects."""

    async def test_the_client_gets_the_reasons(self, cluster: Cluster) -> None:
        """The missing object and the wrong word."""
        cluster.settings = ChecksumSettings(missing=MissingPolicy.DENY)
        refused = await cluster.apply(shop(), check=False)
        assert "(Forbidden)" in refused.stderr
        assert 'Secret "db" does not exist (create it first).' in refused.stderr
        wrong = shop()
        wrong["metadata"]["annotations"][SECRETS] = "db, Db"
        refused = await cluster.apply(wrong, check=False)
        assert '"Db" is not a name that a Secret can have' in refused.stderr
        assert 'Secret "db" does not exist' in refused.stderr


class TestUndo:
    """`kubectl rollout undo`, which writes an earlier pod template and annotations."""

    async def test_of_checksums_only_says_that_it_changes_nothing(self, cluster: Cluster) -> None:
        """The current checksum stays, and no ReplicaSet is made or changed."""
        await cluster.secret("one")
        await cluster.apply(shop())
        await cluster.rolled_out()
        await cluster.secret("two")
        await cluster.kubectl("label", "deployment", "shop", "touched=yes")
        assert await cluster.rolled_out() == 2
        before = await cluster.checksum()
        undone = await cluster.kubectl("rollout", "undo", "deployment/shop")
        assert undo_changes_nothing([KEY])[:200] in undone.stderr
        assert await cluster.checksum() == before
        assert await cluster.rolled_out() == 2

    async def test_of_an_image_stays_current(self, cluster: Cluster) -> None:
        """The old image is restored, the old checksum is not."""
        await cluster.secret("one")
        await cluster.apply(shop())
        await cluster.rolled_out()
        await cluster.apply(shop(image="shop:2"))
        await cluster.rolled_out()
        before = await cluster.checksum()
        undone = await cluster.kubectl("rollout", "undo", "deployment/shop")
        assert undone.stderr == ""
        stored = await cluster.get()
        assert stored["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
        assert await cluster.checksum() == before

    async def test_to_before_opting_in_opts_out(self, cluster: Cluster) -> None:
        """A revision remembers the annotations of its time, and undo brings them back."""
        await cluster.secret("one")
        plain = shop()
        del plain["metadata"]["annotations"]
        await cluster.apply(plain)
        await cluster.rolled_out()
        await cluster.apply(shop())
        assert await cluster.checksum() is not None
        await cluster.rolled_out()
        await cluster.kubectl("rollout", "undo", "deployment/shop")
        assert await cluster.checksum() is None
        assert await cluster.rolled_out() == 2


async def test_replacing_keeps_checksums(cluster: Cluster) -> None:
    """The manifest has none; the write gets the stored ones, and nothing rolls."""
    await cluster.secret("one")
    await cluster.apply(shop())
    await cluster.rolled_out()
    before = await cluster.get()
    await cluster.kubectl("replace", "-f", "-", tree=shop())
    assert (await cluster.get())["spec"] == before["spec"]
    assert await cluster.rolled_out() == 1


async def test_applying_twice_from_the_server_side_is_clean(cluster: Cluster) -> None:
    """The generation does not change and there is no difference: GitOps tools see no drift."""
    await cluster.secret("one")
    await cluster.apply(shop(), "--server-side", "--field-manager=gitops")
    before = await cluster.get()
    await cluster.apply(shop(), "--server-side", "--field-manager=gitops")
    assert (await cluster.get())["metadata"]["generation"] == before["metadata"]["generation"] == 1
    clean = await cluster.kubectl(
        "diff", "--server-side", "--field-manager=gitops", "-f", "-", tree=shop(), check=False
    )
    assert clean.returncode == 0


async def test_an_object_that_comes_and_goes(cluster: Cluster) -> None:
    """Deleted: nothing rolls. Created again with equal contents: nothing. With other contents: one rollout."""
    await cluster.secret("one")
    await cluster.apply(shop())
    await cluster.rolled_out()
    await cluster.kubectl("delete", "secret", "db")
    warned = await cluster.kubectl("label", "deployment", "shop", "touched=once")
    assert "does not exist any more" in warned.stderr
    await cluster.secret("one")
    await cluster.kubectl("label", "--overwrite", "deployment", "shop", "touched=twice")
    assert await cluster.rolled_out() == 1
    await cluster.secret("two")
    await cluster.kubectl("label", "--overwrite", "deployment", "shop", "touched=thrice")
    assert await cluster.rolled_out() == 2
