"""The workshop behind nst_main.py, the command, and nst_utils.py, the paper; docs/inside.md tells its rooms."""
