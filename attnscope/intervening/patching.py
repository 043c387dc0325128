"""Give the attention of one run the frame masses of another: activation patching of frame maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import xarray as xr

from attnscope._types import Numbers, Range
from attnscope.errors import InputError, MaskError, quote
from attnscope.families.protocols import Model
from attnscope.hooks import Attachment, HookPoint, defer_interrupts, join_or_attach
from attnscope.hooks.reweighting import bias_for_mass
from attnscope.hooks.tap import Tap
from attnscope.ranges import format_range, parse_range
from attnscope.schema import BRANCH, HEAD, KEY_FRAME, LAYER, MASS, PROMPT, QUERY_FRAME, STEP

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
@defer_interrupts
def patch_mass(
    pipe: Model | Attachment,
    attention: xr.Dataset,
    *,
    layers: Range = "all",
    heads: Range = "all",
    steps: Range = "all",
    prompt: int = 0,
) -> Iterator[Attachment]:
    """Let a model look at its frames as it did in another run, and at what lies within them as it likes.

    Within the block, at every layer, head, step and guidance branch that is recorded in ``attention`` and named here,
    the share of attention that each latent frame gives to each is the recorded one. Elsewhere nothing changes. Record
    a run with cuts, write it into a run without, and see whether the cut comes along.

    What is exact: for every pair of frames (f, g) one number b(f, g) is added to the scores. It multiplies a token's
    mass on g by exp(b), before its row is brought back to 1, so b = log(recorded / own) alone is exact only where all
    tokens of f agree. It is solved for instead (Newton's method on the masses of all tokens, measured in the same
    call), and the patched mass, averaged over the tokens of f, is the recorded one to within float32. Of all attention
    with that mass it is the one nearest to the model's own; which token is looked at *within* a frame, and how the
    tokens of f differ from each other beyond their mean, stays the model's own. A patched pair of frames with a mass of
    0 is hidden.

    Parameters
    ----------
    pipe
        A loaded diffusers video pipeline of a supported family, its denoiser, or an open :func:`attnscope.attach`.
    attention : xarray.Dataset
        From :func:`attnscope.probe`, of the same model, latent size and number of steps; probe both branches
        (``branch="cond,uncond"``), or guidance pushes against the patch.
    layers, heads, steps : range
        Where to patch, out of what is recorded.
    prompt : int
        Which video of the dataset, if there are several.

    Raises
    ------
    RangeError
        A layer, head or step that is not recorded.
    InputError
        The record holds no numbers there, or the video of this run has another number of latent frames.
    MaskError
        A mask of this run hides what the record looks at.

    Examples
    --------
    >>> import attnscope as scope
    >>> pipe, plan = scope.load("wan-mini"), scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    >>> few = {"num_inference_steps": 1, "num_frames": 17}
    >>> with scope.intervene(pipe, scope.masks.same_shot(plan)):
    ...     cut = scope.probe(pipe, "One shot: a red ball", layers="7-8", **few)
    >>> with patch_mass(pipe, cut):
    ...     patched = scope.probe(pipe, "One shot: a blue box", layers="7-8", **few)
    >>> float(abs(patched.mass - cut.mass).max()) < 1e-5
    True
    """
    record = _Record(attention, layers, heads, steps, prompt)
    with join_or_attach(pipe) as attachment, ExitStack() as undo:
        for layer in parse_range(record.layers, tuple(attachment.taps), name="layers"):
            _Patch(attachment, record).listen(attachment.taps[layer], undo)
        said = f"Frame masses of a recorded run in {record.words}."
        attachment.changes.append(said)
        undo.callback(attachment.changes.remove, said)
        yield attachment


class _Record:
    """The masses of one video, by step, branch and layer."""

    def __init__(self, attention: xr.Dataset, layers: Range, heads: Range, steps: Range, prompt: int) -> None:
        if not isinstance(attention, xr.Dataset):
            raise InputError(
                expected="an attention dataset",
                got=quote(attention),
                where="in patch_mass",
                remedy="give what probe returned",
            )
        missing = [name for name in (STEP, BRANCH, LAYER, HEAD, QUERY_FRAME) if name not in attention.dims]
        if missing or MASS not in attention:
            raise InputError(
                expected="an attention dataset",
                got=f"one without {', '.join(missing) or MASS}",
                where="in patch_mass",
                remedy="give what probe returned",
            )
        num_prompts = attention.sizes.get(PROMPT, 1)
        if not 0 <= prompt < num_prompts:
            raise InputError(
                expected=f"a video from 0 to {num_prompts - 1}",
                got=f"{prompt} as prompt",
                where="in patch_mass",
                remedy="name one",
            )
        one = attention[MASS].isel({PROMPT: prompt}) if PROMPT in attention.dims else attention[MASS]
        recorded = {name: tuple(map(int, one[name].values)) for name in (LAYER, HEAD, STEP)}
        self.layers = parse_range(layers, recorded[LAYER], name="layers")
        self.heads = parse_range(heads, recorded[HEAD], name="heads")
        self.steps = parse_range(steps, recorded[STEP], name="steps")
        self.num_frames = one.sizes[QUERY_FRAME]
        self._mass = one.sel({LAYER: list(self.layers), HEAD: list(self.heads), STEP: list(self.steps)})
        self._mass = self._mass.transpose(STEP, BRANCH, LAYER, HEAD, QUERY_FRAME, KEY_FRAME)
        if bool(self._mass.isnull().any()):
            raise InputError(
                expected=f"masses of {self.words}",
                got="none at some",
                where="in the record given to patch_mass",
                remedy="finish it or name what is there",
            )
        self._branches = tuple(map(str, one[BRANCH].values))

    @property
    def words(self) -> str:
        """Where it is patched."""
        return f"layers {format_range(self.layers)}, heads {format_range(self.heads)}, steps {format_range(self.steps)}"

    def at(self, step: int, branch: str, layer: int) -> Numbers | None:
        """The masses (heads, F, G) to patch in, None where nothing shall happen."""
        if step not in self.steps or branch not in self._branches:
            return None
        return self._mass.sel({STEP: step, BRANCH: branch, LAYER: layer}).values


class _Seen:
    """Keeps the value that passed by a hook point last: a listener."""

    value: Tensor

    def __call__(self, value: Tensor, point: HookPoint) -> None:
        self.value = value


class _Patch:
    """Writes the bias of one layer, call by call."""

    def __init__(self, attachment: Attachment, record: _Record) -> None:
        self._attachment, self._record = attachment, record
        self._query, self._key = _Seen(), _Seen()

    def listen(self, tap: Tap, undo: ExitStack) -> None:
        """Begin to write; `undo` ends it."""
        for point, hook in (
            (tap.hook_q, self._query),
            (tap.hook_k, self._key),
            (tap.hook_mask, self._write),
        ):
            undo.callback(self._attachment.listen(point.name, hook))

    def _write(self, relation: Tensor, point: HookPoint) -> Tensor | None:
        import torch

        recorded = self._record.at(point.call.step, point.call.branch, point.layer)
        if recorded is None:
            return None
        if self._record.num_frames != relation.shape[-1]:
            raise InputError(
                expected=f"a video of {self._record.num_frames} latent frames as recorded",
                got=f"{relation.shape[-1]} groups",
                where=f"at {point.name}",
                remedy="record one of this length, without text among the frames",
            )
        offsets = self._attachment.layout.offsets
        token = _token_mass(self._query.value, self._key.value, offsets, relation)
        own = torch.stack(
            [token[..., start:stop, :].mean(-2) for start, stop in pairwise(offsets)],
            -2,
        )
        wanted = own.clone()
        wanted[:, list(self._record.heads)] = torch.from_numpy(recorded).to(own)
        if bool(((own == 0) & (wanted > 0)).any()):
            raise MaskError(
                expected="a record that looks only at what this run can see",
                got="mass on hidden frames",
                where=f"at {point.name}",
                remedy="leave out the mask, or record a run under it",
            )
        bias = bias_for_mass(token, wanted, offsets)
        untouched = [head for head in range(own.shape[1]) if head not in self._record.heads]
        bias[:, untouched] = 0.0
        return relation.double().to(bias.device) + bias


def _token_mass(query: Tensor, key: Tensor, offsets: Sequence[int], relation: Tensor) -> Tensor:
    from attnscope_kernels import token_mass

    under = relation if bool(relation.any()) else None
    return token_mass(query, key, query_offsets=offsets, key_offsets=offsets, relation=under).mass
