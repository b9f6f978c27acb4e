"""The house rules: imports point downwards, nothing heavy loads early, everything public is documented."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import matterscape

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "package" / "matterscape"
WIDGETS = ROOT / "widgets" / "matterscape_widgets"
MODULES = sorted([*PACKAGE.rglob("*.py"), *WIDGETS.rglob("*.py")])

# Lowest floor first. A subpackage may import its own floor and those below; cycles are excluded separately.
FLOORS = (
    {"kernels", "structures", "basis", "progress", "checks"},
    {"descriptors", "potentials", "uq"},
    {"models"},
    {"transport", "dynamics", "electrons"},
    {"maps", "datasets", "cli", "benchmarks", "warm_up"},
)
FLOOR_OF = {name: height for height, names in enumerate(FLOORS) for name in names}
# Names that `matterscape` itself hands out lazily, and where they live.
LAZY_NAMES = {name: module.split(".")[1] for name, module in matterscape._NAMES.items()}

FRONT_ENDS = {
    "IPython", "anywidget", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_core", "jupyterlab", "matplotlib",
    "notebook", "plotly", "traitlets", "voila",
}  # fmt: skip
# `matterscape run` executes notebooks, which is what these two are for.
NOTEBOOK_RUNNERS = {"nbclient", "nbformat"}
LONGEST_MODULE = 700


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_module = pytest.mark.parametrize("path", MODULES, ids=_name)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _package_of(path: Path) -> list[str]:
    """Dotted package that relative imports of a module start from."""
    base = PACKAGE if path.is_relative_to(PACKAGE) else WIDGETS
    return list(path.relative_to(base.parent).parent.parts)


def imported_names(tree: ast.Module, package: list[str]) -> Iterator[str]:
    """Absolute dotted names of everything a module imports, wherever in the module it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def subpackages_used(tree: ast.Module, package: list[str]) -> set[str]:
    """Subpackages of matterscape that a module imports."""
    used = set()
    for name in imported_names(tree, package):
        parts = name.split(".")
        if parts[0] == "matterscape" and len(parts) > 1 and not parts[1].startswith("__"):
            used.add(LAZY_NAMES.get(parts[1], parts[1]))
    return used


def _subpackage_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _package_modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import matterscape.maps.projections as p", ["matterscape", "uq"], {"maps"}),
        ("from matterscape import Structures, models", ["matterscape", "uq"], {"structures", "models"}),
        ("from matterscape import __version__", ["matterscape", "uq"], set()),
        ("def f():\n    from ..basis import radial", ["matterscape", "uq"], {"basis"}),
        ("from . import sibling", ["matterscape", "uq"], {"uq"}),
        ("import numpy\nfrom torch import nn", ["matterscape", "uq"], set()),
    ],
)
def test_the_walk_sees_every_kind_of_import(source, package, expected):
    assert subpackages_used(ast.parse(source), package) == expected


@pytest.mark.parametrize("path", _package_modules(), ids=_name)
def test_imports_point_downwards(path):
    own = _subpackage_of(path)
    assert own in FLOOR_OF, f"give {own!r} a floor in FLOORS"
    used = subpackages_used(_tree(path), _package_of(path))
    assert used <= FLOOR_OF.keys(), f"imports unknown subpackages {sorted(used - FLOOR_OF.keys())}"
    upwards = {name for name in used if FLOOR_OF[name] > FLOOR_OF[own]}
    assert not upwards, f"{own} (floor {FLOOR_OF[own]}) imports from above: {sorted(upwards)}"


def test_no_import_cycles_between_subpackages():
    graph: dict[str, set[str]] = {}
    for path in _package_modules():
        own = _subpackage_of(path)
        graph.setdefault(own, set()).update(subpackages_used(_tree(path), _package_of(path)) - {own})
    TopologicalSorter(graph).prepare()  # raises CycleError naming the cycle


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=_name)
def test_the_package_knows_no_front_end(path):
    roots = {name.split(".")[0] for name in imported_names(_tree(path), _package_of(path))}
    forbidden = FRONT_ENDS | {"matterscape_widgets"}
    if path.relative_to(PACKAGE).with_suffix("").parts[0] != "cli":
        forbidden |= NOTEBOOK_RUNNERS
    assert not roots & forbidden


def _loaded_after(statement: str) -> set[str]:
    code = f"import sys; sys.path[:0] = {[str(PACKAGE.parent)]!r}; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_matterscape_is_cheap():
    loaded = _loaded_after("import matterscape")
    assert "matterscape" in loaded
    assert not loaded & {"torch", "numba", "numpy", "scipy", "ase", "sklearn", "chemiscope", *FRONT_ENDS}


def test_asking_for_a_lazy_name_loads_it():
    assert {"torch", "numba"} <= _loaded_after("import matterscape; matterscape.set_threads")


@each_module
def test_modules_can_be_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring, and the module itself."""
    missing = [] if ast.get_docstring(tree) else ["<module>"]

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)
                if node.name.startswith("_") or setter:
                    continue
                if not ast.get_docstring(node):
                    missing.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{prefix}{node.name}.")

    look(tree.body, "")
    return missing


def test_the_docstring_check_finds_gaps():
    source = "class A:\n    'a'\n    def f(self): ...\n    def _g(self): ...\ndef h():\n    'h'\n    def inner(): ...\n"
    assert undocumented(ast.parse(source)) == ["<module>", "A.f"]


@each_module
def test_everything_public_has_a_docstring(path):
    assert undocumented(_tree(path)) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=_name)
def test_no_exported_name_hides_a_module(path):
    own = ".".join(path.parent.relative_to(PACKAGE.parent).parts)
    modules = {other.stem for other in path.parent.glob("*.py")}
    names = (name for name in imported_names(_tree(path), _package_of(path)) if name.startswith(own))
    hidden = {name for name in names if name.count(".") > own.count(".") + 1 and name.split(".")[-1] in modules}
    assert not hidden
