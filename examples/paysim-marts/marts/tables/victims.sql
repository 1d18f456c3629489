-- Customers from whom a fraud was sent, one row each.
--
-- last_seq: The position of the last one.
-- customer: The payer of at least one fraud.
-- frauds: How many frauds were sent from its account.
-- lost: Their value together.
-- first_seq: The position of the first one in the log.
SELECT payer AS customer, count(*) AS frauds, sum(amount) AS lost, min(seq) AS first_seq, max(seq) AS last_seq
FROM payments
WHERE is_fraud
GROUP BY payer
