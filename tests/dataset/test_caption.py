"""Captions: what a server or a model said and nothing else; what failed is a state with its reason."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from attnscope.dataset.building import build_dataset
from attnscope.dataset.caption import caption
from attnscope.dataset.captioning import endpoint
from attnscope.dataset.captioning.choosing import choose_captioner
from attnscope.dataset.captioning.endpoint import KEY_VARIABLE, Endpoint, NoAnswerError
from attnscope.dataset.published.checking import validate_dataset
from attnscope.dataset.published.tables import read_clips
from attnscope.errors import InputError, SetupError
from attnscope.training.clip_dataset import ClipDataset, collate_clips

PICTURES = np.full((2, 16, 24, 3), 90, np.uint8)


class Server:
    """Stands for a server that speaks as OpenAI's does; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answers: list[tuple[int, str]] = []
        self.location = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, json.dumps({"data": [{"id": "fake-vlm"}, {"id": "other"}]}))

            def do_POST(self) -> None:
                outer.keys.append(self.headers.get("Authorization"))
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._send(*(outer.answers.pop(0) if outer.answers else (200, outer.say())))

            def _send(self, code: int, text: str) -> None:
                self.send_response(code)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def say(self) -> str:
        """What it says: how many pictures it saw, and of which of its questions."""
        parts = self.asked[-1]["messages"][0]["content"]
        text = f"{sum(part['type'] == 'image_url' for part in parts)} pictures,\n question {len(self.asked)}"
        return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE_S", 0.001)
    choose_captioner.cache_clear()
    running = Server()
    yield running
    running.stop()


def answer(text: str | None, reason: str = "stop") -> str:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]})


def test_a_clip_is_captioned_as_a_whole_and_shot_by_shot(server: Server, dataset) -> None:
    clip = next(read_clips(dataset.built.out))
    (said,) = caption(clip, Endpoint(server.address), dataset.built.out)
    assert said.caption == "8 pictures, question 1"
    assert [shot.caption for shot in said.shots] == ["4 pictures, question 2", "4 pictures, question 3"]
    assert (said.caption_state, said.captioner) == ("ok", "fake-vlm at 127.0.0.1")
    assert server.asked[0]["model"] == "fake-vlm"
    assert server.asked[0]["temperature"] == 0
    assert "of 2 shots" in server.asked[0]["messages"][0]["content"][0]["text"]
    url = server.asked[0]["messages"][0]["content"][1]["image_url"]["url"]
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
    assert picture.size == (clip.width, clip.height)


def test_what_fails_for_a_moment_is_asked_again(server: Server) -> None:
    server.answers = [(503, "busy"), (429, "slow down"), (200, answer("a ball"))]
    assert Endpoint(server.address).describe(PICTURES, "say") == "a ball"
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (401, "no", "answered 401"),
        (500, "broken", "answered 500"),
        (200, "no json", "cannot be read"),
        (200, answer(None), "without a text"),
        (200, answer(" \n "), "without a text"),
        (200, answer("a ball that", "length"), "cut off"),
        (200, '{"choices": []}', "without a text"),
        (302, "", "answered 302"),
    ],
)
def test_what_was_not_said_is_no_caption(server: Server, dataset, code: int, text: str, words: str) -> None:
    server.location = "http://127.0.0.1:1/elsewhere" if code == 302 else ""
    server.answers = [(code, text)] * 4
    clip = next(read_clips(dataset.built.out))
    (said,) = caption(clip, Endpoint(server.address, "fake-vlm"), dataset.built.out)
    assert said.caption_state == "failed"
    assert words in (said.caption_reason or "")
    assert said.caption is None
    assert [shot.caption for shot in said.shots] == [None, None]


def test_the_key_goes_along_and_only_to_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    Endpoint(server.address).describe(PICTURES, "say")
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    Endpoint(server.address).describe(PICTURES, "say")
    assert server.keys == [None, "Bearer secret"]


@pytest.mark.parametrize(
    "address", ["ftp://host/v1", "file:///etc/passwd", "http://", "http://user:key@host/v1"]
)
def test_an_address_is_one_of_http(address: str) -> None:
    with pytest.raises(InputError, match="an address as http"):
        Endpoint(address)


