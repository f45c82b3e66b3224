"""Reports are kept until they are durable elsewhere, under numbers that are never used twice."""

import os
import signal
import sqlite3
import threading

import pytest
from walle_deploy.agent import journal as module
from walle_deploy.agent.delivery import Delivery, by_http, by_tunnel
from walle_deploy.agent.errors import AgentError, AwayError
from walle_deploy.agent.journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.db"


def test_reports_names_and_facts_are_kept(path):
    journal = Journal(path, clock=lambda: 5.0)
    first = journal.record("a", "v1", False, {"ms": 1.5}, name="a/x/1/0", facts={"failed/a": ("d", 1)})
    second = journal.record("a", None, True, {}, "why \ud800 not" + "x" * 1000)
    assert (first, second) == (5001, 5002)
    journal.close()
    journal.close()
    again = Journal(path, clock=lambda: 99.0)
    assert [(r.number, r.task, r.version, r.failed, r.values) for r in again.waiting(9)] == [
        (5001, "a", "v1", False, {"ms": 1.5}), (5002, "a", None, True, {}),
    ]  # fmt: skip
    assert len(again.waiting(9)[1].why) == 500
    assert again.is_done("a/x/1/0")
    assert not again.is_done("a/x/2/0")
    assert again.get("failed/a") == ["d", 1]
    assert again.get("other", 7) == 7
    again.delivered([5001, 5002])
    assert (len(again), again.waiting(9)) == (0, [])
    assert again.record("a", "v1", False) == 5003
    again.close()


def test_numbers_go_on_after_everything_was_delivered_and_the_file_was_lost(path):
    journal = Journal(path, clock=lambda: 5.0)
    journal.delivered([journal.record("a", "v1", False)])
    journal.close()
    journal = Journal(path, clock=lambda: 5.0)
    assert journal.record("a", "v1", False) == 5002
    journal.close()
    for file in path.parent.iterdir():
        file.unlink()
    journal = Journal(path, clock=lambda: 60.0)
    assert journal.record("a", "v1", False) > 5002
    journal.close()


