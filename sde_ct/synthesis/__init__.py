"""From checkpoints and MR files to synthetic CTs on the MRs' own grids."""

from sde_ct.synthesis.ensemble import DeepEnsemble
from sde_ct.synthesis.synthesizer import Synthesizer, SyntheticCT
from sde_ct.synthesis.trained import Trained, load, with_budget

__all__ = ["DeepEnsemble", "Synthesizer", "SyntheticCT", "Trained", "load", "with_budget"]
