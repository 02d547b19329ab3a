# COCO JSON, and the people in it as columns; parsed once, whatever the data set's own format.
rule annotate:
    input:
        record="<data>/{dataset}/download.json",
    output:
        coco="<annotations>/{dataset}/{split}.json",
        images="<annotations>/{dataset}/{split}.images.parquet",
        people="<annotations>/{dataset}/{split}.people.parquet",
    log:
        "<logs>/annotate/{dataset}/{split}.log",
    benchmark:
        "<logs>/annotate/{dataset}/{split}.bench.tsv"
    conda:
        environment("data")
    threads: plan.study.anonymize.threads
    resources:
        mem_mb=plan.needs.memory("annotate"),
        runtime=plan.needs.time("annotate"),
    params:
        data_folder=lambda w, input: str(Path(input.record).parent),
        folder=lambda w, output: str(Path(output.coco).parent),
        categories=lambda w: plan.arguments.categories(w.dataset),
        gate=lambda w: plan.arguments.gate(w.dataset),
        apart=lambda w: plan.arguments.apart(w.dataset, w.split),
        adapter=lambda w: plan.fingerprints.adapter_code(w.dataset),
        code=code_hash("anonbench.annotate.people", "anonbench.annotate.identities"),
        environment=plan.fingerprints.environment("data"),
    message:
        "annotate {wildcards.dataset} {wildcards.split}"
    shell:
        "anonbench annotate --data {params.data_folder:q} --split {wildcards.split}"
        " {params.categories} {params.gate} {params.apart} --threads {threads}"
        " --out {params.folder:q} > {log:q} 2>&1"


# Faces, or people whom nobody annotated, that a detector finds; only where the study asks for it.
rule detect:
    input:
        record="<data>/{dataset}/download.json",
        images="<annotations>/{dataset}/{split}.images.parquet",
    output:
        detections="<annotations>/{dataset}/{split}.detections/{finds}-{shard}.parquet",
    log:
        "<logs>/detect/{dataset}/{split}-{finds}-{shard}.log",
    benchmark:
        "<logs>/detect/{dataset}/{split}-{finds}-{shard}.bench.tsv"
    conda:
        lambda w: environment(plan.detect_environment(w.finds))
    resources:
        mem_mb=plan.needs.memory("detect"),
        runtime=plan.needs.time("detect"),
    params:
        data_folder=lambda w, input: str(Path(input.record).parent),
        annotations=lambda w, input: str(Path(input.images).parent),
        detector=lambda w: plan.arguments.detector(w.finds),
        shards=plan.study.anonymize.shards,
        code=lambda w: plan.fingerprints.detector_code(w.finds),
        environment=lambda w: plan.fingerprints.environment(
            plan.detect_environment(w.finds)
        ),
    message:
        "detect {wildcards.finds} in {wildcards.dataset} {wildcards.split}, shard {wildcards.shard}"
    shell:
        "anonbench detect --data {params.data_folder:q} --annotations {params.annotations:q}"
        " --split {wildcards.split} --detector {params.detector:q}"
        " --shard {wildcards.shard} --shards {params.shards} --out {output.detections:q} > {log:q} 2>&1"


# A region or a reason for every person, and the ledger that says so.
rule regions:
    input:
        images="<annotations>/{dataset}/{split}.images.parquet",
        people="<annotations>/{dataset}/{split}.people.parquet",
        faces=plan.files.detections("face"),
        persons=plan.files.detections("person"),
    output:
        regions="<annotations>/{dataset}/{split}.regions.parquet",
        ledger="<annotations>/{dataset}/{split}.ledger.csv",
        coverage="<annotations>/{dataset}/{split}.coverage.csv",
    log:
        "<logs>/regions/{dataset}/{split}.log",
    benchmark:
        "<logs>/regions/{dataset}/{split}.bench.tsv"
    conda:
        environment("data")
    resources:
        mem_mb=plan.needs.memory("regions"),
        runtime=plan.needs.time("regions"),
    params:
        annotations=lambda w, input: str(Path(input.people).parent),
        regions=plan.arguments.regions(),
        faces=lambda w, input: plan.arguments.each("--faces", input.faces),
        persons=lambda w, input: plan.arguments.each("--persons", input.persons),
        code=code_hash("anonbench.annotate.choose"),
        environment=plan.fingerprints.environment("data"),
    message:
        "regions {wildcards.dataset} {wildcards.split}"
    shell:
        "anonbench regions --annotations {params.annotations:q} --split {wildcards.split}"
        " --regions {params.regions:q} {params.faces} {params.persons} > {log:q} 2>&1"
