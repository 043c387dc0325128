"""Change a model's attention systematically, make the films, and see which change cuts them.

The verbs stand in modules of their own name (`sweep`, `find_layers`); the front door `attnscope` has them all.
"""
