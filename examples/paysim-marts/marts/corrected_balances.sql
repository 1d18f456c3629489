-- Payments with a wrong balance, and what it should be after the payment.
--
-- payer_balance_corrected: Before the payment, less what moved.
-- payee_balance_corrected: Before the payment, and what moved.
SELECT
    payment_id, type, amount, payer, payer_balance_before, payer_balance_after,
    payer_balance_before - moved AS payer_balance_corrected,
    payee, payee_balance_before, payee_balance_after,
    payee_balance_before + moved AS payee_balance_corrected
FROM payments
WHERE abs(payer_error) > 0.01 OR abs(payee_error) > 0.01
