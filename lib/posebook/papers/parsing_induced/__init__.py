"""Nie, Feng, Zuo, Yan: *Human Pose Estimation with Parsing Induced Learner*, CVPR 2018."""
