"""What plugins offer through ``walle_register_policies``: kinds of policies, and the rules that they compile to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from walle_core.errors import PluginError

if TYPE_CHECKING:
    from walle_core.registry import Registry
    from walle_deploy.errors import PolicyError
    from walle_deploy.profile import Profile

Verdict = bool | None  # None: unknown, because the profile lacks what was asked; unknown never matches


class Rule:
    """A compiled policy. Rules are immutable, and one is asked by many threads.

    A plugin's rule fills `verdict` and `label`; `detail` when there is more to say. It is asked after the index has
    ruled out what it can by the conditions that stand beside it, so it may be slower than they are.
    """

    parts: Sequence[Rule] = ()

    def verdict(self, profile: Profile) -> Verdict:
        """Whether the device is meant. Must not raise, and depend on nothing but the profile."""
        raise NotImplementedError

    def label(self) -> str:
        """The rule in a few words."""
        raise NotImplementedError

    def detail(self, profile: Profile) -> str:
        """What the profile has that decided."""
        return ""


class Place(Protocol):
    """Where in a policy a kind stands: what `compile` is given beside its parameters."""

    @property
    def path(self) -> str:
        """Steps from the top of the policy, for messages."""

    def inner(self, value: Any, *steps: str | int) -> Rule:
        """Compiles a policy that is part of this one; `steps` lead to it from here."""

    def segment(self, name: str) -> Rule:
        """Compiles the named segment."""

    def error(self, found: Any, wanted: str, *steps: str | int) -> PolicyError:
        """The error to raise: it says where, what was found and what is wanted."""


class Policy(Protocol):
    """What a kind's target is: a class or a module with these two."""

    schema: Mapping[str, Any]  # JSON schema of the parameters

    def compile(self, params: Any, place: Place) -> Rule:
        """The rule for `params`. Raises ``place.error(...)`` for parameters that cannot be used."""


@attrs.frozen
class PolicyKind:
    """What a plugin registers.

    Attributes:
        name: how policies call it: ``{name = parameters}``.
        target: ``module:attribute`` of an object as `Policy` describes; imported when first used.
        kind: ``policy``; ``gate`` for a class of release gates, as `release.gates.Gate` describes, whose `kind` is `name`;
            ``codec`` for a class of delta codecs, as `deltas.contract.Codec` describes.
        summary: one line.
    """

    name: str
    target: str
    kind: str = "policy"
    summary: str = ""

    def load(self) -> Policy:
        """The object. Raises PluginError if it cannot be imported."""
        module, _, attribute = self.target.partition(":")
        try:
            found: Policy = getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"policy {self.name!r}: {self.target} cannot be loaded: {error}") from error
        return found


def register_built_in(registry: Registry[Any]) -> None:
    """Registers the kinds that come with this package, as a plugin registers its own."""
    module = "walle_deploy.policies.kinds"
    for name, summary in (
        ("everyone", "every device"),
        ("uniform", "a sticky share of all devices"),
        ("device", "conditions on attributes of the device"),
        ("user", "conditions on attributes of the user"),
        ("devices", "the devices of a list"),
        ("segment", "a policy that has a name"),
        ("all", "every one of some policies"),
        ("any", "at least one of some policies"),
        ("not", "devices that another policy does not match"),
    ):
        registry.add(PolicyKind(name, f"{module}:{name.upper()}", "policy", summary))
