"""The dataset on disk: rows that are hostile, archives, the paper's form, the card and the page."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pyarrow
import pyarrow.parquet
import pytest

from attnscope.dataset.published.archives import read_archives, write_archives
from attnscope.dataset.published.card import render_card
from attnscope.dataset.published.checking import validate_dataset
from attnscope.dataset.published.cine250k import plan_of, read_labels, show_shots, write_labels
from attnscope.dataset.published.converting import convert
from attnscope.dataset.published.facts import read_facts
from attnscope.dataset.published.page import write_page
from attnscope.dataset.published.tables import CLIPS, read_clips
from attnscope.errors import InputError
from attnscope.metrics.scoring.manifests import read_manifest


def spoil(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the first row of the clips' table as somebody hostile would."""
    table = pyarrow.parquet.read_table(folder / CLIPS)
    rows = table.to_pylist()
    change(rows[0])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), folder / CLIPS)


KNOWN_TAGS = set(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "span",
        "p",
        "section",
        "div",
        "img",
        "svg",
        "rect",
        "text",
        "table",
        "tr",
        "th",
        "td",
    ]
)


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


HOSTILE: list[dict[str, object]] = [
    *(
        {"uri": uri}
        for uri in ("../x.mp4", "/etc/passwd", "clips/../../x", "http://a/b.mp4", "C:/x", "", "a\\b")
    ),
    *(
        {"uri": uri}
        for uri in (
            "..",
            "file:///etc/passwd",
            "//host/share/x.mp4",
            "clips/..",
            "a\0.mp4",
            "a\n.mp4",
            "c:x.mp4",
            "x" * 2000,
        )
    ),
    *(
        {"file": file}
        for file in ("../x.mp4", "/etc/passwd", "a/../../x.mp4", "http://a/b.mp4", "a\\b", "a\x1b[2J.mp4", "")
    ),
    {"clip_id": "../../x"},
    {"clip_id": ""},
    {"clip_id": "<script>"},
    {"fps": "0"},
    {"fps": "-24"},
    {"fps": "1/0"},
    {"fps": "many"},
    {"width": -1},
    {"height": 10**9},
    {"start_frame": -5},
    {"start_frame": 40, "stop_frame": 10},
    {"stop_frame": 10**12},
    {"shots": []},
    {
        "shots": [
            {
                "start_frame": 3,
                "stop_frame": 9,
                "source_start_frame": 3,
                "source_stop_frame": 9,
                "caption": None,
            }
        ]
    },
    {
        "shots": [
            {
                "start_frame": 0,
                "stop_frame": 9,
                "source_start_frame": 0,
                "source_stop_frame": 8,
                "caption": None,
            }
        ]
    },
    {"decision": "perhaps"},
    {"caption_state": "sure"},
    {"removed": [{"start_frame": 0, "stop_frame": 9, "kind": "whim"}]},
    {"shots": None},
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: ascii(change)[:40])
def test_a_hostile_row_is_refused_with_its_number(copied: Path, change: dict[str, object]) -> None:
    spoil(copied, lambda row: row.update(change))
    with pytest.raises(InputError, match=r"row 0 of|a file below") as caught:
        list(read_clips(copied, decision=None))
    assert "\n" not in str(caught.value)
    assert validate_dataset(copied) == [str(caught.value)]


def test_a_link_out_of_the_dataset_is_refused(copied: Path, tmp_path: Path) -> None:
    clip = next(read_clips(copied))
    path = copied / str(clip.uri)
    moved = tmp_path / "moved.mp4"
    shutil.move(path, moved)
    path.symlink_to(moved)
    with pytest.raises(InputError, match="below its own folder"):
        list(read_clips(copied))


def test_a_table_that_is_none_is_one_line(copied: Path) -> None:
    (copied / CLIPS).write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="expected a Parquet table"):
        list(read_clips(copied))
    (copied / CLIPS).unlink()
    with pytest.raises(InputError, match=r"a dataset with its table clips\.parquet"):
        list(read_clips(copied))


def test_archives_come_back_as_they_were(captioned: Path, tmp_path: Path) -> None:
    paths = write_archives(captioned, tmp_path / "one", clips_per_archive=2)
    again = write_archives(captioned, tmp_path / "two", clips_per_archive=2)
    assert [path.name for path in paths] == ["000000.tar", "000001.tar"]
    assert [a.read_bytes() for a in paths] == [b.read_bytes() for b in again]
    convert(tmp_path / "one", tmp_path / "back", "dataset")
    before = {clip.clip_id: clip for clip in read_clips(captioned)}
    assert {clip.clip_id: clip for clip in read_clips(tmp_path / "back")} == before
    assert validate_dataset(tmp_path / "back") == []
    assert "Not known" in render_card(read_facts(tmp_path / "back"))
    with pytest.raises(InputError, match="a folder without a dataset"):
        convert(tmp_path / "one", tmp_path / "back", "dataset")


