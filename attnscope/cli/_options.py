"""Options that several commands share, each declared and explained once; a command names the groups that it has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from attnscope._types import Document, Range
from attnscope.cli._clock import Clock
from attnscope.cli._numbers import Count, Finite, Jobs, Pixels, Seed, Steps
from attnscope.cli._output import announce, note
from attnscope.dataset import sample_scene
from attnscope.models.choices import LoadRequest, Offload, Quantize
from attnscope.models.finding import DRAWN_VIDEO, UsualVideo, usual_video
from attnscope.shots import ShotPlan
from attnscope.shots.text import parse_spec

if TYPE_CHECKING:
    from attnscope.families.protocols import Pipeline

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON document and nothing else.")
]
Out = Annotated[Path, Parameter(name=["--out", "-o"])]
OutIfAny = Annotated[Path | None, Parameter(name=["--out", "-o"])]
Switch = Annotated[bool, Parameter(negative="")]
Repeatable = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]


@Parameter(name="*", group="Loading")
@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which model, and how it is loaded.

    Parameters
    ----------
    model
        An embedded model, a diffusers folder, or a hub model owner/name.
    device
        Where it runs: cpu, cuda, cuda:1, mps; auto is the accelerator there is, for each process its own.
    dtype
        Its numbers: bf16, fp16, fp32; auto is as they are stored, on a CPU fp32.
    offload
        What waits in main memory: none, model (parts), group or sequential (layers).
    quantize
        Fewer bits for what denoises: none, 8bit or 4bit (bitsandbytes), int8 or float8 (torchao).
    lora
        A LoRA file, with a strength behind a colon: style.safetensors:0.8. May be given several times.
    revision
        Which state of a hub model.
    variant
        Which of several stored precisions, as fp16.
    vae_tiling
        Decode pictures piece by piece.
    attention_backend
        How diffusers computes attention.
    compile
        Compile what denoises.
    drop_text_encoder
        Read the text encoder when text is encoded, and let go of it before anything is denoised.
    """

    model: str = "wan-mini"
    device: str = "auto"
    dtype: str = "auto"
    offload: Offload = "none"
    quantize: Quantize = "none"
    lora: Repeatable = ()
    revision: str | None = None
    variant: str | None = None
    vae_tiling: Switch = False
    attention_backend: str | None = None
    compile: Switch = False
    drop_text_encoder: Switch = False

    @property
    def settings(self) -> Document:
        """What differs from the usual, by the names that `attnscope.load` has for it."""
        usual = asdict(LoadRequest())
        return {name: value for name, value in asdict(self).items() if name in usual and value != usual[name]}

    def settings_for(self, video: Document) -> Document:
        """`settings`, and the size of the videos where all of it was given."""
        size = [video.get(name) for name in ("num_frames", "height", "width")]
        return self.settings if None in size else {**self.settings, "video": tuple(size)}

    def require_layers(self, layers: Range, text_layers: Range = "all") -> None:
        """Refuse layers that the model does not have, before its weights are read."""
        from attnscope.models.skeleton import require_layers

        require_layers(self.model, layers)
        require_layers(self.model, text_layers, what="text layers")

    def warn_of(self, shape: tuple[int, ...]) -> None:
        """Say where a video `(frames, height, width, 3)` is unlike those that an embedded model was trained on."""
        from attnscope.models.finding import embedded_card

        card = embedded_card(self.model)
        if card is not None and (words := card.describe_unseen(*shape[:3])):
            note(words)

    def load(self, video: Document | None = None) -> Pipeline:
        """Load the model; where anything but the usual was chosen, say what in one line.

        ``video`` is what the pipeline is told of the video: with frames, height and width its memory is counted.
        """
        announce(f"loading {self.model}")
        from attnscope import models

        pipe = models.load(self.model, **self.settings_for(video or {}))
        choice = models.choice_of(pipe)
        if choice is not None and (self.settings or choice.device != "cpu"):
            note(f"{self.model} {choice.describe()}")
        return pipe


