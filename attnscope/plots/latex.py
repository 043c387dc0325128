"""Numbers as a table that a paper can take as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attnscope.errors import InputError

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "", label: str = ""
) -> str:
    r"""Write rows as a LaTeX table in the style of booktabs, words to the left, numbers to the right.

    Parameters
    ----------
    columns : sequence of str
        Heads of the columns.
    rows : sequence of sequences
        Words are escaped; numbers have three significant digits; a pair of numbers is an interval; None, nan and
        infinity are a dash.
    caption, label : str
        Left out where empty; with either, the table floats.

    Raises
    ------
    InputError
        A row has another length than the heads.

    Examples
    --------
    >>> print(latex_table(["measure", "value", "95 %"], [["r_pooled", 0.81234, (0.7, 0.9)]]))
    \begin{tabular}{lrr}
    \toprule
    measure & value & 95 \% \\
    \midrule
    r\_pooled & 0.812 & [0.7, 0.9] \\
    \bottomrule
    \end{tabular}
    """
    for row in rows:
        if len(row) != len(columns):
            raise InputError(
                expected=f"{len(columns)} cells a row, one for each column",
                got=f"{len(row)}",
                where="in latex_table",
                remedy="fill what is missing with None",
            )
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        _line(columns),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if caption or label:
        words = [rf"\caption{{{escape(caption)}}}"] if caption else []
        words += [rf"\label{{{label}}}"] if label else []
        lines = [r"\begin{table}[t]", r"\centering", *words, *lines, r"\end{table}"]
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        cells = list(map(_cell, value))
        return f"[{', '.join(cells)}]" if set(cells) != {"--"} else "--"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "--"
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))


def escape(text: str) -> str:
    r"""Write what LaTeX would take for a command as the sign that was meant.

    >>> print(escape("50% of a_b"))
    50\% of a\_b
    """
    return "".join(_ESCAPED.get(sign, sign) for sign in text)
