import re
import warnings
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

from attnscope import schema
from attnscope.errors import SchemaError
from attnscope.shots import LatentPlan, ShotPlan
from attnscope.testing.synthetic import block_attention

LATENT = ShotPlan.from_frames([5], num_frames=13, fps=16).to_latent()
OTHER = ShotPlan.from_frames([9], num_frames=13, fps=16).to_latent()
SHAPE = (2, 3, 2, 4, 2, 4, 4)


def labels(**changes):
    given = {
        "prompts": ["a dog", "a cat"],
        "seeds": [0, 2**40],
        "steps": [0, 1, 2],
        "timesteps": [999.0, 500.0, 1.0],
        "sigmas": [1.0, 0.5, 0.0],
        "branches": ["cond", "uncond"],
        "layers": [1, 2, 3, 4],
        "modules": [f"blocks.{i}.attn1" for i in range(4)],
        "stages": ["down.0", "mid", "up.0", "up.1"],
        "heads": [0, 1],
        "latent": LATENT,
        **changes,
    }
    return schema.Labels(**given)


def uniform(shape=SHAPE, total=1.0):
    return np.full(shape, total / shape[-1], dtype=np.float32)


def test_dims_are_in_display_order_and_every_documented_name_is_there():
    dataset = schema.build_dataset(uniform(), labels())
    assert dataset.mass.dims == schema.DIMS
    assert dataset.mass.dims == (
        "prompt",
        "step",
        "branch",
        "layer",
        "head",
        "query_frame",
        "key_frame",
    )
    assert set(dataset.coords) == {*schema.COORDINATES, schema.DONE}
    assert schema.violations(dataset) == []


def test_the_table_of_the_docstring_is_the_schema():
    rule = re.search(r"^=+  =+  =+$", schema.__doc__, re.MULTILINE)[0]
    name_width, on_width = (len(part) for part in rule.split("  ")[:2])
    documented = {}
    for line in schema.__doc__.split(rule)[2].strip().splitlines():
        on = line[name_width + 2 : name_width + 2 + on_width].strip()
        for name in re.findall(r"``(\w+)``", line[:name_width]):
            side_dim = schema.FRAME_DIMS.get(name.split("_")[0])
            documented[name] = {"itself": name, "frame": side_dim}.get(on, on)
    assert documented == {**schema.COORDINATES, "done": "prompt, step"}


def test_a_layer_is_named_not_counted():
    dataset = schema.build_dataset(uniform(), labels())
    assert dataset.sel(layer=slice(2, 3)).module.values.tolist() == ["blocks.1.attn1", "blocks.2.attn1"]
    assert dataset.sel(branch="uncond").sizes["layer"] == 4


def test_frames_say_what_they_cover():
    dataset = schema.build_dataset(uniform(), labels())
    for side in ("query", "key"):
        assert dataset[f"{side}_start_frame"].values.tolist() == [0, 1, 5, 9]
        assert dataset[f"{side}_stop_frame"].values.tolist() == [1, 5, 9, 13]
        assert dataset[f"{side}_start_s"].values.tolist() == [0.0, 1 / 16, 5 / 16, 9 / 16]
        assert dataset[f"{side}_shot"].values.tolist() == [0, 0, 1, 1]


def test_shots_may_differ_by_prompt_or_be_missing():
    dataset = schema.build_dataset(uniform(), labels())
    each = schema.with_shots(dataset, [OTHER, None])
    assert each.query_shot.dims == ("prompt", "query_frame")
    assert each.key_shot.values.tolist() == [[0, 0, 0, 1], [-1, -1, -1, -1]]
    assert schema.violations(each) == []
    assert schema.with_shots(dataset, [OTHER, OTHER]).query_shot.dims == ("query_frame",)
    assert schema.with_shots(each, None).query_shot.values.tolist() == [-1, -1, -1, -1]
    xr.testing.assert_identical(schema.with_shots(each, LATENT), dataset)


def test_text_takes_its_share():
    dataset = schema.build_dataset(
        uniform(total=0.75), labels(), text_mass=np.full(SHAPE[:-1], 0.25, np.float32)
    )
    assert dataset.text_mass.dims == schema.TEXT_DIMS
    with pytest.raises(SchemaError, match="off by 0.25"):
        schema.build_dataset(uniform(total=0.75), labels())


