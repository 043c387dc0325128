"""LaVie's own UNet against what nobody here wrote: Stable Diffusion's UNet, T5's buckets, a diffusers pipeline."""

from __future__ import annotations

import struct
import zipfile

import pytest
import torch
from diffusers import TextToVideoSDPipeline, UNet2DConditionModel
from transformers.models.t5.modeling_t5 import T5Attention

from attnscope.errors import InputError
from attnscope.models import load
from attnscope.models.lavie import LaViePipeline, LaVieUNet, read_checkpoint, unet_from
from attnscope.models.lavie.temporal import TemporalAttention, bucket_of
from attnscope.testing import tiny

TINY = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "num_heads": 2,
    "text_width": 6,
    "num_groups": 4,
}
TEMPORAL = {
    "norm_temp.weight": "C",
    "norm_temp.bias": "C",
    "attn_temp.to_q.weight": "CC",
    "attn_temp.to_k.weight": "CC",
    "attn_temp.to_v.weight": "CC",
    "attn_temp.to_out.0.weight": "CC",
    "attn_temp.to_out.0.bias": "C",
    "attn_temp.time_rel_pos_bias.relative_attention_bias.weight": "BH",
}


def tiny_unet(seed: int = 0) -> LaVieUNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LaVieUNet(**TINY).eval()


def picture_unet(unet: LaVieUNet) -> UNet2DConditionModel:
    """Diffusers' UNet for pictures with the same weights, those over time left out."""
    config = unet.config
    other = UNet2DConditionModel(
        block_out_channels=tuple(config.block_out_channels),
        layers_per_block=config.layers_per_block,
        attention_head_dim=config.num_heads,
        cross_attention_dim=config.text_width,
        norm_num_groups=config.num_groups,
        down_block_types=("CrossAttnDownBlock2D",) * (len(config.block_out_channels) - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (len(config.block_out_channels) - 1),
    ).eval()
    other.load_state_dict({name: each for name, each in unet.state_dict().items() if "_temp." not in name})
    return other


def silence_time(unet: LaVieUNet) -> LaVieUNet:
    for module in unet.modules():
        if isinstance(module, TemporalAttention):
            torch.nn.init.zeros_(module.to_out[0].weight)
            torch.nn.init.zeros_(module.to_out[0].bias)
    return unet


def test_names_and_shapes_are_those_of_stable_diffusion_and_of_sixteen_attentions_over_time():
    with torch.device("meta"):
        ours = {name: tuple(each.shape) for name, each in LaVieUNet().state_dict().items()}
        theirs = UNet2DConditionModel(cross_attention_dim=768).state_dict()
    expected = {name: tuple(each.shape) for name, each in theirs.items()}
    blocks = sorted(
        {name.rsplit(".norm1.", 1)[0] for name in expected if ".transformer_blocks.0.norm1." in name}
    )
    assert len(blocks) == 16
    for block in blocks:
        sizes = {"C": expected[f"{block}.norm1.weight"][0], "B": 32, "H": 8}
        for name, axes in TEMPORAL.items():
            expected[f"{block}.{name}"] = tuple(sizes[axis] for axis in axes)
    assert ours == expected


def test_a_film_of_one_frame_is_what_the_unet_for_pictures_makes_of_it():
    unet = silence_time(tiny_unet())
    pictures, text = torch.randn(2, 4, 8, 6), torch.randn(2, 5, 6)
    with torch.no_grad():
        film = unet(pictures[:, :, None], torch.tensor([7, 400]), text).sample
        expected = picture_unet(unet)(pictures, torch.tensor([7, 400]), text).sample
    assert torch.allclose(film[:, :, 0], expected, atol=1e-5)
    assert expected.std() > 0.01


def test_a_film_that_stands_still_is_that_picture_in_every_frame_also_at_odd_sizes():
    unet = silence_time(tiny_unet())
    picture, text = torch.randn(1, 4, 7, 5), torch.randn(1, 5, 6)
    with torch.no_grad():
        film = unet(picture[:, :, None].expand(-1, -1, 3, -1, -1), 400, text).sample
        expected = picture_unet(unet)(picture, 400, text).sample
    assert torch.allclose(film, expected[:, :, None].expand_as(film), atol=1e-5)


def test_frames_that_do_not_attend_to_each_other_still_share_the_norms_of_the_resnets():
    unet = silence_time(tiny_unet())
    film, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 5, 6)
    other = film.clone()
    other[:, :, 2] *= 3
    with torch.no_grad():
        change = unet(film, 400, text).sample - unet(other, 400, text).sample
    assert change[:, :, 0].abs().max() > 1e-4


