-- All payments, one row each, with what other models ask of them. For CASH_IN money moves the other way.
--
-- seq: Its position in the log.
-- payment_id: Its id: the file and the row.
-- step: Hours since the start, from 1 on.
-- type: PAYMENT, CASH_OUT, CASH_IN, TRANSFER or DEBIT.
-- payer: Who sends; for CASH_IN who gets cash onto the account.
-- payee: Who receives: C... a customer, M... a merchant.
-- amount: The amount.
-- payer_balance_before: The payer's balance before it.
-- payer_balance_after: The payer's balance after it, as the file says.
-- payee_balance_before: The payee's balance before it; 0 for merchants.
-- payee_balance_after: The payee's balance after it, as the file says.
-- moved: What leaves the payer and reaches the payee; below zero for CASH_IN.
-- payer_error: What the payer's balance after the payment lacks; 0 where it is right.
-- payee_error: What the payee's balance after the payment has too little; 0 where it is right.
-- day: The day in UTC; PaySim's first hour is 01:00 on 2025-01-01.
-- hour: The hour of the day, step mod 24.
-- is_fraud: Whether its last label says fraud.
WITH typed AS (
    SELECT
        seq, payment_id, step, date AS day, step % 24 AS hour, type_ AS type, payer, payee,
        amount::DECIMAL(18, 2) AS amount,
        (CASE type_ WHEN 'CASH_IN' THEN -amount::DECIMAL(18, 2) ELSE amount::DECIMAL(18, 2) END)::DECIMAL(18, 2) AS moved,
        payer_balance_before::DECIMAL(18, 2) AS payer_balance_before,
        payer_balance_after::DECIMAL(18, 2) AS payer_balance_after,
        payee_balance_before::DECIMAL(18, 2) AS payee_balance_before,
        payee_balance_after::DECIMAL(18, 2) AS payee_balance_after
    FROM payment
)
SELECT
    *,
    (payer_balance_before - moved - payer_balance_after)::DECIMAL(18, 2) AS payer_error,
    (payee_balance_before + moved - payee_balance_after)::DECIMAL(18, 2) AS payee_error,
    payment_id IN (SELECT payment_id FROM frauds) AS is_fraud
FROM typed
