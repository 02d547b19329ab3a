# Raw data: rendered, fetched and unpacked as config/datasets.csv says, or the user's own copy checked where it lies.
# Where Snakemake itself runs: a cluster's nodes often have no way out.
rule download:
    output:
        record="<data>/{dataset}/download.json",
    log:
        "<logs>/download/{dataset}.log",
    benchmark:
        "<logs>/download/{dataset}.bench.tsv"
    localrule: True
    conda:
        environment("data")
    params:
        folder=lambda w, output: str(Path(output.record).parent),
        adapter=lambda w: plan.study.adapter(w.dataset),
        options=lambda w: plan.arguments.options(w.dataset),
        splits=lambda w: plan.arguments.splits(w.dataset),
        root=lambda w: plan.arguments.root(w.dataset),
        catalogue=plan.files.catalogue(),
        rows=lambda w: plan.fingerprints.catalogue_rows(w.dataset),
        mirror=plan.arguments.mirror(),
        keep_archives=plan.arguments.keep_archives(),
        data=lambda w: plan.fingerprints.data(w.dataset),
        code=code_hash("anonbench.download.fetch"),
        environment=plan.fingerprints.environment("data"),
    message:
        "download {wildcards.dataset}"
    shell:
        "anonbench download --dataset {wildcards.dataset} --adapter {params.adapter}"
        " --splits {params.splits:q} --options {params.options:q} {params.root}"
        " --catalogue {params.catalogue:q} {params.mirror} {params.keep_archives}"
        " --out {params.folder:q} > {log:q} 2>&1"
