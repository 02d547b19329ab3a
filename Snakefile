# The study as a graph: what it is made of (workflow/rules) and what can be asked for (the targets below).
from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"


wildcard_constraints:
    dataset="[a-z0-9][a-z0-9_-]*",
    split="[A-Za-z0-9_]+",
    variant=VARIANT,
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
    tables,
    figures,


# Everything, named one by one: in a fresh clone the small results are there already, the costly ones are not.
rule all:
    input:
        plan.downloads(),
        plan.manifests(),
        plan.weights(),
        plan.metrics(),
        plan.results("report"),


# The raw data, rendered, fetched or checked.
rule data:
    input:
        plan.downloads(),


# Every anonymized data set.
rule variants:
    input:
        plan.manifests(),


# Every trained model.
rule models:
    input:
        plan.weights(),


# Every number.
rule tables:
    input:
        plan.results("tables"),


# Every figure.
rule figures:
    input:
        plan.results("figures"),


include: "workflow/rules/download.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/anonymize.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onerror:
    print(failures.tail(*log), file=sys.stderr)
