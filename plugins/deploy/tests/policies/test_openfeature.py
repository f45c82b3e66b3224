"""Policies as flags of the OpenFeature SDK."""

import pytest

api = pytest.importorskip("openfeature.api")
from openfeature.evaluation_context import EvaluationContext  # noqa: E402
from openfeature.exception import ErrorCode  # noqa: E402
from walle_deploy.policies import Matcher, compile_policy  # noqa: E402
from walle_deploy.policies.openfeature import PolicyProvider  # noqa: E402


@pytest.fixture
def client():
    rule = compile_policy(
        {"all": [{"device": {"os_version": ">=12"}}, {"user": {"groups": {"contains": "beta"}}}]}
    )
    api.set_provider(PolicyProvider(Matcher({"ocr": rule})))
    yield api.get_client()
    api.clear_providers()


def context(version, key="device-1", **more):
    return EvaluationContext(key, {"device": {"os_version": version}, "user": {"groups": ["beta"]}, **more})


def test_a_policy_is_a_flag(client):
    assert client.get_boolean_value("ocr", False, context("12.1")) is True
    assert client.get_boolean_value("ocr", True, context("11")) is False
    found = client.get_boolean_details("ocr", False, context("13"))
    assert (found.variant, found.reason, found.error_code) == ("on", "TARGETING_MATCH", None)


@pytest.mark.parametrize(
    ("name", "given", "code"),
    [
        ("unheard", context("12"), ErrorCode.FLAG_NOT_FOUND),
        ("ocr", None, ErrorCode.TARGETING_KEY_MISSING),
        ("ocr", context("12", key=""), ErrorCode.TARGETING_KEY_MISSING),
        ("ocr", context("12", user=7), ErrorCode.INVALID_CONTEXT),
        ("ocr", context(float("nan")), ErrorCode.INVALID_CONTEXT),
        ("ocr", context(None), ErrorCode.INVALID_CONTEXT),
    ],
)
@pytest.mark.parametrize("default", [True, False])
def test_errors_give_the_default(client, name, given, code, default):
    found = client.get_boolean_details(name, default, given)
    assert found.value is default
    assert found.error_code == code


def test_policies_are_boolean(client):
    for found, default in (
        (client.get_string_details("ocr", "x", context("12")), "x"),
        (client.get_integer_details("ocr", 3, context("12")), 3),
        (client.get_float_details("ocr", 0.5, context("12")), 0.5),
        (client.get_object_details("ocr", {"a": 1}, context("12")), {"a": 1}),
    ):
        assert found.value == default
        assert found.error_code == ErrorCode.TYPE_MISMATCH
