-- Payments that are no fraud of victims and fraudsters, each beside the first fraud of that customer.
--
-- customer: The victim or fraudster.
-- role: Victim or Fraudster.
-- direction: Whether the customer sent or received it.
-- moment: Before or after the customer's first fraud, in the order of the log.
SELECT 'Victim' AS role, 'sent' AS direction, if(p.seq < v.first_seq, 'before', 'after') AS moment, p.seq, v.customer, p.amount
FROM payments p JOIN victims v ON v.customer = p.payer
WHERE NOT p.is_fraud
UNION ALL
SELECT 'Victim', 'received', if(p.seq < v.first_seq, 'before', 'after'), p.seq, v.customer, p.amount
FROM payments p JOIN victims v ON v.customer = p.payee
WHERE NOT p.is_fraud
UNION ALL
SELECT 'Fraudster', if(direction = 'in', 'received', 'sent'), if(is_after, 'after', 'before'), seq, fraudster, amount
FROM dealings
