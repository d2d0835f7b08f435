"""What a real stream says of what it lost unread: a number that only grows, and is there however often it is asked."""

from __future__ import annotations

from datetime import timedelta

import redis

from pipelines import wiring
from tests.conftest import opened
from tests.support import make


def test_what_was_lost_stays_counted_after_it_was_audited_until_the_stream_is_another(
    embedded: wiring.Endpoints,
) -> None:
    with opened(embedded) as stores, redis.Redis.from_url(embedded.redis) as client:
        stream = stores.stream
        assert (stream.audit(), stream.state().lost) == (0, 0)
        stream.append([make.event(f"e{i}") for i in range(3)])
        client.xtrim(wiring.NAMES.stream, maxlen=0)
        assert stream.state().lost == 0, "nobody has asked yet"
        assert [stream.audit(), stream.audit()] == [3, 0]
        first = stream.state()
        stream.append([make.event("x")])
        client.xtrim(wiring.NAMES.stream, maxlen=0)
        stream.fetch(10, timedelta(hours=1))
        stream.audit()
        assert (first.lost, stream.state().lost, stream.state().born) == (3, 4, first.born)
        client.flushall()
        assert stream.state().lost == 0 and stream.state().born != first.born
