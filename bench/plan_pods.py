"""What FLAN-T5 XL and XXL need on TPU pod slices: the tables of docs/scale.md.

  PYTHONPATH=. python bench/plan_pods.py            (all that bench/results/plan.json lacks)
  PYTHONPATH=. python bench/plan_pods.py --table    (prints the tables from it)

Needs libtpu (`pip install 'rec_align[tpu]'`), no TPU. One to five minutes a row on two CPU cores.
Each row is one `rec-align plan`; batch 128 of 512 + 128 tokens, bfloat16 activations, Adafactor.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

RESULTS = pathlib.Path(__file__).parent / "results/plan.json"
FIXED = "--dtype bfloat16 --batch 128 --lengths 512,128 --optimizer adafactor"
ROWS = [
    # v5e-64: 64 chips of 15.75 GiB
    "--model xl --topology v5e:8x8 --mesh 4x16x1 --remat none --scan --quick",
    "--model xl --topology v5e:8x8 --mesh 4x16x1 --remat full --scan --quick",
    "--model xl --topology v5e:8x8 --mesh 1x64x1 --remat full --scan --quick",
    "--model xl --topology v5e:8x8 --mesh 16x4x1 --remat full --scan --quick",
    "--model xl --topology v5e:8x8 --mesh 4x4x4 --remat full --scan --quick",
    # v4-32: 16 chips of 30.75 GiB
    "--model xl --topology v4:2x2x4 --mesh 1x16x1 --remat none --scan --quick",
    "--model xl --topology v4:2x2x4 --mesh 1x16x1 --remat full --scan --quick",
    "--model xl --topology v4:2x2x4 --mesh 16x1x1 --remat full --scan --quick",
    "--model xl --topology v4:2x2x4 --mesh 1x4x4 --remat full --scan --quick",
    # XXL on both
    "--model xxl --topology v5e:8x8 --mesh 2x32x1 --remat none --scan --quick",
    "--model xxl --topology v5e:8x8 --mesh 2x32x1 --remat full --scan --quick",
    "--model xxl --topology v4:2x2x4 --mesh 1x16x1 --remat full --scan --quick",
    "--model xxl --topology v4:2x2x4 --mesh 1x4x4 --remat full --scan --quick",
    # each layer compiled; the compiler's whole effort; what the policy between keeps
    "--model xl --topology v5e:8x8 --mesh 4x16x1 --remat full --quick",
    "--model xl --topology v5e:8x8 --mesh 4x16x1 --remat full --scan",
    "--model xl --topology v5e:8x8 --mesh 4x16x1 --remat minimal --scan --quick",
]


def load() -> dict[str, dict]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def measure(row: str) -> dict:
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, "-m", "rec_align.cli", "plan", *row.split(), *FIXED.split()]
        done = subprocess.run([*command, "--json", file.name], capture_output=True, text=True)
        print(done.stdout or done.stderr, flush=True)
        if done.returncode not in (0, 1) or not done.stdout:
            return {"failed": f"the compiler ended with {done.returncode}"}
        return json.loads(pathlib.Path(file.name).read_text())


def print_table(results: dict[str, dict]) -> None:
    kinds = ("parameters", "optimizer state", "temporaries")
    print("| plan | " + " | ".join(kinds) + " | total | collectives | FLOP a device | fits |")
    print("|---|" + "---|" * (len(kinds) + 4))
    for row in ROWS:
        plan = results.get(row, {"failed": "not measured"})
        if "failed" in plan:
            print(f"| `{row}` | {plan['failed']} |")
        else:
            gib = [plan["memory"][kind] for kind in kinds]
            gib += [sum(plan["memory"].values()), sum(plan["collectives"].values())]
            cells = [f"{size / 2**30:.2f}" if size else "-" for size in gib]
            cells.append(f"{plan['flops'] / len_devices(plan):.3g}")
            print(f"| `{row}` | " + " | ".join(cells) + f" | {'yes' if plan['fits'] else 'no'} |")


def len_devices(plan: dict) -> int:
    data, fsdp, model = plan["mesh"].values()
    return data * fsdp * model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args()
    results = load()
    for row in [] if args.table else ROWS:
        if row not in results:
            results[row] = measure(row)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print_table(results)


if __name__ == "__main__":
    main()
