"""`attnscope families`: the table, the proof as JSON, a pipeline of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnscope import testing
from attnscope.cli import main
from attnscope.families import FAMILIES, Mochi
from attnscope.testing import proving
from attnscope.testing.contract import clauses

ROOT = Path(__file__).parents[2]


def test_the_table_of_the_readme_is_the_one_that_is_printed(capsys):
    assert main(["families", "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed in (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    assert printed.count("\n") == len(FAMILIES) + 2


def test_the_table_names_every_family(capsys):
    assert main(["families"]) == 0
    printed = capsys.readouterr().out
    assert all(family.name in printed for family in FAMILIES)


def test_json_holds_every_clause_with_its_numbers(capsys, monkeypatch):
    monkeypatch.setattr(proving, "FAMILIES", (Mochi(),))
    assert main(["families", "--json"]) == 0
    (family,) = json.loads(capsys.readouterr().out)["families"]
    assert (family["name"], family["pipelines"]) == ("Mochi", ["MochiPipeline"])
    assert list(family["contract"]) == list(clauses)
    for clause in family["contract"].values():
        assert clause["holds"] is True
        assert clause["detail"].startswith("mochi: ")


def test_a_clause_that_fails_is_seen_in_the_exit_code(capsys, monkeypatch):
    def fail(model):
        raise ValueError("on purpose,\nin two lines")

    monkeypatch.setattr(proving, "clauses", {"always_fails": fail})
    assert main(["families", "--check", "mochi"]) == 1
    assert capsys.readouterr().out == "FAILS  always fails: ValueError: on purpose, in two lines\n"


def test_a_folder_is_checked_with_the_settings_of_its_class(tmp_path, capsys):
    testing.tiny("allegro").save_pretrained(tmp_path)
    capsys.readouterr()
    assert main(["families", "--check", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["holds"] * len(clauses)


def test_a_folder_is_checked_with_as_much_text_as_its_model_reads(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(proving, "prove", lambda model: kept.append(model) or {})
    pipe = testing.tiny("cogvideox")
    config = {**pipe.transformer.config, "max_text_seq_length": 24}
    pipe.transformer = type(pipe.transformer).from_config(config)
    pipe.save_pretrained(tmp_path)
    proving.prove_named(str(tmp_path))
    assert kept[0].settings["max_sequence_length"] == 24
    assert kept[0].run(kept[0].build()).isfinite().all()


@pytest.mark.parametrize(
    ("name", "got", "hint"),
    [
        ("no-such-family", "no family, no tiny model and no folder", "give one of them"),
        ("hunyuan", "no family, no tiny model and no folder", "did you mean HunyuanVideo?"),
        ("models/nowhere", "no family, no tiny model and no folder", "give one of them"),
        ("file", "a file", "give one of them"),
        ("", "no family, no tiny model and no folder", "give one of them"),
        ("empty", "a folder without model_index.json", "give the folder that save_pretrained wrote"),
        (".", "a folder without model_index.json", "give the folder that save_pretrained wrote"),
    ],
)
def test_what_is_no_family_and_no_pipeline_is_refused_in_one_line(
    name, got, hint, tmp_path, monkeypatch, capsys
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a cat")
    monkeypatch.chdir(tmp_path)
    assert main(["families", "--check", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"got '{name}', {got}, to prove; {hint}" in err
