"""Adapters of Amplitude, pulled tables, Redis, Amazon SNS and Google Pub/Sub."""
