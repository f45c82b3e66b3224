"""OpenFeature: policies as boolean flags, for programs that already ask OpenFeature.

Needs the extra ``openfeature``. The flag's key is the policy's name; the evaluation context's targeting key is the device
id, and its attributes ``device`` and ``user`` are tables as in `Profile`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.hook import Hook
from openfeature.provider import AbstractProvider, Metadata

from walle_deploy.errors import PolicyError
from walle_deploy.policies.matcher import Matcher
from walle_deploy.profile import Profile

T = TypeVar("T")


class PolicyProvider(AbstractProvider):
    """Answers whether a policy matches. Only boolean flags exist: others get their default and a type mismatch."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__()
        self.matcher = matcher

    def get_metadata(self) -> Metadata:
        """See AbstractProvider."""
        return Metadata("walle-deploy")

    def get_provider_hooks(self) -> list[Hook]:
        """See AbstractProvider."""
        return []

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether the policy `flag_key` matches the device that the context describes."""
        if flag_key not in self.matcher.rules:
            return _failed(default_value, ErrorCode.FLAG_NOT_FOUND, f"no policy {flag_key!r:.60}")
        if evaluation_context is None or not evaluation_context.targeting_key:
            return _failed(
                default_value, ErrorCode.TARGETING_KEY_MISSING, "the targeting key is the device id"
            )
        try:
            profile = _profile(evaluation_context)
        except PolicyError as error:
            return _failed(default_value, ErrorCode.INVALID_CONTEXT, str(error))
        value = flag_key in self.matcher.match(profile)
        return FlagResolutionDetails(value, reason=Reason.TARGETING_MATCH, variant="on" if value else "off")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Policies are boolean."""
        return self._mismatch(flag_key, default_value)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Policies are boolean."""
        return self._mismatch(flag_key, default_value)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Policies are boolean."""
        return self._mismatch(flag_key, default_value)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Any]:
        """Policies are boolean."""
        return self._mismatch(flag_key, default_value)

    def _mismatch(self, name: str, default: T) -> FlagResolutionDetails[T]:
        if name not in self.matcher.rules:
            return _failed(default, ErrorCode.FLAG_NOT_FOUND, f"no policy {name!r:.60}")
        return _failed(default, ErrorCode.TYPE_MISMATCH, "policies are boolean flags")


def _failed(default: T, code: ErrorCode, message: str) -> FlagResolutionDetails[T]:
    return FlagResolutionDetails(default, code, message, Reason.ERROR)


def _profile(context: EvaluationContext) -> Profile:
    tables: list[Any] = []
    for name in ("device", "user"):
        found = context.attributes.get(name, {})
        if not isinstance(found, Mapping):
            raise PolicyError(f"context: {name}: found {found!r:.60}; wanted a table of attributes")
        tables.append({key: list(v) if isinstance(v, tuple) else v for key, v in found.items()})
    return Profile(context.targeting_key or "", *tables)
