"""One store per sweep: every (prompt, step) is either there and whole, or not there, whatever was interrupted.

The store is a zarr 3 group that any xarray opens::

    sweep.zarr/
    ├── zarr.json            header, provenance, all arrays described, fingerprint
    ├── prompt/ text/ ...    coordinates
    ├── timestep/ sigma/     one chunk per step, written when the step first runs
    ├── mass/ text_mass/     one chunk per unit of work (prompt, step), float32, missing = NaN
    └── done/                one number per unit, written last: only what is marked here counts; see markers.py

A unit's data is on the disk before its marker is, so a crash at any moment leaves a valid store. Several
processes may append to one store if each has its own prompts.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from attnscope.errors import SchemaError, StoreError
from attnscope.schema import (
    BRANCH,
    DIMS,
    DONE,
    HEAD,
    LAYER,
    MASS,
    PROMPT,
    QUERY_FRAME,
    SIGMA,
    STEP,
    TEXT_DIMS,
    TEXT_MASS,
    TIMESTEP,
    row_violations,
)
from attnscope.storage.arrays import STEP_ARRAYS, ChunkIndex, document_bytes, initial_files, unit_index
from attnscope.storage.chunks import Chunks, damage_error, displaced_error
from attnscope.storage.copies import is_copy, open_copy
from attnscope.storage.disk import create_tree, explain, remove_partial_files, write_durably
from attnscope.storage.header import StoreHeader
from attnscope.storage.markers import Place
from attnscope.storage.root import ROOT_FILE, Root, load_root, locate_store

_UNIT_DIMS = (BRANCH, LAYER, HEAD, QUERY_FRAME)


class Store:
    """An open store: ask what is done, append what is not, read it as a dataset.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fractions import Fraction
    >>> header = StoreHeader(
    ...     prompts=("a dog",), seeds=(0,), num_steps=2, branches=("cond",), layers=(1,), modules=("blocks.0.attn1",),
    ...     stages=("",), heads=(0,), plans=(None,), num_frames=3, stride=4, fps=Fraction(16))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store.create(f"{folder}/sweep.zarr", header)
    ...     store.append(0, 0, np.full((1, 1, 1, 3, 3), 1 / 3), None, timestep=999.0, sigma=1.0)
    ...     store.progress(), Store.open(f"{folder}/sweep.zarr").is_done(0, 1)
    ((1, 2), False)
    """

    def __init__(self, path: Path, root: Root) -> None:
        self.path = path
        self._root = root
        self._chunks = Chunks(path, root.documents)
        self._unreadable: set[tuple[int, int]] = set()
        self._markers = self._read_markers()
        self._require_labels()

    @classmethod
    def create(cls, path: str | PathLike[str], header: StoreHeader) -> Store:
        """Make a new store; it appears at ``path`` complete, or not at all.

        Raises
        ------
        StoreError
            Something is already there, or the path cannot be written.
        SetupError
            The disk is full.
        """
        place = Path(path)
        with explain(place):
            taken = place.exists() or place.is_symlink()
        if taken:
            raise StoreError(
                expected="a path where nothing is yet",
                got="an existing one",
                where=f"at {place}",
                remedy="choose another or delete it",
            )
        documents, chunks = initial_files(header)
        root = Root(header, datetime.now(UTC).isoformat(timespec="seconds"), documents)
        metadata = {f"{name}/{ROOT_FILE}": document_bytes(document) for name, document in documents.items()}
        create_tree(place, {**chunks, **metadata, ROOT_FILE: root.to_bytes()})
        return cls(place, root)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Store:
        """Open a store that exists, finished or not.

        Raises
        ------
        StoreError
            The path is no store, a newer one, or its metadata is damaged.
        """
        place = Path(path)
        return cls(place, load_root(place))

    @property
    def header(self) -> StoreHeader:
        """What the sweep is about."""
        return self._root.header

    def is_done(self, prompt: int, step: int) -> bool:
        """Say whether a prompt's step is stored for good; ``step`` is a label, as in the header."""
        return bool(self._markers[self._unit(prompt, step)])

    def progress(self) -> tuple[int, int]:
        """Return how many units of work are done, and how many there are.

        Counts what was done when the store was opened, and since then through this object.
        """
        return int(np.count_nonzero(self._markers)), self._markers.size

    def append(
        self,
        prompt: int,
        step: int,
        mass: ArrayLike,
        text_mass: ArrayLike | None,
        timestep: float,
        sigma: float,
    ) -> None:
        """Store one prompt's step for good: when this returns, a power cut cannot take it back.

        ``mass`` has the shape (branch, layer, head, query_frame, key_frame), ``text_mass`` the same without
        ``key_frame``, or is None where the header says there is none.

        Raises
        ------
        SchemaError
            Shapes are wrong, values are not finite, or rows do not sum to 1.
        StoreError
            The unit is already done, or another prompt had another timestep or sigma at this step.
        SetupError
            The disk is full; everything done before is safe.
        """
        unit = self._unit(prompt, step)
        where = f"prompt {prompt}, step {step}"
        if self._markers[unit]:
            raise StoreError(
                expected="a unit that is not done",
                got=f"{where}, done already",
                where=f"in {self.path}",
                remedy="ask is_done first",
            )
        arrays = self._check_arrays(mass, text_mass, where)
        self._append_step(unit, {TIMESTEP: timestep, SIGMA: sigma}, where)
        contents = {}
        for name, values in arrays.items():
            index = unit_index(name, *unit)
            contents[name] = self._chunks.encode(name, index, values[np.newaxis, np.newaxis])
            self._write(name, index, contents[name])
        marker = self._place(unit, timestep, sigma).marker(contents) if self._root.has_digests else 1
        # Last, and only now that the data is on the disk: from here on the unit counts.
        self._write(DONE, unit, self._chunks.encode(DONE, unit, np.array([[marker]], dtype=np.uint64)))
        self._markers[unit] = marker
        self._unreadable.discard(unit)

    def dataset(self, lazy: bool = False) -> xr.Dataset:
        """Read the store as an attention dataset; what is not done yet is NaN, and ``done`` says where.

        With ``lazy`` the numbers are read when they are used, and units that are not done may hold numbers of
        an interrupted run: select by ``done`` there.

        Raises
        ------
        StoreError
            A chunk is damaged.
        """
        header = self.header
        coords = header.coordinates(self._read_labels(TIMESTEP), self._read_labels(SIGMA))
        coords[DONE] = ((PROMPT, STEP), self._markers != 0)
        names = {MASS: DIMS, TEXT_MASS: TEXT_DIMS} if header.has_text_mass else {MASS: DIMS}
        if lazy:
            with explain(self.path):
                opened = xr.open_zarr(self.path, chunks=None)
            variables = {name: opened[name].variable for name in names}
        else:
            lost = (
                np.argwhere(self._markers == 0).tolist() if self._root.finalised else sorted(self._unreadable)
            )
            if lost:
                raise damage_error(self._chunks.file(DONE, tuple(lost[0])))
            arrays = self._read_units(tuple(names))
            variables = {name: xr.Variable(dims, arrays[name]) for name, dims in names.items()}
        return xr.Dataset(variables, coords, self._root.attrs)

    def refresh(self) -> None:
        """Look again what is done, in case other processes append to the same store."""
        self._unreadable.clear()
        self._markers = self._read_markers()

    def finalise(self, *, alone: bool = True) -> None:
        """Close a finished sweep: sweep up, and write down that nothing is missing; changes no numbers.

        Not ``alone``, other processes may be doing the same: then nothing is swept up.

        Raises
        ------
        StoreError
            A unit is not done.
        """
        num_done, num_units = self.progress()
        if num_done < num_units:
            raise StoreError(
                expected=f"all {num_units} units done",
                got=f"{num_done}",
                where=f"in {self.path}",
                remedy="run the same command again",
            )
        if alone:
            remove_partial_files(self.path)
        if not self._root.finalised:
            self._root = self._root.finalise()
            write_durably(self.path / ROOT_FILE, self._root.to_bytes())

    def _unit(self, prompt: int, step: int) -> tuple[int, int]:
        if not 0 <= prompt < len(self.header.prompts) or step not in self.header.steps:
            raise StoreError(
                expected=f"a prompt from 0 to {len(self.header.prompts) - 1} and a recorded step",
                got=f"prompt {prompt}, step {step}",
                where=f"in {self.path}",
                remedy="use the labels of the header",
            )
        return prompt, self.header.steps.index(step)

    def _check_arrays(
        self, mass: ArrayLike, text_mass: ArrayLike | None, where: str
    ) -> dict[str, NDArray[np.float32]]:
        if (text_mass is not None) != self.header.has_text_mass:
            raise SchemaError(
                expected=f"{'text_mass' if text_mass is None else 'no text_mass'}",
                got="the opposite",
                where=f"at {where}",
                remedy="it must agree with has_text_mass of the header",
            )
        given = {MASS: mass} if text_mass is None else {MASS: mass, TEXT_MASS: text_mass}
        arrays = {name: np.asarray(values, dtype=np.float32) for name, values in given.items()}
        labels = self.header.coordinates()
        for name, array in arrays.items():
            dims = (DIMS if name == MASS else TEXT_DIMS)[2:]
            shape = tuple(len(labels[dim][1]) for dim in dims)
            if array.shape != shape:
                raise SchemaError(
                    expected=f"{name} of shape {shape} ({', '.join(dims)})",
                    got=f"{array.shape}",
                    where=f"at {where}",
                    remedy="it must agree with the header of the store",
                )
        if found := row_violations(arrays[MASS], arrays.get(TEXT_MASS), where, self.header.tolerance):
            raise SchemaError(found[0])
        return arrays

    def _append_step(self, unit: tuple[int, int], values: dict[str, float], where: str) -> None:
        step = unit[1]
        for name, value in values.items():
            content = self._chunks.encode(name, (step,), np.array([value], dtype=np.float64))
            there = self._chunks.content(name, (step,))
            if there == content:
                continue
            if there is not None and any((self.path / DONE).glob(f"c.*.{step}")):
                raise StoreError(
                    expected=f"the {name} that other prompts had at this step",
                    got=f"{value} at {where}",
                    where=f"in {self.path}",
                    remedy="use one scheduler and number of steps per store",
                )
            self._write(name, (step,), content)

    def _write(self, name: str, index: ChunkIndex, content: bytes) -> None:
        write_durably(self._chunks.file(name, index), content, is_swept=False)

    def _place(self, unit: tuple[int, int], timestep: float, sigma: float) -> Place:
        return Place(self._root.run, *unit, float(timestep), float(sigma))

    def _read_markers(self) -> NDArray[np.uint64]:
        markers = np.zeros((len(self.header.prompts), len(self.header.steps)), dtype=np.uint64)
        for prompt, step in np.ndindex(*markers.shape):
            content = self._chunks.content(DONE, (prompt, step))
            if content is None:
                continue
            # A power cut may tear the marker itself: then the unit was never acknowledged.
            with suppress(StoreError):
                markers[prompt, step] = self._chunks.decode(DONE, (prompt, step), content)[0, 0]
            if not markers[prompt, step]:
                self._unreadable.add((prompt, step))
        return markers

    def _require_labels(self) -> None:
        """Refuse a store in which a unit that is done has lost its timestep or sigma, or has those of another."""
        labels = {name: self._read_labels(name) for name in STEP_ARRAYS}
        for prompt, step in np.argwhere(self._markers).tolist():
            for name in STEP_ARRAYS:
                if self._chunks.content(name, (step,)) is None:
                    raise damage_error(self._chunks.file(name, (step,)))
            place = self._place((prompt, step), labels[TIMESTEP][step], labels[SIGMA][step])
            if self._root.has_digests and not place.has_labels_of(int(self._markers[prompt, step])):
                raise displaced_error(self._chunks.file(DONE, (prompt, step)))

    def _read_labels(self, name: str) -> list[float]:
        contents = [self._chunks.content(name, (step,)) for step in range(len(self.header.steps))]
        return [
            float("nan") if content is None else float(self._chunks.decode(name, (step,), content)[0])
            for step, content in enumerate(contents)
        ]

    def _read_units(self, names: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        shapes = {name: tuple(self._root.documents[name]["shape"]) for name in names}
        arrays = {name: np.full(shape, np.nan, dtype=np.float32) for name, shape in shapes.items()}
        labels = {name: self._read_labels(name) for name in STEP_ARRAYS}
        for prompt, step in np.argwhere(self._markers).tolist():
            contents = {}
            for name in names:
                index = unit_index(name, prompt, step)
                content = self._chunks.content(name, index)
                arrays[name][prompt, step] = self._chunks.decode(name, index, content)[0, 0]
                contents[name] = content or b""
            place = self._place((prompt, step), labels[TIMESTEP][step], labels[SIGMA][step])
            if self._root.has_digests and place.marker(contents) != self._markers[prompt, step]:
                raise displaced_error(self._chunks.file(MASS, unit_index(MASS, prompt, step)))
        return arrays


def resume_or_create(path: str | PathLike[str], header: StoreHeader) -> Store:
    """Continue the sweep at ``path`` where it stopped, or begin it; never mixes two different sweeps.

    Raises
    ------
    StoreError
        The path holds something else, or a store whose header differs; the message names the first difference.
    """
    if not Path(path).exists():
        try:
            return Store.create(path, header)
        except StoreError:
            if not Path(path).exists():
                raise  # and otherwise another process was first
    store = Store.open(path)
    if difference := store.header.difference(header):
        raise StoreError(
            expected=f"the settings this store was begun with, {difference[0]}",
            got=difference[1],
            where=f"in {path}",
            remedy="repeat them to resume, or choose another path",
        )
    return store


def open_store(path: str | PathLike[str], *, lazy: bool = False) -> xr.Dataset:
    """Read a store as an attention dataset, or what plain xarray wrote of one, as zarr or netCDF.

    The folder of a run means the store in it. See :meth:`Store.dataset`. A copy has no checksums: it is held against
    the schema.

    Raises
    ------
    StoreError
        The path is no store, a newer one, or damaged.
    SchemaError
        A copy breaks the schema.
    """
    store = locate_store(path)
    if is_copy(store):
        return open_copy(store, lazy=lazy)
    return Store.open(store).dataset(lazy)
