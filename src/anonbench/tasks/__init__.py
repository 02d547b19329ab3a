"""Tasks: what a model is asked, what it answers with, and how the answer is scored.

`base` is the contract, `truth` what all tasks are judged by; `detection`, `segmentation` and `pose` are COCO's,
`action` is of clips.
"""
