"""Readers: small networks, trained on drawn films, that say from pixels what a film shows and where it is cut.

Films of a model are judged by them. They know nothing of any model: they see drawn films and the same films after the
autoencoder, made a little worse on purpose (blur, noise), so that they do not stumble over how something was decoded.

Legend: N pictures, T frames, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from loop import Budget, load_state, save_state
from safetensors.torch import load_file, save_file
from torch import nn

from attnscope.dataset import WORLDS, Scene

CUT_SPAN = 2
"""Frames on either side of a possible cut that the cut reader sees."""


def answers(scene: Scene, shot: int) -> dict[str, Any]:
    """What a reader should say of one shot of a film; the two colours of a place in no order."""
    view = scene.views[shot]
    return {
        "shape": scene.subject.shape,
        "colour": scene.subject.colour,
        "place": view.texture,
        "place_colours": tuple(sorted(view.colours)),
        "framing": view.framing,
    }


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
    )


class PictureReader(nn.Module):
    """Names the subject, its colour, the place, its two colours and the shot size from single pictures of 64 x 64."""

    def __init__(self, world: str) -> None:
        super().__init__()
        made_of = WORLDS[world]
        self.names = {
            "shape": made_of.shapes,
            "colour": made_of.subject_colours,
            "place": made_of.textures,
            "place_colours": made_of.place_colours,
            "framing": tuple(made_of.zoom),
        }
        self.see = nn.Sequential(_block(3, 24), _block(24, 48), _block(48, 64), _block(64, 64), nn.Flatten())
        self.think = nn.Sequential(nn.Linear(64 * 16, 128), nn.GELU())
        self.say = nn.ModuleDict({name: nn.Linear(128, len(words)) for name, words in self.names.items()})

    def forward(self, pictures_NCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of every question; those of place_colours are for each colour by itself."""
        thought = self.think(self.see(pictures_NCHW))
        return {name: say(thought) for name, say in self.say.items()}

    def loss(self, pictures_NCHW: torch.Tensor, wanted: list[dict[str, Any]]) -> torch.Tensor:
        """Cross-entropy, summed over the questions."""
        total = pictures_NCHW.new_zeros(())
        for name, logits in self(pictures_NCHW).items():
            index = {word: i for i, word in enumerate(self.names[name])}
            if name == "place_colours":
                target = torch.zeros_like(logits)
                for row, answer in enumerate(wanted):
                    target[row, [index[colour] for colour in answer[name]]] = 1
                total = total + 4 * F.binary_cross_entropy_with_logits(logits, target)
            else:
                total = total + F.cross_entropy(logits, torch.tensor([index[a[name]] for a in wanted]))
        return total

    @torch.no_grad()
    def read(self, frames: np.ndarray) -> dict[str, Any]:
        """Say what one shot shows, uint8 (frames, 64, 64, 3): the answer that its frames give together."""
        said: dict[str, Any] = {}
        for name, logits in self(as_pictures(frames)).items():
            words = self.names[name]
            if name == "place_colours":
                likely = F.logsigmoid(logits).mean(0).topk(2).indices
                said[name] = tuple(sorted(words[int(i)] for i in likely))
            else:
                said[name] = words[int(logits.log_softmax(-1).mean(0).argmax())]
        return said


