"""The device's check of an answer: for this device, newer than every one before, and not expired."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

import attrs

from walle_deploy.errors import TrustError
from walle_deploy.trust.answer import Answer, Director, open_answer, when
from walle_deploy.trust.state import TrustState

Clock = Callable[[], float]

_DAY = 86_400


@attrs.frozen
class AnswerVerifier:
    """Checks answers for one device. What it has accepted survives a restart; director may be replaced as roots come."""

    device: str
    state: TrustState
    clock: Clock = time.time
    longest: int = 30 * _DAY
    """An answer that is valid for longer (in seconds) is refused: it would outlive the key that signed it."""

    def screen(self, wire: bytes, director: Director, nonce: bytes = b"") -> Answer:
        """Only what no newer root can change: signature, device, request and counter. Raises TrustError."""
        answer = open_answer(wire, director)
        if answer.device != self.device:
            raise TrustError(f"the answer is for {answer.device!r}, this device is {self.device!r}")
        if nonce and not hmac.compare_digest(nonce, answer.nonce):
            raise TrustError("the answer is to another request (its nonce is not this one)")
        last = self.state.highest("counter", str(answer.epoch))
        if answer.counter <= last:
            raise TrustError(
                f"answer {answer.counter} after answer {last}: replayed, or the server went back"
            )
        return answer

    def check(self, wire: bytes, director: Director, nonce: bytes = b"") -> Answer:
        """Verify without recording. With a nonce, only the answer to that request will do. Raises TrustError."""
        answer = self.screen(wire, director, nonce)
        known = max(director.epoch, self.state.highest("epoch", ""))
        if answer.epoch != director.epoch or director.epoch < known:
            raise TrustError(f"the answer is of epoch {answer.epoch}, the director is in epoch {known}")
        self._check_time(answer)
        return answer

    def accept(self, wire: bytes, director: Director, nonce: bytes = b"") -> Answer:
        """Verify, and record durably before returning: it will not be accepted a second time. Raises TrustError."""
        answer = self.check(wire, director, nonce)
        epoch = str(answer.epoch)
        issued = max(answer.issued, self.state.highest("time.director", epoch))
        self.state.record(
            {
                "epoch": ("", answer.epoch),
                "counter": (epoch, answer.counter),
                "time.director": (epoch, issued),
            },
            wire,
        )
        return answer

    def last(self, director: Director) -> Answer | None:
        """The accepted answer, for a device that was restarted before it had acted; None when it no longer holds."""
        if not self.state.answer:
            return None
        try:
            answer = open_answer(self.state.answer, director)
            self._check_time(answer)
        except TrustError:
            return None
        return answer if (answer.device, answer.epoch) == (self.device, director.epoch) else None

    def _check_time(self, answer: Answer) -> None:
        if answer.expires - answer.issued > self.longest:
            raise TrustError(
                f"the answer is valid for {answer.expires - answer.issued} s, at most {self.longest} s are"
            )
        clock, floor = self.clock(), self.state.floor()
        if not max(clock, floor) < answer.expires:  # a clock that says NaN has no answer either
            raise TrustError(
                f"the answer expired at {when(answer.expires)}; {clock_says(clock, floor, answer.issued)}"
            )


def clock_says(clock: float, floor: float, issued: float = 0) -> str:
    """What to tell a person about the device's clock when something has expired."""
    if clock < floor:
        return f"it is at least {when(floor)}, the newest signed time seen, though the device's clock says {when(clock)}"
    reference = max(floor, issued)
    text = f"the device's clock says {when(clock)}"
    if reference and clock - reference > _DAY:
        days = (clock - reference) / _DAY
        text += f", {days:.0f} days ahead of the newest signed time ({when(reference)}): set the clock if it is wrong"
    return text
