"""Anonymizes a folder of photographs and videos that nobody annotated: detectors find the people, the stages' own
engine changes them. Stands above the stages; the workflow does not know it."""
