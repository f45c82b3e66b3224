"""Stores that fail, are full, damaged, or have lost something, on either side of the tunnel."""

from __future__ import annotations

import asyncio

import pytest
from harness import served
from walle_pipeline.errors import StoreError, TunnelError
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


class FailingSink(SqliteSink):
    """Fails `failures` times, half of them after the records were stored."""

    failures = 6

    async def write(self, records):
        if self.failures:
            self.failures -= 1
            if self.failures % 2:
                await super().write(records)
            raise StoreError("database or disk is full")
        await super().write(records)


def test_failing_store(tmp_path):
    async def main():
        async with served(tmp_path, sink=FailingSink(tmp_path / "sink.db")) as server:
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox) as client:
                    for i in range(300):
                        outbox.put("s", b"%d" % i)
                        if i % 50 == 0:
                            await asyncio.sleep(0.02)
                    await client.flush(20)
            assert server.app.counters.sink_errors == 6
            assert server.app.counters.ended["retry"] > 0
            assert [r.payload for r in await server.stored()] == [b"%d" % i for i in range(300)]

    asyncio.run(main())


def test_disk_full_is_a_store_error(tmp_path):
    async def main():
        sink = SqliteSink(tmp_path / "sink.db")
        await sink.open()
        from walle_pipeline.tunnel.contract import Record

        sink._db.execute("PRAGMA max_page_count=30")
        with pytest.raises(StoreError, match="full"):
            await sink.write([Record("d", "s", i, bytes(4000), 0.0) for i in range(1, 100)])
        assert await sink.high_water("d") == {}
        await sink.write([Record("d", "s", 1, b"small", 0.0)])
        assert await sink.high_water("d") == {"s": 1}
        await sink.close()
        await sink.close()
        with pytest.raises(StoreError, match="not open"):
            await sink.write([])

    asyncio.run(main())


def test_sink_high_water_and_gaps(tmp_path):
    from walle_pipeline.tunnel.contract import Record, Sink

    async def main():
        sink = SqliteSink(tmp_path / "deep" / "sink.db")
        assert isinstance(sink, Sink)
        await sink.open()
        for batch in ([1, 2], [2, 3], [5, 7], [4], [6]):
            await sink.write([Record("d", "s", seq, b"%d" % seq, 1.0) for seq in batch])
        assert await sink.high_water("d") == {"s": 7}
        await sink.write([Record("e", "s", 2, b"", 1.0), Record("d", "t", 1, b"", 1.0)])
        assert await sink.high_water("e") == {}
        assert [(r.device, r.stream, r.seq) async for r in sink.records()] == [
            *(("d", "s", i) for i in range(1, 8)),
            ("d", "t", 1),
            ("e", "s", 2),
        ]
        assert [r.seq async for r in sink.records("d", "t")] == [1]
        assert [r.device async for r in sink.records(stream="s")] == ["d"] * 7 + ["e"]
        sink._db.execute("DELETE FROM records")  # a consumer is done with them
        await sink.write([Record("d", "s", 7, b"7", 1.0)])
        assert [r async for r in sink.records()] == []
        await sink.close()

    asyncio.run(main())


def test_damaged_outbox_goes_on_behind_the_server(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            path = tmp_path / "o.db"
            with Outbox(path) as outbox:
                async with server.client(outbox) as client:
                    outbox.put_many([("s", b"old %d" % i, None) for i in range(10)])
                    await client.flush(5)
            path.write_bytes(b"damaged" * 1000)
            with Outbox(path) as outbox:
                assert outbox.damaged
                outbox.put_many([("s", b"new %d" % i, None) for i in range(5)])
                async with server.client(outbox) as client:
                    await client.flush(5)
                    await client.send("s", b"newest")
                    await client.send("t", b"another stream")
                    await client.flush(5)
            expected = [b"old %d" % i for i in range(10)] + [b"new %d" % i for i in range(5)] + [b"newest"]
            assert [r.payload for r in await server.stored(stream="s")] == expected

    asyncio.run(main())


def test_server_that_lost_records_is_reported(tmp_path):
    async def main():
        with Outbox(tmp_path / "o.db") as outbox:
            async with served(tmp_path / "a") as server, server.client(outbox) as client:
                await client.send("s", b"1")
                await client.flush(5)
            async with served(tmp_path / "b") as server, server.client(outbox) as client:
                await client.send("s", b"2")
                with pytest.raises(TunnelError, match="restore"):
                    await client.flush(5)
                assert len(outbox) == 1

    asyncio.run(main())


def test_evicted_payloads_arrive_empty(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            with Outbox(tmp_path / "o.db", max_bytes=1000, evict="oldest") as outbox:
                for _ in range(6):
                    outbox.put("s", bytes(200))
                async with server.client(outbox) as client:
                    await client.flush(5)
                assert outbox.evicted
            assert [len(r.payload) for r in await server.stored()] == [0] * outbox.evicted + [200] * (
                6 - outbox.evicted
            )

    asyncio.run(main())
