"""The tree is the architecture: imports point down, deps are import closures, nothing grows monstrous."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint.train.training_fingerprint import source_files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "meltpoint"
LAYERS = [
    {"arrays", "errors", "files", "memory", "progress", "params", "signatures", "terminal"},
    {
        "tables",
        "metrics",
        "trees",
        "http",
        "listening",
        "bit_depth",
        "comparison",
        "offers",
        "prefetch",
        "shards",
        "duplicate",
        "parts",
    },
    {"data", "images", "model"},
    {"compare", "evaluate", "predict", "export"},
    {"tasks"},
    {"train"},
    {"tracking", "serving", "page", "forecast"},
    {"registry"},
    {
        "assistant",
        "container",
        "recovery",
        "api",
        "variants",
        "export_table",
        "signing",
        "repeat",
        "init",
        "ram_folder",
    },
    {"commands"},
    {"cli", "__init__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FOUNDATION = LAYERS[0]
OWNERS = {
    "mlflow": {"tracking", "registry", "serving"},
    "albumentations": {"images"},
    "timm": {"model"},
    "accelerate": {"train"},
    "av": {"predict"},
    "gradio": {"page"},
    "ray": {"predict"},
}
TORCHLESS = {"data", "compare", "evaluate", "params", "tables", "metrics", "trees", "images"}
# Values are what `params:` tracks, and words on a screen or the way to the disk change no result.
UNTRACKED = {PACKAGE / f"{name}.py" for name in ("arrays", "errors", "progress", "terminal", "files", "memory")} | set(
    (PACKAGE / "params").glob("*.py")
)

MODULES = sorted(PACKAGE.rglob("*.py"))
STAGES = sorted((ROOT / "stages").glob("*.py"))
CONTRACT = PACKAGE / "tasks" / "contract.py"
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Modules that a file imports, by name, also those for a type checker alone."""
    return frozenset(imported(tree_of(path)))


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {module} | {f"{module}.{alias.name}" for alias in aliases}
    return names


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def loaded(tree: ast.AST) -> set[str]:
    """Modules that are loaded by kind: an f-string given to a loader stands for each file that it may become."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.JoinedStr(values=parts)]):
                names |= matching("".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts))
    return names


def matching(pattern: str) -> set[str]:
    """The modules whose dotted name matches a pattern."""
    files = (ROOT / "src").glob(f"{pattern.replace('.', '/')}.py")
    return {".".join(file.relative_to(ROOT / "src").with_suffix("").parts) for file in files}


@cache
def run_by(path: Path) -> frozenset[str]:
    """Modules that running a file may import: what is for types alone counts for nothing, what is loaded by kind does.

    Of the contract of tasks each loader counts by itself, where it is imported.
    """
    body = [node for node in ast.walk(tree_of(path)) if is_for_types(node)]
    names = imported(tree_of(path)) - {name for node in body for name in imported(node)}
    if path != CONTRACT:
        names |= loaded(tree_of(path))
    for node in tree_of(CONTRACT).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(args=[_, ast.Constant(value=part)])):
                names |= matching(f"meltpoint.tasks.*.{part}") if f"meltpoint.tasks.contract.{name}" in names else set()
    return frozenset(names)


def folder_of(dotted: str) -> Path:
    return ROOT.joinpath("src", *dotted.rstrip(".").split("."))


def file_of(module: str) -> Path | None:
    file = folder_of(module).with_suffix(".py")
    return file if module.startswith("meltpoint.") and file.exists() else None


@cache
def closure_of(path: Path) -> frozenset[Path]:
    """Our files that a script reaches through imports, itself included."""
    seen, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += [file for module in run_by(current) if (file := file_of(module))]
    return frozenset(seen)


def stage_body(name: str) -> dict[str, Any]:
    stage: dict[str, Any] = DVC[name]
    return stage.get("do", stage)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for module in imports_of(path):
        target = file_of(module)
        if target is None or room_of(target) == room:
            continue
        other = room_of(target)
        below = LEVEL[other] < LEVEL[room] or (room in FOUNDATION and other in FOUNDATION)
        assert below, f"{name_of(path)} imports {module}: `{room}` may only import rooms of lower layers"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_libraries_have_one_owner(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports_of(path)}
    for library, owners in OWNERS.items():
        assert library not in roots or room_of(path) in owners, f"{library} belongs to {owners}"
    assert not (room_of(path) in TORCHLESS and "torch" in roots), f"`{room_of(path)}` knows no torch"
    named = "onnxruntime" in roots or re.search(r'import_module\(f?"onnxruntime', path.read_text(encoding="utf-8"))
    alone = name_of(path).endswith("export/onnx_file.py")
    assert alone or not named, "take load_onnxruntime of export/onnx_file.py, which turns its telemetry off"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_init_holds_a_docstring_only(path: Path) -> None:
    body = tree_of(path).body
    allowed = 2 if path.parent == PACKAGE else 1  # the top one may offer `load` lazily
    assert ast.get_docstring(tree_of(path))
    assert len(body) <= allowed, "one re-export would make every closure everything"
    assert all(isinstance(node, ast.Expr | ast.FunctionDef) for node in body)


@pytest.mark.parametrize("stage", DVC)
def test_deps_are_the_import_closure(stage: str) -> None:
    script = ROOT / "stages" / f"{stage}.py"
    closure = {path for path in closure_of(script) if path.name != "__init__.py"} - UNTRACKED
    deps = {ROOT / dep for dep in stage_body(stage)["deps"] if dep.startswith(("src/", "stages/"))}
    covered = {file for dep in deps for file in ([dep] if dep.is_file() else dep.rglob("*.py"))}
    missing = {name_of(path) for path in closure - covered}
    assert not missing, f"deps of {stage} lack what {script.name} imports"
    for dep in deps:
        files = [file for file in ([dep] if dep.is_file() else dep.rglob("*.py")) if file.name != "__init__.py"]
        used = sum(file in closure for file in files)
        assert used * 2 > len(files) or not files, (
            f"{stage} depends on {name_of(dep)} and uses {used} of its {len(files)} files"
        )


@pytest.mark.parametrize("path", STAGES, ids=name_of)
def test_stages_contain_nothing(path: Path) -> None:
    forbidden = (ast.If, ast.For, ast.While, ast.ClassDef, ast.Try, ast.ListComp, ast.Lambda)
    assert not [node for node in ast.walk(tree_of(path)) if isinstance(node, forbidden)]
    code = [
        line for line in path.read_text().splitlines() if line.strip() and not line.startswith(("from ", "import "))
    ]
    assert len(code) <= 25, "a stage joins verbs and nouns in a few lines"
    assert path.stem in DVC


MADE_OF_ALL = {
    "recipe",
    "readings",
    "taps",
    "effective",
    "exports",
    "gate",
    "queries",
}  # of many sections: what trainings, encoders and versions depend on, tested in tests/params and tests/registry


@pytest.mark.parametrize("stage", DVC)
def test_stages_declare_the_params_they_read(stage: str) -> None:
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    read = {section.rstrip("_") for section in re.findall(r"params\.([a-z]+_?)", text)} - {"read", "main", *MADE_OF_ALL}
    declared = {str(param).split(".")[0] for param in stage_body(stage)["params"]}
    assert read <= declared, f"{stage} reads params it does not declare, so that a change would not rerun it"


def functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(path, node) for path in [*MODULES, *STAGES] for node in ast.walk(tree_of(path)) if isinstance(node, kinds)]


def test_no_function_is_a_monster() -> None:
    sizes = {f"{name_of(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for path, node in functions()}
    assert not {name: size for name, size in sizes.items() if size > 60}
    assert sorted(sizes.values())[int(len(sizes) * 0.9)] <= 35, "nine in ten functions are under 35 lines"


def test_no_file_is_a_monster() -> None:
    assert not {name_of(path): size for path in MODULES if (size := len(path.read_text().splitlines())) > 300}


def test_no_attic() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "common", "helpers", "misc"}
    assert not {path.name for path in PACKAGE.iterdir()} & {"utils", "common", "helpers", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_pickle(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports_of(path)}
    assert not roots & {"pickle", "joblib", "cloudpickle", "dill", "shelve"}
    assert "weights_only=False" not in path.read_text()


PRINTING = {PACKAGE / "terminal.py", PACKAGE / "progress.py"}  # it escapes, and shows bars


@pytest.mark.parametrize("path", [path for path in [*MODULES, *STAGES] if path not in PRINTING], ids=name_of)
def test_all_that_is_printed_passes_one_place(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                assert name not in ("print", "pprint", "tqdm"), f"{name_of(path)}:{node.lineno} prints by itself"
            case ast.Attribute(value=ast.Name(id="sys" | "os" | "logging"), attr=name):
                own = ("stdout", "stderr", "__stdout__", "__stderr__", "write", "StreamHandler", "basicConfig")
                assert name not in own, f"{name_of(path)}:{node.lineno} uses {name}"


def test_every_program_of_ours_escapes_what_it_prints() -> None:
    """What is started as a program: the stages, the command, modules that are scripts."""
    programs = [path for path in MODULES if '__name__ == "__main__"' in path.read_text()]
    for path in [*STAGES, PACKAGE / "cli.py", *programs]:
        called = {
            node.func.id
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "guarded" in called or 'terminal["visible_output"]()' in path.read_text(), name_of(path)


def test_a_training_that_is_continued_runs_the_same_code() -> None:
    """The key of a checkpoint counts each of our files that the stage reaches, as dvc.yaml does."""
    closure = {path for path in closure_of(ROOT / "stages" / "train.py") if PACKAGE in path.parents} - UNTRACKED
    counted = set(source_files(PACKAGE))
    assert not {name_of(path) for path in closure - counted if path.name != "__init__.py"}
