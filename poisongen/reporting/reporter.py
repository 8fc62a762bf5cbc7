"""One HTML page that shows what a poisoned dataset is."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from poisongen.auditing.auditor import AuditReport, audit
from poisongen.errors import ChoiceError, OutputError
from poisongen.files.store import check_name, write_whole
from poisongen.parallel import job_count
from poisongen.plotting import can_plot, require_matplotlib
from poisongen.reporting.choosing import choose, choose_skipped
from poisongen.reporting.figures import make_plots
from poisongen.reporting.gallery import Predictions, make_cards
from poisongen.reporting.measured import Measured, measured_in_words
from poisongen.reporting.opening import open_build
from poisongen.reporting.page import make_page, require_jinja2
from poisongen.source.listing import check_apart

SAMPLES, MOST_SAMPLES = 24, 500
_ONE_SKIPPED_OF = 6  # for so many changed samples one that was passed over


@dataclass(frozen=True)
class ReportResult:
    """Where the page is, its size in bytes, the number of changed samples shown, audit's report (None: not audited)."""

    page: Path
    bytes: int
    samples: int
    audit: AuditReport | None


def can_report() -> bool:
    """Tell whether the libraries that the report needs are installed."""
    return can_plot() and importlib.util.find_spec("jinja2") is not None


def report(
    out: Path | str,
    source: Path | str | None = None,
    page: Path | str = "report.html",
    *,
    samples: int = SAMPLES,
    run: Path | str | None = None,
    audited: bool | AuditReport = True,
    quick: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> ReportResult:
    """Write one self-contained HTML page that shows the poisoned dataset in `out`.

    `source` is the clean dataset's folder; without it the page shows what `out` and its undo store know. Up to
    `samples` changed samples (1 to 500) are shown with their pictures; nothing is read of the others. `run`, the folder
    of `train`, adds the model's predictions and measures, and needs torch. `audited` runs the audit for its verdict
    (`quick`: the quick one), or is the report of one that was made. The page is the same whenever it is made of the
    same. Nothing but `page` is written, which must lie neither in `out` nor in `source`. OutputError if `out` is no
    finished build or its records cannot be read, ChoiceError if a library is missing.
    """
    folder, root, place = Path(out), None if source is None else Path(source), Path(page)
    _check_place(place, folder, root)
    if not 1 <= samples <= MOST_SAMPLES:
        raise ChoiceError(f"--samples: {samples} must be from 1 to {MOST_SAMPLES}")
    require_jinja2()
    require_matplotlib("the report")
    workers = job_count(jobs)
    opened = open_build(folder, root)
    cases = choose(opened.manifest, samples)
    measured: Measured | None = None
    predictions: Predictions = {}
    if run is not None:
        from poisongen.victim.showing import measure_and_predict

        names = {(str(case.record.role), case.record.sample) for case in cases}
        measures, predictions = measure_and_predict(Path(run), folder, root, names, jobs=jobs, progress=progress)
        measured = measured_in_words(measures)
    verdict = audited if isinstance(audited, AuditReport) else None
    if audited is True:
        verdict = audit(folder, root, quick=quick, jobs=jobs, progress=progress)
    passed_over = choose_skipped(opened.skipped, opened.samples, max(1, samples // _ONE_SKIPPED_OF))
    cards = make_cards([*cases, *passed_over], opened, predictions, workers, progress)
    text = make_page(opened, cards, make_plots(opened, cards), verdict, measured)
    data = text.encode("utf-8", "replace")
    try:
        write_whole(place, data)
    except OSError as error:
        raise OutputError(f"--out: {place} cannot be written ({error.strerror})") from None
    return ReportResult(place, len(data), len(cases), verdict)


def _check_place(page: Path, out: Path, root: Path | None) -> None:
    """Refuse a name that is no page's, and a page in a dataset. ChoiceError, OutputError."""
    if page.suffix.lower() not in (".html", ".htm") or page.is_dir():
        raise ChoiceError(f"--out: {page} must be the name of an HTML file, such as report.html")
    check_name(page)
    real = page.resolve()
    if out.resolve() in real.parents:
        raise ChoiceError(f"--out: {page} lies in the poisoned dataset {out}, where an audit would find a stranger")
    if root is not None:
        check_apart(root, page)
