"""The dataset as it lies on disk: tables, archives, the paper's form, card, page, and what checks it."""
