"""Training on the device: a graph, a loss and an optimiser become one graph of a step, which any backend runs.

trainer = train.Trainer(graph, train.CrossEntropy(), train.AdamW(1e-3))
for batch, labels in data:
    loss = trainer.step({"input": batch}, labels)
trained = trainer.graph()
"""

from __future__ import annotations

from walle_core.train.checkpoint import restore, save
from walle_core.train.lora import Adapted, adapt, merge
from walle_core.train.losses import MAE, MSE, CrossEntropy, Hinge, KLDivergence, Loss
from walle_core.train.optimizers import SGD, Adam, AdamW, Optimizer
from walle_core.train.parameters import last_layers, parameters
from walle_core.train.schedules import Constant, Cosine, Exponential, Schedule, Steps
from walle_core.train.trainer import Trainer

__all__ = [
    "MAE", "MSE", "SGD", "Adam", "AdamW", "Adapted", "Constant", "Cosine", "CrossEntropy", "Exponential", "Hinge",
    "KLDivergence", "Loss", "Optimizer", "Schedule", "Steps", "Trainer", "adapt", "last_layers", "merge", "parameters",
    "restore", "save",
]  # fmt: skip
