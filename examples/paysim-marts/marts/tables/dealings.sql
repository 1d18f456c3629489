-- Payments that are no fraud and that a fraud receiver sent or received.
--
-- fraudster: The fraud receiver.
-- is_after: Whether it came after the first fraud that the fraudster received.
-- direction: `in` where a fraud receiver was paid, `out` where it paid.
-- other: The customer on the other side.
SELECT 'in' AS direction, p.seq, p.payee AS fraudster, p.payer AS other, p.amount, p.seq > f.first_seq AS is_after
FROM payments p JOIN fraud_receivers f ON f.customer = p.payee
WHERE NOT p.is_fraud
UNION ALL
SELECT 'out', p.seq, p.payer, p.payee, p.amount, p.seq > f.first_seq
FROM payments p JOIN fraud_receivers f ON f.customer = p.payer
WHERE NOT p.is_fraud