@Parameter(name="*", group="Sampling")
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a pipeline makes its videos; what is left out is the pipeline's own default.

    Parameters
    ----------
    num_inference_steps
        Denoising steps; the pipeline's own default otherwise.
    height
        Picture height in pixels.
    width
        Picture width in pixels.
    guidance_scale
        Strength of the prompt; the pipeline's own default otherwise.
    negative_prompt
        What the videos shall not show.
    prompt_embeds
        A .safetensors file with texts that are encoded already, by the pipeline's names: prompt_embeds,
        negative_prompt_embeds, ... The prompt is then only written down.
    """

    num_inference_steps: Steps | None = None
    height: Pixels | None = None
    width: Pixels | None = None
    guidance_scale: Finite | None = None
    negative_prompt: str | None = None
    prompt_embeds: Path | None = None

    @property
    def given(self) -> Document:
        """What was given, by the names of the options."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def arguments(self) -> Document:
        """What the pipeline is called with; texts that are encoded already are read from their file.

        Raises
        ------
        InputError
            The file cannot be read, or holds no prompt.
        """
        given = self.given
        path = given.pop("prompt_embeds", None)
        if path is None:
            return given
        from attnscope.models.embeds import read_embeds

        return {**given, **read_embeds(path)}


def frames_in(shots: str | None) -> Document:
    """How many frames shots take, where they are counted in frames and not in seconds of a model's clock.

    >>> frames_in("0-9f,9-17f"), frames_in("0-1s,1-2s")
    ({'num_frames': 17}, {})
    """
    spans, unit = ([], "s") if shots is None else parse_spec(shots)
    return {"num_frames": int(spans[-1][1])} if unit == "f" else {}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Films:
    """The films that are made again and again, each time with the attention changed in another way.

    Parameters
    ----------
    rule
        What the mask shows, in words, as "same_shot | first_frame".
    prompt
        What the films are about; by default one-shot captions that are drawn, another for each film.
    shots
        The shots of every film: "0-1.5s,1.5-3s". By default two shots in as many frames as the model makes,
        cut elsewhere in each film.
    films
        How many films; 4 by default, 1 with --prompt.
    seed
        Seed of the noise, and of the captions that are drawn.
    seeds
        How many seeds, from --seed on.
    processes
        How many processes share the films.
    """

    rule: str = "same_shot"
    prompt: str | None = None
    shots: str | None = None
    films: Count | None = None
    seed: Seed = 0
    seeds: Count = 1
    processes: Jobs = 1

    @property
    def num_films(self) -> int:
        """How many films there are."""
        return self.films or (4 if self.prompt is None else 1)

    def frames_for(self, model: str) -> Document:
        """How many frames they have, where that does not hang on a model's clock."""
        if self.shots is not None:
            return frames_in(self.shots)
        return {"num_frames": (usual_video(model) or DRAWN_VIDEO).num_frames}

    def settings_for(self, model: str) -> Document:
        """What a sweep is told of them: prompts, shots, seeds, the rule, processes."""
        numbers = range(self.num_films)
        drawn = [sample_scene(self.seed + film, num_shots=1).caption("none") for film in numbers]
        video = usual_video(model) or DRAWN_VIDEO
        return {
            "prompts": drawn if self.prompt is None else [self.prompt] * self.num_films,
            "shots": [self._plan(film, video) for film in numbers],
            "rule": self.rule,
            "seeds": range(self.seed, self.seed + self.seeds),
            "processes": self.processes,
        }

    def _plan(self, film: int, video: UsualVideo) -> ShotPlan:
        clock: Clock = {"fps": Fraction(video.fps), "stride": video.stride}
        if self.shots is not None:
            return ShotPlan.from_spec(self.shots, **clock)
        num_latent = (video.num_frames - 1) // video.stride + 1
        cut = 1 + (3 + 5 * film) % min(12, num_latent - 1)
        return ShotPlan.from_latent_frames([cut], num_frames_latent=num_latent, **clock)


USUAL_LOADING, USUAL_SAMPLING, USUAL_FILMS = Loading(), Sampling(), Films()
"""What holds where nothing is said."""
