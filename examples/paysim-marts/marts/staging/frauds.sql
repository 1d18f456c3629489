-- Payments whose last label says fraud.
--
-- payment_id: The payment.
SELECT substr(event, length('payment/') + 1) AS payment_id
FROM labels
WHERE event IN (SELECT event FROM labels WHERE verdict = 'fraud')
GROUP BY event
HAVING arg_max(verdict, seq) = 'fraud'
