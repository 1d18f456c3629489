-- Customers by whether they sent, received, or did both.
SELECT category, count(*) AS customers
FROM customers
GROUP BY category
ORDER BY category
