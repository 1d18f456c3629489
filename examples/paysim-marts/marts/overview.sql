-- The figures of the whole file, in one row.
--
-- valid: Payments with both balances right to one cent.
-- exact: Payments with both balances right.
-- dealt_in: Other payments to fraud receivers.
-- dealt_out: Other payments from fraud receivers.
SELECT
    count(*) AS payments, sum(amount) AS value,
    count(*) FILTER (is_fraud) AS frauds, sum(amount) FILTER (is_fraud) AS fraud_value,
    (SELECT sum(valid)::BIGINT FROM balance_validity) AS valid,
    (SELECT sum(exact)::BIGINT FROM balance_validity) AS exact,
    (SELECT count(*) FROM customers) AS customers,
    (SELECT count(*) FROM customers WHERE sent > 0) AS senders,
    (SELECT count(*) FROM customers WHERE received > 0) AS receivers,
    (SELECT count(*) FROM customers WHERE category = 'Transactor') AS transactors,
    (SELECT count(*) FROM fraud_receivers) AS fraud_receivers,
    (SELECT count(*) FROM victims) AS victims,
    (SELECT count(*) FROM frequent_fraudsters) AS frequent_fraudsters,
    (SELECT coalesce(sum(frauds), 0)::BIGINT FROM frequent_fraudsters) AS frauds_of_frequent,
    (SELECT count(*) FROM dealings WHERE direction = 'in') AS dealt_in,
    (SELECT count(*) FROM dealings WHERE direction = 'out') AS dealt_out
FROM payments
