"""Run an evaluation: open the data, sample the models, compare, and build the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import zoo_core
from zoo_core import Engine, Model, Plan, Shard, Sweep, ZooError, create_extractor, extractors
from zoo_eval.data import DataError, Features, Images, Items, Texts, held_out_of, open_data
from zoo_eval.evaluation import (
    MIN_SAMPLES,
    Comparison,
    ReferenceStats,
    check_counts,
    compare,
    neighbours_of,
)
from zoo_eval.extractors import module
from zoo_eval.features import AnyExtractor, FixedShape, GivenFeatures
from zoo_eval.likelihood import can_score, likelihood_figures
from zoo_eval.reference import Reference
from zoo_eval.report.content import Report, Row
from zoo_eval.report.conventions import conventions
from zoo_eval.report.sheets import closest_pairs, some_samples
from zoo_eval.sampling import draw_samples, make_samples
from zoo_eval.sweep import Settings, SweepPoint, check_options, is_samples, sweep_points
from zoo_eval.text import KnownNGrams
from zoo_eval.workers import OnEngine

DEFAULTS = {"image": "efficientnet-lite0", "text": "ngrams", "features": "inception"}
TEXTS_SHOWN = 3

StartPhase = Callable[[str], Callable[[int, int], object]]
"""Called with the name of a phase; returns the function that takes its progress."""


@dataclass(frozen=True)
class Request:
    """The arguments of ``zoo eval``."""

    samples: Sequence[str]
    data: str
    held_out: str | None
    count: int
    seed: int
    extractor: str | None
    copies_by: str
    settings: Settings
    sweeps: Sequence[Sweep]
    prompts: Sequence[str]
    scored: int
    """Items whose likelihood is computed; 0: none."""
    folder: Path
    device: str
    dtype: str
    batch_size: int | None
    shard: Shard | None
    """Make only this part of the samples, and compare nothing."""
    command: str
    engine: Engine | None = None
    """Where samples and their features are made; None: in this process."""


def evaluate(request: Request, start_phase: StartPhase, say: Callable[[str], object]) -> Report:
    """Make the missing samples, compare every set with the data, and return the report.

    Args:
        request: What to evaluate.
        start_phase: Called at the start of every phase.
        say: Called with one line on every set that is read.

    Raises:
        ZooError: A user error. Samples and features made so far are kept.
    """
    data = open_data(request.data)
    held_out = open_data(request.held_out) if request.held_out else held_out_of(request.data)
    if not request.held_out and held_out is not None and len(held_out) < MIN_SAMPLES:
        held_out = None
    folders = {name: open_data(name) for name in request.samples if is_samples(name)}
    sets = [data, *([] if held_out is None else [held_out]), *folders.values()]
    for items in sets:
        say(items.summary)
    names = [name for name in request.samples if name not in folders]
    models = {name: zoo_core.load(name, device=request.device, dtype=request.dtype) for name in names}
    check_options([model.card for model in models.values()], request.settings, request.sweeps)
    points = {
        name: list(sweep_points(each, request.settings, request.sweeps)) for name, each in models.items()
    }
    for name, model in models.items():
        _check_kind(name, model.card.output, data)
    for items in sets[1:]:
        _check_kind(items.name, items.kind, data)
    check_counts(sets)

    device = _device(request, models)
    if not models and all(isinstance(items, Features) for items in sets):
        name, frechet = "none: the features are given", "Fréchet"
        extractor: AnyExtractor = GivenFeatures()
    else:
        name, frechet, extractor = _create_extractor(request.extractor or DEFAULTS[data.kind], data, device)
    stats = _reference_stats(request, data, held_out, extractor, device, start_phase)
    rows, likelihoods, notes = [], {}, []
    if held_out is not None:
        rows.append(
            _row(
                "held-out data", held_out.some(request.count), stats, request, device, start_phase, held=True
            )
        )
    for given in request.samples:
        if given in folders:
            rows.append(_row(given, folders[given].some(request.count), stats, request, device, start_phase))
            continue
        model = models[given]
        for point in points[given]:
            rows.append(_point_row(point, stats, request, device, start_phase))
        if request.scored and can_score(model) and (held_out or data).kind != "features":
            start_phase(f"likelihood under {model.card.id}")
            try:
                likelihoods[model.card.id] = likelihood_figures(
                    model, (held_out or data).some(request.scored)
                )
            except ZooError as error:
                notes.append(f"The likelihood under {model.card.id} could not be computed: {error.message}")
    return Report(
        data=data.name,
        count=len(data),
        extractor=name,
        frechet=frechet,
        rows=rows,
        likelihoods=likelihoods,
        scored=f"{min(request.scored, len(held_out or data))} items of {(held_out or data).name}",
        conventions=[*conventions(data, held_out, request.copies_by), *notes],
        command=request.command,
    )


def make_shard(request: Request, start_phase: StartPhase) -> list[Path]:
    """Make one shard of the samples of every model, and return their folders.

    Raises:
        ZooError: A user error. Samples made so far are kept.
    """
    if given := next(filter(is_samples, request.samples), None):
        raise DataError(f"{given} is there already, and has no shards.", "With --shard, name models alone.")
    models = [zoo_core.load(name, device=request.device, dtype=request.dtype) for name in request.samples]
    check_options([model.card for model in models], request.settings, request.sweeps)
    folders = []
    for model in models:
        for point in sweep_points(model, request.settings, request.sweeps):
            folders.append(_sample_folder(request, point))
            make_samples(
                point,
                _plan(request, point),
                folders[-1],
                request.batch_size,
                start_phase(point.name),
                request.shard,
                request.engine,
            )
    return folders


def _check_kind(name: str, kind: str, data: Items) -> None:
    alike = {"features": "image"}
    if alike.get(kind, kind) != alike.get(data.kind, data.kind):
        raise DataError(
            f"{name} is for {kind}s, but {data.name} holds {data.kind}s.",
            "Compare images with images and texts with texts.",
        )


def _device(request: Request, models: Mapping[str, Model]) -> torch.device:
    if models:
        return next(iter(models.values())).device
    if request.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(request.device)


def _create_extractor(name: str, data: Items, device: torch.device) -> tuple[str, str, AnyExtractor]:
    """Return the extractor's description, the name of its Fréchet distance, and the extractor."""
    if ":" in name:
        return name, f"Fréchet over {name}", module.find(name, device)
    known = extractors()
    if name not in known:
        raise ZooError(f"There is no extractor {name!r}.", f"There are: {', '.join(sorted(known))}.")
    card = known[name]
    _check_kind(f"The extractor {name}", card.data, data)
    made = create_extractor(card, device)
    if isinstance(data, Images) and made.size is None:  # type: ignore[union-attr]
        fitted = FixedShape(made, data.read(0).shape)  # type: ignore[arg-type]
        return f"{name}: {card.summary}", f"Fréchet over {name}", fitted
    return f"{name}: {card.summary}", card.frechet or f"Fréchet over {name}", made


