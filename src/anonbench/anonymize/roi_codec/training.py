"""Fits a codec to one split: images and boxes, loop, tables, files."""

from __future__ import annotations

from anonbench.anonymize.contract import FitJob, Fitted
from anonbench.anonymize.course import Course
from anonbench.anonymize.roi_codec.data import Sources, faces_beside
from anonbench.anonymize.roi_codec.loop import Fitting
from anonbench.anonymize.roi_codec.options import HEADS, NOBODY, FitSettings
from anonbench.codec import weights
from anonbench.codec.tables import tabulate
from anonbench.files import sha256_file
from anonbench.learning.devices import deterministic
from anonbench.learning.loop import run

ENTRY = "fit.determinism: portable"


def fit(job: FitJob) -> Fitted:
    """Train and write the weights; see `anonbench.anonymize.contract.Method.fit`."""
    course = Course.begin(job, ENTRY)
    settings: FitSettings = job.settings
    sources = Sources.read(job.root, job.images, job.table, settings, job.seed, job.threads)
    course.has_read()
    with deterministic():
        learner = Fitting(sources, settings, job.seed, course.device, job.threads)
        ran = run(learner, job.checkpoint, course.key(sources.digest, sources.counts, __name__))
        codec = learner.chosen()
    hides = settings.loss.heads > 0 or settings.loss.restorer > 0
    origin = {**job.origin, "hides": HEADS if hides else NOBODY}
    weights.save(job.weights, codec, [tabulate(codec.density, step) for step in settings.steps], origin)
    images, people = job.table.with_name(job.table.name.replace(".people.", ".images.")), job.table
    more = {
        "tables_sha256": {
            path.name: sha256_file(path) for path in (images, people, faces_beside(people)) if path.is_file()
        },
        "chosen": {"iteration": learner.best.iteration, **learner.best.losses} if sources.held else None,
    }
    return course.fitted(ran, codec, sources.digest, sources.counts, more)
