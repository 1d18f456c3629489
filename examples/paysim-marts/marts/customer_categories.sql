-- Customers by whether they sent, received, or did both.
--
-- customers: How many there are.
SELECT category, count(*) AS customers
FROM customers
GROUP BY category
ORDER BY category
