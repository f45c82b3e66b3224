"""Servers, networks and disks that do what they should not: nothing unverified runs, and nothing that runs is lost."""

import hashlib
import socket
import threading
import time

import msgspec
import pytest
import zstandard
from agent_world import QUICK, Told, visit, visits
from install_power import FullDisk
from trust_world import DAY
from walle_deploy.agent.errors import AgentError, AwayError
from walle_deploy.agent.wire import Server
from walle_deploy.deltas.contract import Delta
from walle_deploy.manifest import Manifest
from walle_deploy.profile import Profile
from walle_deploy.trust import new_key

OLD, NEW = visits("count"), visits("count", "def main(events):\n    return {'n': -1}\n")


@pytest.fixture
def device(world, agent_of):
    """An agent that has v1 of the task ``count``, and what it tells."""

    def make(**options):
        told = Told()
        agent = agent_of(tell=told, **options)
        agent.start(checks=False)
        world.release("count", 1, OLD)
        assert agent.check()
        return agent, told

    return make


def installed(agent):
    """The version, which runs."""
    run = agent.run("count").result(10)
    assert not run.failed or "events" in run.why
    return agent.profile().installed["count"]


def answering(make):
    return lambda handler: handler.answer(200, make(handler))


def nonce_of(handler):
    import base64

    text = handler.headers["Walle-Nonce"]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


FORGED = [
    ({"key": new_key()}, "does not name as director"),
    ({"issued": 1_900_000_000 - 3 * DAY, "life": DAY}, "expired at"),
    ({"life": 400 * DAY}, "valid for"),
    ({"device": "phone-2"}, "is for 'phone-2'"),
    ({"counter": 1}, "replayed"),
    ({"epoch": 7}, "epoch"),
    ({"nonce": b"another one"}, "to another request"),
]


def test_answers_that_do_not_hold(world, device):
    agent, told = device()
    offered = world.release("count", 2, NEW)
    for options, why in FORGED:
        made, at = {"device": "phone-1", **options}, world.fleet.counter
        world.spoilt["POST", "/walle/check"] = answering(
            lambda handler, made=made: world.fleet.answer(offered, **{"nonce": nonce_of(handler), **made})
        )
        assert not agent.check()
        assert why in told.await_("refused")[-1]
        assert agent.profile().installed == {"count": "v1"}
        world.fleet.counter = max(at, world.fleet.counter)
    assert installed(agent) == "v1"
    world.spoilt.clear()
    assert agent.check()
    assert installed(agent) == "v2"


def test_an_answer_is_taken_once_and_altered_ones_never(world, device):
    agent, told = device()
    world.release("count", 2, NEW)
    answer = world.answer("phone-1")
    for at in (0, 5, 20, 80, len(answer) - 1):
        agent._checker._updates.pending = False
        with pytest.raises(Exception, match=r"signed|signature|version|answer"):
            agent._checker._updates.judge(answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :])
    agent._checker._updates.judge(answer)
    assert installed(agent) == "v2"
    with pytest.raises(Exception, match="replayed"):
        agent._checker._updates.judge(answer)


@pytest.mark.parametrize("off_by", [-20 * 365 * DAY, -DAY])
def test_a_clock_that_is_behind_is_no_harm(world, device, off_by):
    """What was signed says what time it is at least; an old answer stays old."""
    agent, told = device(clock=lambda: world.fleet.time + off_by)
    world.fleet.time += 3 * DAY
    old = world.fleet.answer(*world.offered.values(), device="phone-1", issued=world.fleet.time - 2 * DAY)
    world.fleet.publish()  # the timestamp is new
    world.release("count", 2, NEW)
    assert agent.check()
    with pytest.raises(Exception, match=r"replayed|expired"):
        agent._checker._updates.judge(old)
    later = world.fleet.answer(*world.offered.values(), device="phone-1", issued=world.fleet.time - 2 * DAY)
    with pytest.raises(Exception, match="it is at least"):
        agent._checker._updates.judge(later)
    assert installed(agent) == "v2"


