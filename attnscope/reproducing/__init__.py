"""A published study again, on any model: what was seen, what a mask changes, the paper's numbers beside ours."""
