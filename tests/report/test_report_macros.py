"""numbers.tex: names of letters, each number as the tables have it, and nothing that LaTeX would choke on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anonbench.report.collect import COVERAGE_COLUMNS, Sources
from anonbench.report.impact import IMPACT_COLUMNS
from anonbench.report.macros import macro, macros
from anonbench.report.study import ReportStudy

LATEX = next((path for name in ("pdflatex", "lualatex", "xelatex", "tectonic") if (path := shutil.which(name))), None)


def row(variant: str = "face-blur-medium", category: str = "person", **more: Any) -> dict[str, Any]:
    """Return a row of impact.csv."""
    return {
        **dict.fromkeys(IMPACT_COLUMNS), "dataset": "street2", "model": "cpu-small", "task": "pose", "group": "people",
        "category": category, "direction": "original", "variant": variant, "metric": "AP", "role": "primary",
        "unit": "AP points", "best": "higher", "value": 15.46, "value_std": 0.04, "n_seeds": 3, "difference": -3.449,
        "difference_low": -4.4, "difference_high": 0.04, "verdict": "cannot tell", "share_changed": 0.996,
        "instances": 323, "sampled": "image", "samples": 120, **more,
    }  # fmt: skip


def study(**more: Any) -> ReportStudy:
    return ReportStudy(
        "s", 1, {"street2": {"train": "train", "val": "val"}}, ["original"], {"cpu-small": {}}, [0, 1, 2], **more
    )


def written(folder: Path, rows: list[dict[str, Any]], split: str = "train", **more: Any) -> str:
    counted = {"dataset": "street2", "split": split, "category": "person", "people": 1291}
    cover = pd.DataFrame([{**dict.fromkeys(COVERAGE_COLUMNS), **counted}])
    return macros(pd.DataFrame(rows), cover, study(**more), Sources(folder, folder, folder))


def parsed(text: str) -> dict[str, str]:
    """Return what the macros expand to by name; whatever is neither a comment nor one definition fails."""
    found: dict[str, str] = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("%"):
            continue
        match = re.fullmatch(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}", line)
        assert match, line
        name, body = match.groups()
        assert name not in found
        assert re.sub(r"\\[{}]", "", body).count("{") == re.sub(r"\\[{}]", "", body).count("}")
        assert not re.search(r"(?<!\\)[%&#_$~^]|[^\x00-\x7f]", body), line
        found[name] = body
    return found


def test_names_are_letters_and_stay_the_same() -> None:
    assert macro("streetlife", "cpu-small", "pose", "person", "face-mask_out", "Low") == (
        "abStreetlifeCpuSmallPosePersonFaceMaskOutLow"
    )
    assert macro("bdd100k", "frame-downsample-4x") == "abBddOneZeroZeroKFrameDownsampleFourX"
    assert macro("piéton", "AP") == "abPietonAP"
    assert macro("人") == macro("人 ") != macro("车")
    assert re.fullmatch("[A-Za-z]+", macro("人, 2 %"))


def test_each_number_stands_as_in_the_tables(tmp_path: Path) -> None:
    rows = [
        row("original", difference=0.0, difference_low=None, difference_high=None, verdict="reference"),
        row(kept=81.76, kept_low=78.0, kept_high=99.96, simultaneous_low=-5.0, simultaneous_high=1.26),
        row(metric="AP50", role="secondary", value=99.0),
    ]
    found = parsed(written(tmp_path, rows))
    own = "abStreetTwoCpuSmallPosePersonFaceBlurMedium"
    assert {name.removeprefix(own): text for name, text in found.items() if name.startswith(own)} == {
        "Value": "15.5", "Std": "0.0", "Difference": r"\ensuremath{-3.4}", "Low": r"\ensuremath{-4.4}",
        "High": r"\ensuremath{0.0}", "Interval": r"\ensuremath{[-4.4,\,0.0]}", "Verdict": "cannot tell",
        "Kept": "81.8", "KeptLow": "78.0", "KeptHigh": "100.0", "Changed": r"\textgreater{}99 \%",
        "SimultaneousLow": r"\ensuremath{-5.0}", "SimultaneousHigh": r"\ensuremath{+1.3}",
    }  # fmt: skip
    assert found["abStreetTwoCpuSmallPosePersonOriginalValue"] == "15.5"
    assert found["abStreetTwoCpuSmallPosePersonOriginalInstances"] == "323"
    assert "abStreetTwoCpuSmallPosePersonOriginalDifference" not in found
    assert found["abSeeds"] == "3"
    assert found["abPoseMargin"] == "1"
    assert found["abStreetTwoPersonTrainingPeople"] == found["abStreetTwoTrainingPeople"] == "1291"
    others = parsed(written(tmp_path, rows, "val"))
    assert not [name for name in others if "TrainingPeople" in name], "nobody was trained on these"
    assert found["abStreetTwoResampledImages"] == "120"


def test_directions_have_names_of_their_own(tmp_path: Path) -> None:
    found = parsed(written(tmp_path, [row(), row(direction="deployed", value=3.0)]))
    assert found["abStreetTwoCpuSmallPosePersonFaceBlurMediumValue"] == "15.5"
    assert found["abStreetTwoCpuSmallDeployedPosePersonFaceBlurMediumValue"] == "3.0"


def test_of_two_numbers_with_one_name_neither_is_given(tmp_path: Path) -> None:
    text = written(tmp_path, [row(category="traffic light"), row(category="traffic-light", value=3.0), row()])
    assert "abStreetTwoCpuSmallPosePersonFaceBlurMediumValue" in parsed(text)
    assert not [name for name in parsed(text) if "TrafficLight" in name]
    assert text.count("2 numbers have the name abStreetTwoCpuSmallPoseTrafficLightFaceBlurMediumValue") == 1


def test_the_names_are_documented(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = written(tmp_path, [row("original"), row(kept=81.8, kept_low=1, kept_high=2, equivalence_low=-1)])
    said = re.findall(r"^% \.\.\.(\w+): \w", text, re.MULTILINE)
    names = [name for name in parsed(text) if "CpuSmall" in name]
    assert len(names) > 12
    ends = [re.sub("^abStreetTwoCpuSmallPosePerson(Original|FaceBlurMedium)", "", name) for name in names]
    assert set(ends) <= set(said)
    page = (request.config.rootpath / "docs" / "report.md").read_text()
    assert [word for word in said if f"`{word}`" not in page] == []


@pytest.mark.skipif(LATEX is None, reason="no LaTeX is installed")
def test_latex_takes_it(tmp_path: Path) -> None:
    text = written(tmp_path, [row("original"), row(kept=81.8), row("body-mask_out", category="50 % & _")])
    (tmp_path / "numbers.tex").write_text(text)
    quoted = ", ".join(rf"\{name}{{}}" for name in parsed(text))
    (tmp_path / "text.tex").write_text(
        "\\documentclass{article}\n\\input{numbers}\n\\begin{document}\n" + quoted + "\n\\end{document}\n"
    )
    options = [] if Path(str(LATEX)).name == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([str(LATEX), *options, "text.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
