"""Change a model's attention while it runs: hold shots apart, route captions, move positions, patch masses.

The verbs stand in modules of their own name (`generate`, `intervene`); the front door `attnscope` has them all.
"""
