-- Victims: how much of their balance the fraud took, and whether they paid again.
--
-- victims: How many there are.
-- frauds: How many frauds were sent from their accounts.
-- lost: Their value together.
-- status: Emptied: nothing was left after a fraud. Else Partly.
-- paid_before: Victims that sent other payments before their first fraud.
-- paid_after: Those that sent other payments after it.
WITH emptied AS (
    SELECT payer, bool_or(payer_balance_before > 0 AND payer_balance_after = 0) AS is_emptied
    FROM payments
    WHERE is_fraud
    GROUP BY payer
), again AS (
    SELECT customer, bool_or(moment = 'before') AS before, bool_or(moment = 'after') AS after
    FROM around_fraud
    WHERE role = 'Victim' AND direction = 'sent'
    GROUP BY customer
)
SELECT
    if(e.is_emptied, 'Emptied', 'Partly') AS status, count(*) AS victims, sum(v.frauds)::BIGINT AS frauds, sum(v.lost) AS lost,
    count(*) FILTER (a.before) AS paid_before, count(*) FILTER (a.after) AS paid_after
FROM victims v JOIN emptied e ON e.payer = v.customer LEFT JOIN again a USING (customer)
GROUP BY status
ORDER BY status
