"""Measures one training step of PyTorch's cuDNN LSTM on a GPU, to set beside a packed training.

    python train_gpu_peer.py UNITS [ROWS]

A step of three layers in bfloat16 on windows of 128 random events that lie on the GPU: forward,
backward, scaling of the gradients and Adam. Prints the median of 5 s. It needs PyTorch alone, and
runs on a CPU where there is no GPU. `train_gpu.json` holds what it said on one machine, and how
fast `run.sh` of a pack trained there.
"""

import statistics
import sys
import time

import torch

CLASSES, WINDOW, SECONDS = 388, 128, 5


def main() -> None:
    units, rows = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lstm = torch.nn.LSTM(CLASSES, units, 3, batch_first=True).to(device)
    dense = torch.nn.Linear(units, CLASSES).to(device)
    weights = [*lstm.parameters(), *dense.parameters()]
    optimizer = torch.optim.Adam(weights, 1e-3, fused=device == "cuda")
    events = torch.randint(CLASSES, (rows, WINDOW + 1), device=device)

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            x = torch.nn.functional.one_hot(events[:, :-1], CLASSES).to(torch.bfloat16)
            logits = dense(lstm(x)[0])
        loss = torch.nn.functional.cross_entropy(
            logits.float().reshape(-1, CLASSES), events[:, 1:].reshape(-1)
        )
        optimizer.zero_grad()
        loss.backward()
        torch._foreach_mul_([weight.grad for weight in weights], 1.0)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in range(5):
        step()
    end, seconds = time.monotonic() + SECONDS, []
    while time.monotonic() < end:
        seconds.append(step())
    rate = rows * WINDOW / statistics.median(seconds)
    print(
        f"PyTorch {torch.__version__} on {device}, {units} x 3, {rows} rows: {rate:,.0f} events/s"
    )


if __name__ == "__main__":
    main()
