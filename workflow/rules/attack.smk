# Attackers, each of whom learns on people of its own: from originals, or from what the attacked method makes of them.
rule fit_attacker:
    input:
        plan.files.own_people,
    output:
        weights="<attackers>/{dataset}/{variant}/{attack}/{attacker}/seed{seed}/weights.safetensors",
        record="<attackers>/{dataset}/{variant}/{attack}/{attacker}/seed{seed}/attacker.json",
    log:
        "<logs>/attacker/{dataset}/{variant}/{attack}/{attacker}/seed{seed}/fit.log",
    benchmark:
        "<logs>/attacker/{dataset}/{variant}/{attack}/{attacker}/seed{seed}/bench.tsv"
    conda:
        lambda w: environment(plan.attacker_environment(w.attacker))
    threads: plan.study.train.threads
    resources:
        gpu=plan.gpus(),
        mem_mb=plan.needs.memory("fit_attacker"),
        runtime=plan.needs.time("fit_attacker"),
    params:
        seen=lambda w: plan.files.variant_folder(w.dataset, w.variant),
        original=lambda w: plan.files.variant_folder(w.dataset, "original"),
        annotations=lambda w: f"{plan.files.folder('annotations')}/{w.dataset}",
        split=plan.study.attack.own.split,
        attacker=lambda w: plan.arguments.attacker(w.attacker),
        folder=lambda w, output: str(Path(output.weights).parent),
        logs=lambda w: f"{plan.files.folder('logs')}/attacker/{w.dataset}/{w.variant}/{w.attack}/{w.attacker}/seed{w.seed}",
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        code=lambda w: plan.fingerprints.attacker_code(w.attack, w.attacker),
        environment=lambda w: plan.fingerprints.environment(
            plan.attacker_environment(w.attacker)
        ),
    message:
        "fit attacker {wildcards.attacker} ({wildcards.attack}) to {wildcards.dataset} {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "anonbench fit-attacker --attack {wildcards.attack} --attacker {params.attacker:q}"
        " --seen {params.seen:q} --original {params.original:q} --annotations {params.annotations:q}"
        " --split {params.split} --seed {wildcards.seed} --device {params.device}"
        " --threads {params.threads} --logs {params.logs:q} --out {params.folder:q} > {log:q} 2>&1"


# Every attack on every variant: what was found, and what it says. Where nothing learns, no attacker is waited for.
rule attack:
    input:
        plan.files.attacked_people,
        plan.files.attacker_files,
    output:
        scores="<attacks>/{dataset}/{variant}/{attack}/{attacker}/seed{seed}/scores.npz",
        metrics="<attacks>/{dataset}/{variant}/{attack}/{attacker}/seed{seed}/metrics.json",
    log:
        "<logs>/attack/{dataset}/{variant}/{attack}/{attacker}/seed{seed}.log",
    benchmark:
        "<logs>/attack/{dataset}/{variant}/{attack}/{attacker}/seed{seed}.bench.tsv"
    conda:
        lambda w: environment(plan.attack_environment(w.attack, w.attacker))
    threads: plan.study.train.threads
    resources:
        gpu=lambda w: plan.attack_gpus(w.attack),
        mem_mb=plan.needs.memory("attack"),
        runtime=plan.needs.time("attack"),
    params:
        folder=lambda w, output: str(Path(output.metrics).parent),
        variant=lambda w: plan.files.variant_folder(w.dataset, w.variant),
        original=lambda w: plan.files.variant_folder(w.dataset, "original"),
        annotations=lambda w: f"{plan.files.folder('annotations')}/{w.dataset}",
        tries=plan.arguments.tries,
        how=lambda w: plan.arguments.attack(w.dataset, w.attack),
        device=plan.study.train.device,
        threads=plan.study.train.threads,
        code=lambda w: plan.fingerprints.attack_code(w.attack, w.variant, w.attacker),
        environment=lambda w: plan.fingerprints.environment(
            plan.attack_environment(w.attack, w.attacker)
        ),
    message:
        "attack {wildcards.dataset} {wildcards.variant}: {wildcards.attack} by {wildcards.attacker}, seed {wildcards.seed}"
    shell:
        "anonbench attack --attack {wildcards.attack} {params.tries}"
        " --variant {params.variant:q} --original {params.original:q}"
        " --annotations {params.annotations:q} {params.how}"
        " --device {params.device} --threads {params.threads}"
        " --out {params.folder:q} > {log:q} 2>&1"
