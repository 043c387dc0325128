"""Models that are ready to look into: two small trained ones that come with the package, and any diffusers pipeline."""

from __future__ import annotations

from attnscope.models._load import ModelCard, list_models, load

__all__ = ["ModelCard", "list_models", "load"]
