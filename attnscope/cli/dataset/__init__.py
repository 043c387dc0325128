"""`attnscope dataset`: films in, clips of several shots out; one file a command."""

from __future__ import annotations

from cyclopts import App

_COMMANDS = {
    "build": "Make clips of several shots out of a folder of films, with their exact shots.",
    "stats": "Say what is in a dataset: clips, shots, lengths, and why candidates were dropped.",
    "inspect": "Draw a page of the clips: their shots, the frames taken out, scores and reasons.",
    "calibrate": "Fit to your own films from which likeness on neighbouring shots are joined.",
    "export": "Write a dataset in another form, or make one again out of that form.",
    "validate": "Check a dataset: rows, files, checksums, frames; one line for each violation.",
}

app = App(
    name="dataset",
    help="Make, look at and check datasets of clips of several shots.",
    help_flags=["--help", "-h"],
    version_flags=[],
    help_format="plaintext",
    help_epilogue="",  # that of the overview holds here, too, and is said there
)
for _name, _sentence in _COMMANDS.items():
    app.command(f"attnscope.cli.dataset.{_name}:{_name}_command", name=_name, help=_sentence)
