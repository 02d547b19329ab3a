# The study, checked; and the few names that every rule uses.
import gc
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from anonbench.errors import AnonbenchError
from anonbench.provenance import code_hash
from anonbench.records import RegionKind
from anonbench.workflow import failures, scheduling
from anonbench.workflow.plan import Plan

# the objects of thousands of jobs all stay, and looking for garbage among them is a sixth of the time
gc.set_threshold(50_000, 20, 50)

VARIANT = rf"original|({'|'.join(RegionKind)})-[a-z0-9_]+(-[a-z0-9]+)?(-fit\d+)?"

uses_conda = any(
    "conda" in str(method).lower()
    for method in workflow.deployment_settings.deployment_method
)
if uses_conda and shutil.which("conda") is None:
    sys.exit(
        "error: --use-conda was given and no conda is on the PATH; install conda, or run the same study "
        "without it in the project's environment: make demo, or .venv/bin/snakemake --cores all"
    )

try:
    plan = Plan(config, Path(workflow.basedir), workflow.configfiles)
    for word in sys.argv[1:]:  # Snakemake learns of targets only after this file
        plan.check_target(word)
except AnonbenchError as error:
    sys.exit(f"error: {error}")


# what --sdm apptainer runs the jobs in, where somebody has built it (docs/cluster.md)
if Path(workflow.basedir, "containers", "anonbench.sif").is_file():

    container: str(Path(workflow.basedir, "containers", "anonbench.sif"))


pathvars:
    data=plan.files.folder("data"),
    annotations=plan.files.folder("annotations"),
    anonymized=plan.files.folder("anonymized"),
    models=plan.files.folder("models"),
    evaluations=plan.files.folder("evaluations"),
    attackers=plan.files.folder("attackers"),
    attacks=plan.files.folder("attacks"),
    results=plan.files.folder("results"),
    logs=plan.files.folder("logs"),


def environment(name):
    return str(Path(workflow.basedir, "envs", f"{name}.yaml"))
