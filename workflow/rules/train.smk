# One training per variant, model and seed.
rule train:
    input:
        manifest=plan.files.training_file("manifest"),
        coco=plan.files.training_file("annotations"),
        start=lambda w: plan.files.start_files(w.model),
    output:
        weights="<models>/{dataset}/{variant}/{model}/seed{seed}/weights.safetensors",
        record="<models>/{dataset}/{variant}/{model}/seed{seed}/train.json",
    log:
        "<logs>/train/{dataset}/{variant}/{model}/seed{seed}/train.log",
    benchmark:
        "<logs>/train/{dataset}/{variant}/{model}/seed{seed}/bench.tsv"
    conda:
        lambda w: environment(plan.training_environment(w.model))
    threads: plan.study.train.threads * plan.study.train.processes
    resources:
        gpu=plan.gpus(),
        mem_mb=plan.needs.memory("train"),
        runtime=plan.needs.time("train"),
    params:
        variant_folder=lambda w: plan.files.variant_folder(w.dataset, w.variant),
        folder=lambda w, output: str(Path(output.weights).parent),
        logs=plan.files.training_logs,
        split=lambda w: plan.files.training_split(w.dataset),
        recipe=lambda w: plan.arguments.recipe(w.model),
        start=lambda w: plan.fingerprints.first_weights(w.model),
        dataset=lambda w: plan.arguments.known_as(w.dataset),
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        processes=plan.study.train.processes,
        code=lambda w: plan.fingerprints.trainer_code(w.model),
        environment=lambda w: plan.fingerprints.environment(
            plan.training_environment(w.model)
        ),
    message:
        "train {wildcards.model} on {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "anonbench train --variant {params.variant_folder:q} --split {params.split}"
        " --recipe {params.recipe:q} --seed {wildcards.seed} --device {params.device}"
        " --threads {params.threads} --processes {params.processes} {params.dataset}"
        " --checkpoints {params.logs:q} --timing {params.logs:q}/timing.json"
        " --out {params.folder:q} > {log:q} 2>&1"
