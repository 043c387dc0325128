"""Find cuts and dissolves in pictures: the detectors, and the transitions read from their curves."""
