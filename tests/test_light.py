"""torchvision and optimisers come without PyTorch's compiler, and with it when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from anonbench.learning import devices

CODE = """
import sys
{before}
from anonbench.learning.light import import_torchvision
import_torchvision()
import torch
from torchvision.ops import roi_align
loaded = "torch._dynamo" in sys.modules
pooled = roi_align(torch.ones(1, 1, 8, 8), [torch.tensor([[0.0, 0.0, 4.0, 4.0]])], 2)
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported
assert asked == is_compile_supported("cpu")
assert torch._dynamo.config is not None
assert torch.equal(pooled, torch.ones(1, 1, 2, 2))
print(loaded)
"""


def loads(before: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(before=before)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_pooling_needs_no_compiler_until_it_asks() -> None:
    assert loads() == "False"


def test_a_compiler_that_is_there_stays() -> None:
    assert loads("import torch._dynamo") == "True"


def test_whatever_else_is_asked_of_the_compiler_is_its_own() -> None:
    asks = (
        "from anonbench.learning import light\n"
        "import importlib\n"
        "whole = importlib.import_module\n"
        "def importing(name, package=None):\n"
        "    if name == 'torchvision':\n"
        "        from torch._dynamo.utils import is_compile_supported, istype\n"
        "        assert istype(1, int)\n"
        "    return whole(name, package)\n"
        "light.importlib.import_module = importing"
    )
    assert loads(asks) == "True"


@pytest.mark.parametrize("wanted", [True, False])
def test_insisting_on_repeatable_operations_is_torchs_own_setting(wanted: bool) -> None:
    with devices.deterministic(wanted):
        assert torch.are_deterministic_algorithms_enabled() == wanted
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        with devices.deterministic(not wanted):
            assert torch.are_deterministic_algorithms_enabled() != wanted
        assert torch.are_deterministic_algorithms_enabled() == wanted
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(torch.cuda.is_available(), reason="GPUs use the compiler")
def test_a_prediction_imports_no_compiler() -> None:
    code = (
        "import sys\nfrom anonbench import portable\nportable.settle()\nimport torch\n"
        "from anonbench.learning.light import import_torchvision\nimport_torchvision()\n"
        "from anonbench.learning.devices import deterministic, hold\nhold('strict', 1)\n"
        "from anonbench.train import inference, models\n"
        "with deterministic(True), torch.inference_mode():\n    torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 8, 8))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


LEARNING = """
import sys, torch
from anonbench.learning import optimizers
{before}
ours, theirs = (torch.nn.Linear(3, 2) for _ in range(2))
theirs.load_state_dict(ours.state_dict())
mine = optimizers.{kind}(ours.parameters(), lr=0.1, {options})
for step in range(4):
    mine.zero_grad()
    ours(torch.full((2, 3), 1.0 + step)).square().sum().backward()
    mine.step()
    if step == 1:
        kept = mine.state_dict()
        mine.load_state_dict(kept)
loaded = "torch._dynamo" in sys.modules
plain = torch.optim.{kind}(theirs.parameters(), lr=0.1, {options})
for step in range(4):
    plain.zero_grad()
    theirs(torch.full((2, 3), 1.0 + step)).square().sum().backward()
    plain.step()
assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
assert all(torch.equal(a, b) for a, b in zip(map(torch.as_tensor, mine.state_dict()["state"][0].values()),
                                             map(torch.as_tensor, plain.state_dict()["state"][0].values())))
assert isinstance(mine, torch.optim.{kind}) and mine.step(lambda: 3.0) == 3.0
compiled = torch.compile(lambda x: x + 1, backend="eager")
mine.step()
assert compiled(torch.ones(1)) == 2
assert torch._dynamo.config is not None
called = []
mine.register_step_post_hook(lambda *_: called.append(1))
mine.step()
assert called == [1]
again = optimizers.{kind}(theirs.parameters(), lr=0.1, {options})
again.load_state_dict(plain.state_dict())
assert again.state_dict()["state"].keys() == plain.state_dict()["state"].keys()
print(loaded)
"""


@pytest.mark.parametrize(
    ("kind", "options"), [("SGD", "momentum=0.9, fused=True"), ("Adam", "fused=True"), ("AdamW", "weight_decay=0.1")]
)
def test_optimisers_are_pytorchs_and_need_no_compiler(kind: str, options: str) -> None:
    for before, loaded in (("", "False"), ("import torch._dynamo", "True")):
        code = LEARNING.format(before=before, kind=kind, options=options)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == loaded, done.stderr
