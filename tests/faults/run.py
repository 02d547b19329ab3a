"""Every stage of a tiny study takes faults, hundreds of them; prints what was wrong and the table of the documentation.

    python -m tests.faults.run --each 6                      # some forty minutes on two cores
    python -m tests.faults.run --stages anonymize train --each 200 --kinds "killed at a moment"

Faults are drawn at random (``--seed``): the calls at which a command is killed or refused, the moments, the files that
are cut or have a bit flipped. Each fault has a fresh copy of the folder as it is before the stage, and a second run
that nothing disturbs. Needs a C compiler; the disk of the whole study is a tmpfs where the user may mount one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from anonbench import portable
from tests.faults.stages import SHORT, STAGES, Bench, Outcome, every
from tests.faults.whole import Whole

PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "faults.md"
MARK = "<!-- tables -->"
FLIPPED = "flipped bit"
"""The kind of fault that is counted apart: of text that can still be read nobody has a hash."""


def outcomes(folder: Path, args: argparse.Namespace) -> Iterator[Outcome]:
    """Yield what became of each fault."""
    bench = Bench(folder) if args.stages else None
    for name in args.stages:
        assert bench is not None
        stage = bench.stage(name)
        chance = random.Random(f"{args.seed} {name}")
        for fault in every(stage, args.each, chance):
            if not args.kinds or fault.kind in args.kinds:
                yield stage.take(fault, folder / "work")
    if args.whole:
        started = time.perf_counter()
        whole = Whole(Bench(folder / "short", SHORT), random.Random(args.seed))
        seconds = time.perf_counter() - started
        yield from whole.every()
        for _ in range(args.whole):
            yield from whole.killed(8, seconds)


def table(found: Counter[tuple[str, str, bool]]) -> str:
    """Return the Markdown table of counts: a row per stage, a column per kind of fault."""
    stages = list(dict.fromkeys(stage for stage, _, _ in found))
    kinds = list(dict.fromkeys(kind for _, kind, _ in found))
    rows = ["| stage | " + " | ".join(kinds) + " | all |", "|---|" + "---:|" * (len(kinds) + 1)]
    for stage in [*stages, "all"]:
        cells = []
        for kind in [*kinds, "all"]:
            good, bad = (
                sum(n for (s, k, fine), n in found.items() if s in (stage, s if stage == "all" else "")
                    and k in (kind, k if kind == "all" else "") and fine is wanted)
                for wanted in (True, False)
            )  # fmt: skip
            cells.append(f"{good}/{good + bad}" if good + bad else "")
        rows.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> int:
    """Run; return 1 when anything was wrong but flipped bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="*", default=STAGES, choices=STAGES, metavar="STAGE")
    parser.add_argument("--kinds", nargs="*", default=())
    parser.add_argument("--each", type=int, default=6, help="faults of a kind and a stage, at most")
    parser.add_argument("--whole", type=int, default=0, help="runs of the whole study that are killed eight times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/measurements/faults.md")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("scratch/faults.jsonl"),
        help="file to which outcomes are appended; the table has all",
    )
    args = parser.parse_args()
    portable.settle()  # before the server of commands loads torch
    started = time.perf_counter()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder,
        args.out.open("a") as stream,
    ):
        for one in outcomes(Path(folder), args):
            row = {"stage": one.stage, "kind": one.fault.kind, "fault": str(one.fault), "wrong": one.wrong}
            row |= {"happened": one.happened}
            print(json.dumps(row | ({"said": one.said} if one.wrong else {})), file=stream, flush=True)
            if one.wrong:
                print(f"{one.stage}: {one.fault}: {one.wrong}", flush=True)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()]
    found = Counter((row["stage"], row["kind"], row["wrong"] is None) for row in rows if row["happened"])
    bad = sum(n for (_, kind, fine), n in found.items() if not fine and kind != FLIPPED)
    flips = sum(n for (_, kind, _), n in found.items() if kind == FLIPPED)
    noticed = sum(n for (_, kind, fine), n in found.items() if kind == FLIPPED and fine)
    rest = sum(found.values()) - flips
    told = f"{rest - bad} of {rest} faults were taken; of {flips} flipped bits {noticed} were noticed or harmless."
    print(f"{table(found)}\n{told} {time.perf_counter() - started:.0f} s")
    if args.write:
        head, mark, _ = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{head}{mark}\n\n{told}\n\n{table(found)}\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
