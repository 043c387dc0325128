"""`attnscope models`: what comes with the package."""

from __future__ import annotations

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json, print_table


def models_command(*, as_json: AsJson = False) -> None:
    """List the models that come with the package; any diffusers folder or hub model can be given too."""
    from attnscope.models import list_models

    cards = list_models()
    if as_json:
        print_json(
            {"models": [{"name": card.name, **card.facts, "size_mib": card.size_mib} for card in cards]}
        )
        return
    rows = [(card.name, card.num_layers, f"{card.size_mib:.1f} MiB", card.summary) for card in cards]
    print_table("Embedded models", ("name", "layers", "size", "what it is"), rows)
