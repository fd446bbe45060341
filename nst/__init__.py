"""The workshop behind nst_main.py, the command, and nst_utils.py, the paper; README, How it works, tells its rooms."""
