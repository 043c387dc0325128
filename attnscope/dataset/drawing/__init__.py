"""Films that are drawn from seeds: scenes with an identity, whose cuts are exact by construction."""
