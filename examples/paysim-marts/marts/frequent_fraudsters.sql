-- Customers that received more than one fraud.
SELECT customer, frauds, fraud_value
FROM fraud_receivers
WHERE frauds > 1
ORDER BY frauds DESC, fraud_value DESC, customer
