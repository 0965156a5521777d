"""Tang, Wu: *Does Learning Specific Features for Related Parts Help Human Pose Estimation?*, CVPR 2019."""
