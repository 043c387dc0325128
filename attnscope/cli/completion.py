"""`attnscope completion SHELL`: what makes a shell complete commands and options."""

from __future__ import annotations

from typing import Literal


def completion_command(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print what makes a shell complete the commands and options.

    For bash: attnscope completion bash > ~/.local/share/bash-completion/completions/attnscope; for zsh a file
    _attnscope in a folder of $fpath; for fish ~/.config/fish/completions/attnscope.fish.

    Parameters
    ----------
    shell
        Which shell.
    """
    from attnscope.cli import app

    print(app.generate_completion(shell=shell))
