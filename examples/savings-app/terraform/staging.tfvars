# The savings app in staging: terraform -chdir=deploy/terraform/gcp/staging apply -var-file=$PWD/examples/savings-app/terraform/staging.tfvars
region         = "us-central1"
schemas        = "savings"
notice         = "daily_figures"
amplitude_from = "2026-03-01"
zone           = "Africa/Johannesburg"
sns_topic      = "arn:aws:sns:us-east-1:111111111111:savings-staging"
smtp_host      = "smtp.staging.savings.example"
operators      = "operators@staging.savings.example"
