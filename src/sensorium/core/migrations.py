"""Migration of cards of earlier formats. A change of a field's name or meaning raises `FORMAT` and adds one table here.

Format 1 is that of version 0.1.0.
"""

from collections.abc import Callable
from typing import Any

FORMAT = 2

Card = dict[str, Any]

NAMES_1 = {
    "attention-neuron/evolve": "evolve",
    "attention-neuron/teach": "demonstrate",
    "attention-neuron/clone": "clone",
    "attention-neuron/dagger": "dagger",
    "attention-neuron/script": "scripted",
    "attention-neuron/actor-critic": "actor-critic",
    "attention-neuron/ascend": "short-horizon",
    "attention-neuron/puzzle-agent": "attention-neuron/pong-agent",
}
"""names of format 1 that changed -> those of format 2"""

_LEARNED = {"spread": "init_scale", "remember": "forget_bias", "average": "ema_decay"}
_WINDOWS = {**_LEARNED, "short": "early_reset_steps", "warm": "warmup_windows"}
_HALF = {"half": "bfloat16"}
_LEARNER = {**_HALF, "novelty": "intrinsic_reward"}

FIELDS_1 = {
    "evolve": _LEARNED,
    "demonstrate": {"place": "student_world", "guided": "teacher_share", "turn": "turn_steps", "noise": "action_noise"},
    "clone": {
        **_LEARNED, **_HALF, "lessons": "demonstrations", "leave": "restart_probability", "tell": "sensor_id_weight", "disturb": "action_noise",
        "occlude": "sensor_dropout",
    },
    "dagger": {**_WINDOWS, "guided": "teacher_share"},
    "short-horizon": {**_WINDOWS, "trace": "gae_lambda"},
    "actor-critic": {"stumble": "random_turn_share", "turn": "turn_steps"},
    "world-models/vision": _HALF,
    "world-models/memory": _HALF,
    "world-models/controller": _HALF,
    "proto-rl/pretrain": _LEARNER,
    "proto-rl/finetune": _LEARNER,
    "proto-rl/scratch": _LEARNER,
    "proto-rl/proto": {"stuck": "frozen_pointer"},
}  # fmt: skip
"""name in format 2 -> its fields of format 1 that changed -> those of format 2"""


STATE_1 = {"teller/": "sensor-id/"}
"""prefixes of state names that changed after format 1; no later format uses the old ones, so state files need no format number"""

METRICS_1 = {"told": "sensor_id_accuracy", "novelty/mean": "intrinsic_reward/mean"}
"""names of metrics that changed after format 1; no later format uses the old ones"""


def state_name(name: str) -> str:
    """The current name of a tensor in a state."""
    old = next((prefix for prefix in STATE_1 if name.startswith(prefix)), "")
    return STATE_1[old] + name[len(old) :] if old else name


def metric_names(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics with current names."""
    return {METRICS_1.get(name, name): value for name, value in row.items()}


def renamed(data: Any, names: dict[str, str], fields: dict[str, dict[str, str]]) -> Any:
    """Plain data with dataclasses and their fields renamed at every depth."""
    if isinstance(data, list):
        return [renamed(item, names, fields) for item in data]
    if not isinstance(data, dict):
        return data
    kind = data.get("is")
    kind = names.get(kind, kind) if isinstance(kind, str) else kind
    changed = fields.get(kind, {}) if isinstance(kind, str) else {}
    return {changed.get(key, key): kind if key == "is" else renamed(value, names, fields) for key, value in data.items()}


def to_2(card: Card) -> Card:
    """Format 1 -> 2: shared learners have no system prefix; fields have standard names."""
    return {**card, "stage": renamed(card["stage"], NAMES_1, FIELDS_1)}


STEPS: dict[int, Callable[[Card], Card]] = {1: to_2}
"""format -> migration to the next format"""


def migrated(card: Card) -> Card:
    """A card migrated to the current format. A card without a known format is returned unchanged."""
    while type(card.get("format")) is int and card["format"] in STEPS and isinstance(card.get("stage"), dict):
        step = STEPS[card["format"]]
        card = {**step(card), "format": card["format"] + 1}
    return card
