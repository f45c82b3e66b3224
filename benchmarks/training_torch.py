"""The PyTorch side of training.py, in an environment of its own: the same models from the same weights, eager.

Answers lines of standard input: `gradients PATH` writes the gradients of the first batch, `step` trains once and
prints its seconds, `memory` prints the growth of the process' peak memory in MB.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch.nn import functional as F


def resnet18(weights, x):
    w = iter(weights)

    def conv(x, kernel, stride=1):
        y = F.conv2d(x, next(w), stride=stride, padding=kernel // 2)
        scale, bias = next(w), next(w)
        return F.batch_norm(y, None, None, scale, bias, training=True)

    y = F.max_pool2d(torch.relu(conv(x, 7, 2)), 3, 2, 1)
    for stride in (1, 1, 2, 1, 2, 1, 2, 1):
        beside = conv(y, 1, stride) if stride > 1 else y
        y = torch.relu(conv(torch.relu(conv(y, 3, stride)), 3) + beside)
    return torch.mean(y, (2, 3)) @ next(w) + next(w)


def transformer(weights, x, heads=4):
    w = iter(weights)

    def linear(x):
        return x @ next(w) + next(w)

    def norm(x):
        return F.layer_norm(x, x.shape[-1:], next(w), next(w))

    def split(x):
        return linear(x).reshape(*x.shape[:2], heads, -1).transpose(1, 2)

    for _ in range(len(weights) // 16):  # weights of a layer
        q, k, v = split(x), split(x), split(x)
        scores = torch.softmax(q @ k.transpose(2, 3) * (x.shape[-1] / heads) ** -0.5, -1)
        x = norm(x + linear((scores @ v).transpose(1, 2).reshape(x.shape)))
        x = norm(x + linear(F.gelu(linear(x))))
    return linear(x.mean(1))


def resident(field: str) -> float:
    """Megabytes of this process in memory: now (VmRSS) or at most (VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":")) / 1024


MODELS = {"resnet18": resnet18, "transformer": transformer}


def main() -> None:
    name, path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    start = resident("VmRSS")
    with np.load(path) as data:
        x, target = torch.tensor(data["input"]), torch.tensor(data["target"])
        weights = [torch.tensor(data[k], requires_grad=True) for k in data.files if k.startswith("weight.")]
    optimizer = torch.optim.SGD(weights, lr=0.001, momentum=0.9)
    print("ready", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "memory":
            print(resident("VmHWM") - start, flush=True)
            continue
        begun = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(MODELS[name](weights, x), target)
        loss.backward()
        if command == "gradients":
            np.savez(argument, *[w.grad.numpy() for w in weights])
            print(loss.item(), flush=True)
        else:
            optimizer.step()
            loss.item()
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
