-- Payments from a customer that received a fraud back to its victim, after that fraud.
--
-- payment_id: The payment back.
-- fraud_id: The fraud.
-- victim: Who had sent the fraud.
-- fraudster: Who had received it.
-- lost: The amount of the fraud.
-- refunded: The amount of the payment back.
-- hours_later: Hours from the fraud to the payment back.
-- is_whole: Whether the amount is that of the fraud.
SELECT
    back.payment_id, fraud.payment_id AS fraud_id, fraud.payer AS victim, fraud.payee AS fraudster, fraud.amount AS lost,
    back.amount AS refunded, back.amount = fraud.amount AS is_whole, back.step - fraud.step AS hours_later
FROM payments fraud JOIN payments back ON back.payer = fraud.payee AND back.payee = fraud.payer AND back.seq > fraud.seq
WHERE fraud.is_fraud AND NOT back.is_fraud
