"""The image built step by step in a clean environment: requirements, postBuild, start."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.setup

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|Failed to establish a new connection|ProxyError"
)

# Runs the warm-up on what pretends to be another processor, and counts what had to be compiled.
ON_ANOTHER_HOST = """
import json, llvmlite.binding as llvm
features = llvm.get_host_cpu_features()
for name in features:
    if name.startswith("avx512") or name in ("sha", "vaes", "clwb"):
        features[name] = not features[name]
llvm.get_host_cpu_features = lambda: features
llvm.get_host_cpu_name = lambda: "another-processor"

from numba.core import event
from numba.core.dispatcher import Dispatcher
with event.install_recorder("numba:compile") as recorder:
    import matterscape
    for name in matterscape._SUBPACKAGES:
        getattr(matterscape, name)
    from matterscape import warm_up
    warm_up.main()
import gc
hits = sum(sum(d.stats.cache_hits.values()) for d in gc.get_objects() if isinstance(d, Dispatcher))
print(json.dumps({"hits": hits, "compiled": sorted({str(e.data["dispatcher"]) for _, e in recorder.buffer})}))
"""


class Image:
    """A copy of the repository with an environment of its own, as the build service makes it."""

    def __init__(self, folder: Path):
        self.repository = folder / "repository"
        self.environment = folder / "environment"
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        path = f"{self.environment / 'bin'}{os.pathsep}/usr/local/bin{os.pathsep}/usr/bin{os.pathsep}/bin"
        clean = {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", **variables}
        return subprocess.run(command, cwd=self.repository, env=clean, capture_output=True, text=True)

    def start(self, *command: str) -> subprocess.CompletedProcess:
        return self.run("./binder/start", *command)


def _copy_repository(target: Path) -> None:
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    made = Image(folder)
    _copy_repository(made.repository)
    subprocess.run([sys.executable, "-m", "venv", str(made.environment)], check=True)
    # The machine's own pip settings and cache serve here; compiling to .pyc is left to the first import.
    install = [str(made.environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    install += ["--quiet", "--no-compile", "--retries", "1", "-r", str(made.repository / "binder" / "requirements.txt")]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the package index is out of reach, so the image's packages can't be installed")
    assert done.returncode == 0, done.stderr[-3000:]
    built = made.run("./binder/postBuild", PIP_NO_INDEX="1")
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-3000:]
    yield made
    shutil.rmtree(folder)  # 2 GB that pytest would otherwise keep for three runs


def test_environment_is_consistent(image):
    done = image.start("python", "-m", "pip", "check")
    assert done.returncode == 0, done.stdout


def test_no_test_tools_are_installed(image):
    listed = image.start("python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    names = {row["name"].lower() for row in json.loads(listed.stdout)}
    assert "matterscape" in names and "jupyterlab" in names
    assert not names & {
        "pytest",
        "pytest-benchmark",
        "hypothesis",
        "playwright",
        "featomic",
        "sphericart",
        "ruff",
    }


def test_one_thread_everywhere(image):
    code = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k.endswith('_NUM_THREADS')}))"
    variables = json.loads(image.start("python", "-c", code).stdout)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    assert variables == dict.fromkeys(names, "1")
    code = "import matterscape, torch; print(matterscape.get_threads(), torch.get_num_threads())"
    assert image.start("python", "-c", code).stdout.split() == ["1", "1"]


def test_start_passes_arguments_and_exit_codes_on(image):
    done = image.start("python", "-c", "import sys; print(sys.argv[1:]); sys.exit(3)", "a b", "$HOME")
    assert done.returncode == 3
    assert done.stdout.strip() == "['a b', '$HOME']"


def test_kernels_are_compiled_already_on_any_host(image):
    done = image.start("python", "-c", ON_ANOTHER_HOST)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["hits"] > 0
    assert result["compiled"] == []


def test_lab_starts_without_news(image):
    code = "from jupyterlab.labapp import get_app_dir; print(get_app_dir())"
    folder = Path(image.start("python", "-c", code).stdout.strip())
    assert folder.is_relative_to(image.environment)
    overrides = json.loads((folder / "settings" / "overrides.json").read_text())
    assert overrides["@jupyterlab/apputils-extension:notification"] == {"checkForUpdates": False, "fetchNews": "false"}
    assert image.start("jupyter", "lab", "--version").returncode == 0


def test_post_build_stops_at_the_first_failure(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\necho "$*" >> {tmp_path}/calls\nexit 1\n')
    python.chmod(0o755)
    done = subprocess.run([ROOT / "binder" / "postBuild"], cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 1
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("-m pip install")
