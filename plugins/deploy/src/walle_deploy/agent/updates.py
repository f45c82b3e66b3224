"""From a signed answer to what runs: judged by both signatures, fetched, installed, switched; or refused, with the reason."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from walle_core.errors import WalleError
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.settings import Happening, Settings
from walle_deploy.agent.sources import Places, sources
from walle_deploy.agent.tasks import Tasks
from walle_deploy.errors import DeployError, StoreError, TaskError, TrustError
from walle_deploy.install.slots import Slots
from walle_deploy.install.transport import Transport
from walle_deploy.install.update import update
from walle_deploy.install.versions import Version
from walle_deploy.manifest import Manifest
from walle_deploy.trust import Approved, Decision, Gate


class Updates:
    """Brings the tasks to what answers say. For one thread at a time.

    Args:
        gate: judges answers.
        slots: where versions are installed.
        tasks: what runs.
        server: URL that bases without a host are meant from.
        transport: fetches files.
        tell: called with what happens.
        stopping: set when the agent ends: downloads end then.

    Attributes:
        pending: whether something that the last answer says could not be done yet; `resume` tries again.
    """

    def __init__(
        self,
        gate: Gate,
        slots: Slots,
        tasks: Tasks,
        server: str,
        transport: Transport,
        settings: Settings,
        tell: Callable[[Happening], None],
        stopping: threading.Event,
    ) -> None:
        self.pending = True  # the agent may have been killed before it had done what an answer says
        self._gate, self._slots, self._tasks = gate, slots, tasks
        self._server, self._transport, self._settings = server, _Ending(transport, stopping), settings
        self._tell, self._stopping = tell, stopping

    def judge(self, wire: bytes, nonce: bytes = b"") -> None:
        """Does what an answer says. Raises TrustError if it does not hold; what cannot be done yet is `pending`."""
        self._act(self._gate.decide(wire, self._tasks.installed, nonce))

    def resume(self) -> None:
        """Does what the last accepted answer says, as far as it is not done. Raises TrustError."""
        decision = self._gate.resume(self._tasks.installed)
        self.pending = False
        if decision is not None:
            self._act(decision)

    def _act(self, decision: Decision) -> None:
        self.pending = True
        done = True
        named = {task.name for task in decision.answer.tasks}
        for task, loaded in self._tasks.loaded.items():
            done &= self._done(task, lambda task=task, loaded=loaded: self._keep(task, loaded, task in named))  # type: ignore[misc]
        for task, why in decision.refused.items():
            self._tell(Happening("refused", why, task))
        for approved in decision.approved:
            done &= self._done(approved.task, lambda approved=approved: self._bring(approved))  # type: ignore[misc]
        self.pending = not done

    def _done(self, task: str, work: Callable[[], None]) -> bool:
        """Whether `work` is done; if not, it is tried again later."""
        try:
            work()
        except WalleError as error:
            self._tell(Happening("problem", f"{task}: {error}", task))
            return False
        return True

    def _keep(self, task: str, loaded: Loaded, named: bool) -> None:
        """Ends what the answer does not name any more, and what people have revoked."""
        if not named:
            self._tasks.remove(task)
            self._tell(
                Happening("removed", f"{task} {loaded.name}: the server names it no more", task, loaded.name)
            )
            return
        current: Loaded | None = loaded
        while current is not None:
            image = self._gate.images.image(task, current.number)
            if image is None or not image.revoked:
                return
            self._tasks.revoked(current, image.revoked)
            current = self._tasks.loaded.get(task)

    def _bring(self, approved: Approved) -> None:
        """Installs and runs what an answer offers. Raises WalleError for what may work later."""
        task, name = approved.task, f"v{approved.version}"
        current = self._tasks.loaded.get(task)
        if current is not None and current.digest == approved.manifest.hex():
            return
        try:
            loaded = self._install(approved, deltas=current is not None)
        except (StoreError, TrustError):
            raise
        except DeployError as error:  # the version itself is wrong: another try would not help
            self._tell(Happening("refused", str(error), task, name))
            self._tasks.outcomes.refused(task, name, approved.manifest.hex(), str(error))
            return
        self._tasks.switch(loaded)
        text = f"{task} {name} ({loaded.version.manifest.size} bytes)"
        self._tell(Happening("installed", text, task, name))

    def _install(self, approved: Approved, *, deltas: bool) -> Loaded:
        """The version, installed and current. Raises DeployError, a StoreError or TrustError for what may work later."""
        task, digest = approved.task, approved.manifest.hex()
        if digest in self._slots.state(task).bad:
            raise TaskError(
                f"task {task!r} v{approved.version}: was bad on this device; release another version"
            )
        manifest = self._manifest(approved)
        places = Places.of(approved, self._server)
        found = sources(manifest, places, self._transport, self._slots.have, deltas)
        checked: list[Loaded] = []
        try:
            update(
                self._slots, manifest, found, self._transport, patience=self._settings.patience,
                check=lambda version: checked.append(self._usable(version)), sleep=self._stopping.wait,
            )  # fmt: skip
        except TaskError:
            self._slots.quarantine(task, digest)
            raise
        return checked[0]

    def _usable(self, version: Version) -> Loaded:
        return self._tasks.usable(Loaded.of(version))

    def _manifest(self, approved: Approved) -> Manifest:
        """Of an approved version, from the image repository. Raises TrustError, DeployError."""
        image = self._gate.images.image(approved.task, approved.version)
        if image is None or image.manifest != approved.manifest:
            raise TrustError(f"{approved.task} version {approved.version}: its image metadata has changed")
        data = self._gate.images.manifest(image)
        if hashlib.sha256(data).digest() != approved.manifest:
            raise TrustError(f"{approved.task} version {approved.version}: this is not its manifest")
        manifest = Manifest.decode(data)
        if (manifest.task, manifest.version) != (approved.task, f"v{approved.version}"):
            raise DeployError(
                f"{approved.task} version {approved.version}: its manifest is of {manifest.task} {manifest.version}"
            )
        return manifest


class _Ending:
    """A transport that ends with the agent."""

    def __init__(self, inner: Transport, stopping: threading.Event) -> None:
        self._inner, self._stopping = inner, stopping

    def read(self, url: str, offset: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
        """See Transport."""
        for chunk in self._inner.read(url, offset):
            if self._stopping.is_set():
                raise StoreError(f"{url}: the agent ends")
            yield chunk
