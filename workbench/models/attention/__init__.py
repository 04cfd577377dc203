"""Decoders with attention that transformers has not: importing this makes its automatic classes load them."""

from __future__ import annotations

from workbench.models.attention.registration import register

register()
