"""Models that are ready to look into: small trained ones that come with the package, and any diffusers pipeline."""

from __future__ import annotations

from attnscope.models._load import load
from attnscope.models.finding import ModelCard, list_models
from attnscope.models.preparing import choice_of

__all__ = ["ModelCard", "choice_of", "list_models", "load"]
