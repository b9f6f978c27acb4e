"""One set of versions everywhere, and a repository whose set-up files agree with each other."""

import json
import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.setup

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP_FILES = [
    "Makefile",
    "pyproject.toml",
    ".ci/run",
    *(f"binder/{path.name}" for path in (ROOT / "binder").iterdir()),
]
# Only some builds of torch name these; the pinned version of torch fixes theirs.
GPU_LIBRARIES = ("nvidia-", "cuda-", "triton")


def pins(name: str) -> dict[str, str]:
    """Pinned versions of a requirements file, which may hold nothing but pins and comments."""
    versions = {}
    for line in (ROOT / "binder" / name).read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert match, f"{name}: {line!r} is not a plain pin"
            key = canonicalize_name(match[1])
            assert key not in versions, f"{name} pins {key} twice"
            versions[key] = match[2]
    return versions


def closure(requirements: list[str]) -> set[str]:
    """Canonical names of all packages that the requirements need here, by the installed packages' own metadata."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    stack = [(Requirement(text), "") for text in requirements]
    while stack:
        requirement, wanted_by = stack.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": wanted_by}):
            continue
        name = canonicalize_name(requirement.name)
        if name.startswith(GPU_LIBRARIES):
            continue
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found.add(name)
            try:
                stack += [(Requirement(text), extra) for text in requires(name) or []]
            except PackageNotFoundError:
                pytest.fail(f"{name} is needed but not installed")
    return found


def wanted(*extras: str) -> list[str]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [text for requirements in lists for text in requirements]


def tracked_files() -> list[str]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    return [name for name in done.stdout.split("\0") if name]


def test_top_level_is_exactly_the_house():
    tops = {name.split("/")[0] for name in tracked_files()}
    visible = {name for name in tops if not name.startswith(".")}
    folders = {"package", "notebooks", "widgets", "tests", "binder"}
    assert visible == {"pyproject.toml", "README.md", "LICENSE", "Makefile", *folders}
    assert ".ci/run" in tracked_files()


def test_every_requirement_is_pinned_within_its_range():
    constraints = pins("constraints.txt")
    for text in wanted(*PROJECT["optional-dependencies"]):
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name in constraints, f"{name} of pyproject.toml is not in constraints.txt"
        assert constraints[name] in requirement.specifier, f"{name} is pinned outside {requirement.specifier}"


def test_dependencies_of_dependencies_are_pinned():
    needed = closure(wanted("lab", "test", "peers", "qm", "distributed"))
    assert needed - pins("constraints.txt").keys() == set()


def test_pins_work_from_the_first_python_3_11_on():
    # Debian and Ubuntu ship early releases of 3.11, older than the one that pins are usually made with
    too_new = []
    constraints = pins("constraints.txt")
    for package in distributions():
        name, needed = canonicalize_name(package.name), package.metadata.get("Requires-Python") or ""
        if package.version == constraints.get(name) and "3.11.0" not in SpecifierSet(needed):
            too_new.append(f"{name} needs Python {needed}")
    assert too_new == []


def test_no_pin_is_left_over():
    # ruff is in no set but dev, which the tests do without
    unused = pins("constraints.txt").keys() - closure(wanted("lab", "test", "peers", "qm", "distributed"))
    assert unused <= {canonicalize_name(Requirement(text).name) for text in wanted("dev")}


def test_image_holds_core_and_lab_and_nothing_else():
    assert pins("requirements.txt").keys() == closure([*wanted("lab"), "hatchling"])


def test_image_has_the_versions_of_the_constraints():
    constraints = pins("constraints.txt")
    assert pins("requirements.txt").items() <= constraints.items()


def test_no_test_tools_in_the_image():
    tools = {canonicalize_name(Requirement(text).name) for text in wanted("test", "peers", "dev")}
    shared = {canonicalize_name(Requirement(text).name) for text in wanted("lab")} | {"hatchling", "pillow", "psutil"}
    assert not pins("requirements.txt").keys() & (tools - shared)


def test_torch_is_asked_for_exactly():
    asked = [text for text in wanted(*PROJECT["optional-dependencies"]) if Requirement(text).name == "torch"]
    assert asked == ["torch==2.13.0"]
    assert pins("constraints.txt")["torch"] == pins("requirements.txt")["torch"] == "2.13.0"


def test_runtime_satisfies_requires_python():
    runtime = (ROOT / "binder" / "runtime.txt").read_text().strip()
    assert re.fullmatch(r"python-3\.\d+", runtime)
    assert runtime.removeprefix("python-") in SpecifierSet(PROJECT["requires-python"])
    assert runtime == "python-3.11"


def test_one_constraints_file_is_used():
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"\$\(PIP\) install (.*)", makefile)
    assert installs
    assert all("--constraint binder/constraints.txt" in line for line in installs)
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script and "pip install" not in script
    assert [path.name for path in ROOT.rglob("constraints*.txt") if ".venv" not in path.parts] == ["constraints.txt"]


def test_post_build_adds_no_packages():
    lines = [line for line in (ROOT / "binder" / "postBuild").read_text().splitlines() if "pip install" in line]
    assert len(lines) == 1
    assert {"--no-deps", "--no-build-isolation"} <= set(lines[0].split())


@pytest.mark.parametrize("name", ["binder/postBuild", "binder/start", ".ci/run"])
def test_scripts_are_executable_strict_bash(name):
    path = ROOT / name
    assert path.read_text().startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in path.read_text()
    assert path.stat().st_mode & 0o111 == 0o111
    modes = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-s", name], capture_output=True, text=True).stdout
    assert not modes or modes.startswith("100755 ")
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("target", ["help", "lab", "test", "bench", "format", "lint"])
def test_make_knows_its_targets(target):
    done = subprocess.run(["make", "--dry-run", "-C", str(ROOT), target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_make_says_what_python_it_needs(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["make", "-C", str(tmp_path), ".venv/bin/pip", "PYTHON=/nowhere/python3"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "No Python >= 3.11 was found" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_default_run_covers_every_tier_but_benchmarks():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    tiers = {path.parent.relative_to(ROOT).parts[1] for path in (ROOT / "tests").rglob("test_*.py")}
    assert {f"tests/{tier}" for tier in tiers - {"benchmarks"}} == set(options["testpaths"])
    assert {line.split(":")[0] for line in options["markers"]} == tiers


def test_settings_of_the_lab_are_json():
    overrides = json.loads((ROOT / "binder" / "overrides.json").read_text())
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_set_up_leaves_the_choice_of_index_to_the_machine():
    for name in SETUP_FILES:
        text = (ROOT / name).read_text()
        assert "://" not in text, f"{name} holds an address"
        assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host", text), name


def test_no_package_host_is_named():
    hosts = [
        ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("debian", "org"))
    ]
    for name in tracked_files():
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        assert not [host for host in hosts if host.encode() in data], name
