"""The figure of training losses."""

import pandas as pd

from anonbench.report.figures.curves import curves_figure


def losses(dataset: str, model: str, variants: list[str]) -> list[dict]:
    return [
        {
            "dataset": dataset,
            "model": model,
            "variant": variant,
            "leaks": "",
            "iteration": i,
            "n_seeds": 1,
            "loss": 1 / i,
        }
        for variant in variants
        for i in range(1, 30)
    ]


def test_the_legend_names_the_variants_of_every_panel() -> None:
    """A model that all others start from is trained on originals alone, and comes first."""
    variants = ["original", "body-mask_out", "body-gan"]
    frame = pd.DataFrame(losses("others", "start", ["original"]) + losses("streetlife", "r3d", variants))
    figure = curves_figure(frame)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == variants
    colours = {line.get_label(): line.get_color() for axis in figure.axes for line in axis.get_lines()}
    assert [handle.get_color() for handle in legend.legend_handles] == [colours[name] for name in variants]
