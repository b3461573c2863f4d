"""Make docs/notes/environments.md: `python docs/environments.py [ID ...]` (20 minutes; needs the extras mujoco and box2d, and minigrid).

For each environment: doctor, a tiny training, the same training killed with SIGKILL and resumed, an evaluation, and the senses suite, all by the
command line.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "notes" / "environments.md"
COMMAND = [sys.executable, "-m", "sensorium.cli"]
PACKAGES = {
    "classic control": ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"],
    "Box2D": ["LunarLander-v3", "BipedalWalker-v3", "CarRacing-v3"], "MuJoCo": ["Hopper-v5", "HalfCheetah-v5", "Ant-v5", "Reacher-v5"],
    "MiniGrid": ["MiniGrid-Empty-5x5-v0"], "a file of the user's": ["Reach-v0"], "toy text": ["FrozenLake-v1"],
}  # fmt: skip
OPTIONS = {
    "BipedalWalker-v3": ["--world.anew", "True"], "MiniGrid-Empty-5x5-v0": ["--import", "minigrid", "--world.keys", "image,direction"],
    "Reach-v0": ["--import", "reach"],
}  # fmt: skip
OWN = '''"""A point that has to reach the origin."""

import gymnasium
import numpy as np


class Reach(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-2, 2, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2)
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.place = (self.place + 0.1 * np.asarray(action)).clip(-2, 2)
        return self.place.astype(np.float32), -float(np.hypot(*self.place)), False, False, {}


gymnasium.register("Reach-v0", Reach, max_episode_steps=50)
'''
HEAD = """# Environments of Gymnasium

What `python docs/environments.py` measured with gymnasium {version}. For each environment it runs `doctor`, a training of two to four steps in the preset `tiny`, the same training killed with SIGKILL and resumed, an evaluation of 10 episodes, and the senses suite with 4 episodes of each treatment. Agents of the preset `tiny` have learned nothing: the returns show that the commands run, not how well a recipe learns.

- *exact*: equal seeds and actions give equal observations and rewards, again, alone, and after other episodes (`doctor`). A world that is not exact is trained with `--world.anew True`, which opens a new environment for each episode.
- *resumed*: the last checkpoint of the run that was killed equals that of the uninterrupted run, byte for byte.
- *treatments*: treatments of the senses suite that apply to the observations.

| package | environment | observation | actions | recipe | exact | resumed | return | treatments |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def done(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A finished command of the command line."""
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True)


def document(arguments: list[str], folder: Path) -> dict:
    """The JSON document that a command prints."""
    process = done([*arguments, "--json"], folder)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {process.stderr}")
    return json.loads(process.stdout)


def digest(run: Path) -> str:
    """Digest of the last checkpoint of the run's last stage."""
    stage = max(run.glob("[0-9]*-*"), key=lambda path: int(path.name.partition("-")[0]))
    return hashlib.sha256(max(stage.glob("step-*.safetensors")).read_bytes()).hexdigest()


def killed_and_resumed(command: list[str], folder: Path, run: Path) -> None:
    """Train with SIGKILL after a checkpoint of the first stage and after one of the last stage, then to the end."""
    for pattern in ("1-*/step-00000001.safetensors", "[14]-*/step-00000002.safetensors"):
        process = subprocess.Popen([*COMMAND, *command], cwd=folder, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(run.glob(pattern)):
            time.sleep(0.002)
        process.kill()
        process.wait()
    if done(command, folder).returncode:
        raise SystemExit(f"{' '.join(command)} does not resume")


def row(package: str, id: str, folder: Path) -> str:
    """The table's line of an environment."""
    import gymnasium

    options = OPTIONS.get(id, [])
    imports = options[:2] if "--import" in options else []
    plain = [option for option in options if option not in ("--world.anew", "True")]
    checks = {check["name"]: check for check in document(["doctor", "--world", f"gym:{id}", *plain], folder)["checks"]}
    exact = checks["a row is a function of its seed and actions"]
    if "allowed" in exact["detail"]:
        return f"| {package} | `{id}` | - | - | {exact['detail']} | - | - | - | - |"
    if "reach" in options:
        sys.path.insert(0, str(folder))
    for module in {"minigrid", "reach"} & set(options):
        __import__(module)
    made = gymnasium.make(id)
    image = len(made.observation_space.shape or ()) == 3
    recipe = ["train", f"{'world-model' if image else 'neurons'}.gym:{id}", "--preset", "tiny", *options]
    if done([*recipe, "--out", f"{id}-whole"], folder).returncode:
        raise SystemExit(f"{id} does not train")
    killed_and_resumed([*recipe, "--out", f"{id}-killed"], folder, folder / f"{id}-killed")
    resumed = digest(folder / f"{id}-whole") == digest(folder / f"{id}-killed")
    score = document(["evaluate", f"{id}-whole", "--episodes", "10", "--seed", "1000", *imports], folder)
    treatments = "-"
    if not image:
        found = document(["senses", f"{id}-whole", "--episodes", "4", *imports], folder)
        treatments = f"{sum(each.get('mean') is not None for each in found['rows'])} of {len(found['rows'])}"
    space = made.action_space
    actions = f"{space.n} choices" if isinstance(space, gymnasium.spaces.Discrete) else f"{space.shape[0]}"
    shape = made.observation_space.shape
    observation = "entries `image`, `direction`" if shape is None else " x ".join(map(str, shape))
    kind = "`world-model`" if image else "`neurons`"
    yes = ("no", "yes")
    return f"| {package} | `{id}` | {observation} | {actions} | {kind} | {yes[exact['works']]} | {yes[resumed]} | {score['mean']:.1f} | {treatments} |"


def main(ids: list[str]) -> None:
    """Measure the environments (default: all) and print their lines; with all, write the page."""
    import gymnasium

    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reach.py").write_text(OWN)
        for package, known in PACKAGES.items():
            for id in known:
                if not ids or id in ids:
                    lines.append(row(package, id, folder))
                    print(lines[-1], flush=True)
    if not ids:
        OUT.write_text(HEAD.format(version=gymnasium.__version__) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