def test_it_survives_netcdf(tmp_path):
    dataset = schema.build_dataset(uniform(), labels(seeds=[0, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
        with xr.open_dataset(tmp_path / "a.nc", engine="scipy") as back:
            assert schema.violations(back.load()) == []
            assert back.text.values.tolist() == ["a dog", "a cat"]


def _broken(change):
    dataset = schema.build_dataset(uniform(), labels())
    return change(dataset)


def _set(dataset, value):
    dataset = dataset.copy(deep=True)
    dataset.mass[1, 2, 0, 0, 0, 0, 0] = value
    return dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("mass"), "expected the variable mass, got none in this dataset"),
        (
            lambda d: d.transpose("step", ...),
            "expected mass as float32 on (prompt, step, branch, layer, head,",
        ),
        (lambda d: d.astype("float64"), "got float64 on (prompt,"),
        (lambda d: d.assign(text_mass=d.mass), "expected text_mass as float32 on"),
        (lambda d: d.drop_vars("sigma"), "expected the coordinate sigma on (step), got none in this dataset"),
        (
            lambda d: d.assign_coords(module=("head", ["a", "b"])),
            "expected the coordinate module on (layer), got ('head'",
        ),
        (lambda d: d.assign_coords(layer=[0, 1, 2, 3]), "expected layer labels from 1, got 0"),
        (lambda d: d.assign_coords(layer=[1, 1, 2, 3]), "expected each layer once, got [1, 1, 2, 3]"),
        (lambda d: _set(d, np.nan), "expected finite mass, got 1 values that are not at prompt 1, step 2"),
        (lambda d: _set(d, np.inf), "expected finite mass, got 1 values"),
        (lambda d: _set(d, -0.5), "expected mass >= 0, got -0.5 at prompt 1, step 2"),
        (
            lambda d: _set(d, 0.2501),
            "expected rows that sum to 1 within 1e-05, got one off by 0.0001 at prompt 1, step 2",
        ),
    ],
)
def test_each_violation_is_one_line(change, message):
    dataset = _broken(change)
    found = schema.violations(dataset)
    assert message in found[0]
    assert all(len(line.splitlines()) == 1 for line in found)
    with pytest.raises(SchemaError) as caught:
        schema.check(dataset)
    assert message in str(caught.value)


def test_the_tolerance_is_given_or_written_in_the_dataset():
    dataset = _set(schema.build_dataset(uniform(), labels()), 0.2505)
    assert schema.violations(dataset, 1e-3) == []
    assert len(schema.violations(dataset)) == 1
    assert schema.violations(dataset.assign_attrs(row_sum_tolerance=1e-3)) == []


def test_units_that_are_not_done_are_left_out():
    dataset = _set(schema.build_dataset(uniform(), labels()), np.nan)
    done = np.ones((2, 3), dtype=bool)
    assert len(schema.violations(dataset.assign_coords(done=(("prompt", "step"), done)))) == 1
    done[1, 2] = False
    assert schema.violations(dataset.assign_coords(done=(("prompt", "step"), done))) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: schema.build_dataset(uniform(), labels(seeds=[0])),
            "expected one seed for each of 2 prompts, got 1",
        ),
        (
            lambda: schema.build_dataset(uniform(), labels(heads=[0])),
            "expected mass of shape (2, 3, 2, 4, 1, 4, 4) (prompt, step, branch, layer, head, query_frame, key_frame)",
        ),
        (
            lambda: schema.build_dataset(uniform(), labels(), text_mass=uniform()),
            "expected text_mass of shape",
        ),
        (
            lambda: schema.with_shots(block_attention(LATENT), LatentPlan(5, (), 4, Fraction(16), ())),
            "expected one plan of 4 latent frames for each of 1 prompts, got 1 plans of [5] latent frames",
        ),
        (
            lambda: schema.with_shots(block_attention(LATENT), [LATENT, None]),
            "got 2 plans of 4 latent frames",
        ),
    ],
)
def test_refuses_in_one_line(make, message):
    with pytest.raises(SchemaError) as caught:
        make()
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
