"""The critic: a causal body with one number at each token, what the rest of the answer is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from workbench.errors import CheckpointError
from workbench.models.reward_head import initialize_reward_head, reward_shift, score_in_fp32
from workbench.training.checkpoint import load_tensors

if TYPE_CHECKING:
    from workbench.training.ppo.rows import Rows

FOLDER, FILE = "critic", "critic.safetensors"


class Critic(nn.Module):
    """A body of transformers, and a linear head. Values are of the state before each token of an answer."""

    def __init__(self, body: Any, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head
        score_in_fp32(head)

    def forward(self, rows: Rows) -> Tensor:
        """Values [N] in fp32."""
        states = self.body(input_ids=rows.ids, position_ids=rows.positions, use_cache=False)[0]
        values: Tensor = self.head(states.flatten(0, 1)[rows.places])
        return values[:, 0].float()


def critic_of_policy(model: Any, generator: torch.Generator) -> Critic:
    """A critic with the body of a causal model, which is taken, and a new head."""
    body = getattr(model, model.base_model_prefix)
    width = int(body.get_input_embeddings().weight.shape[1])
    config = model.config.get_text_config()
    head = nn.Linear(int(getattr(config, "hidden_size", width)), 1)
    initialize_reward_head(head, generator)
    return Critic(body, head)


def critic_of_reward(model: Any, score: nn.Linear) -> Critic:
    """A critic with body and head of a reward model that is a decoder, which are taken; the shift of its
    scores becomes the head's bias."""
    head = nn.Linear(score.in_features, 1)
    with torch.no_grad():
        head.weight.copy_(score.weight)
        head.bias.fill_(reward_shift(model.config))
        if score.bias is not None:
            head.bias.add_(score.bias)
    return Critic(model.model, head)


def save_critic(critic: Critic, folder: Path) -> None:
    """Its weights, into a folder of their own inside a checkpoint."""
    (folder / FOLDER).mkdir()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in critic.state_dict().items()}
    save_file(weights, folder / FOLDER / FILE)


def restore_critic(critic: Critic, checkpoint: Path) -> None:
    """The weights of a checkpoint. Raises `CheckpointError`."""
    try:
        critic.load_state_dict(load_tensors(checkpoint / FOLDER / FILE))
    except (RuntimeError, FileNotFoundError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"the critic does not fit: {first}", where=str(checkpoint)) from None
