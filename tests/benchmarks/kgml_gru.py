"""The fast GRU beside torch's: site-years (365 days, 19 features, 2 layers) a second of CPU time, one thread.

python -m tests.benchmarks.kgml_gru [--threads 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from fieldflux.models.kgml.gru import GRU
from torch import nn

from .timing import seconds


def rate(run: Callable[[], object], cells: int) -> float:
    """Site-years a second of processor time."""
    return cells / seconds(run)


def train(model: nn.Module, x: torch.Tensor) -> None:
    model(x)[0].square().mean().backward()


def infer(model: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        model(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    print("hidden cells | forward+backward: torch  ours  ratio | inference: torch  ours  ratio")
    for hidden in (32, 48, 64):
        theirs, ours = nn.GRU(19, hidden, 2, batch_first=True), GRU(19, hidden, 2)
        for cells in (32, 64, 128, 256, 512):
            x = torch.randn(cells, 365, 19)
            a, b, c, d = (rate(partial(f, m, x), cells) for f in (train, infer) for m in (theirs, ours))
            print(
                f"{hidden:6d} {cells:5d} | {a:23.0f} {b:5.0f} {b / a:6.1f} | {c:16.0f} {d:5.0f} {d / c:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
