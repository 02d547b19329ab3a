"""Values of the command line that are JSON."""

from __future__ import annotations

import pytest

from anonbench.arguments import block
from anonbench.attack.options import AttackConfig, AttackerConfig
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError


def test_a_block_is_read_from_json_or_a_mapping() -> None:
    assert block(DetectorConfig, '{"plugin": "hog"}', "--detector").plugin == "hog"
    assert block(AttackConfig, {"attributes": {"known": ["sex"]}}, "--attributes").attributes == {"known": ["sex"]}


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        (DetectorConfig, "{", r"--detector: is not valid JSON"),
        (DetectorConfig, "[]", r"--detector: is not a JSON object"),
        (DetectorConfig, '{"plugin": "hogs"}', r"--detector: plugin: unknown detector 'hogs' \(did you mean 'hog'\?\)"),
        (
            AttackerConfig,
            '{"knowledge": "aware", "region": "face", "vieww": 1}',
            r"--detector: vieww: unknown key \(did you mean 'view'\?\)",
        ),
        (AttackConfig, {"attributes": {"known": []}}, r"--detector: attributes\.known: "),
    ],
)
def test_what_is_wrong_names_the_option_and_the_entry(model: type, given: object, says: str) -> None:
    with pytest.raises(AnonbenchError, match=says):
        block(model, given, "--detector")  # type: ignore[arg-type]
