-- The figures of the whole file, in one row.
--
-- payments: How many there are.
-- value: Their value together.
-- frauds: How many of them are fraud.
-- fraud_value: Their value together.
-- customers: Customers and merchants.
-- senders: Those that sent.
-- receivers: Those that received.
-- transactors: Those that did both.
-- fraud_receivers: Those that received fraud.
-- victims: Those from whom fraud was sent.
-- frequent_fraudsters: Those that received more than one fraud.
-- frauds_of_frequent: The frauds that these received.
-- valid: Payments with both balances right to one cent.
-- exact: Payments with both balances right.
-- dealt_in: Other payments to fraud receivers.
-- dealt_out: Other payments from fraud receivers.
-- victims_before: Other payments that victims sent before their first fraud.
-- victims_after: Other payments that victims sent after it.
-- refunds: Payments from fraud receivers back to their victims.
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
    (SELECT count(*) FROM dealings WHERE direction = 'out') AS dealt_out,
    (SELECT count(*) FROM around_fraud WHERE role = 'Victim' AND direction = 'sent' AND moment = 'before') AS victims_before,
    (SELECT count(*) FROM around_fraud WHERE role = 'Victim' AND direction = 'sent' AND moment = 'after') AS victims_after,
    (SELECT count(*) FROM refunds) AS refunds
FROM payments