def test_nobody_there_and_no_such_model_are_known_before(films, tmp_path: Path) -> None:
    choose_captioner.cache_clear()
    with pytest.raises(SetupError, match="a server that lists its models"):
        build_dataset(films[0], tmp_path / "out", captioner="http://127.0.0.1:9/v1")
    with pytest.raises(SetupError, match="a vision-language model"):
        build_dataset(films[0], tmp_path / "out", captioner="nobody/no-such-model")
    assert not (tmp_path / "out").exists()


def test_a_built_dataset_is_captioned_once_and_failures_are_asked_again(
    server: Server, dataset, copied: Path, small
) -> None:
    server.answers = [(401, "not yet")]
    built = build_dataset(dataset.films, copied, settings=small, executor="serial", captioner=server.address)
    assert built.facts.captions == {"failed": 1, "ok": 2}
    num = len(server.asked)
    built = build_dataset(dataset.films, copied, settings=small, executor="serial", captioner=server.address)
    assert built.facts.captions == {"ok": 3}
    assert len(server.asked) == num + 3, "only the clip that had failed"
    build_dataset(dataset.films, copied, settings=small, executor="serial", captioner=server.address)
    assert len(server.asked) == num + 3
    assert validate_dataset(copied) == []


def test_a_local_model_is_asked_for_pictures_and_text(dataset, tiny_vlm: Path) -> None:
    captioner = choose_captioner(str(tiny_vlm))
    clip = next(read_clips(dataset.built.out))
    (said,) = caption(clip, captioner, dataset.built.out)
    assert (said.caption_state == "ok") == (said.caption is not None)
    assert said.captioner == captioner.name
    (again,) = caption(clip, captioner, dataset.built.out)
    assert again == said, "greedy decoding says the same again"


@pytest.fixture(scope="module")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision-language model of random weights, as transformers saves one."""
    import tokenizers
    import torch
    import transformers

    words = [*"abcdefghijklmnopqrstuvwxyz0123456789.,:;", "<image>", "<unk>", "<eos>", "<pad>"]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("<image>|."), "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
        eos_token_id=words.index("<eos>"),
        pad_token_id=words.index("<pad>"),
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=vision, text_config=text, image_token_id=words.index("<image>")
        )
    )
    model.generation_config.eos_token_id = list(range(0, 26, 2))
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for m in messages %}{% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}:"
        ),
    )
    folder = tmp_path_factory.mktemp("vlm")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_training_reads_frames_shots_and_captions(captioned: Path) -> None:
    clips = ClipDataset(captioned, num_frames=33, height=32, width=48)
    assert len(clips) == 3
    batch = collate_clips([clips[0], clips[1]])
    assert batch["frames"].shape == (2, 3, 33, 32, 48)
    assert -1 <= float(batch["frames"].min()) < float(batch["frames"].max()) <= 1
    first = next(read_clips(captioned))
    assert batch["plan"][0].cuts_frame == (first.shots[1].start_frame,)
    assert clips[0]["caption"] == first.caption
    assert len(clips[0]["captions"]) == 2
    (short, *_) = ClipDataset(captioned, num_frames=17, height=32, width=48)
    assert short["plan"].num_shots == 1
    assert short["captions"] == ()
    assert short["caption"] == "<img src=x onerror=alert(1)> a / b", "what is said of the shot that is left"


def test_without_captions_training_says_what_to_do(dataset) -> None:
    with pytest.raises(InputError, match="attnscope dataset build --caption"):
        ClipDataset(dataset.built.out, num_frames=25, height=32, width=48)


def test_nobody_is_asked_of_a_clip_that_was_dropped(make_clip: Callable[..., Any], tmp_path: Path) -> None:
    class Nobody:
        name = "nobody"

        def describe(self, pictures: np.ndarray, prompt: str) -> str:
            raise NoAnswerError("it was asked")

    clip = make_clip(decision="dropped")
    assert caption(clip, Nobody(), tmp_path) == [clip]
