"""From policies as TOML or JSON writes them to rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from walle_deploy.errors import PolicyError
from walle_deploy.policies.contract import PolicyKind, Rule, register_built_in

if TYPE_CHECKING:
    from walle_core.registry import Registry

DEPTH = 32  # of policies in policies, segments included
NODES = 10_000  # of one policy, segments included


def installed_kinds() -> Registry[Any]:
    """The kinds that installed plugins offer. Those of this package are among them even when it runs uninstalled."""
    from walle_core.plugins import load_plugins

    found = load_plugins().policies
    if "everyone" not in found:
        found = found.copy("walle_deploy")
        register_built_in(found)
    return found


class Compiler:
    """Compiles policies that share segments.

    Args:
        segments: name -> policy.
        kinds: what policies may be made of; None: what is installed.
    """

    def __init__(self, segments: Mapping[str, Any] | None = None, kinds: Registry[Any] | None = None) -> None:
        self.segments = {} if segments is None else segments
        self.kinds = installed_kinds() if kinds is None else kinds
        self.known = [name for name, item in self.kinds.items() if getattr(item, "kind", "") == "policy"]
        self.nodes = 0
        self.open: list[str] = []  # segments that are being compiled
        self.made: dict[str, tuple[Rule, int, int]] = {}  # segment -> rule, nodes, depth
        self.deepest = 0

    def compile(self, policy: Any, name: str = "policy") -> Rule:
        """The rule of one policy. Raises PolicyError that says where, what was found and what is wanted."""
        self.nodes, self.open, self.deepest = 0, [], 0
        return _Place(name, self, 0).inner(policy)

    def check(self) -> None:
        """Raises PolicyError if a segment cannot be used, also if no policy asks for it."""
        for name in self.segments:
            self.compile({"segment": name}, f"segments.{name}")


def compile_policy(policy: Any, segments: Mapping[str, Any] | None = None, name: str = "policy") -> Rule:
    """The rule of a policy: ``{all = [{device = {os = "android"}}, {uniform = {percent = 5, salt = "v2"}}]}``.

    Raises PolicyError that says where, what was found and what is wanted.
    """
    return Compiler(segments).compile(policy, name)


@attrs.frozen
class _Place:
    """As `contract.Place` describes."""

    path: str
    compiler: Compiler
    depth: int

    def inner(self, value: Any, *steps: str | int) -> Rule:
        here = attrs.evolve(self, path=self._at(steps), depth=self.depth + 1)
        maker = self.compiler
        maker.nodes += 1
        maker.deepest = max(maker.deepest, here.depth)
        if here.depth > DEPTH or maker.nodes > NODES:
            raise here._large()
        known = maker.known
        if not isinstance(value, Mapping) or len(value) != 1:
            raise here.error(value, f"a table with one key, one of {', '.join(known)}")
        ((kind, params),) = value.items()
        if kind not in known:
            raise here.error(kind, f"one of {', '.join(known)}")
        entry: PolicyKind = maker.kinds.get(kind)
        rule = entry.load().compile(params, attrs.evolve(here, path=f"{here.path}.{kind}"))
        if not isinstance(rule, Rule):
            raise PolicyError(f"{here.path}.{kind}: the kind {kind!r} made {rule!r:.60}, which is no Rule")
        return rule

    def segment(self, name: str) -> Rule:
        maker = self.compiler
        if name not in maker.segments:
            raise self.error(
                name, f"one of the segments {', '.join(map(str, maker.segments)) or '(there are none)'}"
            )
        if name in maker.open:
            raise self.error(name, f"a segment that is not inside itself ({' > '.join([*maker.open, name])})")
        if name in maker.made:
            rule, nodes, depth = maker.made[name]
            maker.nodes += nodes
            maker.deepest = max(maker.deepest, self.depth + depth)
            if self.depth + depth > DEPTH or maker.nodes > NODES:
                raise self._large()
            return rule
        before, deepest = maker.nodes, maker.deepest
        maker.open.append(name)
        maker.deepest = self.depth
        rule = _Place(f"segments.{name}", maker, self.depth).inner(maker.segments[name])
        maker.open.pop()
        maker.made[name] = rule, maker.nodes - before, maker.deepest - self.depth
        maker.deepest = max(maker.deepest, deepest)
        return rule

    def error(self, found: Any, wanted: str, *steps: str | int) -> PolicyError:
        try:
            text = repr(found)
        except Exception:  # RecursionError of a deep list, or a foreign object's own
            text = f"a {type(found).__name__} that cannot be shown"
        return PolicyError(
            f"{self._at(steps)}: found {text if len(text) <= 80 else text[:77] + '...'}; wanted {wanted}"
        )

    def _large(self) -> PolicyError:
        return PolicyError(
            f"{self.path}: the policy is too large; wanted at most {DEPTH} levels and {NODES} policies in one"
        )

    def _at(self, steps: tuple[str | int, ...]) -> str:
        return self.path + "".join(f"[{s}]" if isinstance(s, int) else f".{s:.60}" for s in steps)


def policy_schema(kinds: Registry[Any] | None = None) -> dict[str, Any]:
    """JSON schema (2020-12) of a policy, made of what the kinds say of their parameters."""
    found = installed_kinds() if kinds is None else kinds
    properties = {
        name: {**item.load().schema, "description": item.summary}
        for name, item in found.items()
        if getattr(item, "kind", "") == "policy"
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": properties,
    }
