"""Read model files of other programs: XGBoost, LightGBM and ONNX."""
