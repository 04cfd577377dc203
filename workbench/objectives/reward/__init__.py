"""The reward model: a score for an answer, learnt from how people ranked answers."""

from workbench.objectives.reward.objective import RewardModeling

__all__ = ["RewardModeling"]
