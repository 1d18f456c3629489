"""Exit with 0 if the service in this container answers /health/live or /health/ready as asked, and with 1 otherwise.

`health.py standby` also accepts a service that is not ready because it stands by: one of a pair is never ready.
"""

import json
import sys
import urllib.error
import urllib.request

PORT = 8080
STANDING_BY = "standing by"

asked = sys.argv[1]
route = "ready" if asked == "standby" else asked
try:
    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/{route}", timeout=4)
except urllib.error.HTTPError as error:
    if asked != "standby" or json.load(error).get("state") != STANDING_BY:
        sys.exit(f"not healthy: {error}")
except OSError as error:
    sys.exit(f"not healthy: {error}")
