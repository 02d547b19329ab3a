# The study as a graph: what it is made of (workflow/rules) and what can be asked for (the targets below).
from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"


wildcard_constraints:
    dataset="[a-z0-9][a-z0-9_-]*",
    split="[A-Za-z0-9_]+",
    variant=VARIANT,
    attack="[a-z0-9][a-z0-9_]*",
    attacker="[a-z0-9][a-z0-9_-]*",
    model="[a-z0-9][a-z0-9_-]*",
    tested=VARIANT,
    seed=r"\d+",
    shard=r"\d+",
    finds="face|person",


localrules:
    all,
    data,
    variants,
    models,
    attacks,
    tables,
    figures,


# Everything, named one by one: in a fresh clone the small results are there already, the costly ones are not.
rule all:
    input:
        plan.files.downloads(),
        plan.files.manifests(),
        plan.files.weights(),
        plan.files.metrics(),
        plan.files.attack_metrics(),
        plan.files.results("report"),


# The raw data, rendered, fetched or checked.
rule data:
    input:
        plan.files.downloads(),


# Every anonymized data set, training splits on which no model is trained, too.
rule variants:
    input:
        plan.files.manifests(training=True),


# Every trained model.
rule models:
    input:
        plan.files.weights(),


# Every attack.
rule attacks:
    input:
        plan.files.attack_metrics(),


# Every number.
rule tables:
    input:
        plan.files.results("tables"),


# Every figure.
rule figures:
    input:
        plan.files.results("figures"),


include: "workflow/rules/download.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/anonymize.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/report.smk"


onstart:
    scheduling.calm(workflow)


onerror:
    print(failures.tail(*log), file=sys.stderr)
