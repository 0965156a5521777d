"""Ke, Chang, Qi, Lyu: *Multi-Scale Structure-Aware Network for Human Pose Estimation*, ECCV 2018."""
