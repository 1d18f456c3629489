-- Customers by how fraud touched them.
--
-- customers: How many there are.
-- sent_value: What they sent together.
-- received_value: What they received together.
-- status: As in customers.
-- share: Of all customers, in percent.
SELECT status, count(*) AS customers, round(100 * count(*) / sum(count(*)) OVER (), 2) AS share, sum(sent_value) AS sent_value,
    sum(received_value) AS received_value
FROM customers
GROUP BY status
ORDER BY status
