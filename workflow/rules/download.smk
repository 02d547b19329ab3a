# Raw data: rendered or fetched, or the user's own copy checked where it lies.
rule download:
    output:
        record="<data>/{dataset}/download.json",
    log:
        "<logs>/download/{dataset}.log",
    benchmark:
        "<logs>/download/{dataset}.bench.tsv"
    conda:
        environment("data")
    params:
        folder=lambda w, output: str(Path(output.record).parent),
        adapter=lambda w: plan.study.adapter(w.dataset),
        options=lambda w: plan.options(w.dataset),
        splits=lambda w: plan.splits(w.dataset),
        root=lambda w: plan.root(w.dataset),
        data=lambda w: plan.data(w.dataset),
        code=code_hash("anonbench.download.cli"),
        environment=plan.environment("data"),
    message:
        "download {wildcards.dataset}"
    shell:
        "anonbench download --dataset {wildcards.dataset} --adapter {params.adapter}"
        " --splits {params.splits:q} --options {params.options:q} {params.root}"
        " --out {params.folder:q} > {log:q} 2>&1"
