"""Look at a model's attention: while it makes videos from prompts, or while it looks at videos that exist.

The verb stands in the module of its own name, `attnscope.probing.probe`; the front door `attnscope` has it.
"""
