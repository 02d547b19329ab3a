# Every model on the original validation images, whatever it was trained on.
rule predict:
    input:
        weights="<models>/{dataset}/{variant}/{model}/seed{seed}/weights.safetensors",
        record="<models>/{dataset}/{variant}/{model}/seed{seed}/train.json",
        manifest=plan.evaluation_file("manifest"),
    output:
        predictions="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/predictions.json",
    log:
        "<logs>/predict/{dataset}/{variant}/{model}/seed{seed}.log",
    benchmark:
        "<logs>/predict/{dataset}/{variant}/{model}/seed{seed}.bench.tsv"
    conda:
        lambda w: environment(plan.training_environment(w.model))
    threads: plan.study.train.threads
    resources:
        gpu=plan.gpus(),
    params:
        model_folder=lambda w, input: str(Path(input.weights).parent),
        original=lambda w: plan.variant_folder(w.dataset, "original"),
        split=lambda w: plan.evaluation_split(w.dataset),
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        code=lambda w: plan.trainer_code(w.model),
        environment=lambda w: plan.environment(plan.training_environment(w.model)),
    message:
        "predict with {wildcards.model} of {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "anonbench predict --model {params.model_folder:q} --variant {params.original:q}"
        " --split {params.split} --device {params.device} --threads {params.threads}"
        " --out {output.predictions:q} > {log:q} 2>&1"


# COCO's metrics, and what it takes to compute AP again under resampling.
rule evaluate:
    input:
        predictions="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/predictions.json",
        coco=plan.evaluation_file("annotations"),
    output:
        metrics="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/metrics.json",
        matches="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/matches.npz",
    log:
        "<logs>/evaluate/{dataset}/{variant}/{model}/seed{seed}.log",
    benchmark:
        "<logs>/evaluate/{dataset}/{variant}/{model}/seed{seed}.bench.tsv"
    conda:
        environment("report")
    params:
        folder=lambda w, output: str(Path(output.metrics).parent),
        code=code_hash("anonbench.evaluate.cli"),
        environment=plan.environment("report"),
    message:
        "evaluate {wildcards.model} of {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "anonbench evaluate --predictions {input.predictions:q} --annotations {input.coco:q}"
        " --out {params.folder:q} > {log:q} 2>&1"
