"""Read, synthesize and write any number of MR volumes, one at a time, for one request."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.storage.versions import versions
from sde_ct.synthesis import correction, outputs, planning, provenance, series_verdicts
from sde_ct.synthesis.ensemble import DeepEnsemble, require_alike
from sde_ct.synthesis.judging import (
    KEY,
    concluded,
    judging_for,
    kept,
    limit_of,
    path_lengths,
    warnings_of,
)
from sde_ct.synthesis.masks import mask_of
from sde_ct.synthesis.request import Done, Request
from sde_ct.synthesis.sidecar import VolumeOutputs, volume_locked
from sde_ct.synthesis.sources import Source, find_mask
from sde_ct.synthesis.structures import structures_for
from sde_ct.synthesis.study import identity_in, open_study
from sde_ct.synthesis.synthesizer import Synthesizer
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import load, with_budget, with_sde
from sde_ct.synthesis.unlike import header_warnings
from sde_ct.volumes.dicom.identity import identity_of, new_identity
from sde_ct.volumes.dicom.series import Series, open_series, require_same_frame
from sde_ct.volumes.dicom.stack import require_perpendicular, slice_notes
from sde_ct.volumes.files import open_source, read_mr
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.nifti import place_notes
from sde_ct.volumes.volume import Volume, voxel_sha256


class Job:
    """A request whose networks are loaded once for all volumes."""

    def __init__(self, request: Request):
        """Raises InputError if the request does not fit the networks."""
        if request.output.exists() and not request.output.is_dir():
            raise InputError(f"{request.output} is a file: give a folder as --output.")
        self._request = request
        sampler, networks = request.sampler, []
        for workdir in request.workdirs:
            one = with_sde(load(Path(workdir), request.checkpoint), request.sde, sampler)
            networks.append(with_budget(one, sampler, request.evaluations))
        self._networks, count = networks, len(networks)
        each = max(2, -(-10 // count)) if networks[0].draws_differ(sampler) else 1
        self._draws = count * each if request.draws is None else request.draws
        self._correction = correction.correction_for(request, networks, self._draws)
        asked = request, self._draws, self._correction
        self._measured = [m for m in (planning.rays_for(*asked), structures_for(*asked)) if m]
        self._judging = judging_for(request, networks, self._draws)
        if count > 1:
            require_alike(list(zip(request.workdirs, networks, strict=True)))
        members = [Synthesizer(one, sampler, batch=request.batch) for one in networks]
        self._notes = provenance.notes(sampler, members[0].is_random, count)
        self._synthesize: Synthesizer | DeepEnsemble = (
            DeepEnsemble(members) if count > 1 else members[0]
        )
        self._synthesize.require_draws(self._draws)
        self._kinds = outputs.kinds(self._draws, count, self._correction is not None)
        self._asked = {
            "checkpoints": [provenance.checkpoint(one) for one in networks],
            "sampler": sampler,
            "draws": self._draws,
            "seed": request.seed,
            "calibrated": self._correction and self._correction.to_json(),
        }

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The names of the MR contrasts that every volume needs, in order."""
        return self._networks[0].contrasts

    def lines(self) -> list[str]:
        """A sentence for each network that says which checkpoint is used."""
        return [
            f"{workdir}: the {network.chosen} checkpoint is used, from step {network.step}."
            for workdir, network in zip(self._request.workdirs, self._networks, strict=True)
        ]

    def __call__(self, source: Source) -> Done:
        """Synthesize one volume unless its outputs are complete, and judge it if asked.

        If another process is synthesizing the same volume to the same place, this waits for it.

        Raises InputError if the volume cannot be used, or if other results occupy the output.
        """
        request = self._request
        choices = () if request.study else request.choices  # with a study, choices apply to it
        given = source.series or open_source(source.path, choices)
        opened = given if isinstance(given, Series) else None
        if request.study:
            if opened:
                raise InputError(f"{source.path} is DICOM with its own study: leave out --study.")
            opened = open_study(request.study, request.choices)
        unlike = header_warnings(self._networks, opened) if opened else ()
        doubts = (*opened.warnings, *unlike) if opened else ()
        mr = read_mr(given)
        further = self._further(source, opened)
        patient_id = request.patient_id
        if request.study and opened:
            identity = identity_in(opened, mr, str(source.path), patient_id)
        else:
            identity = identity_of(opened, patient_id) if opened else new_identity(mr, patient_id)
        mask, frame = None, str(identity.header.FrameOfReferenceUID) if opened else ""
        if request.mask:
            mask, warnings = mask_of(find_mask(request.mask, source), mr, frame)
            doubts = (*doubts, *warnings)
        name, series, notes = source.name, None, [*self._notes, *place_notes(mr)]
        if opened and identity.named_in(name):
            name = f"mr-{voxel_sha256(mr.array)[:12]}"  # a hash replaces the patient's name
        measured = [one.of(source, name, mr, frame) for one in self._measured]
        if request.dicom:
            require_perpendicular(mr, str(source.path))
            series = provenance.series(identity, mr)
            notes += [*identity.notes, *slice_notes(identity, request.axial)]
        results = VolumeOutputs(
            folder=request.output,
            name=name,
            request={
                "case": name,
                **self._asked,
                "input": provenance.image(mr, format_of(source.path), mask, further),
            },
            paths=(
                *outputs.paths(
                    name, self._kinds, request.each * self._draws, request.dicom, request.axial
                ),
                *(path for one in measured for path in one.paths),
            ),
            series=series,
            added={key: value for one in measured for key, value in one.record.items()},
        )
        with volume_locked(request.output, name):
            if results.are_complete():
                return self._judged(Done(name, f"{name} is complete: nothing to do."))
            others, before = list(further.values()), results.record()
            drawn = self._synthesize(
                mr,
                case=name,
                draws=self._draws,
                seed=request.seed,
                further=others,
                mask=mask,
                progress=partial(_slices, name, self._draws // len(self._networks)),
            )
            ct = correction.apply(self._correction, drawn) if self._correction else drawn
            # Without a header now, earlier warnings stay: they may be about a --study's header.
            earlier = () if opened else before.get("warnings") or ()
            details = {
                "workdirs": list(request.workdirs),
                "checkpoint": [network.chosen for network in self._networks],
                "evaluations": ct.evaluations,
                "versions": versions(),
                "air_around_body": ct.air and {"above_-400_HU": ct.air[0], "mean_HU": ct.air[1]},
                "warnings": list(dict.fromkeys([*earlier, *doubts, *ct.warnings])),
                **({"notes": notes} if request.dicom or notes else {}),
            }
            joined = identity if request.dicom else None
            if self._judging:
                record = self._judging.record(name, mr, drawn, others, unlike)
                details[KEY] = kept(before.get(KEY) or {}, record, opened is not None)
            lines: list[str] = []

            def write(stage: Path) -> None:
                for one in measured:
                    lines.extend(one.write(stage, ct))
                remark = self._remark(stage, name, details, before)
                if request.dicom:
                    asked = request.output, name, results.paths, before
                    details[series_verdicts.KEY] = series_verdicts.written(*asked, remark[0])
                outputs.write(stage, name, ct, request.each, joined, request.axial, remark)

            results.put(write, details)
            sentence = f"{results.first}: {self._cost(ct)}."
            return self._judged(Done(name, sentence, (), tuple(notes), tuple(lines)))

    def _remark(
        self, stage: Path, name: str, details: dict[str, Any], before: dict[str, Any]
    ) -> tuple[str, str]:
        """A verdict in a few words and in a sentence for the CT series, or two empty strings.

        `stage` holds new path lengths if any were asked for; `before` is the sidecar until now.
        """
        request = self._request
        if not (self._judging and request.accept):
            return "", ""
        record = details[KEY]
        limit = limit_of(record, request.accept)
        new = stage / planning.paths(name)[1] if request.rays else None
        rays = new or path_lengths(request.output, name, before, limit)
        verdict = self._judging.verdict(record, rays, request.accept)
        return verdict.short, verdict.sentence

    def _judged(self, done: Done) -> Done:
        """The result with the sidecar's warnings, and with the verdict if one is asked for."""
        asked, folder = self._request.accept, self._request.output
        if self._judging and asked:
            verdict = concluded(folder, done.name, self._judging, asked)
            done = done._replace(lines=(*done.lines, *verdict.lines()), passed=not verdict.reasons)
        return done._replace(warnings=warnings_of(folder, done.name))

    def _further(self, source: Source, opened: Series | None) -> dict[str, Volume]:
        """The other MR contrasts by name; InputError if frames of reference differ."""
        found = {}
        for name, path in zip(self.contrasts[1:], source.further, strict=True):
            series = open_series(path) if format_of(path) == "DICOM" else None
            if series and opened:
                require_same_frame(series, opened)
            found[name] = read_mr(series or path)
        return found

    def _cost(self, ct: SyntheticCT) -> str:
        of = f" of {len(self._networks)} networks" if len(self._networks) > 1 else ""
        draws, calls = self._draws, round(ct.evaluations)
        cost = (
            f"{ct.slices} slices, {draws} draw{'s' * (draws != 1)}{of}, {calls} network "
            f"evaluation{'s' * (calls != 1)} and {ct.seconds:.2f} s per slice and draw"
        )
        if self._correction is None:
            return cost
        least = min((share for share in self._correction.guaranteed if share), default=0.0)
        return (
            f"{cost}; in about {self._correction.coverage:.0%} of the body's voxels the CT lies "
            f"within the bounds (guaranteed: {least:.0%}), provided that the patient resembles "
            "those of the fit"
        )


def _slices(name: str, draws: int, batches: range) -> Iterator[int]:
    """Yield each batch's first index; a bar counts the finished slices, or draws of one volume."""
    each, unit = (1, "draw") if batches.stop == draws else (draws, "slice")
    total = batches.stop // each
    with bar(total=total, desc=name, unit=unit, leave=False) as progress:
        for first in batches:
            yield first
            progress.update(min(total, (first + batches.step) // each) - progress.n)
