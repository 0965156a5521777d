"""Liang, Gong, Shen, Lin: *Look into Person: Joint Body Parsing & Pose Estimation Network and a New Benchmark*, TPAMI
2018.
"""
