"""The page's template (Jinja), in a module so that the hash of the code covers it."""

# ruff: noqa: E501

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What anonymization costs: {{ study.name }}</title>
<style>
:root {
  --ink: #1c2430; --soft: #5a6675; --line: #dde3ea; --page: #ffffff; --card: #f5f7fa; --accent: #0a5c94;
  --drop: #a63d00; --drop-bg: #fdeadd; --same: #00654a; --same-bg: #ddf3ea; --unsure: #5a6675; --unsure-bg: #e9edf2;
  --gain: #0a5c94; --gain-bg: #dcecf8; --warn: #7a5200; --warn-bg: #fff6dc; --warn-line: #e5b94a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6eaf0; --soft: #9aa7b6; --line: #313b48; --page: #12171e; --card: #1a212b; --accent: #6db6e8;
    --drop: #ffab7a; --drop-bg: #43240f; --same: #6fd6b0; --same-bg: #0f3a2c; --unsure: #aeb9c6; --unsure-bg: #2a333f;
    --gain: #8cc8f2; --gain-bg: #123450; --warn: #f0cf7d; --warn-bg: #332a10; --warn-line: #8a6d1c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 72px; }
.eyebrow { color: var(--soft); font-size: 14px; margin: 0 0 6px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 18px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 48px 0 10px; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 26px 0 6px; }
p { max-width: 76ch; margin: 0 0 12px; }
.answer { font-size: 20px; line-height: 1.5; max-width: 68ch; border-left: 4px solid var(--accent); padding-left: 18px; margin-bottom: 18px; }
.answer + .answer { font-size: 17px; }
.soft { color: var(--soft); }
.warnings { background: var(--warn-bg); border: 1px solid var(--warn-line); border-radius: 8px; padding: 14px 18px 8px; margin: 26px 0 0; }
.warnings strong { color: var(--warn); }
.warnings ul { margin: 6px 0; padding-left: 20px; }
.warnings li { margin-bottom: 6px; }
.scroll { overflow-x: auto; margin: 8px 0 4px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; white-space: normal; }
td.verdict { text-align: left; white-space: normal; min-width: 8em; max-width: 12em; }
th.text, td.text { text-align: left; }
td.group { padding-top: 14px; font-weight: 600; color: var(--soft); text-align: left; }
tr.reference td { background: var(--card); }
.small { font-size: 12px; color: var(--soft); font-weight: 400; display: block; }
.badge { display: inline-block; border-radius: 4px; padding: 1px 7px; font-size: 12px; }
.drop { color: var(--drop); background: var(--drop-bg); } .same { color: var(--same); background: var(--same-bg); }
.unsure { color: var(--unsure); background: var(--unsure-bg); } .gain { color: var(--gain); background: var(--gain-bg); }
.missing { color: var(--warn); background: var(--warn-bg); }
figure { margin: 18px 0 30px; }
figure img { max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 8px; padding: 12px; display: block; }
figcaption { color: var(--soft); font-size: 14px; margin-top: 8px; max-width: 84ch; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; font-size: 14px; margin: 6px 0 16px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; }
footer { margin-top: 56px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line); padding-top: 14px; }
@media (max-width: 640px) { main { padding: 24px 16px 48px; } h1 { font-size: 24px; } .answer { font-size: 17px; } }
@media print {
  :root { --ink: #000; --soft: #444; --page: #fff; --card: #f2f2f2; }
  main { max-width: none; padding: 0; } body { font-size: 10.5pt; } .answer { font-size: 13pt; }
  figure, tr, .warnings { break-inside: avoid; } h2, h3 { break-after: avoid; } figure img { border: 0; padding: 0; }
  table { font-size: 8.5pt; } th, td { padding: 3px 6px; } .scroll { overflow: visible; }
}
</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">anonbench, study “{{ study.name }}”</p>
<h1>What does anonymizing the {{ "training images" if trained else "images" }} cost{{ "" if trained else " a model that is in use" }}?</h1>
{% for paragraph in answer %}
<p class="answer">{{ paragraph.text }}</p>
{% if paragraph.points %}
<ul>
{% for point in paragraph.points %}
<li>{{ point }}</li>
{% endfor %}
</ul>
{% endif %}
{% endfor %}
<p class="soft">{% if trained %}{% if on_original %}Every model is trained on a variant of the images and tested on the original ones{% if tested %}; where it says so, {{ tested | join("; or ") }}{% endif %}{% else %}Models are {{ tested | join("; or, where it says so, ") }}{% endif %}. Seeds: {{ study.seeds | join(", ") }}. {% endif %}{% if fixed %}{{ fixed | join(", ") }} {{ "needs" if fixed | length == 1 else "need" }} no training and {{ "is" if fixed | length == 1 else "are" }} tested as {{ "it is" if fixed | length == 1 else "they are" }}: one model, no seeds, and intervals over validation {{ samples }} alone. {% endif %}An effect whose
95&nbsp;% interval lies inside {{ margins }} counts as no practical difference.</p>
{% if warnings %}
<section class="warnings" aria-label="Warnings">
<strong>Before you rely on this</strong>
<ul>
{% for text in warnings %}
<li>{{ text }}</li>
{% endfor %}
</ul>
</section>
{% endif %}
</header>

<section>
<h2>Impact</h2>
{% for image in impact %}
<figure><img src="{{ image.data }}" alt="Difference to the original per variant, task and category"><figcaption>{{ image.caption }}</figcaption></figure>
{% endfor %}
{% for part in parts %}
{% for task in part.tasks %}
<h3>{{ part.dataset }}, {{ part.model }}: {{ task.name }}</h3>
<div class="scroll"><table>
<thead><tr><th class="text">{{ part.on }}</th><th>people changed</th>
{% for head in task.heads %}
{% if head.people %}<th>{{ head.name }}<span class="small">{{ task.metric }}</span></th><th>Δ {{ task.metric }}<span class="small">95 % interval</span></th><th class="text">verdict</th>
{% else %}<th>Δ {{ head.name }}<span class="small">{{ head.note }}</span></th>
{% endif %}
{% endfor %}
</tr></thead>
<tbody>
{% for line in task.lines %}
<tr{% if line.variant == "original" %} class="reference"{% endif %}><td class="text">{{ line.variant }}</td><td>{{ line.changed }}</td>
{% for cell in line.cells %}
{% if cell.people %}
<td>{{ cell.value }}{% if cell.std %}<span class="small">± {{ cell.std }}</span>{% endif %}</td>
{% endif %}
<td>{% if cell.difference %}{{ cell.difference }}{% if cell.interval %}<span class="small">{{ cell.interval }}</span>{% endif %}{% elif not cell.people %}<span class="small">({{ task.metric }} {{ cell.value }})</span>{% endif %}</td>
{% if cell.people %}
<td class="verdict">{% if cell.verdict %}<span class="badge {{ cell.kind }}">{{ cell.verdict }}</span>{% if cell.needs %}<span class="small">{{ cell.needs }}</span>{% endif %}{% endif %}</td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% endfor %}
<p class="soft">{% if trained %}Means ± standard deviation over seeds, {{ units }}; differences are paired over validation {{ samples }} and seeds.{% else %}{{ units }}; differences are paired over validation {{ samples }}.{% endif %}{% if lower %} {{ lower }}{% endif %}{% if leaky %} {{ leaky }}{% endif %}</p>
</section>