def test_a_damaged_file_is_set_aside(path):
    path.write_bytes(b"no database at all" * 300)
    journal = Journal(path)
    assert journal.damaged is not None
    assert journal.damaged.read_bytes().startswith(b"no database")
    journal.record("a", "v1", False)
    journal.close()


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(AgentError, match="cannot be opened"):
        Journal(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_nobody_else_may_read_the_token(path):
    journal = Journal(path)
    journal.put("token", "t")
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    journal.close()


def test_of_too_many_the_oldest_are_lost_and_counted(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    monkeypatch.setattr(module, "KEPT_NAMES", 3)
    journal = Journal(path, clock=lambda: 0.0)
    for n in range(8):
        journal.record("a", f"v{n}", False, name=f"{n}")
    assert [r.version for r in journal.waiting(99)] == ["v3", "v4", "v5", "v6", "v7"]
    assert (journal.lost, len(journal)) == (3, 5)
    assert [journal.is_done(f"{n}") for n in range(8)] == [False] * 5 + [True] * 3
    journal.close()


def test_a_full_disk_keeps_what_was_there(path):
    journal = Journal(path)
    journal.record("a", "v1", False)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(AgentError, match="full"):
        for _ in range(500):
            journal.record("a", "v2", True, {}, "x" * 400, name="n" * 100, facts={"f": "y" * 900})
    count = len(journal)
    assert count == len(journal.waiting(999))
    assert journal.get("other") is None
    journal._db.execute("PRAGMA max_page_count=100000")
    journal.record("a", "v3", False)
    assert len(journal) == count + 1
    journal.close()


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_what_was_recorded_survives_a_kill(path):
    hear, tell = os.pipe()
    child = os.fork()
    if not child:
        journal = Journal(path)
        while True:
            os.write(tell, b"%d\n" % journal.record("a", "v1", False, {}, "w"))
    os.close(tell)
    with os.fdopen(hear, "rb") as file:
        lines = [file.readline() for _ in range(20)]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = [int(line) for line in lines + file.read().split()]
    journal = Journal(path)
    kept = [report.number for report in journal.waiting(10_000)]
    assert kept[: len(told)] == told
    assert len(kept) <= len(told) + 1
    journal.close()


class Far:
    """A server, or a tunnel, that fails when it is told to."""

    def __init__(self):
        self.got, self.errors, self.changed = [], [], threading.Condition()

    def report(self, outcomes, device, token):
        with self.changed:
            if self.errors:
                raise self.errors.pop(0)
            self.got.append([one.number for one in outcomes])
            self.changed.notify_all()

    def send_many(self, items):
        with self.changed:
            if self.errors:
                raise self.errors.pop(0)
            self.got.append(items)
            self.changed.notify_all()

    def await_(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: sum(map(len, self.got)) >= count, 10), self.got


@pytest.fixture
def delivering(path):
    made = []

    def make(send):
        journal, missed = Journal(path, clock=lambda: 0.0), []
        made.append((journal, Delivery(journal, send, 0.0, 0.001, 0.01, missed.append)))
        return journal, made[-1][1], missed

    yield make
    for journal, delivery in made:
        delivery.close()
        journal.close()


def test_delivery_goes_on_after_failures_in_order_and_forgets_what_is_durable(delivering):
    far = Far()
    far.errors = [AwayError("no", 503, 0.001), AwayError("still not"), AgentError("odd")]
    journal, delivery, missed = delivering(by_http(far, "d", lambda: "t"))
    for n in range(300):
        journal.record("a", f"v{n}", False)
    far.await_(300)
    assert delivery.flush(5)
    assert [number for body in far.got for number in body] == list(range(1, 301))
    assert max(map(len, far.got)) <= 256
    assert len(missed) == 3
    assert journal.waiting(9) == []


def test_a_request_has_an_end_to_its_size(delivering):
    far = Far()
    journal, delivery, _ = delivering(by_http(far, "d", lambda: "t"))
    for _ in range(200):
        journal.record("a", "v1", True, {f"value_{n}": 1.0 for n in range(20)}, "w" * 500)
    far.await_(200)
    assert max(map(len, far.got)) < 100


def test_a_report_that_the_server_never_takes_does_not_hold_up_the_others(delivering):
    class Picky(Far):
        def report(self, outcomes, device, token):
            if any(one.version == "v3" for one in outcomes):
                raise AwayError("malformed", 400)
            super().report(outcomes, device, token)

    far = Picky()
    journal, _, missed = delivering(by_http(far, "d", lambda: "t"))
    for n in range(6):
        journal.record("a", f"v{n}", False)
    far.await_(5)
    assert sorted(number for body in far.got for number in body) == [1, 2, 3, 5, 6]
    assert len(missed) >= 3  # it was not given up at once


def test_by_the_tunnel_each_report_has_its_number_as_key(delivering):
    far = Far()
    journal, delivery, _ = delivering(by_tunnel(far))
    journal.record("a", "v1", False)
    far.await_(1)
    assert far.got[0][0][0] == "walle.outcomes"
    assert far.got[0][0][2] == "1"
    assert delivery.flush(5)


def test_the_database_is_durable(path):
    journal = Journal(path)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()
    with pytest.raises(AgentError):
        journal.record("a", "v1", False)
    assert sqlite3.connect(path).execute("PRAGMA quick_check").fetchone() == ("ok",)


def test_a_flush_is_not_told_of_a_try_that_began_before_it(delivering):
    begun, go = threading.Event(), threading.Event()

    class Slow(Far):
        def report(self, outcomes, device, token):
            if not begun.is_set():
                begun.set()
                assert go.wait(10)
                raise AwayError("what was wrong before", 503, 60.0)
            super().report(outcomes, device, token)

    journal, delivery, missed = delivering(by_http(Slow(), "d", lambda: "t"))
    journal.record("a", "v1", False)
    assert begun.wait(10)
    threading.Timer(0.1, go.set).start()
    assert delivery.flush(10)
    assert len(missed) == 1
