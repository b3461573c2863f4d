"""What learns, in training order: `Pretrain` explores without reward, `Finetune` learns a task from there, `Scratch` learns it from nothing."""

from sensorium.systems.proto_rl.stages.finetune import Finetune
from sensorium.systems.proto_rl.stages.pretrain import Pretrain
from sensorium.systems.proto_rl.stages.scratch import Scratch

__all__ = ["Finetune", "Pretrain", "Scratch"]
