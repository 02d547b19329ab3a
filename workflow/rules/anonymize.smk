# A method that is fitted to data, on the training split alone.
rule fit:
    input:
        record="<data>/{dataset}/download.json",
        images=plan.files.training_images(),
        people=plan.files.training_people(),
        faces=plan.files.training_faces(),
        stills=plan.files.fit_stills(),
        start=plan.files.fit_start(),
    output:
        weights="<anonymized>/{dataset}/private/fits/{region}-{method}{level}{again}/weights.safetensors",
        record="<anonymized>/{dataset}/private/fits/{region}-{method}{level}{again}/fit.json",
    log:
        "<logs>/fit/{dataset}/{region}-{method}{level}{again}/fit.log",
    benchmark:
        "<logs>/fit/{dataset}/{region}-{method}{level}{again}/bench.tsv"
    wildcard_constraints:
        region="face|body|frame",
        method="[a-z0-9_]+",
        level=r"(-(?!fit\d)[a-z0-9]+)?",
        again=r"(-fit\d+)?",
    conda:
        environment("train")
    threads: plan.study.train.threads
    resources:
        gpu=plan.gpus(),
        mem_mb=plan.needs.memory("fit"),
        runtime=plan.needs.time("fit"),
    params:
        data_folder=lambda w, input: str(Path(input.record).parent),
        annotations=lambda w, input: str(Path(input.images).parent),
        folder=lambda w, output: str(Path(output.weights).parent),
        logs=lambda w: f"{plan.files.folder('logs')}/fit/{w.dataset}/{w.region}-{w.method}{w.level}{w.again}",
        split=lambda w: plan.files.training_split(w.dataset),
        settings=lambda w: plan.arguments.fit_settings(w.method, w.level[1:] or None),
        stills=lambda w: plan.arguments.stills(w.method),
        seed=lambda w: plan.arguments.fit_seed(w.again),
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        code=lambda w: plan.fingerprints.fit_code(w.method, w.level[1:] or None),
        environment=plan.fingerprints.environment("train"),
    message:
        "fit {wildcards.method}{wildcards.level} to the {wildcards.region} regions of {wildcards.dataset}"
    shell:
        "anonbench fit --data {params.data_folder:q} --annotations {params.annotations:q}"
        " --split {params.split} --region {wildcards.region} --method {wildcards.method}"
        " --settings {params.settings:q} --seed {params.seed} --device {params.device} {params.stills}"
        " --threads {params.threads} --logs {params.logs:q} --out {params.folder:q} > {log:q} 2>&1"


# A variant, shard by shard; the manifests are what the graph knows of the images.
rule anonymize:
    input:
        record="<data>/{dataset}/download.json",
        images="<annotations>/{dataset}/{split}.images.parquet",
        people=plan.files.people_file(),
        weights=plan.files.fitted(),
    output:
        manifest="<anonymized>/{dataset}/private/{variant}/manifests/{split}/{shard}.jsonl",
    log:
        "<logs>/anonymize/{dataset}/{variant}/{split}-{shard}.log",
    benchmark:
        "<logs>/anonymize/{dataset}/{variant}/{split}-{shard}.bench.tsv"
    conda:
        lambda w: environment(plan.anonymize_environment(w.variant))
    threads: plan.study.anonymize.threads
    resources:
        gpu=lambda w: plan.anonymize_gpus(w.variant),
        mem_mb=plan.needs.memory("anonymize"),
        runtime=plan.needs.time("anonymize"),
    params:
        data_folder=lambda w, input: str(Path(input.record).parent),
        annotations=lambda w, input: str(Path(input.images).parent),
        folder=lambda w: plan.files.variant_folder(w.dataset, w.variant),
        method=lambda w: plan.arguments.method(w.variant),
        encoder=lambda w: plan.arguments.encoder(w.variant),
        link=plan.study.anonymize.link,
        seed=lambda w: plan.arguments.seed(w.dataset),
        shards=plan.study.anonymize.shards,
        fitted=lambda w, input: plan.arguments.weights(input.weights),
        timing=lambda w: f"{plan.files.folder('logs')}/anonymize/{w.dataset}/{w.variant}/{w.split}-{w.shard}.timing.json",
        code=lambda w: plan.fingerprints.method_code(w.variant),
        environment=lambda w: plan.fingerprints.environment(
            plan.anonymize_environment(w.variant)
        ),
    message:
        "anonymize {wildcards.dataset} {wildcards.split}: {wildcards.variant}, shard {wildcards.shard}"
    shell:
        "anonbench anonymize --data {params.data_folder:q} --annotations {params.annotations:q}"
        " --split {wildcards.split} --variant {wildcards.variant} --parameters {params.method:q}"
        " --encoder {params.encoder} --link {params.link} --seed {params.seed}"
        " --shard {wildcards.shard} --shards {params.shards} --threads {threads}"
        " {params.fitted} --timing {params.timing:q}"
        " --out {params.folder:q} > {log:q} 2>&1"


# The shards' manifests joined and checked against the folder; the labels that may be handed out, beside the images.
rule merge:
    input:
        shards=collect(
            "<anonymized>/{{dataset}}/private/{{variant}}/manifests/{{split}}/{shard}.jsonl",
            shard=plan.files.shards(),
        ),
        coco="<annotations>/{dataset}/{split}.json",
        images="<annotations>/{dataset}/{split}.images.parquet",
        people="<annotations>/{dataset}/{split}.people.parquet",
    output:
        manifest="<anonymized>/{dataset}/private/{variant}/manifests/{split}.json",
        coco="<anonymized>/{dataset}/{variant}/annotations/{split}.json",
    log:
        "<logs>/merge/{dataset}/{variant}/{split}.log",
    benchmark:
        "<logs>/merge/{dataset}/{variant}/{split}.bench.tsv"
    conda:
        environment("data")
    resources:
        mem_mb=plan.needs.memory("merge"),
        runtime=plan.needs.time("merge"),
    params:
        annotations=lambda w, input: str(Path(input.coco).parent),
        folder=lambda w: plan.files.variant_folder(w.dataset, w.variant),
        shards=plan.study.anonymize.shards,
        strict="--strict" if plan.study.anonymize.strict else "",
        code=code_hash("anonbench.anonymize.merge"),
        environment=plan.fingerprints.environment("data"),
    message:
        "merge {wildcards.dataset} {wildcards.split}: {wildcards.variant}"
    shell:
        "anonbench merge --annotations {params.annotations:q} --split {wildcards.split}"
        " --variant {wildcards.variant} --shards {params.shards} {params.strict}"
        " --out {params.folder:q} > {log:q} 2>&1"