def test_a_clock_that_is_far_ahead_is_told(world, device):
    ahead = [0]
    agent, told = device(clock=lambda: world.fleet.time + ahead[0])
    ahead[0] = 3 * 365 * DAY
    world.release("count", 2, NEW)
    assert not agent.check()
    assert any("set the clock if it is wrong" in text for text in told.await_("refused")), told.all
    assert installed(agent) == "v1"
    ahead[0] = 0
    assert agent.check()
    assert installed(agent) == "v2"


NONSENSE = [
    (200, b"<html>sign in to the WLAN</html>", {}), (200, b"", {}), (200, b"x" * 200_000, {}),
    (302, b"", {"Location": "http://127.0.0.1:9/"}), (404, b"", {}), (500, b"\xff\xfe", {}), (999, b"", {}),
    (200, b"\x01" + bytes(100), {"Content-Encoding": "gzip"}),
]  # fmt: skip


@pytest.mark.parametrize("where", [("GET", "/walle/check"), ("POST", "/walle/check")])
def test_nonsense(world, device, where):
    agent, told = device()
    world.release("count", 2, NEW)
    for status, body, headers in NONSENSE:
        world.spoilt[where] = lambda handler, answer=(status, body), headers=headers: handler.answer(
            *answer, **headers
        )
        before = len(told.all)
        assert not agent.check()
        assert {"away", "refused"} >= set(told.kinds()[before:]) > set(), told.all
        assert agent.profile().installed == {"count": "v1"}
    assert installed(agent) == "v1"
    world.spoilt.clear()
    assert agent.check()
    assert installed(agent) == "v2"


@pytest.mark.parametrize(
    "token", [b"", b"[]", b'{"token": 5}', b'{"token": ""}', b'{"token": "a\\nb"}', b'{"tok', b"[" * 9000]
)
def test_tokens_that_are_none(world, token):
    server = Server(world.url)
    world.spoilt["POST", "/walle/register"] = lambda handler: handler.answer(200, token)
    with pytest.raises(AwayError, match="HTTP status 200"):
        server.register("d", "s")


