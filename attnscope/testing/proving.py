"""Running the family contract: on the tiny models of every family, or on a pipeline of your own."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from attnscope.errors import AttnscopeError, UnknownModelError, quote
from attnscope.families import FAMILIES, Family, find
from attnscope.families.protocols import Pipeline
from attnscope.models.finding import INDEX
from attnscope.testing import TINY_MODELS, specimen
from attnscope.testing.contract import Verdict, clauses
from attnscope.testing.specimens import Specimen

# How a model of somebody else's can break under a clause; what is not here is a defect of ours.
_BROKEN = (
    AttnscopeError,
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Proof:
    """What holds of the contract for one family or pipeline: clause by clause, with the numbers."""

    name: str
    pipelines: tuple[str, ...]
    contract: Mapping[str, Verdict]

    @property
    def holds(self) -> bool:
        """Whether every clause holds."""
        return all(verdict.holds for verdict in self.contract.values())


def tiny_models_of(family: Family) -> tuple[str, ...]:
    """Return the names of the tiny models of a family.

    >>> from attnscope.families import Mochi
    >>> tiny_models_of(Mochi())
    ('mochi',)
    """
    return tuple(name for name in TINY_MODELS if specimen(name).family.name == family.name)


def prove_all(on_proof: Callable[[int, int], None] = lambda done, total: None) -> Iterator[Proof]:
    """Run the contract for every family, on all its tiny models; a clause holds if it holds for each of them."""
    for done, family in enumerate(FAMILIES):
        on_proof(done, len(FAMILIES))
        yield prove_family(family)
    on_proof(len(FAMILIES), len(FAMILIES))


def prove_family(family: Family) -> Proof:
    """Run the contract on all tiny models of a family."""
    names = tiny_models_of(family)
    found = {name: prove(specimen(name)) for name in names}
    contract = {
        clause: Verdict(
            all(found[name][clause].holds for name in names),
            "; ".join(f"{name}: {found[name][clause].detail}" for name in names),
        )
        for clause in clauses
    }
    return Proof(family.name, family.pipelines, contract)


def prove_named(name: str) -> Proof:
    """Run the contract on a family, on one tiny model, or on a pipeline in a folder.

    Raises
    ------
    UnknownModelError
        Nothing has this name, or the folder holds no pipeline.
    UnsupportedModelError
        The folder holds a pipeline of a family that is not supported.
    """
    if name in TINY_MODELS:
        of = specimen(name)
        return Proof(name, of.family.pipelines, prove(of))
    for family in FAMILIES:
        if family.name.lower() == name.lower():
            return prove_family(family)
    if os.path.isfile(os.path.join(name, INDEX)):
        return _prove_folder(name)
    raise _unknown_model_error(name)


def _unknown_model_error(name: str) -> UnknownModelError:
    """What to say of a name that is none, and of a folder that is no pipeline."""
    if os.path.isdir(name):
        return UnknownModelError(
            expected="the folder of a pipeline",
            got=f"{quote(name)}, a folder without {INDEX}",
            where="to prove",
            remedy="give the folder that save_pretrained wrote",
        )
    families = [family.name for family in FAMILIES]
    known = {each.lower(): each for each in (*TINY_MODELS, *families)}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    found = "a file" if os.path.isfile(name) else "no family, no tiny model and no folder"
    return UnknownModelError(
        expected=(
            f"a family ({', '.join(families)}), a tiny model ({', '.join(TINY_MODELS)}) "
            "or the folder of a pipeline"
        ),
        got=f"{quote(name)}, {found}",
        where="to prove",
        remedy=f"did you mean {known[near[0]]}?" if near else "give one of them",
    )


def _prove_folder(path: str) -> Proof:
    from attnscope.models import load

    def build() -> Pipeline:
        pipe = load(path)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    pipe = build()
    family, kind = find(pipe), type(pipe).__name__
    alike = [specimen(name) for name in tiny_models_of(family)]
    # The tiny model of the same class knows which arguments a small run of this pipeline takes.
    model = next((one for one in alike if type(one.build()).__name__ == kind), alike[0])
    size = family.small_size(pipe)
    settings = {
        **model.settings,
        **{name: size[name] for name in ("height", "width")},
        family.frames_argument: size["num_frames"],
    }
    if (length := family.fixed_text_length(pipe)) is not None:
        settings["max_sequence_length"] = length
    return Proof(kind, (kind,), prove(replace(model, build=build, settings=settings)))


def prove(model: Specimen) -> dict[str, Verdict]:
    """Run every clause; one that breaks does not hold, and says how it broke."""
    return {name: _verdict(clause, model) for name, clause in clauses.items()}


def _verdict(clause: Callable[[Specimen], Verdict], model: Specimen) -> Verdict:
    try:
        return clause(model)
    except _BROKEN as error:
        return Verdict(False, f"{type(error).__name__}: {' '.join(str(error).split())}")