{% if subsets %}
<section>
<h2>Evaluation subsets</h2>
<div class="scroll"><table>
<thead><tr><th class="text">data set</th><th class="text">model</th><th class="text">task</th><th class="text">category</th><th class="text">variant</th><th class="text">on each subset (difference to the original)</th></tr></thead>
<tbody>
{% for line in subsets %}
<tr>{% for cell in line.key %}<td class="text">{{ cell }}</td>{% endfor %}<td class="text">{% for cell in line.cells %}{{ cell.name }} {{ cell.value }} ({{ cell.difference }}){{ "" if loop.last else ", " }}{% endfor %}</td></tr>
{% endfor %}
</tbody></table></div>
<p class="soft">The data set's own subsets (docs/evaluate.md); means over seeds, without intervals.</p>
</section>
{% endif %}

{% if sheets %}
<section>
<h2>What the models {{ "saw" if trained else "see" }}</h2>
{% for image in sheets %}
<figure><img src="{{ image.data }}" alt="The same people under every variant"><figcaption>{{ image.caption }}</figcaption></figure>
{% endfor %}
</section>
{% endif %}

<section>
<h2>Who was anonymized</h2>
{% for image in others if image.name in ("coverage", "people") %}
<figure><img src="{{ image.data }}" alt="{{ image.name }}"><figcaption>{{ image.caption }}</figcaption></figure>
{% endfor %}
<div class="scroll"><table>
<thead><tr><th class="text">data set</th><th class="text">variant</th><th class="text">category</th><th>people</th><th>processed</th><th>share</th>
{% for reason in coverage.reasons %}<th>{{ reason }}</th>{% endfor %}
</tr></thead>
<tbody>
{% for line in coverage.lines %}
<tr>{% for cell in line.cells %}<td class="text">{{ cell }}</td>{% endfor %}{% for cell in line.numbers %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% if coverage.fitted %}<p>Generators have learnt from people, too: {{ coverage.fitted | join("; ") }}.</p>{% endif %}
</section>

<section>
<h2>Training</h2>
{% for image in others if image.name == "curves" and trained %}
<figure><img src="{{ image.data }}" alt="Training loss per variant"><figcaption>{{ image.caption }}</figcaption></figure>
{% endfor %}
{% if cost %}
<div class="scroll"><table>
<thead><tr><th class="text">training</th><th class="text">variant</th><th>seconds</th><th>iterations per second</th><th>waiting for data</th><th>peak memory, MiB</th><th class="text">device</th></tr></thead>
<tbody>
{% for line in cost %}
<tr><td class="text">{{ line.name }}</td><td class="text">{{ line.variant }}</td><td>{{ line.seconds }}</td><td>{{ line.speed }}</td><td>{{ line.loading }}</td><td>{{ line.memory }}</td><td class="text">{{ line.device }}</td></tr>
{% endfor %}
</tbody></table></div>
<p class="soft">Means over seeds. The study took {{ hours }} (<code>cost.csv</code>, by stage).</p>
{% endif %}
{% for training in trainings %}
<h3>{{ training.name }}</h3>
<dl>{% for key, value in training.facts.items() %}<dt>{{ key }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% endfor %}
</section>

<section>
<h2>Where this page comes from</h2>
<dl>
<dt>study</dt><dd>{{ study.name }}, seed {{ study.seed }}, {{ study.bootstrap }} resamples, margin {{ margins }}</dd>
<dt>commit</dt><dd>{% if made.commit %}<code>{{ made.commit }}</code>{% if made.dirty %} with changes that are not committed{% endif %}{% else %}not in a git repository{% endif %}</dd>
<dt>platform</dt><dd>{{ made.platform }}</dd>
<dt>versions</dt><dd>{% for name, version in made.versions.items() if version %}{{ name }} {{ version }}{{ "" if loop.last else ", " }}{% endfor %}</dd>
</dl>
</section>
<footer>Written by <code>anonbench report-html</code>. The numbers are in <code>tables/impact.csv</code> (all categories) and <code>tables/seeds.csv</code> (single seeds).</footer>
</main>
</body>
</html>
"""