@pytest.mark.parametrize(
    "name", ["../x.json", "/etc/x.json", "a/b.json", "x.sh", "..json", "x.json\n", "a\\b.mp4", "", "x.mp4"]
)
def test_a_hostile_member_of_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 2
        archive.addfile(member, io.BytesIO(b"{}"))
    with pytest.raises(InputError, match="an archive of clips"):
        list(read_archives(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_link_in_an_archive_and_half_an_archive_are_refused(captioned: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("x.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InputError, match="the member"):
        list(read_archives(tmp_path, tmp_path / "out"))
    (whole,) = write_archives(captioned, tmp_path / "whole")
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2 // 512 * 512])
    with pytest.raises(InputError, match="an archive of clips"):
        list(read_archives(tmp_path / "whole", tmp_path / "out"))


def test_the_papers_form_goes_there_and_back(captioned: Path) -> None:
    labels = write_labels(captioned, captioned / "labels.jsonl")
    line = json.loads(labels.read_text().splitlines()[0])
    clip = next(read_clips(captioned))
    first = clip.shots[0].stop_frame
    assert line["shots"] == f"Shot1: frame1-frame{first}; Shot2: frame{first + 1}-frame{clip.num_frames}"
    read = list(read_labels(labels, captioned))
    assert [plan.shots for _, plan, _ in read] == [each.plan().shots for each in read_clips(captioned)]
    before = (captioned / "manifest.csv").read_text()
    convert(labels, captioned, "dataset")
    assert (captioned / "manifest.csv").read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "Shot1: frame0-frame62",
            "Shot1: frame1-frame62; Shot2: frame64-frame70",
            "Shot2: frame1-frame9",
        ),
        *(
            "Shot1: frame1-frame62; Shot2: frame62-frame70",
            "Shot1: frame5-frame62",
            "Shot1: frame9-frame1",
            "1-62",
        ),
    ],
)
def test_labels_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="shots as Shot1"):
        plan_of(text, Fraction(24))


def test_shots_are_written_with_a_dash_of_either_kind() -> None:
    plan = plan_of("Shot1: frame1\u2013frame62; Shot2: frame63\u2013frame103", Fraction(24))
    assert plan.cuts_frame == (62,)
    assert show_shots(plan.shots) == "Shot1: frame1-frame62; Shot2: frame63-frame103"


@pytest.mark.parametrize("video", ["../x.mp4", "/etc/passwd", "clips/../../x.mp4", "missing.mp4"])
def test_labels_name_files_of_their_folder(tmp_path: Path, video: str) -> None:
    line = {"video": video, "fps": 24.0, "shots": "Shot1: frame1-frame9"}
    (tmp_path / "labels.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match="in line 1 of"):
        list(read_labels(tmp_path / "labels.jsonl", tmp_path))


def test_captions_with_the_sign_that_parts_them_stay_one_each(captioned: Path) -> None:
    for each in read_manifest(captioned / "manifest.csv", []):
        assert each.captions == ("<img src=x onerror=alert(1)> a / b",) * 2


def test_the_page_escapes_what_rows_say_and_forbids_the_rest(captioned: Path, dataset) -> None:
    text = write_page(captioned, captioned / "page.html", films=dataset.films).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    seen = Tags()
    seen.feed(text)
    assert {name for name in seen.attributes if name.startswith("on") or name == "style"} == set()
    assert {"img", "svg", "h2"} <= seen.tags <= KNOWN_TAGS
    assert "Taken out, transition: frames" in text
    assert "text.mp4" in text


@pytest.mark.slow
def test_a_browser_runs_nothing_of_a_caption(captioned: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser here")
    page = write_page(captioned, captioned / "page.html")
    done = subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<title>Dataset</title>" in done.stdout, "the script of a caption would have changed it"
    assert "&lt;script&gt;" in done.stdout
    assert "<script" not in done.stdout


def test_a_card_has_a_head_and_says_what_is_not_known(dataset) -> None:
    text = render_card(dataset.built.facts)
    assert text.startswith("---\ntask_categories:\n- text-to-video\n")
    assert "size_categories:\n- n<1K" in text
    assert "No clip was chosen by how it looks" in text
    assert "| 2 | 3 |" in text


def test_what_was_changed_is_seen(copied: Path) -> None:
    spoil(copied, lambda row: row.update(caption="made up"))
    assert [line for line in validate_dataset(copied) if "a caption that nobody gave it" in line]
    (copied / "dataset.json").write_text((copied / "dataset.json").read_text().replace("1", "2", 1))
    assert "changed" in validate_dataset(copied)[0] or "checksum" in validate_dataset(copied)[0]


def test_rows_are_structs_that_cannot_be_changed(make_clip) -> None:
    with pytest.raises(AttributeError):
        make_clip().decision = "dropped"
    assert msgspec.structs.replace(make_clip(), decision="dropped").decision == "dropped"
