# The answer: tables first, figures and the page from them.
rule study:
    output:
        study="<results>/study.json",
    log:
        "<logs>/report/study.log",
    localrule: True
    conda:
        environment("report")
    params:
        study=plan.arguments.summary(),
    message:
        "write down what the study asks"
    shell:
        "printf '%s\\n' {params.study:q} > {output.study:q} 2> {log:q}"


rule report_tables:
    input:
        study="<results>/study.json",
        metrics=plan.files.metrics(),
        records=plan.files.records(),
        manifests=plan.files.manifests(),
        coverages=plan.files.coverages(),
        boxes=plan.files.boxes(),
        attacks=plan.files.attack_metrics(),
        attackers=plan.files.attacker_records(),
    output:
        report(
            "<results>/tables/impact.csv",
            caption="../report/impact_table.rst",
            category="Answer",
            labels={"what": "impact"},
        ),
        collect("<results>/tables/{name}", name=plan.files.tables_after_impact()),
    log:
        "<logs>/report/tables.log",
    benchmark:
        "<logs>/report/tables.bench.tsv"
    conda:
        environment("report")
    resources:
        mem_mb=plan.needs.memory("report_tables"),
        runtime=plan.needs.time("report_tables"),
    params:
        folder=lambda w, output: str(Path(output[0]).parent),
        evaluations=lambda w: plan.files.folder("evaluations"),
        models=lambda w: plan.files.folder("models"),
        anonymized=lambda w: plan.files.folder("anonymized"),
        annotations=lambda w: plan.files.folder("annotations"),
        attacks=(
            f"--attacks {plan.files.folder('attacks')}"
            if plan.study.attack.attacks
            else ""
        ),
        attackers=(
            f"--attackers {plan.files.folder('attackers')}"
            if plan.files.learners()
            else ""
        ),
        code=plan.fingerprints.report_code("tables", "collect"),
        environment=plan.fingerprints.environment("report"),
    message:
        "tables"
    shell:
        "anonbench report-tables --study {input.study:q} --evaluations {params.evaluations:q}"
        " --models {params.models:q} --anonymized {params.anonymized:q}"
        " --annotations {params.annotations:q} {params.attacks} {params.attackers}"
        " --out {params.folder:q} > {log:q} 2>&1"


rule report_figures:
    input:
        study="<results>/study.json",
        tables=collect("<results>/tables/{name}", name=plan.files.tables()),
    output:
        report(
            collect("<results>/figures/{name}.png", name=plan.files.figures()),
            caption="../report/figures.rst",
            category="Figures",
        ),
        collect(
            "<results>/figures/{name}.{kind}",
            name=plan.files.figures(),
            kind=plan.study.report.vector_formats,
        ),
    log:
        "<logs>/report/figures.log",
    benchmark:
        "<logs>/report/figures.bench.tsv"
    conda:
        environment("report")
    resources:
        mem_mb=plan.needs.memory("report_figures"),
        runtime=plan.needs.time("report_figures"),
    params:
        tables=lambda w, input: str(Path(input.tables[0]).parent),
        folder=lambda w, output: str(Path(output[0]).parent),
        code=plan.fingerprints.report_code("figures"),
        environment=plan.fingerprints.environment("report"),
    message:
        "figures"
    shell:
        "anonbench report-figures --study {input.study:q} --tables {params.tables:q}"
        " --out {params.folder:q} > {log:q} 2>&1"


