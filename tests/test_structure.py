"""What parts of the library ask of each other: protocols, not classes. A class may be asked for outside its room for a reason only."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "sensorium"

CLASSES = {
    ("gym.py", "Shuffle"): "an entry of a specification of the senses, which is data",
    ("job.py", "Usage"): "an exception, which decides the exit status",
    ("rl/off_policy/named.py", "Gymnasium"): "the world that the user names by gym:ID has fields for its images and coordinates",
    ("web/exports/dream.py", "ConvVAE"): "the exported page runs this network",
    ("web/exports/dream.py", "WorldModelPolicy"): "the exported page runs this network",
    ("web/exports/senses.py", "CartPole"): "the exported page has this world in TypeScript",
    ("web/exports/senses.py", "FeedForwardPolicy"): "the exported page has this network in TypeScript",
    ("web/exports/senses.py", "SensoryPolicy"): "the exported page has this network in TypeScript",
    ("web/scenes/eyes.py", "PatchEnv"): "the scene shows the patches that this environment cuts",
}
"""file, class of another room -> why it is asked for by name"""

ATTRIBUTES = {
    ("core/cluster.py", "__file__"): "modules of the user",
    ("core/cluster.py", "cause"): "exceptions of Ray",
    ("core/env.py", "_fields"): "named tuples",
    ("data/replay.py", "posix_fallocate"): "functions of the operating system",
    ("nets/packed.py", "_linear_pointwise"): "operators of torch's build",
    ("nets/packed.py", "_reorder_linear_weight"): "operators of torch's build",
    ("policies/onnx.py", "ListFields"): "messages of protobuf",
    ("policies/stable_baselines.py", "actor"): "networks of Stable-Baselines3",
    ("policies/stable_baselines.py", "get_action_dist_params"): "networks of Stable-Baselines3",
    ("policies/stable_baselines.py", "get_distribution"): "networks of Stable-Baselines3",
    ("policies/stable_baselines.py", "spaces"): "spaces of Gymnasium",
    ("policies/stable_baselines.py", "use_sde"): "networks of Stable-Baselines3",
    ("settings.py", "func"): "functools.partial",
}
"""file, attribute -> whose objects are asked whether they have it"""


def room(file: Path) -> Path:
    """The package of a file: a folder of the library, or one system."""
    inside = file.relative_to(ROOT)
    return Path(*inside.parts[: 2 if inside.parts[0] == "systems" else 1])


def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def calls(tree: ast.Module, *names: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names]


def named(node: ast.AST) -> list[str]:
    """The names in an expression, without their modules."""
    parts = list(ast.walk(node))
    return [part.id for part in parts if isinstance(part, ast.Name)] + [part.attr for part in parts if isinstance(part, ast.Attribute)]


def test_classes_of_other_rooms_are_asked_for_with_a_reason():
    """A paper's tables, figures and recipes are about its own worlds and stages, so files in `systems` may ask for any class."""
    found, homes, protocols = trees(), {}, set()
    for path, tree in found.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, set()).add(room(path))
                protocols |= {node.name} if any("Protocol" in named(base) for base in node.bases) else set()
    asked = {
        (str(path.relative_to(ROOT)), name)
        for path, tree in found.items()
        if path.relative_to(ROOT).parts[0] != "systems"
        for call in calls(tree, "isinstance", "issubclass")
        for name in named(call.args[1])
        if name in homes and name not in protocols and room(path) not in homes[name]
    }
    assert asked == set(CLASSES)


def test_only_foreign_objects_are_asked_for_attributes():
    asked = set()
    for path, tree in trees().items():
        optional = [call for call in calls(tree, "hasattr", "getattr") if call.func.id == "hasattr" or len(call.args) == 3]  # type: ignore[attr-defined]
        asked |= {(str(path.relative_to(ROOT)), ast.literal_eval(call.args[1])) for call in optional}
    assert asked == set(ATTRIBUTES)
