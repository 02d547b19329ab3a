# One training per variant, model and seed.
rule train:
    input:
        manifest=plan.training_file("manifest"),
        coco=plan.training_file("annotations"),
        start=lambda w: plan.start_files(w.model),
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
    params:
        variant_folder=lambda w: plan.variant_folder(w.dataset, w.variant),
        folder=lambda w, output: str(Path(output.weights).parent),
        logs=plan.training_logs,
        split=lambda w: plan.training_split(w.dataset),
        recipe=lambda w: plan.recipe(w.model),
        start=lambda w: plan.first_weights(w.model),
        dataset=lambda w: plan.known_as(w.dataset),
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        processes=plan.study.train.processes,
        code=lambda w: plan.trainer_code(w.model),
        environment=lambda w: plan.environment(plan.training_environment(w.model)),
    message:
        "train {wildcards.model} on {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "anonbench train --variant {params.variant_folder:q} --split {params.split}"
        " --recipe {params.recipe:q} --seed {wildcards.seed} --device {params.device}"
        " --threads {params.threads} --processes {params.processes} {params.dataset}"
        " --checkpoints {params.logs:q} --timing {params.logs:q}/timing.json"
        " --out {params.folder:q} > {log:q} 2>&1"