def _reference_stats(
    request: Request,
    data: Items,
    held_out: Items | None,
    extractor: AnyExtractor,
    device: torch.device,
    start_phase: StartPhase,
) -> ReferenceStats:
    cache = zoo_core.cache_dir() / "eval"
    reference = Reference(data, extractor, device, cache, start_phase("features of the data"))
    if isinstance(data, Texts):
        return ReferenceStats(reference, known=KnownNGrams(data.whole))
    if isinstance(data, Features):
        return ReferenceStats(reference)
    extract = None
    if request.engine is not None:
        on_engine = OnEngine(request.engine, lambda line: print(line, file=sys.stderr))
        extract = on_engine.extract
    _, _, neighbour_extractor = _create_extractor(request.copies_by, data, device)
    if request.engine is not None:
        shape = data.read(0).shape
        on_engine.know(extractor, request.extractor or DEFAULTS[data.kind], shape)
        on_engine.know(neighbour_extractor, request.copies_by, shape)
    copies = Reference(
        data, neighbour_extractor, device, cache, start_phase("neighbour features of the data")
    )
    start_phase("nearest neighbours within the data")
    copies.nearest_others()
    if not isinstance(held_out, Images):
        return ReferenceStats(reference, copies, extract=extract)
    progress = start_phase("nearest neighbours of held-out data")
    distances = neighbours_of(held_out.some(request.count), copies, device, cache, progress).distances
    return ReferenceStats(reference, copies, distances, extract=extract)


def _point_row(
    point: SweepPoint, stats: ReferenceStats, request: Request, device: torch.device, start_phase: StartPhase
) -> Row:
    folder = _sample_folder(request, point)
    made = draw_samples(
        point, _plan(request, point), folder, request.batch_size, start_phase(point.name), request.engine
    )
    return _row(point.name, made.items, stats, request, device, start_phase, point, made.seconds)


def _sample_folder(request: Request, point: SweepPoint) -> Path:
    return request.folder / "samples" / point.folder_name


def _plan(request: Request, point: SweepPoint) -> Plan:
    prompts = list(request.prompts) or None
    return point.model.plan(prompts, n=request.count, seed=request.seed, **point.options)


def _row(
    name: str,
    items: Items,
    stats: ReferenceStats,
    request: Request,
    device: torch.device,
    start_phase: StartPhase,
    point: SweepPoint | None = None,
    seconds: float | None = None,
    *,
    held: bool = False,
) -> Row:
    progress = start_phase(f"features of {name}")
    found: Comparison = compare(items, stats, device, request.folder / "features", progress, held)
    data = stats.reference.items
    images = isinstance(items, Images) and isinstance(data, Images)
    return Row(
        name=name,
        count=len(items),
        figures=found.figures,
        model=point.model.card.id if point else None,
        options=point.options if point else {},
        swept=point.swept if point else None,
        seconds=seconds,
        sheet=some_samples(items) if images else None,  # type: ignore[arg-type]
        pairs=closest_pairs(items, data, found.neighbours) if images and found.neighbours else None,  # type: ignore[arg-type]
        texts=items.passages[:TEXTS_SHOWN] if isinstance(items, Texts) else (),
    )