class Raw:
    """A server of bytes: each connection is answered by `serve`."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.serve = serve
        self.over = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while not self.over.is_set():
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.guarded, args=(peer,), daemon=True).start()

    def guarded(self, peer):
        with peer:
            try:
                peer.recv(65536)
                self.serve(peer, self.over)
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.listener.close()


def drip(text):
    def serve(peer, over):
        for byte in text:
            peer.sendall(bytes([byte]))
            if over.wait(0.05):
                return

    return serve


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (lambda peer, over: over.wait(5), "no whole answer after 0.3 s"),
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"), "no whole answer after 0.3 s"),
        (drip(b"X" * 1000), "no whole answer after 0.3 s"),
        (lambda peer, over: peer.sendall(b"SSH-2.0-OpenSSH\r\n"), "SSH|BadStatusLine|Protocol"),
        (lambda peer, over: peer.close(), "aborted|closed|reset"),
        (lambda peer, over: peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc"), "IncompleteRead|broken"),
        (lambda peer, over: [peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), *(peer.sendall(b"a" * 65536) for _ in range(999))],
         "more than 16384 bytes"),
        (lambda peer, over: peer.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n"), "headers"),
        (lambda peer, over: peer.sendall(b"HTTP/1.1 abc\r\n\r\n"), "abc|status"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_http(serve, why):
    with Raw(serve) as raw:
        server = Server(raw.url, seconds=0.3)
        start = time.monotonic()
        with pytest.raises(AwayError, match=why):
            server.check(Profile("d"), "t", b"n")
        assert time.monotonic() - start < 2


def test_a_server_that_is_not_there_and_one_that_asks_for_patience(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(AwayError, match="refused"):
        Server(f"http://127.0.0.1:{port}").wants_profile(Profile("d"))
    server = Server(world.url)
    for said, after in (("7", 7.0), ("soon", None), ("-5", None), ("9" * 50, None)):
        world.spoilt["GET", "/walle/check"] = lambda handler, said=said: handler.answer(
            429, b"", Retry_After=said
        )
        with pytest.raises(AwayError) as caught:
            server.wants_profile(Profile("d"))
        assert (caught.value.status, caught.value.after_s) == (429, after)


def test_a_redirect_does_not_get_the_token(world, device):
    agent, _ = device()
    seen = []
    with Raw(lambda peer, over: seen.append(1)) as thief:
        for path in ("/walle/check", "/walle/reports", "/walle/register"):
            world.spoilt["POST", path] = lambda handler: handler.answer(307, b"", Location=f"{thief.url}/")
        world.release("count", 2, NEW)
        assert not agent.check()
        agent.feed(visit(0))
        agent.idle()
        assert not agent.flush(2)
    assert not seen


def test_files_that_are_not_what_is_signed(world, device):
    agent, told = device()
    world.release("count", 2, NEW)
    digest = hashlib.sha256(NEW["main.py"]).hexdigest()
    place = f"/walle/files/{digest[:2]}/{digest[2:]}"
    for body in (b"", b"other", NEW["main.py"] + b"#", NEW["main.py"][:-1] + b"#", b"x" * 1_000_000):
        world.spoilt["GET", place] = lambda handler, body=body: handler.answer(200, body)
        assert not agent.check()
        assert installed(agent) == "v1"
    world.spoilt["GET", place] = lambda handler: handler.answer(404)
    assert not agent.check()
    assert "404" in told.await_("problem")[-1]
    world.spoilt.clear()
    assert agent.check()  # what the last answer says is still to be done
    assert installed(agent) == "v2"


def test_manifests_that_lead_out_of_the_folder(world, device, tmp_path):
    agent, told = device()
    digest = hashlib.sha256(b"x").hexdigest()
    world.files[digest] = b"x"
    for version, path in enumerate(["../../escaped", "/etc/passwd", "a/../../b", "C:x", "con", "a\\b"], 2):
        entries = [{"path": path, "sha256": digest, "size": 1, "exclusive": False}]
        head = {"format": "walle-manifest-1", "task": "count", "version": f"v{version}"}
        world.sign("count", version, msgspec.json.encode(head | {"files": entries}))
        assert agent.check()  # there is nothing more to be done for it
        assert "path" in told.await_("refused")[-1]
        assert agent.profile().installed == {"count": "v1"}
    assert installed(agent) == "v1"
    assert not list(tmp_path.rglob("escaped"))
    assert agent.flush()
    refused = [row[1:3] for row in world.told(7) if row[3] == {"refused": 1.0}]
    assert refused == [[f"v{version}", True] for version in range(2, 8)]


def test_signed_manifests_that_are_none(world, device):
    agent, told = device()
    made = [
        Manifest.of("other", "v2", []).encode(), Manifest.of("count", "v9", []).encode(), b"{}", b"\xff" * 50, b"[" * 5000,
        Manifest.of("count", "v7", []).encode() + b" ",
    ]  # fmt: skip
    for version, data in enumerate(made, 2):
        world.sign("count", version, data)
        assert agent.check()
        assert "manifest" in told.await_("refused")[-1]
    assert installed(agent) == "v1"


def bomb(size):
    """A small zstd frame that claims, and unpacks to, much."""
    return zstandard.ZstdCompressor(level=19).compress(bytes(size))


def test_deltas_that_are_bombs_or_nonsense_cost_nothing_but_their_bytes(world, device):
    agent, told = device()
    words = {**NEW, "words.txt": b"the words of the second version " * 2000}
    world.release("words", 1, visits("words") | {"words.txt": b"the words of the first version " * 2000})
    assert agent.check()
    world.release("words", 2, {**visits("words"), "words.txt": words["words.txt"]})
    old = hashlib.sha256(b"the words of the first version " * 2000).hexdigest()
    new = hashlib.sha256(words["words.txt"]).hexdigest()
    for codec in ("zstd", "bsdiff", "floats", "full", "nothing"):
        for data in (bomb(64 << 20), b"", b"\xff" * 100, bomb(100)):
            digest = hashlib.sha256(data).hexdigest()
            world.files[digest] = data
            world.deltas.setdefault(new, []).append(
                Delta(codec, "" if codec == "full" else old, digest, len(data))
            )
    world.deltas[new] = world.deltas[new][:16]
    start = time.monotonic()
    assert agent.check()
    assert agent.profile().installed["words"] == "v2"
    assert time.monotonic() - start < 5
    assert any(path.startswith("/walle/deltas/") for _, path in world.asked)
    for listed in (b"[" * 9000, b"x" * 100_000, b"{}", b'[{"codec": 1}]'):
        version = agent._slots.load("words").manifest.version
        world.spoilt["GET", "/walle/deltas/"] = lambda handler, listed=listed: handler.answer(200, listed)
        text = b"words of %d " % len(listed) * 2000
        world.release("words", int(version[1:]) + 1, {**visits("words"), "words.txt": text})
        assert agent.check()


def test_a_delta_saves_bytes(world, device):
    from walle_deploy.deltas.choose import smallest

    agent, _ = device()
    first = b"".join(b"line %d of the text\n" % n for n in range(5000))
    second = first.replace(b"line 77 ", b"line seventy-seven ")
    world.release("text", 1, {**visits("text"), "text.txt": first})
    assert agent.check()
    world.release("text", 2, {**visits("text"), "text.txt": second})
    old, new = (hashlib.sha256(data).hexdigest() for data in (first, second))
    made = smallest(first, second)
    digest = hashlib.sha256(made.data).hexdigest()
    world.files[digest] = made.data
    world.deltas[new] = [Delta(made.codec, old, digest, len(made.data))]
    assert agent.check()
    assert ("GET", f"/walle/files/{new[:2]}/{new[2:]}") not in world.asked
    assert (agent.tasks.loaded["text"].version.folder / "text.txt").read_bytes() == second


def test_a_disk_that_is_full_half_way(world, device):
    disk = FullDisk(10**9)
    agent, told = device(disk=disk)
    for version in range(2, 12):
        world.release("count", version, {**NEW, "size.txt": b"%d" % version * 50_000})
        disk.left = version + 1  # writes that still succeed
        before = agent.profile().installed["count"]
        if agent.check():
            break
        assert "No space" in told.await_("problem")[-1]
        assert installed(agent) == before
        disk.left = 10**9
        assert agent.check()
        assert installed(agent) == f"v{version}"
    assert version > 3


def test_a_journal_without_room_holds_the_run_until_there_is_some(world, device, monkeypatch):
    monkeypatch.setattr("walle_deploy.agent.outcomes.RETRY_S", 0.02)
    agent, told = device()
    agent.flush()
    real = agent._journal.record
    full = [True]

    def record(*args, **options):
        if full[0]:
            raise AgentError("agent.db: database or disk is full")
        return real(*args, **options)

    monkeypatch.setattr(agent._journal, "record", record)
    agent.feed(visit(0))
    told.await_("problem", 2)
    assert not world.reports
    full[0] = False
    assert agent.idle()
    assert len(world.told(1)) == 1


def test_too_large_for_the_folder(world, device):
    from attrs import evolve

    agent, told = device(settings=evolve(QUICK, max_bytes=20_000))
    world.release("count", 2, {**NEW, "large": bytes(50_000)})
    assert not agent.check()
    assert "needs" in told.await_("problem")[0]
    assert installed(agent) == "v1"


def test_places_of_files():
    from walle_deploy.agent.sources import Places
    from walle_deploy.manifest import File
    from walle_deploy.trust import EXCLUSIVE, Approved

    digest = "ab" * 32
    shared, own = File("a", digest, 1), File("b", digest, 1, exclusive=True)

    def places(base, flags=0):
        return Places.of(Approved("t", 1, bytes(32), 1, base, flags), "https://walle.example/x")

    assert places("https://cdn.example/o/").url(shared) == f"https://cdn.example/o/files/ab/{digest[2:]}"
    assert places("/walle").url(shared) == f"https://walle.example/walle/files/ab/{digest[2:]}"
    assert places("walle").deltas(digest) == f"https://walle.example/x/walle/deltas/{digest}"
    mine = places("https://cdn.example/o/devices/beef", EXCLUSIVE)
    assert mine.url(own) == f"https://cdn.example/o/devices/beef/ab/{digest[2:]}"
    assert mine.url(shared) == f"https://cdn.example/o/files/ab/{digest[2:]}"
    with pytest.raises(Exception, match="for one device only"):
        places("https://cdn.example/o").url(own)
    with pytest.raises(Exception, match="no place of files"):
        places("https://cdn.example/o", EXCLUSIVE)
    with pytest.raises(Exception, match="no URL"):
        places("http://[")
