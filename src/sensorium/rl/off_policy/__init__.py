"""The off-policy training loop. The exploration method is an argument (`explorer`); `Pretraining` and `Finetuning` are its phases."""

from sensorium.rl.off_policy.explorer import Exploration, Explorer
from sensorium.rl.off_policy.finetuning import Finetuning
from sensorium.rl.off_policy.loop import OffPolicy, Resources, Rewards
from sensorium.rl.off_policy.pretraining import Pretraining

__all__ = ["Exploration", "Explorer", "Finetuning", "OffPolicy", "Pretraining", "Resources", "Rewards"]
