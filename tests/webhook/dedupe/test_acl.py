"""The rights of an ACL user as the documentation lists them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon, status_of
from webhook.errors import StoreError
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "deduplication.md"


def documented_rights() -> list[str]:
    """Return the rights in the paragraph about the ACL user."""
    (paragraph,) = re.findall(r"An ACL user needs (.*?)\n\n", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return re.findall(r"[+~][^ `,]+", paragraph)


async def test_an_acl_user_needs_only_what_is_documented(valkey: Valkey) -> None:
    """With these rights a server starts, decides, confirms, forgets, follows, and rebuilds; other keys are refused."""
    admin: Any = Redis.from_url(valkey.url)
    rights = documented_rights()
    assert {"~r{*", "+config|get", "+pttl"} < set(rights)
    await admin.execute_command("ACL", "SETUSER", "rollonce", "on", ">secret", *rights)
    client = RedisClient(parse_url(f"redis://rollonce:secret@127.0.0.1:{valkey.port}"))
    replica = await Replica(client).join()
    run = fresh("first")
    assert (await replica.create(run)).allowed
    assert status_of(await replica.create(fresh("second"))).code == 409
    assert await replica.store.expires_at(key_of(run).address, soon())
    await replica.buckets.findings(soon())
    assert await replica.buckets.syncs_each_write(soon()) is False
    assert await replica.confirmer.forget(key_of(run).address, run.uid, soon())
    await replica.deduplication.recollection.fill()
    assert len(await replica.follower.step()) == len(replica.buckets.numbers)
    await admin.flushall()
    await replica.rebuilder.rebuild()
    with pytest.raises(StoreError):
        await client.command("GET", b"other", deadline=soon())
    await admin.aclose()
    await client.close()
