"""The paper's comparison of all methods, as single draws and as averages, on held-out patients."""

from sde_ct.lab.comparison.assessment import ambiguity_of, ambiguous_hu, judgements_of, rows_of
from sde_ct.lab.comparison.lookup import apply_lookup, lookup_control
from sde_ct.lab.comparison.patients import Patient, held_out, training_outcomes
from sde_ct.lab.comparison.presentation import pictures, write_volumes
from sde_ct.lab.comparison.synthesis import ENTRIES, Results, synthesize_all

__all__ = [
    "ENTRIES", "Patient", "Results", "ambiguity_of", "ambiguous_hu", "apply_lookup", "held_out",
    "judgements_of", "lookup_control", "pictures", "rows_of", "synthesize_all",
    "training_outcomes", "write_volumes",
]  # fmt: skip
