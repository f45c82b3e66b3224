"""The agent of a device: joins checks, installation, triggers, runs and reports; killed at any moment, it goes on."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import urllib3

from walle_core.errors import WalleError
from walle_deploy.agent.attributes import attributes
from walle_deploy.agent.checker import Checker
from walle_deploy.agent.cloud import CloudSide
from walle_deploy.agent.contained import Run
from walle_deploy.agent.delivery import REQUEST_S, Delivery, by_http, by_tunnel
from walle_deploy.agent.enrolment import Enrolment
from walle_deploy.agent.errors import AgentError, AwayError
from walle_deploy.agent.feeding import Feeding
from walle_deploy.agent.journal import Journal
from walle_deploy.agent.runner import Item, More
from walle_deploy.agent.settings import Happening, Settings
from walle_deploy.agent.sink import tunnel_token
from walle_deploy.agent.tasks import Tasks
from walle_deploy.agent.updates import Updates
from walle_deploy.agent.wire import Server
from walle_deploy.install.disk import Disk
from walle_deploy.install.slots import Slots
from walle_deploy.install.transport import Transport, UrlTransport
from walle_deploy.profile import Profile, Value
from walle_deploy.trust import AnswerVerifier, Gate, HttpTransport, ImageClient, TrustState

LOCK_S = 2.0  # that a folder may be in use by what a killed agent was just starting
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_log = logging.getLogger(__name__)


class Agent:
    """One device. Use as a context manager, or `start` and `close`; any thread may call any method.

    For example::

        with Agent("state", "https://walle.example", root, enrol=secret) as agent:
            agent.feed(events)

    Args:
        folder: of all that it keeps; made if it is not there. One process uses it at a time.
        server: URL of the deployment server.
        root: the root metadata that came with the device: whom it trusts.
        device: id; default: one that was made at the first start in this folder.
        enrol: the enrolment secret, needed until the device is registered.
        user: attributes of the user, for policies.
        app_version: of the application, likewise.
        tunnel: URL of the tunnel; without one reports go by HTTP, and features and samples are dropped.
        pipeline: makes what events are fed to, from the flows of the tasks: a walle_pipeline Device or Pipeline; default: a
            Device in the folder.
        schema: kinds of the application's events.
        inputs: gives inputs of a task that are no events, from its name and the events.
        result: called with the task's name and the outputs of each run that went well, in a thread of the task.
        tell: called with what happens, in any thread; must not wait for the agent.
        settings: times and bounds.
        clock: seconds since the epoch.
        files: fetches files; default: by urllib.
        pool: of connections to the server.
        plain: allows http to another machine.
        backends: whether installed backends are looked for, for the profile.
        disk: the file system of the installed versions; tests give their own.

    Raises AgentError, TrustError or StoreError if the folder, the URL, the id or the root cannot be used.
    """

    def __init__(
        self,
        folder: str | Path,
        server: str,
        root: bytes,
        device: str = "",
        *,
        enrol: str = "",
        user: Mapping[str, Value] | None = None,
        app_version: str = "",
        tunnel: str = "",
        pipeline: Callable[[list[Any]], Any] | None = None,
        schema: Any = None,
        inputs: More | None = None,
        result: Callable[[str, Mapping[str, Any]], None] | None = None,
        tell: Callable[[Happening], None] | None = None,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
        files: Transport | None = None,
        pool: urllib3.PoolManager | None = None,
        plain: bool = False,
        backends: bool = True,
        disk: Disk | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()  # the processes of tasks have another working directory
        self.settings = settings
        self._given_tell = tell
        self._tunnel_url = tunnel
        self._stopping, self._renewing = threading.Event(), threading.Lock()
        self._feeding = Feeding(self.folder / "events", schema, pipeline, settings.tick_s, self._tell)
        self._server = Server(server, pool, settings.request_s, plain)
        self._user = dict(user or {})
        with contextlib.ExitStack() as undo:
            self._slots = Slots(self.folder / "tasks", settings.max_bytes, disk)
            self._slots.open(LOCK_S)
            undo.callback(self._slots.close)
            self._journal = Journal(self.folder / "agent.db", clock)
            undo.callback(self._journal.close)
            self.device = self._identity(device)
            self._attributes = attributes(app_version, backends)
            self._state = TrustState(self.folder / "trust" / "state")
            undo.callback(self._state.close)
            images = HttpTransport(f"{self._server.url}/walle/images", pool)
            client = ImageClient(self.folder / "trust" / "images", images, root, self._state, clock)
            gate = Gate(AnswerVerifier(self.device, self._state, clock), client)
            self._enrolment = Enrolment(self._server, self._journal, self.device, enrol, self._tell)
            self.tasks = Tasks(
                self._slots, self._journal, self._feeding, settings, self._tell, self._changed, inputs, result
            )
            self._renew()
            updates = Updates(
                gate, self._slots, self.tasks, self._server.url, files or UrlTransport(), settings, self._tell,
                self._stopping,
            )  # fmt: skip
            self._checker = Checker(
                self._server, updates, self._enrolment, self.profile, settings, self._tell, self._stopping
            )
            self._now = lambda: max(clock(), float(self._state.floor()))
            self._undo = undo.pop_all()
        self._delivery: Delivery | None = None
        self.tunnel: Any = None

    def _identity(self, device: str) -> str:
        known = self._journal.get("device")
        device = device or known or secrets.token_hex(8)
        if not _ID.fullmatch(device):
            raise AgentError(
                f"{device[:200]!r} is no id of a device: 1 to 128 visible ASCII characters, no space"
            )
        if known not in (None, device):
            raise AgentError(f"{self.folder} is the folder of device {known!r}, not {device!r}; give another")
        if known is None:
            self._journal.put("device", device)
        return device

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, checks: bool = True) -> None:
        """Takes up the installed tasks and begins; without `checks` the server is asked only by `check`.

        Raises WalleError if the pipeline or the tunnel cannot be opened.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            if self._tunnel_url:
                self._open_tunnel()
            self._delivery = Delivery(
                self._journal,
                by_tunnel(self.tunnel)
                if self.tunnel
                else by_http(self._server, self.device, self._enrolment.token),
                pause_s=0.0 if self.tunnel else REQUEST_S,
                first_s=self.settings.first_s,
                longest_s=self.settings.longest_s,
                missed=self._missed,
            )
            self._undo.callback(self._feeding.close)
            self.tasks.start()
            self._renew()
            if checks:
                self._checker.start()
            undo.pop_all()

    def _open_tunnel(self) -> None:
        from walle_pipeline.tunnel.facade import Tunnel

        self.tunnel = Tunnel(
            self._tunnel_url,
            device=self.device,
            token=self._tunnel_token,
            outbox=self.folder / "outbox.db",
            close_timeout=self.settings.close_s,
        )
        self._undo.callback(self.tunnel.close)
        self.tasks.outcomes.cloud = CloudSide(self.tunnel, self._journal, self._now)

    def _tunnel_token(self) -> str:
        from walle_pipeline.errors import TransportClosedError

        token = self._enrolment.known  # a check gets it; here nothing may wait
        if token is None:
            raise TransportClosedError(f"device {self.device} is not registered yet")
        return tunnel_token(self.device, token)

    def close(self) -> None:
        """Ends runs, delivers what it can for a moment, and closes everything. Calling it again does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._checker.join(10.0)
        self.tasks.stop()
        if self._delivery is not None:
            self._delivery.flush(self.settings.close_s)
            self._delivery.close()
        self._undo.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what an application asks -------------------------------------------------------------------------------------

    def profile(self) -> Profile:
        """The device's profile now, for `hooks.Piggyback`: the same object while nothing changes."""
        return self._profile

    def token(self) -> str | None:
        """The device's token, for `hooks.Piggyback`; None before registration."""
        return self._enrolment.known

    def take(self, answer: bytes) -> None:
        """Takes an answer that came with a request of the application. Verifies and installs in another thread."""
        self._checker.take(answer)

    def pull(self) -> None:
        """Has the server asked soon, in another thread."""
        self._checker.hurry()

    def check(self) -> bool:
        """Asks the server now, and does what it says; whether it was heard and all of it is done."""
        return self._checker.check()

    def set_user(self, **attributes: Value) -> None:
        """Changes attributes of the user. Raises PolicyError for values that no profile can have."""
        user = {**self._user, **attributes}
        Profile(self.device, self._attributes, user)
        self._user = user
        self._renew()

    def feed(self, events: Iterable[Any]) -> None:
        """Takes events, which start tasks. Raises as `walle_pipeline.Device.feed`; AgentError without a pipeline."""
        self._feeding.feed(events)

    def finish(self) -> None:
        """Tells that no event follows. Raises as `feed`."""
        self._feeding.finish()

    @property
    def pipeline(self) -> Any:
        """The walle_pipeline Device or Pipeline that is fed; None if there is none."""
        return self._feeding.target

    def run(self, task: str, inputs: Mapping[str, Any] | None = None) -> Future[Run]:
        """Runs a task by hand; what came of it is reported as for others. Raises AgentError if it is not installed."""
        future: Future[Run] = Future()
        self.tasks.runner(task).offer(Item(inputs=dict(inputs or {}), done=future.set_result))
        return future

    def idle(self, timeout: float = 10.0) -> bool:
        """Waits until no run is left to be made; whether that came."""
        return self.tasks.idle(timeout)

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until no report waits on this device, or a try to send them fails; whether none waits."""
        if self._delivery is None or not self._delivery.flush(timeout):
            return False
        if self.tunnel is None:
            return True
        try:
            self.tunnel.flush(timeout)
        except WalleError as error:
            self._tell(Happening("away", str(error)))
            return False
        return True

    # -- inside -------------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        with self._renewing:  # the last one to come in sees the newest versions
            installed = {task: loaded.name for task, loaded in self.tasks.loaded.items()}
            self._profile = Profile(self.device, self._attributes, self._user, installed)

    def _changed(self) -> None:
        self._renew()
        self._checker.hurry()  # the server learns soon what runs, also when nobody asked for the change

    def _missed(self, error: Exception) -> None:
        if isinstance(error, AwayError) and error.status == 401 and (token := self._enrolment.known):
            self._enrolment.reject(token)
        self._tell(Happening("away", f"reports wait: {error}"))

    def _tell(self, happening: Happening) -> None:
        _log.info("%s: %s", happening.kind, happening.text)
        if self._given_tell is not None:
            try:
                self._given_tell(happening)
            except Exception:  # the application's fault must not end ours
                _log.exception("telling %s failed", happening.kind)
