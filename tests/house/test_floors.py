"""The floors of the house: imports go downward, and each outside library has its doors."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = {"dws": 0, "zoo_gen": 1, "training": 2, "pipeline": 3}
ABOVE_ALL = {"notebooks": 4, "benchmarks": 4, "tests": 4}

ROOMS = {
    "zoo_gen": ("sources", "recipe", "zoo", "make", "health", "exchange"),
    "training": ("models", "tasks", "search", "tracking"),
    "pipeline": ("config", "views", "commands"),
}
"""Package -> its rooms, the lower first: a room imports those before it."""

DOORS = {
    "ray": {
        "zoo_gen/make/ray_engine.py",
        "training/ray_engine.py",
        "training/ray_train.py",
        "training/search/ray_worker.py",
        "training/search/ray_tune.py",
        "pipeline/commands/submit.py",  # the type of a job alone
        "pipeline/job_server.py",
    },
    "ray.train": {"training/ray_train.py", "training/search/ray_worker.py"},
    "ray.tune": {"training/search/ray_worker.py", "training/search/ray_tune.py"},
    "optuna": {"training/search/sampler.py"},
    "mlflow": {
        "training/tracking/metrics.py",
        "training/tracking/store.py",
        "training/tracking/registry.py",
        "training/tracking/models.py",
        "training/tracking/trials.py",
        "training/tracking/runs.py",
    },
    "fsspec": {"zoo_gen/zoo/store.py"},
    "s3fs": {"zoo_gen/zoo/store.py"},
    "botocore": {"zoo_gen/zoo/store.py"},
    "pyarrow": {
        "training/predictions.py",  # predictions as Parquet
        "training/ray_train.py",  # the shape in which Ray Train takes a file system
        "zoo_gen/zoo/shards.py",
        "zoo_gen/sources/parquet.py",
    },
    "PIL": {"zoo_gen/sources/pictures.py"},
    "trimesh": {"zoo_gen/sources/meshes.py"},
    "h5py": {"zoo_gen/exchange/hdf5.py", "zoo_gen/exchange/imports/files/keras_files.py"},
    "msgpack": {"zoo_gen/exchange/imports/files/array_files.py"},
    "triton": {"zoo_gen/make/fit/triton_kernel.py"},
    "click": {
        f"pipeline/commands/{file.name}" for file in (ROOT / "pipeline/commands").glob("*.py")
    },
    "pydantic": {
        "pipeline/config/config.py",
        "pipeline/config/unions.py",
        "zoo_gen/recipe/maker.py",  # from zoo.json, at the first zoo that is read
    },
    "importlib.metadata": {
        "pipeline/commands/doctor.py",
        "training/tracking/tags.py",
        "zoo_gen/plugins.py",
    },
    "ruamel": {"pipeline/config/files.py"},
    "yaml": set(),
    "jinja2": {"pipeline/views/html.py"},
    "ray.job_submission": {"pipeline/commands/submit.py", "pipeline/job_server.py"},
}

DWS_MAY_IMPORT = {"dws", "torch", "numpy", "scipy", *sys.stdlib_module_names}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a file imports, at the top or inside functions.

    ``from a import b`` counts as ``a.b``: b may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def all_imports() -> list[tuple[str, int, str]]:
    """(file, line, imported name) of every package."""
    found = [
        (file.relative_to(ROOT).as_posix(), line, name)
        for package in FLOORS
        for file in sorted((ROOT / package).rglob("*.py"))
        for line, name in imports(file.read_text())
    ]
    assert {file.split("/")[0] for file, _, _ in found} == set(FLOORS)
    return found


def within(name: str, library: str) -> bool:
    """Whether a dotted name is a library or below it."""
    return name == library or name.startswith(f"{library}.")


def test_imports_go_downward_only() -> None:
    floors = FLOORS | ABOVE_ALL
    upward = [
        f"{file}:{line} imports {name}"
        for file, line, name in all_imports()
        if floors.get(name.split(".")[0], -1) > FLOORS[file.split("/")[0]]
    ]
    assert upward == []


def test_rooms_import_lower_rooms_only() -> None:
    upward = []
    for file, line, name in all_imports():
        package, room, *_ = file.split("/")
        other = name.split(".")
        rooms = ROOMS.get(package, ())
        inside = room in rooms and other[0] == package and other[1] in rooms
        if inside and rooms.index(other[1]) > rooms.index(room):
            upward.append(f"{file}:{line} imports {name}")
    assert upward == []


def test_no_file_imports_itself_in_a_circle() -> None:
    graph = {name: set(imported(name)) for name in FILES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): file
    for package in FLOORS
    for file in (ROOT / package).rglob("*.py")
    if file.name != "__init__.py"
}
"""Module -> file; packages only pass names on."""


def imported(name: str) -> Iterator[str]:
    """Modules that a module imports as it is loaded."""
    for node in ast.parse(FILES[name].read_text()).body:
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names] + [f"{node.module}"]
        yield from (other for other in found if other in FILES)


def test_imports_are_absolute() -> None:
    relative = [f"{file}:{line} {name}" for file, line, name in all_imports() if name[0] == "."]
    assert relative == []


@pytest.mark.parametrize("library", DOORS)
def test_an_outside_library_has_its_doors(library: str) -> None:
    elsewhere = [
        f"{file}:{line} imports {name}"
        for file, line, name in all_imports()
        if within(name, library) and file not in DOORS[library]
    ]
    assert elsewhere == []


def test_dws_needs_torch_alone() -> None:
    foreign = [
        f"{file}:{line} imports {name}"
        for file, line, name in all_imports()
        if file.startswith("dws/") and name.split(".")[0] not in DWS_MAY_IMPORT
    ]
    assert foreign == []


# rooms and files of training, each of which may import those above it in this list
TRAINING = [
    "own_networks",
    "checks",
    "augmentation",
    "data",
    "models",
    "settings",
    "workers",
    "tasks",
    "loop",
    "jobs",
    "checkpoints",
    "results",
    "model_file",
    "predictions",
    "search/settings",
    "search/space",
    "search/trials",
    "tracking",
    "train_job",
    "local_engine",
    "lanes",
    "ray_train",
    "ray_engine",
    "search",
]


def place(name: str) -> int:
    """Position in `TRAINING` of a dotted module or a file, by its longest entry."""
    path = name.removesuffix(".py").replace(".", "/").removeprefix("training/") + "/"
    found = [entry for entry in TRAINING if path.startswith(f"{entry}/")]
    return TRAINING.index(max(found, key=len)) if found else -1


def test_the_rooms_of_training_are_in_order() -> None:
    inside = [
        (file, line, name)
        for file, line, name in all_imports()
        if file.startswith("training/") and name.startswith("training.")
    ]
    outside = {file for file, _, _ in inside if place(file) < 0} - {"training/__init__.py"}
    assert outside == set()
    up = [f"{f}:{line} imports {n}" for f, line, n in inside if -1 < place(f) < place(n)]
    assert up == []


def files_below(package: str) -> set[str]:
    """Its modules, dotted."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in (ROOT / package).rglob("*.py")
    }


@pytest.mark.parametrize("package", ["zoo_gen", "training", "pipeline"])
def test_no_file_imports_itself_by_way_of_others(package: str) -> None:
    modules = files_below(package) - {package}  # its own front imports what is meant for users
    graph: dict[str, set[str]] = {}
    for file, _, name in all_imports():
        own = ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")
        parts = name.split(".")
        target = next((m for i in (len(parts), -1) if (m := ".".join(parts[:i])) in modules), own)
        if own in modules and target != own:
            graph.setdefault(own, set()).add(target)
    TopologicalSorter(graph).prepare()
