"""The names that users import: each is there, whatever was imported before it."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import walle_core


def test_every_public_name_resolves_and_is_listed():
    assert set(walle_core._HOMES) < set(walle_core.__all__) <= set(dir(walle_core))
    for name in walle_core.__all__:
        assert callable(getattr(walle_core, name)), name


def test_no_module_hides_a_public_name():
    names = {m.name for m in pkgutil.iter_modules(walle_core.__path__)}
    for name in names & set(walle_core.__all__):
        importlib.import_module(f"walle_core.{name}")
        assert callable(getattr(walle_core, name)), f"module {name} took the place of the function"


@pytest.mark.parametrize("area", ["audio", "cv", "matrix", "text", "vm"])
def test_areas_are_loaded_when_they_are_asked_for(area):
    assert area in dir(walle_core)
    code = (
        f"import sys, walle_core; assert 'walle_core.{area}' not in sys.modules; "
        f"assert walle_core.{area} is sys.modules['walle_core.{area}']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        walle_core.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from walle_core import nothing  # noqa: F401
