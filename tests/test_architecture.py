"""Rules about the source itself: layers, names, sizes, documentation."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from walle_core import hookspecs

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "walle_core"
CORE_FILES = [p for p in sorted(CORE.rglob("*.py")) if "template" not in p.relative_to(CORE).parts]
COMPILED = sorted([*CORE.rglob("*.pyx"), *CORE.rglob("*.pxd"), *(ROOT / "plugins").glob("*/src/**/*.pyx")])
BUDGET = (
    47_000  # lines of Python in the core; raised by docs/adr/0010-size-budget.md, 0027-arrays-of-our-own.md
)

# A module may import from its own row and the rows before it (design 4.1).
LAYERS = [
    {"walle_core.dtypes", "walle_core.types", "walle_core.errors", "walle_core.files", "walle_core.hookspecs", "walle_core.cache",
     "walle_core.installed", "walle_core.prepared"},
    {"walle_core.ops", "walle_core.protocols", "walle_core._native", "walle_core.memory"},
    {"walle_core.registry", "walle_core.plugins"},
    {"walle_core.graph", "walle_core.frontends", "walle_core.strings"},
    {"walle_core.backends"},
    {"walle_core.search", "walle_core.cost", "walle_core.tuned"},
    {"walle_core.session", "walle_core.recovery", "walle_core.engines", "walle_core.planfile", "walle_core.planimage", "walle_core.tuning", "walle_core.binding", "walle_core.plan", "walle_core.quantization", "walle_core.prediction", "walle_core.ranking", "walle_core.evaluate", "walle_core.loading", "walle_core.saving", "walle_core.conversion", "walle_core.matrix",
    },
    {"walle_core.cv", "walle_core.audio", "walle_core.text", "walle_core.train", "walle_core.vm"},
    {"walle_core", "walle_core.cli", "walle_core.testing", "walle_core.builtin", "walle_core.__main__", "walle_core.workload"},
]  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(name: str) -> int:
    while name:
        for depth, row in enumerate(LAYERS):
            if name in row:
                return depth
        name = name.rpartition(".")[0]
    raise AssertionError("not a module of the core")


def runtime_imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []  # imports for types only do not count
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def top_level_imports(tree: ast.Module) -> set[str]:
    body = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    return runtime_imports(ast.Module(body, []))


@pytest.mark.parametrize("path", CORE_FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    module = module_name(path)
    for target in sorted(runtime_imports(ast.parse(path.read_text()))):
        if target.startswith("walle_"):
            assert target.partition(".")[0] == "walle_core", f"core imports plugin {target}"
            assert layer_of(target) <= layer_of(module), f"{module} imports upward: {target}"


@pytest.mark.parametrize("path", CORE_FILES, ids=module_name)
def test_numpy_is_not_needed_to_import(path: Path) -> None:
    if "testing" in path.parts:
        return  # the conformance kit runs where NumPy is
    heavy = {n.partition(".")[0] for n in top_level_imports(ast.parse(path.read_text()))}
    assert not heavy & {"numpy", "onnx", "ml_dtypes", "PIL", "matplotlib", "scipy", "torch"}


def test_core_names_no_backend() -> None:
    words = re.compile(r"avx|\bneon|opencl|vulkan|\bmetal\b|cuda", re.IGNORECASE)
    sources = [
        p
        for p in sorted(CORE.rglob("*"))
        if p.suffix in {".py", ".pyx", ".pxd", ".pyi", ".h", ".hpp", ".cpp"}
    ]
    assert len(sources) > 30
    found = [
        f"{p.relative_to(ROOT)}: {m.group()}" for p in sources for m in [words.search(p.read_text())] if m
    ]
    assert not found


def declared(plugin: str) -> set[str]:
    """Packages of other plugins that a plugin's pyproject.toml names, extras among them."""
    project = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    wanted = [*project.get("dependencies", ()), *(line for extra in extras for line in extra)]
    names = {re.split(r"[^a-z0-9-]", line, maxsplit=1)[0].replace("-", "_") for line in wanted}
    return {name for name in names if name.startswith("walle_")} - {"walle_core", f"walle_{plugin}"}


