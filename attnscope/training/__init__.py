"""Fine-tune a video model under the mask: LoRA or whole, with captions routed to the shots of each film.

The verb stands in the module of its name, `finetune`; the front door `attnscope` has it.
"""
