"""The `report` stage: tables, figures and one page that answers the study's question."""
