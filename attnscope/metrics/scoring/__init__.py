"""Score one video, or a folder of them: rows, manifests, tables, contact sheets."""
