# COCO JSON with a region or a reason for every person; parsed once, then read as columns.
rule annotate:
    input:
        record="<data>/{dataset}/download.json",
    output:
        coco="<annotations>/{dataset}/{split}.json",
        images="<annotations>/{dataset}/{split}.images.parquet",
        regions="<annotations>/{dataset}/{split}.regions.parquet",
        ledger="<annotations>/{dataset}/{split}.ledger.csv",
    log:
        "<logs>/annotate/{dataset}/{split}.log",
    benchmark:
        "<logs>/annotate/{dataset}/{split}.bench.tsv"
    conda:
        environment("data")
    params:
        data_folder=lambda w, input: str(Path(input.record).parent),
        folder=lambda w, output: str(Path(output.coco).parent),
        regions=plan.regions(),
        code=code_hash("anonbench.annotate.cli"),
        environment=plan.environment("data"),
    message:
        "annotate {wildcards.dataset} {wildcards.split}"
    shell:
        "anonbench annotate --data {params.data_folder:q} --split {wildcards.split}"
        " --regions {params.regions:q} --out {params.folder:q} > {log:q} 2>&1"
