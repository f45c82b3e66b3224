"""The test matrix. Plugins are found, never listed; every session tests installed wheels, not the checkout."""

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "tests"))
from plugin_matrix import PYTHONS, oldest_core, plugins, project, unpacked

PLUGINS = plugins()


def root_of(plugin):
    """A plugin's folder."""
    return Path(__file__).parent / "plugins" / plugin


nox.options.sessions = ["lint", "core", "plugin"]
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=PYTHONS)
def core(session):
    """Repository tests and conformance of the reference backend, with walle-core alone."""
    session.install(".[test,image,onnx,tflite]", "onnxruntime", "setuptools", "cython")
    session.run("pytest", "tests", *session.posargs)
    session.run("pytest", "--pyargs", "walle_core.testing.conformance", "--walle-backend", "reference")


@nox.session(python=PYTHONS)
def conformance(session):
    """Conformance of what walle-core itself offers."""
    session.install(".[test,image,onnx]")
    session.run(
        "pytest", "--pyargs", "walle_core.testing.conformance", "--walle-plugin", "core", *session.posargs
    )


@nox.session(python=PYTHONS)
@nox.parametrize("plugin", PLUGINS, ids=PLUGINS)
def plugin(session, plugin):
    """One plugin's own tests and its conformance, with the oldest core that it allows."""
    tag, label = oldest_core(plugin)
    core = "." if tag is None else str(unpacked(tag, Path(session.create_tmp()).resolve() / tag))
    session.log(f"walle-core {label}")
    extra = "[test]" if "test" in project(root_of(plugin)).get("optional-dependencies", {}) else ""
    session.install(f"{core}[test,image,onnx]", f"./plugins/{plugin}{extra}")
    root = Path.cwd().resolve()
    session.chdir(session.create_tmp())  # processes that tests start must not find the checkout
    settings = ["-c", str(root / "pyproject.toml"), "--rootdir", str(root)]
    session.run("pytest", *settings, str(root / "plugins" / plugin / "tests"), *session.posargs)
    (name,) = project(root / "plugins" / plugin)["entry-points"]["walle"]
    session.run(
        "pytest", "--pyargs", "walle_core.testing.conformance", "--walle-plugin", name, *session.posargs
    )


@nox.session(python=PYTHONS[0])
def lint(session):
    """ruff on everything, mypy --strict on the core."""
    session.install("-e", ".[test]", "ruff", "mypy")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session):
    """Runs the code blocks of the documentation."""
    session.install(".[test,image,onnx]")
    session.run("pytest", "tests/test_docs.py", "tests/test_architecture.py")


@nox.session(python=PYTHONS)
def wheels(session):
    """Builds sdist and wheel of every distribution, installs the wheels alone, runs conformance."""
    out = Path(session.create_tmp()).resolve()
    session.install("build", "setuptools", "cython")
    for folder in [".", *(f"plugins/{p}" for p in PLUGINS)]:
        session.run("python", "-m", "build", "--outdir", str(out), folder)
    empty = out / "empty"
    session.run("python", "-m", "venv", "--clear", str(empty))
    python = str(empty / "bin" / "python")
    session.run(
        python, "-m", "pip", "install", "-q", "pytest", "numpy", *map(str, out.glob("*.whl")), external=True
    )
    session.chdir(out)
    session.run(python, "-P", "-m", "pytest", "--pyargs", "walle_core.testing.conformance", external=True)


@nox.session(python=PYTHONS[0])
def flink(session):
    """The trigger engine against Flink SQL MATCH_RECOGNIZE on 100,000 random sequences; needs Java 17, takes 844 MB.

    Arguments go to generate.py: nox -s flink -- --seed 2 --patterns 300 --keys 334
    """
    folder, cases = Path("plugins/pipeline/tests/flink"), Path(session.create_tmp()).resolve() / "cases"
    session.install(".", "./plugins/pipeline")
    session.run("python", str(folder / "generate.py"), str(cases), *session.posargs)
    other = Path(session.create_tmp()).resolve() / "flink"
    python = str(other / "bin" / "python")
    if not other.exists():
        session.run("python", "-m", "venv", str(other))
    session.run(python, "-m", "pip", "install", "-q", "apache-flink==2.3.0", external=True)
    session.run(python, str(folder / "compare.py"), str(cases), external=True)
