"""Compare synthetic with real CTs: a table, metrics.csv and metrics.json.

    python launch/evaluate.py --prediction=out/sct --reference=data/pelvis --output=out/scores

Predictions are `<case>.nii.gz`; references and masks are `<case>.nii.gz` or, as SynthRAD has them,
`<case>/ct.nii.gz` and `<case>/mask.nii.gz` at any depth. Every path may also be a single file.
"""

from pathlib import Path

from absl import flags
from tqdm import tqdm

from sde_ct.cli import run
from sde_ct.evaluation.cases import evaluate_files, match_cases, parse_slices
from sde_ct.evaluation.protocols import PROTOCOLS
from sde_ct.evaluation.report import refuse_existing, write_metrics
from sde_ct.evaluation.table import summarise, text_table

_PREDICTION = flags.DEFINE_string("prediction", None, "Synthetic CTs: folder or file.")
_REFERENCE = flags.DEFINE_string("reference", None, "Real CTs: folder or file.")
_MASK = flags.DEFINE_string(
    "mask", None, "Body masks: folder or file. Default: beside the real CT, or computed from it."
)
_SPREAD = flags.DEFINE_string("spread", None, "Standard deviations of the draws: folder or file.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for metrics.csv and metrics.json.")
_PROTOCOL = flags.DEFINE_enum("protocol", "volume", list(PROTOCOLS), "How to score.")
_Z_SLICES = flags.DEFINE_string("z_slices", ":", "Axial slices that count, such as 1::2.")
_METHOD = flags.DEFINE_string("method", "prediction", "Name of the table's row.")
flags.mark_flags_as_required(["prediction", "reference", "output"])


def main() -> None:
    output, protocol = Path(_OUTPUT.value), PROTOCOLS[_PROTOCOL.value]
    refuse_existing(output)
    z_slices = parse_slices(_Z_SLICES.value)
    paths = (_PREDICTION.value, _REFERENCE.value, _MASK.value, _SPREAD.value)
    cases = match_cases(*(Path(path) if path else None for path in paths))
    rows = [
        evaluate_files(case, protocol, _METHOD.value, z_slices)
        for case in tqdm(cases, desc="evaluate", unit="case")
    ]
    masks = {case.name: str(case.mask or "computed from the reference CT") for case in cases}
    settings = {"z_slices": _Z_SLICES.value, "masks": masks}
    write_metrics(output, rows, protocol, settings)
    print(text_table(summarise(rows)), end="")


if __name__ == "__main__":
    run(main)
