-- By type: for how many payments both balances are what the amount makes of them.
--
-- payments: How many there were.
-- valid: Both are right to one cent.
-- exact: Both are right.
-- valid_share: Of the payments, in percent.
SELECT
    type, count(*) AS payments,
    count(*) FILTER (abs(payer_error) <= 0.01 AND abs(payee_error) <= 0.01) AS valid,
    count(*) FILTER (payer_error = 0 AND payee_error = 0) AS exact,
    round(100 * valid / count(*), 2) AS valid_share
FROM payments
GROUP BY type
ORDER BY type
