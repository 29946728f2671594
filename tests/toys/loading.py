"""Generators with broken loading."""

from __future__ import annotations

import torch

from zoo_core import Checkpoint

from .sound import Shade, Toy, Weighted


class CannotBeLoaded(Toy):
    """It fails when it is built."""

    caught_by = "the_model_loads"

    def __init__(self, dtype: torch.dtype | None) -> None:
        raise KeyError("hidden_size")


class SetsThePrecision(Toy):
    """It changes a torch setting while loading."""

    caught_by = "loading_has_no_side_effects"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        torch.set_float32_matmul_precision("medium")


class PatchesTorch(Toy):
    """It replaces a torch function while loading."""

    caught_by = "loading_has_no_side_effects"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        torch.nn.functional.hardtanh = lambda x: x  # type: ignore[assignment]


class SeedsTorchWhenBuilt(Toy):
    """It seeds torch while loading."""

    caught_by = "loading_has_no_side_effects"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        torch.manual_seed(0)


class HasGrown(Weighted):
    """Its card still has the size of an earlier version."""

    caught_by = "the_number_of_parameters_is_right"
    card = "parameters = 12"


class ShowsNothing(Toy):
    """Its card names an example that is not in the package."""

    caught_by = "the_example_is_a_small_image"
    card = 'example = "examples/gone.png"'


class LoadsWhateverFits(Weighted):
    """It accepts missing and extra tensors."""

    caught_by = "mismatched_weights_are_refused"

    def read(self, checkpoint: Checkpoint) -> None:
        self.network = Shade()
        self.network.load_state_dict(checkpoint.tensors("model"), strict=False)
