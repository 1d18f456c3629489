"""Services of an opened project, a folder for each subject: its operations, and the modules behind them."""