def by_brute_force(attention: TemporalAttention, frames: torch.Tensor) -> torch.Tensor:
    """One place, frame by frame, in float64: rotation as a product of complex numbers, distances as T5 sorts them."""
    num_heads, size = attention.heads, frames.shape[1] // attention.heads
    rotated = min(32, size)
    bias = attention.time_rel_pos_bias.relative_attention_bias.weight.double()
    weights = [layer.weight.double() for layer in (attention.to_q, attention.to_k, attention.to_v)]
    query, key, value = (torch.stack([weight @ frame for frame in frames.double()]) for weight in weights)

    def turned(vector: torch.Tensor, frame: int) -> torch.Tensor:
        numbers = torch.view_as_complex(vector[:rotated].reshape(-1, 2).contiguous())
        angles = torch.tensor([frame * 10000.0 ** (-2 * i / rotated) for i in range(rotated // 2)]).double()
        numbers = numbers * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([torch.view_as_real(numbers).flatten(), vector[rotated:]])

    output = torch.zeros_like(query)
    for head in range(num_heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(frames)):
            scores = []
            for j in range(len(frames)):
                bucket = T5Attention._relative_position_bucket(torch.tensor(j - i), True, 32, 32)
                dot = turned(query[i, part], i) @ turned(key[j, part], j)
                scores.append(dot / size**0.5 + bias[bucket, head])
            share = torch.stack(scores).softmax(0)
            output[i, part] = share @ value[:, part]
    return output @ attention.to_out[0].weight.double().T + attention.to_out[0].bias.double()


@pytest.mark.parametrize("size", [8, 40], ids=["all channels turn", "32 of 40 channels turn"])
@torch.no_grad()
def test_attention_over_time_is_what_the_formula_says(size):
    attention = TemporalAttention(2 * size, 2).eval()
    torch.nn.init.normal_(attention.time_rel_pos_bias.relative_attention_bias.weight)
    lines = torch.randn(3, 11, 2 * size)
    found = attention(lines)
    for place in range(len(lines)):
        assert torch.allclose(found[place].double(), by_brute_force(attention, lines[place]), atol=1e-5)


def test_distances_fall_into_the_buckets_of_t5():
    distances = torch.arange(-200, 201)
    assert torch.equal(bucket_of(distances), T5Attention._relative_position_bucket(distances, True, 32, 32))
    assert len(bucket_of(distances).unique()) == 31


def test_what_is_checkpointed_has_the_same_gradient():
    film, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 5, 6)
    gradients = []
    for checkpointing in (False, True):
        unet = tiny_unet()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        unet(film, 400, text).sample.square().mean().backward()
        gradients.append([each.grad for each in unet.parameters() if each.grad is not None])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


def published(unet: LaVieUNet) -> dict[str, torch.Tensor]:
    """The weights as the authors' code saves them: with the rotary frequencies in every block."""
    weights = dict(unet.state_dict())
    frequencies = 1.0 / 10000.0 ** (torch.arange(0, 32, 2).float() / 32)
    blocks = [name.removesuffix("to_q.weight") for name in weights if name.endswith("attn_temp.to_q.weight")]
    return weights | {f"{block}rotary_emb.freqs": frequencies for block in blocks}


def test_published_weights_make_the_same_unet_sizes_and_all():
    unet = tiny_unet()
    again = unet_from(published(unet), num_groups=4)
    film, text = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 5, 6)
    with torch.no_grad():
        assert torch.equal(unet(film, 400, text).sample, again(film, 400, text).sample)
    assert again.config.block_out_channels == (8, 16)
    assert (again.config.num_heads, again.config.text_width, again.config.layers_per_block) == (2, 6, 1)


def lost(weights):
    del weights["mid_block.attentions.0.transformer_blocks.0.attn_temp.to_q.weight"]


def gained(weights):
    weights["shot_embedding.weight"] = torch.zeros(2, 8)


def reshaped(weights):
    weights["conv_in.bias"] = torch.zeros(9)


def turned_otherwise(weights):
    name = next(name for name in weights if name.endswith("freqs"))
    weights[name] = weights[name] / 2


def of_pictures(weights):
    for name in [name for name in weights if "_temp." in name]:
        del weights[name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lost, "got none called mid_block.attentions.0.transformer_blocks.0.attn_temp.to_q.weight (1 such)"),
        (gained, "got others, such as shot_embedding.weight (1 such), in a checkpoint"),
        (reshaped, "expected shape (8,), got (9,) as conv_in.bias"),
        (turned_otherwise, "expected 16 rotary frequencies from 1 down to 1e-4"),
        (of_pictures, "got none called down_blocks.0.attentions.0.transformer_blocks.0.attn_temp"),
    ],
)
def test_weights_of_something_else_are_refused_in_one_line(damage, message):
    weights = published(tiny_unet())
    damage(weights)
    with pytest.raises(InputError) as caught:
        unet_from(weights, num_groups=4)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def packed(name: str, tensor: torch.Tensor, key: str) -> bytes:
    """One entry of a pickled dictionary: a name, and a tensor that lies in the storage of this key."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    storage += b"J" + struct.pack("<i", tensor.numel()) + b"tQ"
    rest = b"J" + struct.pack("<i", 0) + numbers(tuple(tensor.shape)) + numbers(tensor.stride())
    return (
        text(name)
        + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + rest
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def test_a_checkpoint_in_a_torch_archive_is_read_without_running_it(tmp_path):
    weights = {name: each.contiguous() for name, each in published(tiny_unet()).items()}
    path = tmp_path / "lavie_base.pt"
    inner = (
        b"}(" + b"".join(packed(name, each, str(i)) for i, (name, each) in enumerate(weights.items())) + b"u"
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/version", "3\n")
        file.writestr("archive/data.pkl", b"\x80\x02}(X\x03\x00\x00\x00ema" + inner + b"u.")
        for index, each in enumerate(weights.values()):
            file.writestr(f"archive/data/{index}", each.numpy().tobytes())
    found = read_checkpoint(path)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], each) for name, each in weights.items())
    with pytest.raises(InputError, match="got no file at"):
        read_checkpoint(tmp_path / "nothing.pt")


class LaVieUNetToldMore(LaVieUNet):
    """Takes what the text-to-video pipeline of diffusers tells its own UNet, too."""

    def forward(self, sample, timestep, cross_attention_kwargs=None, **told):
        return super().forward(sample, timestep, **told)


@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_the_pipeline_makes_what_a_pipeline_of_diffusers_makes_with_the_same_parts(guidance):
    pipe = tiny("lavie")
    unet = LaVieUNetToldMore(**{name: pipe.unet.config[name] for name in TINY})
    unet.load_state_dict(pipe.unet.state_dict())
    parts = {name: pipe.components[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    other = TextToVideoSDPipeline(unet=unet.eval(), **parts)
    other.set_progress_bar_config(disable=True)
    settings = {
        "num_frames": 5,
        "height": 32,
        "width": 32,
        "num_inference_steps": 3,
        "guidance_scale": guidance,
        "negative_prompt": "a dog",
    }
    films = [
        each("a cat", generator=torch.Generator().manual_seed(2), output_type="np", **settings).frames
        for each in (pipe, other)
    ]
    assert films[0].shape == (1, 5, 32, 32, 3)
    assert abs(films[0] - films[1]).max() < 1e-4
    assert films[0].std() > 0.01


def test_a_saved_pipeline_is_loaded_again_from_safetensors(tmp_path):
    pipe = tiny("lavie")
    pipe.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    again = load(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert type(again) is LaViePipeline
    settings = {"num_frames": 3, "height": 32, "width": 32, "num_inference_steps": 1, "output_type": "latent"}
    films = [
        each("a cat", generator=torch.Generator().manual_seed(2), **settings).frames for each in (pipe, again)
    ]
    assert torch.equal(*films)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt": None}, "expected a prompt or prompt_embeds, got neither"),
        ({"height": 30}, "expected a multiple of 8 pixels, got 30 as height in LaViePipeline; use 32"),
        ({"num_frames": 0}, "expected at least 1 frame, got 0"),
        (
            {"negative_prompt": ["a", "b"]},
            "expected one negative prompt, or one for each of 1 prompts, got 2",
        ),
    ],
)
def test_what_the_pipeline_cannot_make_is_said_in_one_line(wrong, message):
    with pytest.raises(InputError) as caught:
        tiny("lavie")(**{"prompt": "a cat", "num_frames": 3, "height": 32, "width": 32, **wrong})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
