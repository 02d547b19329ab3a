# Every model on validation images: the original ones, or those of the variants that the study's directions ask for.
rule predict:
    input:
        weights="<models>/{dataset}/{variant}/{model}/seed{seed}/weights.safetensors",
        record="<models>/{dataset}/{variant}/{model}/seed{seed}/train.json",
        manifest=plan.files.tested_manifest(),
    output:
        predictions="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/on-{tested}/predictions.json",
    log:
        "<logs>/predict/{dataset}/{variant}/{model}/seed{seed}/on-{tested}.log",
    benchmark:
        "<logs>/predict/{dataset}/{variant}/{model}/seed{seed}/on-{tested}.bench.tsv"
    conda:
        lambda w: environment(plan.training_environment(w.model))
    threads: plan.study.train.threads
    resources:
        gpu=plan.gpus(),
        mem_mb=plan.needs.memory("predict"),
        runtime=plan.needs.time("predict"),
    params:
        model_folder=lambda w, input: str(Path(input.weights).parent),
        tested=lambda w: plan.files.variant_folder(w.dataset, w.tested),
        split=lambda w: plan.files.evaluation_split(w.dataset),
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        code=lambda w: plan.fingerprints.prediction_code(w.model),
        environment=lambda w: plan.fingerprints.environment(
            plan.training_environment(w.model)
        ),
    message:
        "predict with {wildcards.model} of {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}, on {wildcards.tested}"
    shell:
        "anonbench predict --model {params.model_folder:q} --variant {params.tested:q}"
        " --split {params.split} --device {params.device} --threads {params.threads}"
        " --out {output.predictions:q} > {log:q} 2>&1"


# The metrics of the model's tasks, and what it takes to compute the first of each again under resampling.
rule evaluate:
    input:
        predictions="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/on-{tested}/predictions.json",
        truth=plan.files.truth(),
        people=plan.files.tested_people(),
    output:
        metrics="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/on-{tested}/metrics.json",
        evidence="<evaluations>/{dataset}/{variant}/{model}/seed{seed}/on-{tested}/evidence.npz",
    log:
        "<logs>/evaluate/{dataset}/{variant}/{model}/seed{seed}/on-{tested}.log",
    benchmark:
        "<logs>/evaluate/{dataset}/{variant}/{model}/seed{seed}/on-{tested}.bench.tsv"
    conda:
        environment("report")
    resources:
        mem_mb=plan.needs.memory("evaluate"),
        runtime=plan.needs.time("evaluate"),
    params:
        folder=lambda w, output: str(Path(output.metrics).parent),
        engine=plan.study.evaluate.engine,
        resamples=plan.study.report.bootstrap,
        seed=plan.study.seed,
        metric=lambda w: plan.arguments.metric(w.model),
        code=lambda w: plan.fingerprints.evaluation_code(w.model),
        environment=plan.fingerprints.environment("report"),
    message:
        "evaluate {wildcards.model} of {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}, on {wildcards.tested}"
    shell:
        "anonbench evaluate --predictions {input.predictions:q} --annotations {input.truth:q}"
        " --people {input.people:q}"
        " --engine {params.engine} --resamples {params.resamples} --seed {params.seed}"
        " --dataset {wildcards.dataset} {params.metric} --out {params.folder:q} > {log:q} 2>&1"
