"""Model files of other programs, read: XGBoost, LightGBM and ONNX."""
