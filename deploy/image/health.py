"""Exit with 0 if the service in this container answers /health/live (or /health/ready), and with 1 otherwise."""

import sys
import urllib.request

PORT = 8080

try:
    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/{sys.argv[1]}", timeout=4)
except OSError as error:
    sys.exit(f"not healthy: {error}")
