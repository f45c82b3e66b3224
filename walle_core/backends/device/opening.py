"""How a plugin's device is chosen: an environment variable, else the first that can be used; failures told, not raised."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from walle_core.backends.device.contract import OpenDevice
from walle_core.errors import BackendError, DeviceError, WalleError

Found = Iterable[tuple[str, Callable[[], OpenDevice]]]


def first_usable(label: str, variable: str, find: Callable[[], Found]) -> OpenDevice | None:
    """The device that `variable` names (part of its name, or ``none``), else the first that opens; None where none does.

    Args:
        label: of the interface, for messages; its reasons go to the log ``walle.`` + label in small letters.
        variable: of the environment.
        find: gives (name, function that opens) of every device, best first.

    ``WALLE_DEVICES=none`` leaves out the devices of every interface, as processes of tasks do.

    Raises BackendError if the variable names a device that is not there or cannot be used.
    """
    wanted = os.environ.get(variable, "")
    if wanted == "none" or os.environ.get("WALLE_DEVICES") == "none":
        return None
    try:
        return _open(find(), wanted)
    except BackendError as error:
        if wanted:
            raise
        _tell(label, str(error))
    except Exception as error:  # a loader or driver that fails to load raises what it likes
        _tell(label, f"{type(error).__name__}: {error}")
    return None


def _open(found: Found, wanted: str) -> OpenDevice:
    names, why = [], []
    for name, opens in found:
        names.append(name)
        if wanted.lower() not in name.lower():
            continue
        try:
            return opens()
        except WalleError as error:
            why.append(f"{name}: {error}")
    raise BackendError(
        "; ".join(why) or f"no device matches {wanted!r}; there are: {', '.join(names) or 'none'}"
    )


def _tell(label: str, why: str) -> None:
    if "logging" in sys.modules:  # nobody shows the log of a program that has not imported it
        log = sys.modules["logging"].getLogger(f"walle.{label.lower()}")
        log.warning("%s is not used: %s", label, why)


def forked(label: str, name: str) -> DeviceError:
    """What is raised in a process that was forked after a device was opened."""
    return DeviceError(
        f"{label} device {name}: opened before this process was forked, and drivers do not survive that; open Sessions "
        "after the fork, or start processes with the method 'spawn'"
    )
