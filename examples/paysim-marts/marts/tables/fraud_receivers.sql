-- Customers that received fraud, one row each.
--
-- last_seq: The position of the last one.
-- customer: The payee of at least one fraud.
-- frauds: How many frauds it received.
-- fraud_value: Their value together.
-- first_seq: The position of the first one in the log.
SELECT payee AS customer, count(*) AS frauds, sum(amount) AS fraud_value, min(seq) AS first_seq, max(seq) AS last_seq
FROM payments
WHERE is_fraud
GROUP BY payee