class CutReader(nn.Module):
    """Says how surely a film is cut between two frames, from two frames before and two after."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(_block(6 * CUT_SPAN + 3, 24), _block(24, 32), _block(32, 32), nn.Flatten())
        self.say = nn.Linear(32 * 16, 1)

    def forward(self, windows_NTCHW: torch.Tensor) -> torch.Tensor:
        """Logits (N) of windows of four frames, halved in height and width."""
        jump = (windows_NTCHW[:, CUT_SPAN] - windows_NTCHW[:, CUT_SPAN - 1]).abs()
        return self.say(self.see(torch.cat([windows_NTCHW.flatten(1, 2), jump], dim=1))).squeeze(1)

    @torch.no_grad()
    def logits(self, frames: np.ndarray) -> np.ndarray:
        """Logit of a cut at frames 1, 2, ... of a film, uint8 (T, 64, 64, 3)."""
        return self(windows(frames)).numpy()


def as_pictures(frames: np.ndarray) -> torch.Tensor:
    """Frames as (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def windows(frames: np.ndarray) -> torch.Tensor:
    """The frames around every place where a film can be cut: (T - 1, 4, 3, H / 2, W / 2); the ends are repeated."""
    small = F.avg_pool2d(as_pictures(frames), 2)
    padded = torch.cat([small[:1]] * (CUT_SPAN - 1) + [small] + [small[-1:]] * (CUT_SPAN - 1))
    return torch.stack([padded[i : i + len(small) - 1] for i in range(2 * CUT_SPAN)], dim=1)


def find_cuts(logits: np.ndarray, threshold: float) -> tuple[int, ...]:
    """Frames at which a film is cut: peaks above the threshold, no two within two frames of each other."""
    found: list[int] = []
    for place in np.argsort(-logits):
        if logits[place] < threshold:
            break
        if all(abs(int(place) + 1 - other) > 2 for other in found):
            found.append(int(place) + 1)
    return tuple(sorted(found))


@dataclass(frozen=True)
class Watched:
    """A film to learn from: its scene, and its pixels as drawn or decoded."""

    scene: Scene
    frames: np.ndarray


def worsen(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Blur and noise of a strength drawn for the whole batch."""
    if rng.uniform() < 0.5:
        width = int(rng.integers(2, 4))
        small = F.interpolate(pictures, scale_factor=1 / width, mode="area")
        blurred = F.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
        pictures = pictures.lerp(blurred, float(rng.uniform(0.3, 1.0)))
    noise = np.asarray(rng.standard_normal(pictures.shape), dtype=np.float32)
    return pictures + float(rng.uniform(0, 0.12)) * torch.from_numpy(noise)


def train_picture_reader(
    films: list[Watched],
    draw_still: Callable[[int], Watched],
    world: str,
    folder: Path,
    config: dict[str, Any],
) -> PictureReader:
    """Train on pictures out of drawn films and as many stills, which are never the same twice.

    Films alone are learned by heart: a thousand of them hold no more than 1,600 shots. A killed run goes on from its
    last state.
    """
    torch.manual_seed(3)
    reader = PictureReader(world)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=config["lr"], weight_decay=0.02)
    budget = Budget(config["steps"], folder / "picture_reader.jsonl", every=50)
    budget.restore(load_state(folder / "picture_reader_state", reader, optimizer))
    while budget.goes_on():
        rng = np.random.default_rng([7, budget.step])
        pictures, wanted = [], []
        first, num_films = budget.step * config["batch"], config["batch"] // 2
        batch = [films[number] for number in rng.integers(len(films), size=num_films)]
        batch += [draw_still(first + number) for number in range(num_films, config["batch"])]
        for watched in batch:
            frame = int(rng.integers(len(watched.frames)))
            pictures.append(watched.frames[frame])
            wanted.append(
                answers(watched.scene, int(np.searchsorted(watched.scene.plan.cuts_frame, frame, "right")))
            )
        optimizer.param_groups[0]["lr"] = config["lr"] * budget.schedule(warmup_steps=50, hold=0.3)
        loss = reader.loss(worsen(as_pictures(np.stack(pictures)), rng), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        budget.record(loss=float(loss.detach()))
        if budget.step % 200 == 0:
            save_state(folder / "picture_reader_state", reader, optimizer, budget.state())
    return reader.eval()


def train_cut_reader(films: list[Watched], folder: Path, config: dict[str, Any]) -> CutReader:
    """Train on places with a cut and as many without; a killed run goes on from its last state."""
    torch.manual_seed(4)
    reader = CutReader()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=config["lr"], weight_decay=0.02)
    budget = Budget(config["steps"], folder / "cut_reader.jsonl", every=50)
    budget.restore(load_state(folder / "cut_reader_state", reader, optimizer))
    while budget.goes_on():
        rng = np.random.default_rng([8, budget.step])
        seen, is_cut = [], []
        for number in rng.integers(len(films), size=config["batch"]):
            watched = films[number]
            cuts = watched.scene.plan.cuts_frame
            at_cut = bool(cuts) and rng.uniform() < 0.5
            frame = int(rng.choice(cuts)) if at_cut else int(rng.integers(1, len(watched.frames)))
            seen.append(
                windows(watched.frames[max(0, frame - CUT_SPAN) : frame + CUT_SPAN])[min(frame, CUT_SPAN) - 1]
            )
            is_cut.append(float(frame in cuts))
        optimizer.param_groups[0]["lr"] = config["lr"] * budget.schedule(warmup_steps=50, hold=0.3)
        loss = F.binary_cross_entropy_with_logits(reader(torch.stack(seen)), torch.tensor(is_cut))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        budget.record(loss=float(loss.detach()))
        if budget.step % 200 == 0:
            save_state(folder / "cut_reader_state", reader, optimizer, budget.state())
    return reader.eval()


def save_reader(reader: nn.Module, path: Path) -> None:
    """Write the weights in half precision."""
    save_file({name: value.half().contiguous() for name, value in reader.state_dict().items()}, path)


def load_reader(reader: nn.Module, path: Path) -> Any:
    """Read what ``save_reader`` wrote."""
    reader.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return reader.eval().requires_grad_(False)
