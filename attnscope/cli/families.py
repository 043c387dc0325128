"""`attnscope families`: which models can be looked at, and what was proven of each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json, print_table

if TYPE_CHECKING:
    from attnscope.testing.proving import Proof

COLUMNS = ("family", "pipelines of diffusers", "text", "guidance")
"""What a family says of itself; behind them stands what it can, a column for each capability."""


def families_command(
    *,
    check: Annotated[
        str | None, Parameter(help="Run the contract on a family, a tiny model, or a pipeline in a folder.")
    ] = None,
    markdown: Annotated[
        bool, Parameter(negative=(), help="Print the table as docs/families.md has it.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List the families of video models, or prove on tiny random models what holds for them.

    Without options a table; with --json the nine clauses of the contract are run for every family (a minute).
    """
    if check is not None:
        return _check(check, as_json=as_json)
    if markdown:
        sys.stdout.write(markdown_table())
        return 0
    if not as_json:
        print_table("Families", columns(), rows())
        return 0
    from attnscope.probing.progress import progress_bar
    from attnscope.testing.proving import prove_all

    with progress_bar("families") as on_proof:
        proofs = list(prove_all(on_proof))
    print_json({"families": [_document(proof) for proof in proofs]})
    return 0 if all(proof.holds for proof in proofs) else 1


def columns() -> tuple[str, ...]:
    """What the table has a column for."""
    from attnscope.families.protocols import CAPABILITIES

    return (*COLUMNS, *(capability.column for capability in CAPABILITIES))


def rows() -> list[tuple[str, ...]]:
    """What the table says, one family a row."""
    from attnscope.families import FAMILIES
    from attnscope.families.protocols import CAPABILITIES

    return [
        (
            *(each.name, ", ".join(each.pipelines), each.says_of_text, each.says_of_guidance),
            *("yes" if isinstance(each, can.protocol) else "no" for can in CAPABILITIES),
        )
        for each in FAMILIES
    ]


def markdown_table() -> str:
    """The table in Markdown, as the README has it."""
    head = columns()
    lines = [head, ("---",) * len(head)]
    lines += [(name, pipelines.replace("Pipeline", ""), *rest) for name, pipelines, *rest in rows()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _check(name: str, *, as_json: bool) -> int:
    from attnscope.testing.proving import prove_named

    proof = prove_named(name)
    if as_json:
        print_json({"families": [_document(proof)]})
    else:
        for clause, verdict in proof.contract.items():
            print(f"{'holds' if verdict.holds else 'FAILS'}  {clause.replace('_', ' ')}: {verdict.detail}")
    return 0 if proof.holds else 1


def _document(proof: Proof) -> dict[str, object]:
    contract = {name: {"holds": each.holds, "detail": each.detail} for name, each in proof.contract.items()}
    return {"name": proof.name, "pipelines": list(proof.pipelines), "contract": contract}