def test_plugins_import_only_plugins_that_they_declare() -> None:
    for folder in (ROOT / "plugins").iterdir():
        known = {"walle_core", f"walle_{folder.name}", *declared(folder.name)}
        for path in folder.glob("src/**/*.py"):
            for target in runtime_imports(ast.parse(path.read_text())):
                top = target.partition(".")[0]
                assert not top.startswith("walle_") or top in known, f"{path} imports {target}"
        for other in declared(folder.name):
            back = declared(other.removeprefix("walle_"))
            assert f"walle_{folder.name}" not in back, f"{folder.name} and {other} declare each other"


def test_size_budget() -> None:
    lines = {p: len(p.read_text().splitlines()) for p in CORE_FILES}
    assert sum(lines.values()) <= BUDGET, f"{sum(lines.values())} lines; see docs/adr/0010-size-budget.md"
    assert not [f"{p.relative_to(ROOT)}: {n}" for p, n in lines.items() if n > 500], "files over 500 lines"


def test_pickle_is_never_used() -> None:
    for path in [*CORE_FILES, *(ROOT / "plugins").glob("*/src/**/*.py")]:
        used = {n.partition(".")[0] for n in runtime_imports(ast.parse(path.read_text()))}
        if path == CORE / "vm/package.py":  # verifies bytecode before it unmarshals it
            used.remove("marshal")
        assert not used & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, path


@pytest.mark.parametrize("path", COMPILED, ids=lambda p: p.name)
def test_compiled_modules_load_in_any_interpreter(path: Path) -> None:
    text = path.read_text()
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    if path.suffix == ".pyx":
        assert "subinterpreters_compatible=own_gil" in text
        assert "freethreading_compatible=True" in text
    assert not re.search(r"\bwith gil\b|cimport numpy|cpdef enum", code)
    assert not re.search(r"\b(float|double|int|char|int64_t|uint8_t)\s*\[:", code), "typed memoryview"
    assert not re.search(
        r"^cdef (?!class|extern|struct|enum|inline|packed|cppclass|union)[^(]*(=|$)", code, re.MULTILINE
    ), "module-level cdef variable"


@pytest.mark.parametrize(
    "path", [ROOT / "setup.py", *(ROOT / "plugins").glob("*/setup.py")], ids=lambda p: p.parent.name
)
def test_compiled_modules_are_built_without_static_types(path: Path) -> None:
    text = path.read_text()
    for macro in (
        "CYTHON_USE_MODULE_STATE",
        "CYTHON_USE_TYPE_SPECS",
    ):  # one without the other corrupts the heap
        assert "cythonize" not in text or f'("{macro}", "1")' in text


def test_public_functions_are_described() -> None:
    missing = []
    for path in CORE_FILES:
        if "conformance" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path} has no docstring"
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None:
                    missing.append(f"{module_name(path)}.{node.name}")
    assert not missing


HOOKS = [n for n in vars(hookspecs) if n.startswith("walle_")]


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs/hooks.md").read_text()
    headings = re.findall(r"^## (walle_\w+\(.*\))$", text, re.MULTILINE)
    signatures = [f"{n}({', '.join(inspect.signature(getattr(hookspecs, n)).parameters)})" for n in HOOKS]
    assert headings == signatures


@pytest.mark.parametrize("name", HOOKS)
def test_hook_docstrings_answer_the_five_questions(name: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, name)) or ""
    for word in ("When and how often", "Thread", "Result", "Raising"):
        assert f"{word}:" in text or f"{word} " in text, f"{name} does not say: {word}"


def test_distributions_are_consistent() -> None:
    import tomllib

    for path in [ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml")]:
        data = tomllib.loads(path.read_text())
        name = data["project"]["name"]
        if path.parent != ROOT:
            assert name == f"walle-{path.parent.name.replace('_', '-')}"
            assert list(data["project"]["entry-points"]["walle"].values()) == [f"walle_{path.parent.name}"]
            assert any(d.startswith("walle-core") for d in data["project"]["dependencies"])
        assert data["project"]["requires-python"] == ">=3.11"
