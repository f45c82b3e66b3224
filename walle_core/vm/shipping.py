"""What a guest is given of a task: its compiled module and its grants as plain values. Made once per task."""

from __future__ import annotations

from functools import lru_cache
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

from walle_core.vm import allow, guest
from walle_core.vm.errors import PolicyError
from walle_core.vm.types import Task


@lru_cache(maxsize=4096)
def shipped(task: Task) -> tuple[str, CodeType, str, dict[str, Any], int | None]:
    """The arguments of a guest's `load`.

    Raises:
        PolicyError: the source does what the policy does not grant.
        PackageError: the package has nothing that this Python loads.
        SyntaxError: the source is none.
    """
    policy, source = task.policy, task.source
    modules: dict[str, Any] = {}
    if isinstance(source, (str, bytes)):
        code = compile(source, f"<task {task.name}>", "exec", dont_inherit=True)
        refused = allow.check_source(source, policy, name=task.name)
        if refused:
            raise PolicyError("PolicyError", f"{task.name}: " + "; ".join(map(str, refused[:5])))
    else:
        code = source.code()
        modules = {name: source.code(name) for name in source.modules if name != "main"}
    grants = {
        "imports": allow.granted(policy),
        "core": allow._CORE,
        "read": policy.read,
        "write": policy.write,
        "modules": modules,
    }
    return task.name, code, task.entry, grants, task.seed


@lru_cache(maxsize=1)
def guest_code() -> CodeType:
    """The guest module, compiled, for interpreters that execute it without an import."""
    code = SourceFileLoader(guest.__name__, guest.__file__).get_code(guest.__name__)
    assert code is not None
    return code
