"""PPO and its critic-free relatives: rollouts, rewards, advantages, and the steps that learn from them."""
