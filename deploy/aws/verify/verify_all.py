"""Run all scripts of this folder."""

import sys

import verify_api
import verify_iam_roles
import verify_training_job
import verify_trigger
from account import main

if __name__ == "__main__":
    sys.exit(main(verify_iam_roles.check, verify_training_job.check, verify_trigger.check, verify_api.check))
