"""Synthetic CTs on the MR's own grid, from a checkpoint and an MR volume."""

from sde_ct.synthesis.ensemble import DeepEnsemble
from sde_ct.synthesis.synthesizer import Synthesizer
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import Trained, load, with_budget

__all__ = ["DeepEnsemble", "Synthesizer", "SyntheticCT", "Trained", "load", "with_budget"]