rule report_sheet:
    input:
        study="<results>/study.json",
        manifests=plan.files.manifests_of,
    output:
        png=report(
            "<results>/figures/sheet-{dataset}.png",
            caption="../report/sheet.rst",
            category="Figures",
            labels={"what": "the same people under every variant"},
        ),
        vector=collect(
            "<results>/figures/sheet-{{dataset}}.{kind}",
            kind=plan.study.report.vector_formats,
        ),
    log:
        "<logs>/report/sheet-{dataset}.log",
    benchmark:
        "<logs>/report/sheet-{dataset}.bench.tsv"
    conda:
        environment("report")
    resources:
        mem_mb=plan.needs.memory("report_sheet"),
        runtime=plan.needs.time("report_sheet"),
    params:
        anonymized=lambda w: plan.files.folder("anonymized"),
        folder=lambda w, output: str(Path(output.png).parent),
        code=code_hash("anonbench.report.sheet"),
        environment=plan.fingerprints.environment("report"),
    message:
        "before/after sheet of {wildcards.dataset}"
    shell:
        "anonbench report-sheet --study {input.study:q} --dataset {wildcards.dataset}"
        " --anonymized {params.anonymized:q} --out {params.folder:q} > {log:q} 2>&1"


rule report_restored:
    input:
        study="<results>/study.json",
        attacks=plan.files.restorations,
    output:
        png=report(
            "<results>/figures/restored-{dataset}.png",
            caption="../report/restored.rst",
            category="Figures",
            labels={"what": "what attackers restore"},
        ),
        vector=collect(
            "<results>/figures/restored-{{dataset}}.{kind}",
            kind=plan.study.report.vector_formats,
        ),
    log:
        "<logs>/report/restored-{dataset}.log",
    benchmark:
        "<logs>/report/restored-{dataset}.bench.tsv"
    conda:
        environment("report")
    resources:
        mem_mb=plan.needs.memory("report_restored"),
        runtime=plan.needs.time("report_restored"),
    params:
        attacks=lambda w: plan.files.folder("attacks"),
        folder=lambda w, output: str(Path(output.png).parent),
        code=code_hash("anonbench.report.restored"),
        environment=plan.fingerprints.environment("report"),
    message:
        "what attackers restore of {wildcards.dataset}"
    shell:
        "anonbench report-restored --study {input.study:q} --dataset {wildcards.dataset}"
        " --attacks {params.attacks:q} --out {params.folder:q} > {log:q} 2>&1"


rule report_html:
    input:
        study="<results>/study.json",
        tables=collect("<results>/tables/{name}", name=plan.files.tables()),
        figures=collect("<results>/figures/{name}.png", name=plan.files.figures()),
        sheets=collect("<results>/figures/{name}.png", name=plan.files.sheets()),
    output:
        page=report(
            "<results>/report.html",
            caption="../report/page.rst",
            category="Answer",
            labels={"what": "the report"},
        ),
        cost="<results>/cost.csv",
        panel=report(
            "<results>/cost.png",
            caption="../report/cost.rst",
            category="Figures",
            labels={"what": "cost"},
        ),
        vector=collect("<results>/cost.{kind}", kind=plan.study.report.vector_formats),
        provenance="<results>/provenance.json",
    log:
        "<logs>/report/html.log",
    benchmark:
        "<logs>/report/html.bench.tsv"
    conda:
        environment("report")
    resources:
        mem_mb=plan.needs.memory("report_html"),
        runtime=plan.needs.time("report_html"),
    params:
        tables=lambda w, input: str(Path(input.tables[0]).parent),
        figures=lambda w, input: str(Path(input.figures[0]).parent),
        models=lambda w: plan.files.folder("models"),
        anonymized=lambda w: plan.files.folder("anonymized"),
        evaluations=lambda w: plan.files.folder("evaluations"),
        logs=lambda w: plan.files.folder("logs"),
        code=plan.fingerprints.report_code("html"),
        environment=plan.fingerprints.environment("report"),
    message:
        "report"
    shell:
        "anonbench report-html --study {input.study:q} --tables {params.tables:q}"
        " --figures {params.figures:q} --models {params.models:q} --timings {params.logs:q}/train"
        " --logs {params.logs:q} --anonymized {params.anonymized:q} --evaluations {params.evaluations:q}"
        " --out {output.page:q} > {log:q} 2>&1"
